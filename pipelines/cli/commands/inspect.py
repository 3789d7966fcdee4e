"""The commands that look and change nothing that is loaded: `status`, `gaps`, `verify`, `plan`, `doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from gapless.pipelines.cli import output
from gapless.pipelines.cli.options import (
    Destination,
    Json,
    Sources,
    configured_sources,
    initialise,
    known_here,
    open_target,
    print_nothing_synced,
)
from gapless.pipelines.cli.render import proofs, stored, syncs
from gapless.pipelines.errors import COMPLETE, FAILED, PARTIAL, WrongSettings
from gapless.pipelines.evidence.grouping import problems, remedies
from gapless.pipelines.evidence.sentences import described
from gapless.sources import SOURCES

if TYPE_CHECKING:
    from gapless.pipelines.destinations.target import Target
    from gapless.pipelines.verify.found import Verified

Sample = Annotated[int | None, typer.Option(min=1, metavar="N", help="Compare N sampled parents of each source.")]
Seed = Annotated[int | None, typer.Option(help="Repeat an earlier sample: verify prints the seed it used.")]
Whole = Annotated[bool, typer.Option("--whole", help="Compare the ids of all records.")]
CellsToo = Annotated[
    bool, typer.Option("--cells", help="Compare what the records hold, too: each cell, and each child row.")
]
Repair = Annotated[
    bool,
    typer.Option("--repair", help="Compare the ids of all records, and read again those that are missing or differ."),
]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Plan a backfill of records created at or after TIME (ISO 8601).")
]
Until = Annotated[
    str | None, typer.Option(metavar="TIME", help="Plan a backfill of records created before TIME (ISO 8601).")
]

MaxAge = Annotated[
    str | None, typer.Option(metavar="INTERVAL", help="A source that was not read for longer is a gap: 30m, 2h, 1d …")
]
FreshFor = Annotated[
    str | None,
    typer.Option(metavar="INTERVAL", help="End with 3 if a source was not read for longer: 30m, 2h, 1d …"),
]
Prometheus = Annotated[
    bool, typer.Option("--prometheus", help="Write metrics in Prometheus' text format, for a textfile collector.")
]


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
    for command in (status, gaps, verify, plan, doctor):
        app.command()(command)


def status(
    max_age: FreshFor = None,
    prometheus: Prometheus = False,
    destination: Destination = "duckdb",
    as_json: Json = False,
) -> None:
    """Show what is loaded, how fresh and how complete it is. Reads the destination; sends no request to a vendor.

    Examples: [bold]gapless status --max-age 2h[/bold] · [bold]gapless status --prometheus > gapless.prom[/bold]

    Exit codes: 0; with --max-age 3 if nothing was synced, or a source was not read for longer.
    """
    from gapless.pipelines.cli import arguments
    from gapless.pipelines.ledger.status import statuses

    if prometheus and as_json:
        raise WrongSettings("--prometheus and --json are two formats of one answer: leave out one of them.")
    target = open_target(destination, accept_append=True)
    age = timedelta(seconds=arguments.seconds(max_age, "--max-age")) if max_age else None
    found = list(statuses(target, age))
    code = COMPLETE if age is None or (found and all(one.fresh for one in found)) else PARTIAL
    if prometheus:
        from gapless.pipelines.observability.prometheus import lines as exposition

        output.print_results(*exposition(found))
    elif as_json:
        sources = {one.source: one.to_json() for one in found}
        fresh = None if age is None else code == COMPLETE
        content: dict[str, object] = {"destination": target.destination, "file": target.file, "fresh": fresh}
        content |= {"sources": sources, "notes": _noted(target)}
        output.print_json(
            "status", content, code, problems=[one for status in found for one in status.described_problems()]
        )
    elif found:
        lines = [line for one in found for line in syncs.problem_lines(one.problems)]
        output.print_results(stored.status(found), "", stored.tables(found), *(["", *lines] if lines else []))
        _noted(target)
    else:
        print_nothing_synced(target)
    raise typer.Exit(code)


def gaps(
    sources: Sources = None, max_age: MaxAge = None, destination: Destination = "duckdb", as_json: Json = False
) -> None:
    """List what is not proven complete, each gap with the command that fills it. Sends no request to a vendor.

    Example: [bold]gapless gaps --max-age 2h[/bold]

    Exit codes: 0 no gaps, 3 there are gaps.
    """
    from gapless.pipelines.cli import arguments
    from gapless.pipelines.ledger.gaps import gaps as find_gaps
    from gapless.pipelines.verify.verify import synced

    target = open_target(destination, accept_append=True)
    names = known_here(target, sources or [])
    age = timedelta(seconds=arguments.seconds(max_age, "--max-age")) if max_age else None
    found = list(find_gaps(target, names, max_age=age))
    code = PARTIAL if found else COMPLETE
    noted = _noted(target, names)
    if as_json:
        content = {"gaps": [gap.to_json() for gap in found], "remedies": remedies(problems(found)), "notes": noted}
        output.print_json("gaps", content, code, [described(problem) for problem in problems(found)])
    elif found or synced(target, list(SOURCES)):
        output.print_results(*proofs.gaps(found, str(target.file or target.destination)))
    else:
        print_nothing_synced(target)
    raise typer.Exit(code)


def _noted(target: Target, names: Sequence[str] = ()) -> list[dict[str, str]]:
    """Prints what a person should do besides filling gaps; returns it as JSON values."""
    from gapless.pipelines.ledger.notes import notes

    found = notes(target, names)
    for note in found:
        output.print_message(note.message, level="warning", source=note.source, kind=note.kind, fill=note.fill)
    return [note.to_json() for note in found]


def verify(
    sources: Sources = None,
    sample: Sample = None,
    seed: Seed = None,
    whole: Whole = False,
    cells: CellsToo = False,
    repair: Repair = False,
    destination: Destination = "duckdb",
    as_json: Json = False,
) -> None:
    """Compare the destination with the vendors' own totals, record ids and cells. Loads nothing without --repair.

    Examples: [bold]gapless verify[/bold] · [bold]gapless verify SOURCE --sample 100[/bold] ·
    [bold]gapless verify SOURCE --whole[/bold] · [bold]gapless verify SOURCE --cells[/bold] ·
    [bold]gapless verify --repair[/bold]

    By default verify compares the vendor's total where a source has no parents, else the record ids of 20 sampled
    parents. With --cells it reads the records of the sample again and compares every cell, and every child row with
    its place; with --whole those of all records.
    Exit codes: 0 nothing is missing and nothing differs, 3 records are missing, differ or could not be compared.
    """
    from gapless.pipelines.sync import build
    from gapless.pipelines.verify.found import exit_code
    from gapless.pipelines.verify.verify import SAMPLE, wanted
    from gapless.pipelines.verify.verify import verify as compare

    # A repair needs the complete comparison: a sample would leave records missing and still say "repaired".
    if sample and (whole or repair):
        raise WrongSettings("--whole and --repair compare all records, --sample only some: leave out one of them.")
    target, names = open_target(destination, accept_append=not repair), build.known(sources or [])
    names = names or wanted(target, configured_sources())
    if not names:
        print_nothing_synced(target)
    # Printed with the result, so that a sample can be repeated after a repair.
    seed = _random_seed() if seed is None else seed
    each = compare(target, names, None if whole or repair else sample or SAMPLE, seed, cells=cells)
    found = [_repair(target, one) if repair and _repairable(one) else one for one in each]
    code = exit_code(found)
    if as_json:
        content = {"seed": seed, "sources": [one.to_json() for one in found]}
        output.print_json("verify", content, code, _messages(found))
    else:
        output.print_results(*proofs.verified(found, None if whole or repair else seed))
    raise typer.Exit(code)


def _messages(found: list[Verified]) -> list[dict[str, object]]:
    """Returns what is said of each source in which something is missing, differs or could not be compared."""
    return [{"source": v.source, "message": line} for v in found if not v.complete for line in proofs.remarks(v)]


def _random_seed() -> int:
    """Returns a number of six digits, short enough to type."""
    from random import randrange

    return randrange(10**6)


def _repairable(found: Verified) -> bool:
    return bool(found.absent or found.doubled or found.differ or found.orphans or found.lost_below or found.vanished)


def _repair(target: Target, found: Verified) -> Verified:
    """Reads the missing records again. Returns the comparison after that."""
    from gapless.pipelines.cli import progress
    from gapless.pipelines.verify.verify import repaired

    if found.doubled:
        output.print_message(f"{found.source}: {found.doubled:,} rows stand there twice and are removed")
    if found.missing or not (found.differ or found.orphans or found.lost_below or found.vanished):
        output.print_message(f"{found.source}: {found.missing:,} records are missing and are read again")
    if found.differ:
        output.print_message(f"{found.source}: {found.differ:,} records differ and are read again")
    for line in proofs.changed_ids(found):
        output.print_message(line)
    with progress.displayed(output.err()) as display:
        outcome, after = repaired(target, found, display.start)
        display.end(outcome)
    for line in syncs.reasons([outcome]):
        output.print_message(line)
    return after


def plan(
    sources: Sources = None,
    since: Since = None,
    until: Until = None,
    destination: Destination = "duckdb",
    as_json: Json = False,
) -> None:
    """Estimate the cost of a first sync or a backfill: requests, minutes, rows, megabytes. Writes nothing.

    Examples: [bold]gapless plan[/bold] · [bold]gapless plan SOURCE --since 2025-01-01 --until 2026-01-01[/bold]

    It sends a few requests to each vendor to take a sample. A database of another account is refused.
    """
    from gapless.pipelines.cli import arguments
    from gapless.pipelines.sync import build
    from gapless.pipelines.verify.plan import exit_code
    from gapless.pipelines.verify.plan import plan as estimate

    target = open_target(destination, accept_append=True)
    window = arguments.sync_request([], since, until, []).window
    found = list(estimate(build.known(sources or []) or configured_sources(), window, target))
    code = exit_code(found)
    if as_json:
        content = {"sources": [one.to_json() for one in found]}
        output.print_json("plan", content, code, [{"source": p.source, "message": p.error} for p in found if p.error])
    else:
        output.print_results(*proofs.planned(found))
    raise typer.Exit(code)


def doctor(destination: Destination = "duckdb", as_json: Json = False) -> None:
    """Check settings, keys, destination, lock, versions and clock. Sends one cheap request to each vendor.

    Exit codes: 0 a sync should work, 1 a check failed; each failed check says what to do.
    """
    from gapless.pipelines.cli.doctor.doctor import checks as run_checks

    initialise(silent=True)  # what it would say is a check
    checks = []
    for check in run_checks(destination):
        checks.append(check)
        if not as_json:  # at once, as a vendor that does not answer takes seconds
            output.print_results(proofs.check(check))
    code = FAILED if any(check.result == "fail" for check in checks) else COMPLETE
    if as_json:
        failed = [check for check in checks if check.result == "fail"]
        messages = [{"source": None, "message": f"{one.name}: {one.found}", "fill": one.remedy} for one in failed]
        output.print_json("doctor", {"checks": [check.to_json() for check in checks]}, code, messages)
    raise typer.Exit(code)
