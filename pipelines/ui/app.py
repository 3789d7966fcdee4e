"""The notebook that marimo runs for `gapless ui`: the controls, and the view that they select.

A cell runs when a name that it takes changes. The views are functions in overview.py, timeline.py and coverage.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

import marimo

from gapless.pipelines.ui.controls import Control

app = marimo.App(width="full", app_title="gapless", css_file="page.css")


@app.cell
def _() -> tuple[object, ...]:
    import marimo as mo

    # Passed on as values: a cell of marimo has no names but those that other cells return.
    from gapless.pipelines.ui import coverage, overview, timeline
    from gapless.sources import SOURCES

    return SOURCES, coverage, mo, overview, timeline


@app.cell
def _(mo: ModuleType) -> tuple[object, ...]:
    refresh = mo.ui.refresh(options=["30s", "5m"], label="refresh")
    at = mo.query_params()
    names = ["Health", "Volume", "Failures", "Timeline", "Conversations", "Coverage", "Dead letters", "Runs"]
    # A link to an object leads to its timeline, whatever tab it was on.
    wanted = "Timeline" if at.get("object") else str(at.get("view") or "Health")
    tabs = mo.ui.tabs(dict.fromkeys(names, ""), value=wanted if wanted in names else "Health")
    return refresh, at, tabs


@app.cell
def _(refresh: Control[str], mo: ModuleType, overview: ModuleType, tabs: Control[str]) -> None:
    _ = refresh.value
    mo.vstack([mo.hstack([mo.Html(overview.title()), refresh], widths=[5, 1]), tabs], align="stretch")


@app.cell
def _(SOURCES: Mapping[str, object], mo: ModuleType, overview: ModuleType) -> tuple[object, ...]:
    source = mo.ui.dropdown(["all", *SOURCES], value="all", label="source")
    period = mo.ui.dropdown(list(overview.PERIODS), value="all time", label="period")
    raw = mo.ui.switch(label="raw JSON")
    search = mo.ui.text(label="search", placeholder="id, actor, text …", debounce=300)
    return period, raw, search, source


@app.cell
def _(
    refresh: Control[str], mo: ModuleType, source: Control[str], tabs: Control[str], timeline: ModuleType
) -> tuple[object, ...]:
    _ = refresh.value
    kinds, statuses = timeline.choices(source.value) if tabs.value == "Timeline" else ([], [])
    kind = mo.ui.dropdown(["all", *kinds], value="all", label="type")
    status = mo.ui.dropdown(["all", *statuses], value="all", label="status")
    return kind, status


@app.cell
def _(
    at: Mapping[str, str],
    kind: Control[str],
    mo: ModuleType,
    source: Control[str],
    tabs: Control[str],
    timeline: ModuleType,
) -> tuple[object, ...]:
    # Only for the tab that is shown: each of these menus is a query over all events.
    options = timeline.objects(source.value, kind.value) if tabs.value == "Timeline" else {}
    given = str(at.get("object") or "")
    # The object of a link may be none of the most frequent ones.
    if given and given not in options.values():
        options = {given.replace(":", " ", 1): given, **options}
    first = next((label for label, one in options.items() if given and one == given), None)
    item = mo.ui.dropdown(options, value=first, searchable=True, allow_select_none=True, label="object")
    lines = timeline.leads() if tabs.value == "Conversations" else {}
    lead = mo.ui.dropdown(lines, value=next(iter(lines), None), searchable=True, label="lead")
    return lead, item


@app.cell
def _(
    kind: Control[str],
    mo: ModuleType,
    period: Control[str],
    search: Control[str],
    source: Control[str],
    status: Control[str],
    item: Control[str | None],
) -> tuple[object, ...]:
    chosen = {"source": source.value, "kind": kind.value, "status": status.value, "period": period.value}
    chosen |= {"search": search.value, "item": item.value or ""}
    # Made anew when a choice changes, so that it starts at the first page again.
    page = mo.ui.number(start=1, value=1, label="page")
    return chosen, page


@app.cell
def _(
    refresh: Control[str],
    chosen: dict[str, str],
    kind: Control[str],
    lead: Control[str | None],
    coverage: ModuleType,
    mo: ModuleType,
    page: Control[float | None],
    overview: ModuleType,
    period: Control[str],
    raw: Control[bool],
    search: Control[str],
    source: Control[str],
    status: Control[str],
    tabs: Control[str],
    item: Control[str | None],
    timeline: ModuleType,
) -> None:
    _ = refresh.value
    views = {
        "Health": ([], overview.health),
        # As functions, because only the chosen one is to run.
        "Volume": ([source, period], lambda: overview.volume(period.value, source.value)),
        "Failures": ([source, period], lambda: overview.states(period.value, source.value)),
        "Timeline": (
            [source, kind, item, status, period, search, page],
            lambda: timeline.timeline(int(page.value or 1), **chosen),
        ),
        "Conversations": ([lead], lambda: timeline.conversation(lead.value or "")),
        "Coverage": ([source], lambda: coverage.coverage(source.value)),
        "Dead letters": ([source, raw], lambda: coverage.dead_letters(source.value, raw.value)),
        "Runs": ([source], lambda: coverage.runs(source.value)),
    }
    controls, made = views[tabs.value]
    mo.vstack([mo.hstack(controls, justify="start", gap=1.2, wrap=True), mo.Html(made())], align="stretch")


if __name__ == "__main__":
    app.run()
