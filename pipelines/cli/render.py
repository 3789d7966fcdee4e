"""Turns results into tables and lines for people: outcomes, failures, the next step. Prints nothing itself."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from gapless.pipelines.errors import FAILED, PARTIAL
from gapless.pipelines.evidence.grouping import Group, failure_lines, gap_groups
from gapless.pipelines.outcome import LEDGER_TABLES
from gapless.pipelines.redaction import redact

if TYPE_CHECKING:
    from datetime import datetime

    from gapless.pipelines.cli.doctor import Check
    from gapless.pipelines.evidence.gap import Gap
    from gapless.pipelines.ledger.state import SourceState
    from gapless.pipelines.ledger.status import Coverage, Drift, Status
    from gapless.pipelines.outcome import Outcome
    from gapless.pipelines.verify.found import Verified
    from gapless.pipelines.verify.plan import Plan
    from gapless.pipelines.views.refresh import ViewCount

REASONS = 10
"""Lines printed for each source; the table dead_letters holds the others."""
STYLE = {"complete": "green", "partial": "yellow", "failed": "red"}


def table(title: str, columns: list[str], rows: Sequence[Sequence[object]]) -> Table:
    """Returns a table with the columns of numbers aligned right."""
    # Without borders, so that rows can be copied and searched.
    made = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        # Folded and never cut off: an id that is not whole cannot be used.
        made.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(_cell, row))
    return made


def _cell(value: object) -> Text:
    """Returns a cell as plain text: rich must not read markup in a record's text."""
    if isinstance(value, Text):
        return value
    if isinstance(value, int | float):
        return Text(f"{value:,}")
    return Text("" if value is None else redact(str(value)))


def summary(outcomes: list[Outcome]) -> Table:
    """Returns a row for each source of a sync: rows, requests, seconds."""
    columns = ["source", "outcome", "rows", "by table", "requests", "retries", "waited s", "seconds"]
    return table("", columns, [_row(outcome) for outcome in outcomes])


def _row(outcome: Outcome) -> list[object]:
    """Returns the row of one source; child tables count in `rows` and are not listed."""
    loaded = outcome.vendor_rows()
    # A child table is recognised by the double underscore in its name.
    roots = ", ".join(f"{name} {rows:,}" for name, rows in sorted(loaded.items()) if "__" not in name)
    return [
        outcome.source,
        Text(outcome.outcome, STYLE[outcome.outcome]),
        sum(loaded.values()),
        roots,
        outcome.requests,
        outcome.retries,
        round(outcome.seconds_waited, 1),
        round(outcome.seconds, 1),
    ]


def status(found: list[Status]) -> Table:
    """Returns a row for each source: newest record, coverage, dead letters, last run."""
    rows = []
    for one in found:
        run = one.last_run
        proven = [_covered(name, stream) for name, stream in one.coverage.items()]
        dead = ", ".join(f"{count:,} {kind}" for kind, count in one.dead_letters.items())
        last = f"{run['outcome']} {_when(run['started_at'])}" if run else "none"
        rows.append([one.source, _when(one.newest), "\n".join(proven), dead or "none", last])
    return table("", ["source", "newest record", "coverage", "dead letters", "last run"], rows)


def tables(found: list[Status]) -> Table:
    """Returns a row for each table in the destination: row count, and fields that no model knows."""
    rows = [
        [f"{one.source}.{name}", count, _drift(one.drift.get(name))]
        for one in found
        for name, count in one.rows.items()
        if name not in LEDGER_TABLES
    ]
    return table("", ["table", "rows", "unknown fields (in the column _extra)"], rows)


def _drift(seen: Drift | None) -> str | None:
    """Returns the unknown fields of a table and how many rows have one."""
    return f"{', '.join(seen.fields)} (in {seen.rows:,} rows)" if seen else None


