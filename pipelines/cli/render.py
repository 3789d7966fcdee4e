"""What came of a sync, for people: a table, the reasons of what failed, what to do next. Prints nothing itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from gapless.pipelines.errors import FAILED, PARTIAL
from gapless.pipelines.outcome import LEDGER_TABLES
from gapless.pipelines.redaction import redact

if TYPE_CHECKING:
    from datetime import datetime

    from gapless.pipelines.cli.doctor import Check
    from gapless.pipelines.ledger.gaps import Gap
    from gapless.pipelines.ledger.state import SourceState
    from gapless.pipelines.ledger.status import Coverage, Drift, Status
    from gapless.pipelines.outcome import Outcome
    from gapless.pipelines.verify.plan import Plan
    from gapless.pipelines.verify.verify import Verified
    from gapless.pipelines.views.refresh import ViewCount

REASONS = 10
"""So many are printed; all of them stand in the table dead_letters."""
STYLE = {"complete": "green", "partial": "yellow", "failed": "red"}


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


def _row(outcome: Outcome) -> list[Any]:
    kept = outcome.vendor_rows()
    roots = ", ".join(f"{name} {rows:,}" for name, rows in sorted(kept.items()) if "__" not in name)
    return [
        outcome.source,
        Text(outcome.outcome, STYLE[outcome.outcome]),
        sum(kept.values()),
        roots,
        outcome.requests,
        outcome.retries,
        round(outcome.seconds_waited, 1),
        round(outcome.seconds, 1),
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
        if name not in LEDGER_TABLES
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


def state(found: list[SourceState]) -> Table:
    rows = []
    for one in found:
        walks = [
            f"{walk['top']} down to {walk['reached']}, goes on to {walk['floor'] or 'the beginning'}"
            for walk in one.state.get("walks", ())
        ]
        proven = [_covered(name, stream) for name, stream in one.coverage.items()]
        rows.append([one.source, one.state.get("watermark"), "\n".join(walks) or "none", "\n".join(proven)])
    return table("", ["source", "watermark", "unfinished walks", "coverage"], rows)


def views(found: list[ViewCount]) -> Table:
    rows = [[f"activity.{one.name}", one.rows, one.grain] for one in found]
    return table("", ["view", "rows", "one row per"], rows)


def gaps(found: list[Gap], where: str) -> Iterator[Any]:
    """The first of each kind, and how many there are."""
    if not found:
        yield f"no gaps: what was asked for is proven complete in {where}, up to when each vendor was last asked"
        return
    by_kind: dict[tuple[str, str], list[Gap]] = {}
    for gap in found:
        by_kind.setdefault((gap.source, gap.kind), []).append(gap)
    shown = [gap for some in by_kind.values() for gap in some[:REASONS]]
    columns = ["source", "gap", "of", "what", "filled by"]
    yield table("", columns, [[g.source, g.kind, f"{g.stream} {g.parent}".strip(), _span(g), g.fill] for g in shown])
    for (source, kind), some in by_kind.items():
        if len(some) > REASONS:
            yield f"{source}: {len(some):,} of the kind {kind!r} in all; --json has every one"


def _span(gap: Gap) -> str:
    span = f"{gap.since or 'the beginning'} to {gap.until or 'now'}: " if gap.since or gap.until else ""
    return span + gap.why


def verified(found: list[Verified], seed: int) -> Iterator[Any]:
    """A line a source; below it what could not be told, and who could not be asked."""
    columns = ["source", "parents", "by", "served", "here", "newer", "missing", "kept", "requests"]
    rows = [
        [v.source, f"{v.parents:,} of {v.of:,}", v.by, v.served, v.here, v.newer, v.missing, v.kept, v.requests]
        for v in found
    ]
    yield table("", columns, rows)
    for one in found:
        yield from _doubts(one)
    if any(one.parents < one.of - one.not_asked for one in found):
        yield f"a sample; --seed {seed} chooses the same, --whole compares all"


def _doubts(one: Verified) -> Iterator[str]:
    if one.error:
        yield f"{one.source} failed: {one.error}{_next(one)}"
    if one.undecided:
        yield f"{one.source}: {one.undecided}"
    if one.not_asked:
        yield f"{one.source}: {one.not_asked:,} parents are new to us and the next sync's"
    if one.repaired is not None:
        yield f"{one.source}: {one.repaired:,} records were brought back"
    elif one.missing:
        yield f"{one.source}: what is missing is read again by gapless verify {one.source} --repair"
    for parent, why in list(one.failed.items())[:REASONS]:
        yield f"{one.source}: parent {parent}: {why}" if parent else f"{one.source}: {why}"


def _next(one: Plan | Verified) -> str:
    """What to do about an error that does not say so itself."""
    return "" if one.error is None or "gapless " in one.error else "; gapless doctor looks for the cause"


def planned(found: list[Plan]) -> Iterator[Any]:
    """Numbers that are multiplied up from a sample begin with a tilde."""

    def number(one: Plan, name: str) -> str:
        value = getattr(one, name)
        return "unknown" if value is None else f"{'~' if name in one.estimated else ''}{value:,}"

    names = ["requests", "records", "rows", "megabytes"]
    columns = ["source", *names, "at most requests", "minutes at the rate budget", "asked now"]
    yield table(
        "",
        columns,
        [[one.source, *(number(one, name) for name in (*names, "at_most", "minutes", "asked"))] for one in found],
    )
    yield from (f"{one.source} failed: {one.error}{_next(one)}" for one in found if one.error)
    if any(one.requests is None for one in found):
        yield "unknown: the vendor does not say how many records it has."
    yield "~ is an estimate from a sample. Nothing was written; what is here already costs less."


def check(one: Check) -> Text:
    """One line of the doctor, and below it what mends it."""
    style = {"ok": "green", "fail": "bold red"}.get(one.result, "dim")
    line = Text.assemble((f"{one.result:<5}", style), f"{one.name}: {redact(one.found)}")
    return line.append(f"\n     -> {redact(one.remedy)}") if one.result == "fail" and one.remedy else line


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
