"""Renders what is proven and what is not: gaps, a comparison with the vendors, costs, the doctor's checks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from gapless.pipelines.cli.render.tables import REASONS, table
from gapless.pipelines.evidence import sentences
from gapless.pipelines.evidence.grouping import Problem, common, examples, problems, remedies, without_ids
from gapless.pipelines.printable import command, counted
from gapless.pipelines.redaction import printable

if TYPE_CHECKING:
    from gapless.pipelines.cli.doctor.check import Check
    from gapless.pipelines.evidence.gap import Gap
    from gapless.pipelines.verify.found import Verified
    from gapless.pipelines.verify.plan import Plan


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


def verified(found: list[Verified], seed: int | None) -> Iterator[RenderableType]:
    """Yields a table with a row for each source, and a line for each thing that is missing or undecided.

    `seed` repeats the sample; None: there was none.
    """
    columns = ["source", "parents", "by", "served", "here", "newer", "missing", "kept", "requests"]
    rows = [
        [v.source, f"{v.parents:,} of {v.of:,}", v.by, v.served, v.here, v.newer, v.missing, v.kept, v.requests]
        for v in found
    ]
    yield table("", columns, rows)
    for one in found:
        yield from remarks(one)
    # Parents that were never synced are no part of a sample.
    if seed is not None and any(one.parents < one.of - one.not_asked for one in found):
        yield f"this was a sample: --seed {seed} repeats it, --whole compares all records"


def remarks(one: Verified) -> Iterator[str]:
    """Yields what a reader should know or do about one source."""
    if one.error:
        yield _failed(one)
    if one.unproven:
        yield f"{one.source}: not proven: {one.unproven}"
    if one.undecided:
        yield f"{one.source}: {one.undecided}"
    if one.doubled:
        yield f"{one.source}: {one.doubled:,} rows are there twice: {one.typed('verify', '--repair')} removes them"
    yield from changed_ids(one)
    yield from _below(one)
    yield from _differences(one)
    if one.not_asked:
        yield f"{one.source}: {counted(one.not_asked, 'parents')} not synced yet"
    yield from _repaired(one)
    by_reason: dict[object, list[str]] = {}
    for parent, reason in one.failed.items():
        by_reason.setdefault(common(reason, parent)[0], []).append(parent)
    for parents in list(by_reason.values())[:REASONS]:
        of = f"{len(parents):,} parents ({examples(parents)}): " if len(parents) > 1 else f"parent {parents[0]}: "
        reason = without_ids(one.failed[parents[0]], parents[0])
        # A listing without parents is the parent with the empty id.
        yield f"{one.source}: {of if parents[0] else ''}{reason}"


def _repaired(one: Verified) -> Iterator[str]:
    """Yields what came back, what still can, and what nobody can bring back."""
    if one.lost:
        yield (
            f"{one.source}: {counted(one.lost, 'records')} that were here are lost: the vendor serves them no more."
            " This is said once: what is here is taken for all from now on"
        )
    if one.lost_before:
        yield (
            f"{one.source}: {counted(one.lost_before, 'records')} told as lost before did not come back now: a sync"
            " has brought them back already, or the vendor serves them no more. This is said once"
        )
    if one.repaired is not None:
        yield f"{one.source}: {counted(one.repaired, 'records')} brought back"
    elif one.missing:
        yield f"{one.source}: {one.typed('verify', '--repair')} reads the missing records again"


def changed_ids(one: Verified) -> Iterator[str]:
    """Yields the rows that were loaded with another id than they have."""
    for record, stored in list(one.foreign.items())[:REASONS]:
        what = "is another record's" if stored in one.foreign_served else "is not served by the vendor"
        yield f"{one.source}: the row of record {record} has the id {stored} here by somebody's hand, which {what}"
    if len(one.foreign) > REASONS:
        yield f"{one.source}: and {len(one.foreign) - REASONS:,} more rows with a changed id; --json lists them"


def _below(one: Verified) -> Iterator[str]:
    """Yields what is wrong with the rows below records, as the records themselves say it."""
    repair = one.typed("verify", "--repair")
    if one.lost_below:
        yield (
            f"{one.source}: {counted(len(one.lost_below), 'records')} lost or got rows below them, and the vendor"
            f" does not serve them any more: nobody can bring that back; {repair} ends the alarm"
        )
    if one.not_denied:
        yield (
            f"{one.source}: {counted(len(one.not_denied), 'records')} lost or got rows below them and were not asked"
            f" for, so the vendor may serve them still: {repair} once they are listed again, or"
            f" {one.typed('state reset', '--yes')} && {one.typed('sync')}, which reads all again and takes what is"
            " left for all"
        )
    elif one.torn and not (one.differ or one.lost_below):
        yield f"{one.source}: {one.torn:,} records lost or got rows below them: {repair} reads them again"
    if one.orphans:
        yield f"{one.source}: {one.orphans:,} rows are below a record that is not here: {repair} removes them"


def _differences(one: Verified) -> Iterator[str]:
    """Yields what a comparison of cells found, with names of columns and none of their cells."""
    if one.cells is None and not one.differ:
        return
    if one.cells is not None:
        yield f"{one.source}: the cells of {counted(one.cells, 'records')} were compared"
    if one.changed:
        yield f"{one.source}: {one.changed:,} were changed at the vendor since the last sync; the next one reads them"
    for difference in one.differences[:REASONS]:
        yield f"{one.source}: differs: {difference}"
    if len(one.differences) > REASONS:
        yield f"{one.source}: and {len(one.differences) - REASONS:,} more differences; --json lists them"
    if one.differ:
        yield (
            f"{one.source}: {one.differ:,} records differ, as somebody changed them here or the vendor did:"
            f" {one.typed('verify', '--cells', '--repair')} reads them again"
        )
    elif one.replaced:
        yield f"{one.source}: {one.replaced:,} records that differed were read again"


def _failed(one: Plan | Verified) -> str:
    """Returns the sentence for a source that failed, with the next step unless the error's text names one."""
    error = (one.error or "").removeprefix(f"{one.source}: ")
    # Most messages of ours end with a command already.
    step = "" if "gapless " in error else f"; {command(one.destination, 'doctor')} checks for the cause"
    return f"{one.source} failed: {error.rstrip('.') if step else error}{step}"


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
    yield from (_failed(one) for one in found if one.error)
    if any(one.requests is None for one in found):
        yield "unknown: the vendor does not say how many records it has."
    yield "~ is an estimate from a sample. Nothing was written. Data that is here already makes a sync cheaper."


def check(one: Check) -> Text:
    """Returns one line of the doctor, and below it what to do if the check failed."""
    style = {"ok": "green", "fail": "bold red"}.get(one.result, "dim")
    line = Text.assemble((f"{one.result:<5}", style), printable(f"{one.name}: {one.found}"))
    return line.append(f"\n     -> {printable(one.remedy)}") if one.result == "fail" and one.remedy else line
