"""What came of a sync, for people: a table, the reasons of what failed, what to do next. Prints nothing itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from pipelines.errors import FAILED, PARTIAL
from pipelines.secrets import redact

if TYPE_CHECKING:
    from datetime import datetime

    from pipelines.doctor import Check
    from pipelines.run import Outcome
    from pipelines.state import Kept
    from pipelines.status import Coverage, Drift, Status

REASONS = 10
"""So many are printed; all of them stand in the table dead_letters."""
STYLE = {"complete": "green", "partial": "yellow", "failed": "red"}
SILENT = ("coverage", "dead_letters", "runs", "status_changes")
"""The ledger's tables, which say nothing about how much was new."""


def table(title: str, columns: list[str], rows: list[list[Any]]) -> Table:
    """Columns whose cells are all numbers stand to the right."""
    made = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        made.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(_cell, row))
    return made


def _cell(value: Any) -> Text:
    if isinstance(value, Text):
        return value
    if isinstance(value, int | float):
        return Text(f"{value:,}")
    return Text("" if value is None else redact(str(value)))


def summary(outcomes: list[Outcome]) -> Table:
    columns = ["source", "outcome", "rows", "by table", "requests", "retries", "waited s", "seconds"]
    return table("", columns, [_row(outcome) for outcome in outcomes])


def loaded(outcome: Outcome) -> dict[str, int]:
    """Rows by table, without the ledger's."""
    return {name: rows for name, rows in outcome.rows.items() if name not in SILENT}


def _row(outcome: Outcome) -> list[Any]:
    kept = loaded(outcome)
    roots = ", ".join(f"{name} {rows:,}" for name, rows in sorted(kept.items()) if "__" not in name)
    took = (outcome.finished_at - outcome.started_at).total_seconds() if outcome.finished_at else 0.0
    return [
        outcome.source,
        Text(outcome.outcome, STYLE[outcome.outcome]),
        sum(kept.values()),
        roots,
        outcome.requests,
        outcome.retries,
        round(outcome.seconds_waited, 1),
        round(took, 1),
    ]


def status(found: list[Status]) -> Table:
    """How each source is."""
    rows = []
    for one in found:
        run = one.last_run
        proven = [_covered(name, stream) for name, stream in one.coverage.items()]
        letters = ", ".join(f"{count:,} {kind}" for kind, count in one.dead_letters.items())
        last = f"{run['outcome']} {_when(run['started_at'])}" if run else "none"
        rows.append([one.source, _when(one.newest), "\n".join(proven), letters or "none", last])
    return table("", ["source", "newest record", "coverage", "dead letters", "last run"], rows)


def tables(found: list[Status]) -> Table:
    """What is in the destination, and which fields came that no model knows."""
    rows = [
        [f"{one.source}.{name}", count, _drift(one.drift.get(name))]
        for one in found
        for name, count in one.rows.items()
        if name not in SILENT
    ]
    return table("", ["table", "rows", "unknown fields, kept in _extra"], rows)


def _drift(seen: Drift | None) -> str | None:
    return f"{', '.join(seen.fields)} (in {seen.rows:,} rows)" if seen else None


def _covered(name: str, stream: Coverage) -> str:
    """A stream's proof in a few lines."""
    parts = ["complete" if stream.complete else "not complete", f"to {_when(stream.covered_to)}"]
    if stream.parents > 1:
        parts.append(f"{stream.parents:,} parents")
    counts = {"failed": stream.failed, "gone": stream.gone, "to be read again": stream.unproven}
    parts += [f"{count:,} {what}" for what, count in counts.items() if count]
    parts += [f"not read yet: {start or 'the beginning'} to {end or 'now'}" for start, end in stream.missing]
    return f"{name}: {', '.join(parts)}"


def state(found: list[Kept]) -> Table:
    rows = []
    for one in found:
        walks = [
            f"{walk['top']} down to {walk['reached']}, goes on to {walk['floor'] or 'the beginning'}"
            for walk in one.state.get("walks", ())
        ]
        proven = [_covered(name, stream) for name, stream in one.coverage.items()]
        rows.append([one.source, one.state.get("watermark"), "\n".join(walks) or "none", "\n".join(proven)])
    return table("", ["source", "watermark", "unfinished walks", "coverage"], rows)


def check(one: Check) -> Text:
    """One line of the doctor, and below it what mends it."""
    style = {"ok": "green", "fail": "bold red"}.get(one.result, "dim")
    line = Text.assemble((f"{one.result:<5}", style), f"{one.name}: {redact(one.found)}")
    return line.append(f"\n     -> {redact(one.mends)}") if one.result == "fail" and one.mends else line


def _when(value: datetime | None) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S}" if value else "never"


def reasons(outcomes: list[Outcome]) -> Iterator[str]:
    """Why a source is not complete: the first reasons, one line each."""
    for outcome in outcomes:
        if outcome.error:
            yield redact(f"{outcome.source} failed: {outcome.error}")
        for failure in outcome.failures[:REASONS]:
            yield redact(f"{outcome.source}: {failure}")
        if len(outcome.failures) > REASONS:
            yield f"{outcome.source}: and {len(outcome.failures) - REASONS:,} more; see {outcome.source}.dead_letters"


def advice(code: int) -> str:
    """What to do next."""
    return {
        PARTIAL: "All else is committed. What failed is tried first by the next gapless sync; gapless doctor may know"
        " the cause.",
        FAILED: "What was committed stays. gapless doctor looks for the cause; the same command goes on from here.",
    }.get(code, "")
