"""The notebook that marimo runs for `gapless ui`: controls, and which view they ask for. A cell runs when what it
reads changes; what a view asks and shows stands in pages.py and timeline.py.
"""

from __future__ import annotations

from typing import Any

import marimo

app = marimo.App(width="full", app_title="gapless", css_file="page.css")


@app.cell
def _() -> Any:
    import marimo as mo

    from gapless.pipelines.ui import coverage, overview, timeline
    from gapless.sources import SOURCES

    return SOURCES, coverage, mo, overview, timeline


@app.cell
def _(mo: Any) -> Any:
    again = mo.ui.refresh(options=["30s", "5m"], label="again")
    at = mo.query_params()
    names = ["Health", "Volume", "Failures", "Timeline", "Conversations", "Coverage", "Dead letters", "Runs"]
    asked_for = "Timeline" if at.get("object") else str(at.get("view") or "Health")
    tabs = mo.ui.tabs(dict.fromkeys(names, ""), value=asked_for if asked_for in names else "Health")
    return again, at, tabs


@app.cell
def _(again: Any, mo: Any, overview: Any, tabs: Any) -> Any:
    _ = again.value
    mo.vstack([mo.hstack([mo.Html(overview.title()), again], widths=[5, 1]), tabs], align="stretch")
    return


@app.cell
def _(SOURCES: Any, mo: Any, overview: Any) -> Any:
    source = mo.ui.dropdown(["all", *SOURCES], value="all", label="source")
    period = mo.ui.dropdown(list(overview.PERIODS), value="all time", label="up to the newest record")
    raw = mo.ui.switch(label="raw JSON")
    search = mo.ui.text(label="search", placeholder="id, actor, text …", debounce=300)
    return period, raw, search, source


@app.cell
def _(again: Any, mo: Any, source: Any, tabs: Any, timeline: Any) -> Any:
    _ = again.value
    kinds, statuses = timeline.choices(source.value) if tabs.value == "Timeline" else ([], [])
    kind = mo.ui.dropdown(["all", *kinds], value="all", label="of")
    status = mo.ui.dropdown(["all", *statuses], value="all", label="status")
    return kind, status


@app.cell
def _(at: Any, kind: Any, mo: Any, source: Any, tabs: Any, timeline: Any) -> Any:
    options = timeline.things(source.value, kind.value) if tabs.value == "Timeline" else {}
    given = str(at.get("object") or "")
    if given and given not in options.values():
        options = {given.replace(":", " ", 1): given, **options}
    first = next((label for label, one in options.items() if given and one == given), None)
    thing = mo.ui.dropdown(options, value=first, searchable=True, allow_select_none=True, label="one of them")
    lines = timeline.leads() if tabs.value == "Conversations" else {}
    lead = mo.ui.dropdown(lines, value=next(iter(lines), None), searchable=True, label="lead")
    return lead, thing


@app.cell
def _(kind: Any, mo: Any, period: Any, search: Any, source: Any, status: Any, thing: Any) -> Any:
    chosen = {"source": source.value, "kind": kind.value, "status": status.value, "period": period.value}
    chosen |= {"search": search.value, "thing": thing.value or ""}
    page = mo.ui.number(start=1, value=1, label="page")
    return chosen, page


@app.cell
def _(
    again: Any,
    chosen: Any,
    kind: Any,
    lead: Any,
    coverage: Any,
    mo: Any,
    page: Any,
    overview: Any,
    period: Any,
    raw: Any,
    search: Any,
    source: Any,
    status: Any,
    tabs: Any,
    thing: Any,
    timeline: Any,
) -> Any:
    _ = again.value
    views = {
        "Health": ([], overview.health),
        "Volume": ([source, period], lambda: overview.volume(period.value, source.value)),
        "Failures": ([source, period], lambda: overview.states(period.value, source.value)),
        "Timeline": (
            [source, kind, thing, status, period, search, page],
            lambda: timeline.timeline(int(page.value or 1), **chosen),
        ),
        "Conversations": ([lead], lambda: timeline.conversation(lead.value or "")),
        "Coverage": ([source], lambda: coverage.coverage(source.value)),
        "Dead letters": ([source, raw], lambda: coverage.letters(source.value, raw.value)),
        "Runs": ([source], lambda: coverage.runs(source.value)),
    }
    controls, made = views[tabs.value]
    mo.vstack([mo.hstack(controls, justify="start", gap=1.2, wrap=True), mo.Html(made())], align="stretch")
    return


if __name__ == "__main__":
    app.run()