def _covered(name: str, stream: Coverage) -> str:
    """Returns what is proven of a stream, on one line."""
    parts = ["complete" if stream.complete else "not complete", f"to {_when(stream.covered_to)}"]
    if stream.parents > 1:
        parts.append(f"{stream.parents:,} parents")
    counts = {"failed": stream.failed, "gone": stream.gone, "to be read again": stream.unproven}
    parts += [f"{count:,} {what}" for what, count in counts.items() if count]
    parts += [f"not read yet: {start or 'the beginning'} to {end or 'now'}" for start, end in stream.missing]
    return f"{name}: {', '.join(parts)}"


def state(found: list[SourceState]) -> Table:
    """Returns a row for each source: watermark, unfinished walks, coverage."""
    rows = []
    for one in found:
        walks = [
            f"{walk['top']} down to {walk['reached']}, continues to {walk['floor'] or 'the beginning'}"
            for walk in one.state.get("walks", ())
        ]
        proven = [_covered(name, stream) for name, stream in one.coverage.items()]
        rows.append([one.source, one.state.get("watermark"), "\n".join(walks) or "none", "\n".join(proven)])
    return table("", ["source", "watermark", "unfinished walks", "coverage"], rows)


def views(found: list[ViewCount]) -> Table:
    """Returns a row for each view of the schema activity."""
    rows = [[f"activity.{one.name}", one.rows, one.grain] for one in found]
    return table("", ["view", "rows", "one row per"], rows)


def gaps(found: list[Gap], where: str) -> Iterator[RenderableType]:
    """Yields a table with the first gaps of each kind, and how many there are in all."""
    if not found:
        yield f"no gaps: {where} is proven complete up to the time when each vendor was last read"
        return
    # By kind, as thousands of gaps of one kind would hide the single gap of another.
    by_kind: dict[tuple[str, str], list[tuple[Gap, Group]]] = {}
    for gap, group in gap_groups(found):
        by_kind.setdefault((gap.source, gap.kind), []).append((gap, group))
    shown = [one for some in by_kind.values() for one in some[:REASONS]]
    yield table("", ["source", "gap", "of", "what", "filled by"], [_gap_row(*one) for one in shown])
    if len(shown) < len(found):
        yield f"{len(found):,} gaps in all; --json lists every one"


def _gap_row(gap: Gap, group: Group) -> list[object]:
    """Returns the row of a group: its interval, if it has one, its reason, and the command that fills all of it."""
    if group.count == 1:
        span = f"{gap.since or 'the beginning'} to {gap.until or 'now'}: " if gap.since or gap.until else ""
        return [gap.source, gap.kind, f"{gap.stream} {gap.parent}".strip(), span + gap.why, gap.fill]
    of = f"{gap.stream}: {group.count:,} ({group.examples})" if group.ids else f"{gap.stream}: {group.count:,}"
    # Without the id a sync reads all that failed, and those first.
    return [gap.source, gap.kind, of, group.reason, gap.fill.replace(f" --id {shlex.quote(gap.parent)}", "")]


def verified(found: list[Verified], seed: int) -> Iterator[RenderableType]:
    """Yields a table with a row for each source, and a line for each thing that is missing or undecided."""
    columns = ["source", "parents", "by", "served", "here", "newer", "missing", "kept", "requests"]
    rows = [
        [v.source, f"{v.parents:,} of {v.of:,}", v.by, v.served, v.here, v.newer, v.missing, v.kept, v.requests]
        for v in found
    ]
    yield table("", columns, rows)
    for one in found:
        yield from _remarks(one)
    # Parents that were never synced are no part of a sample.
    if any(one.parents < one.of - one.not_asked for one in found):
        yield f"this was a sample: --seed {seed} repeats it, --whole compares all records"


def _remarks(one: Verified) -> Iterator[str]:
    """Yields what a reader should know or do about one source."""
    if one.error:
        yield f"{one.source} failed: {one.error}{_next(one)}"
    if one.unproven:
        yield f"{one.source}: not proven: {one.unproven}"
    if one.undecided:
        yield f"{one.source}: {one.undecided}"
    if one.doubled:
        yield f"{one.source}: {one.doubled:,} rows are there twice: gapless verify {one.source} --repair removes them"
    yield from _differences(one)
    if one.not_asked:
        yield f"{one.source}: {one.not_asked:,} parents were not synced yet"
    if one.repaired is not None:
        yield f"{one.source}: {one.repaired:,} records were brought back"
    elif one.missing:
        yield f"{one.source}: gapless verify {one.source} --repair reads the missing records again"
    for parent, reason in list(one.failed.items())[:REASONS]:
        yield f"{one.source}: parent {parent}: {reason}" if parent else f"{one.source}: {reason}"


