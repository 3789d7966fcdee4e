"""Turns results into tables and lines for people: outcomes, failures, the next step. Prints nothing itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from gapless.pipelines.errors import FAILED, PARTIAL
from gapless.pipelines.evidence import sentences
from gapless.pipelines.evidence.grouping import (
    Problem,
    common,
    examples,
    failure_lines,
    is_plain_sync,
    problems,
    remedies,
    without_ids,
)
from gapless.pipelines.outcome import LEDGER_TABLES, exit_code
from gapless.pipelines.redaction import redact

if TYPE_CHECKING:
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
NO_FACTS = ("source", "message", "ids")
"""Keys of a problem that a line of the log has elsewhere, or would repeat."""
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
    """Returns a row for each source of a sync: rows written, how many records are new, requests, seconds."""
    columns = ["source", "outcome", "rows written", "new", "by table", "requests", "retries", "waited s", "seconds"]
    return table("", columns, [_row(outcome) for outcome in outcomes])


def _row(outcome: Outcome) -> list[object]:
    """Returns the row of one source; child tables count in `rows` and are not listed."""
    # A child table is recognised by the double underscore in its name.
    roots = ", ".join(
        f"{name} {rows:,}" + (f" ({outcome.new.get(name, 0):,} new)" if outcome.new is not None else "")
        for name, rows in sorted(outcome.rows.items())
        if "__" not in name
    )
    return [
        outcome.source,
        Text(outcome.outcome, STYLE[outcome.outcome]),
        outcome.rows_written,
        "unknown" if outcome.rows_new is None else outcome.rows_new,
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
    """Yields a table with a line for each reason, how many gaps there are in all, and the commands that fill them."""
    if not found:
        yield f"no gaps: {where} is proven complete up to the time when each vendor was last read"
        return
    # By kind, as many problems of one kind would hide the single one of another.
    by_kind: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems(found):
        by_kind.setdefault((problem.source, problem.kind), []).append(problem)
    shown = [one for some in by_kind.values() for one in some[:REASONS]]
    yield table("", ["source", "gap", "of", "what", "filled by"], [_problem_row(one) for one in shown])
    if len(shown) < len(found):
        yield f"{len(found):,} gaps in all; --json lists every one"
    yield from (f"to fill: {command}" for command in remedies(problems(found)))


def _problem_row(problem: Problem) -> list[object]:
    """Returns the row of a problem: what it is about, why, what is missing, and the command that fills all of it."""
    now = datetime.now(UTC)
    said = "; ".join(filter(None, (sentences.reason(problem, now), sentences.missing(problem, now))))
    return [problem.source, problem.kind, sentences.what(problem), said, problem.fill]


def problem_lines(found: Iterable[Problem]) -> list[str]:
    """Returns a sentence for each of the first problems, and how many more there are."""
    every = list(found)
    lines = [sentences.sentence(one) for one in every[:REASONS]]
    if len(every) > REASONS:
        source = every[0].source
        lines.append(f"{source}: and {len(every) - REASONS:,} more reasons; `gapless gaps {source}` lists them")
    return lines


def verified(found: list[Verified], seed: int) -> Iterator[RenderableType]:
    """Yields a table with a row for each source, and a line for each thing that is missing or undecided."""
    columns = ["source", "parents", "by", "served", "here", "newer", "missing", "kept", "requests"]
    rows = [
        [v.source, f"{v.parents:,} of {v.of:,}", v.by, v.served, v.here, v.newer, v.missing, v.kept, v.requests]
        for v in found
    ]
    yield table("", columns, rows)
    for one in found:
        yield from remarks(one)
    # Parents that were never synced are no part of a sample.
    if any(one.parents < one.of - one.not_asked for one in found):
        yield f"this was a sample: --seed {seed} repeats it, --whole compares all records"


def remarks(one: Verified) -> Iterator[str]:
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
    by_reason: dict[object, list[str]] = {}
    for parent, reason in one.failed.items():
        by_reason.setdefault(common(reason, parent)[0], []).append(parent)
    for parents in list(by_reason.values())[:REASONS]:
        of = f"{len(parents):,} parents ({examples(parents)}): " if len(parents) > 1 else f"parent {parents[0]}: "
        reason = without_ids(one.failed[parents[0]], parents[0])
        yield f"{one.source}: {of if parents[0] else ''}{reason}"


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
    """Yields a sentence for each source that failed, and for the first reasons why another is not complete."""
    yield from (line for outcome in outcomes for line, _ in reasons_with_facts(outcome))


def reasons_with_facts(outcome: Outcome) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the lines about one source, each with its facts for programs, of which a few lines have none."""
    problems = outcome.described_problems()
    for problem in problems[:REASONS]:
        yield redact(str(problem["message"])), {name: problem[name] for name in problem if name not in NO_FACTS}
    lines = [*failure_lines(outcome.source, outcome.unexplained)]
    yield from ((redact(line), {}) for line in lines[:REASONS])
    more = max(0, len(problems) - REASONS) + max(0, len(lines) - REASONS)
    if more:
        yield f"{outcome.source}: and {more:,} more reasons; `gapless gaps {outcome.source}` lists them", {}


def advice(outcomes: list[Outcome]) -> str:
    """Returns the next step after a command with these outcomes; empty if there is none."""
    code = exit_code(outcomes)
    if code == FAILED:
        return "What was committed stays. gapless doctor checks for the cause; the same command continues."
    if code != PARTIAL:
        return ""
    commands = [
        one for one in remedies(p for outcome in outcomes for p in outcome.problems) if not is_plain_sync(one)
    ]
    first = "All else is committed. The next gapless sync retries first what failed."
    return f"{first} The rest needs: {'; '.join(f'`{one}`' for one in commands)}" if commands else first