def _differences(one: Verified) -> Iterator[str]:
    """Yields what a comparison of cells found, with names of columns and none of their cells."""
    if one.cells is None:
        return
    yield f"{one.source}: the cells of {one.cells:,} records were compared"
    if one.changed:
        yield f"{one.source}: {one.changed:,} were changed at the vendor since the last sync; the next one reads them"
    for difference in one.differences[:REASONS]:
        yield f"{one.source}: differs: {difference}"
    if len(one.differences) > REASONS:
        yield f"{one.source}: and {len(one.differences) - REASONS:,} more differences; --json lists them"
    if one.differ:
        yield (
            f"{one.source}: {one.differ:,} records differ, as somebody changed them here or the vendor did:"
            f" gapless verify {one.source} --cells --repair reads them again"
        )
    elif one.replaced:
        yield f"{one.source}: {one.replaced:,} records that differed were read again"


def _next(one: Plan | Verified) -> str:
    """Returns the next step for an error whose text does not name one."""
    # Most messages of ours end with a command already.
    return "" if one.error is None or "gapless " in one.error else "; gapless doctor checks for the cause"


def planned(found: list[Plan]) -> Iterator[RenderableType]:
    """Yields a table of the costs; a number that is extrapolated from a sample starts with a tilde."""

    def number(one: Plan, name: str) -> str:
        value = getattr(one, name)
        return "unknown" if value is None else f"{'~' if name in one.estimated else ''}{value:,}"

    names = ["requests", "records", "rows", "megabytes"]
    columns = ["source", *names, "at most requests", "minutes at the rate limit", "requests now"]
    yield table(
        "",
        columns,
        [[one.source, *(number(one, name) for name in (*names, "at_most", "minutes", "asked"))] for one in found],
    )
    yield from (f"{one.source} failed: {one.error}{_next(one)}" for one in found if one.error)
    if any(one.requests is None for one in found):
        yield "unknown: the vendor does not say how many records it has."
    yield "~ is an estimate from a sample. Nothing was written. Data that is here already makes a sync cheaper."


def check(one: Check) -> Text:
    """Returns one line of the doctor, and below it what to do if the check failed."""
    style = {"ok": "green", "fail": "bold red"}.get(one.result, "dim")
    line = Text.assemble((f"{one.result:<5}", style), f"{one.name}: {redact(one.found)}")
    return line.append(f"\n     -> {redact(one.remedy)}") if one.result == "fail" and one.remedy else line


def _when(value: datetime | None) -> str:
    """Returns a time to the second, or "never"."""
    return f"{value:%Y-%m-%d %H:%M:%S}" if value else "never"


def reasons(outcomes: list[Outcome]) -> Iterator[str]:
    """Yields one line for each error, and for the first reasons of failures of each source."""
    for outcome in outcomes:
        if outcome.error:
            yield redact(f"{outcome.source} failed: {outcome.error}")
        lines = [*failure_lines(outcome.source, outcome.failures)]
        yield from map(redact, lines[:REASONS])
        if len(lines) > REASONS:
            yield f"{outcome.source}: and {len(lines) - REASONS:,} more reasons; see {outcome.source}.dead_letters"
        elif len(lines) < len(outcome.failures):
            yield f"{outcome.source}: gapless gaps {outcome.source} --json lists every one"


def advice(code: int) -> str:
    """Returns the next step after a command with that exit code; empty if there is none."""
    return {
        PARTIAL: "All else is committed. The next gapless sync retries first what failed; gapless doctor may"
        " find the cause.",
        FAILED: "What was committed stays. gapless doctor checks for the cause; the same command continues.",
    }.get(code, "")
