"""The commands that prove: what is missing, whether it is all there, what it will cost. Registered with the app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gapless.pipelines.cli import completion, output, render
from gapless.pipelines.cli.options import NAMES, Destination, Json, begin, configured, initialise
from gapless.pipelines.errors import COMPLETE, PARTIAL, WrongSettings
from gapless.sources import SOURCES

if TYPE_CHECKING:
    from gapless.pipelines.destinations.target import Target
    from gapless.pipelines.verify.verify import Verified

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SOURCE]...",
        help=f"{NAMES}; without a name all that there are.",
        autocompletion=completion.sources,
    ),
]


def register(app: typer.Typer) -> None:
    for command in (gaps, verify, plan):
        app.command()(command)


def gaps(sources: Sources = None, destination: Destination = "duckdb", as_json: Json = False) -> None:
    """What is not proven complete, each gap with the command that fills it. Asks no vendor.

    Exit codes: 0 there is none, 3 there are.
    """
    from gapless.pipelines.ledger import gaps
    from gapless.pipelines.sync import build
    from gapless.pipelines.verify import verify

    names = build.known(sources or [])
    target = begin(destination, accept_append=True)
    found = list(gaps.gaps(target, names))
    code = PARTIAL if found else COMPLETE
    if as_json:
        output.document({"exit_code": code, "gaps": [vars(gap) for gap in found]})
    elif found or verify.synced(target, list(SOURCES)):
        output.show(*render.gaps(found, str(target.file or target.destination)))
    else:
        output.say(f"nothing synced yet into {target.file or target.destination}: gapless sync, or try gapless demo")
    raise typer.Exit(code)


def verify(
    sources: Sources = None,
    sample: Annotated[int | None, typer.Option(min=1, metavar="N", help="Compare N parents of each source.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same sample as before; it is told each time.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Compare all, by id.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Compare all, and read again what is missing.")] = False,
    destination: Destination = "duckdb",
    as_json: Json = False,
) -> None:
    """Is every record here that the vendors serve? Compares with their totals and ids; loads nothing unless told to.

    Examples: [bold]gapless verify[/bold] · [bold]gapless verify SOURCE --sample 100[/bold] ·
    [bold]gapless verify SOURCE --whole[/bold] · [bold]gapless verify --repair[/bold]

    By default the vendor's total is compared where there are no parents, else the record ids of 20 sampled parents.
    Exit codes: 0 nothing is missing, 3 something is, or could not be asked for.
    """
    from random import randrange

    from gapless.pipelines.sync import build
    from gapless.pipelines.verify import verify

    if sample and (whole or repair):
        raise WrongSettings("--whole and --repair compare all, --sample some: leave out one of them.")
    target, names = begin(destination, accept_append=not repair), build.known(sources or [])
    names = names or verify.synced(target, configured())
    if not names:
        output.say(f"nothing synced yet into {target.file or target.destination}: gapless sync")
    seed = randrange(10**6) if seed is None else seed
    each = verify.verify(target, names, None if whole or repair else sample or verify.SAMPLE, seed)
    found = [_repaired(target, one) if repair and one.absent else one for one in each]
    code = verify.exit_code(found)
    if as_json:
        content = {"exit_code": code, "seed": seed, "sources": [one.to_json() for one in found]}
        output.document(content)
    else:
        output.show(*render.verified(found, seed))
    raise typer.Exit(code)


def _repaired(target: Target, found: Verified) -> Verified:
    from gapless.pipelines.cli import progress
    from gapless.pipelines.verify import verify

    output.say(f"{found.source}: {found.missing:,} records are missing and read again")
    with progress.shown(output.err()) as display:
        outcome, after = verify.repaired(target, found, display.start)
        display.end(outcome)
    for line in render.reasons([outcome]):
        output.say(line)
    return after


def plan(
    sources: Sources = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Of a backfill: from then on (ISO 8601).")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Of a backfill: before then (ISO 8601).")] = None,
    as_json: Json = False,
) -> None:
    """What a first sync or a backfill will cost: requests, minutes, rows, megabytes. Asks little and writes nothing.

    Examples: [bold]gapless plan[/bold] · [bold]gapless plan SOURCE --since 2025-01-01 --until 2026-01-01[/bold]
    """
    from gapless.pipelines.cli import arguments
    from gapless.pipelines.sync import build
    from gapless.pipelines.verify import plan

    initialise()
    window = arguments.job([], since, until, []).window
    found = list(plan.plan(build.known(sources or []) or configured(), window))
    code = plan.exit_code(found)
    if as_json:
        output.document({"exit_code": code, "sources": [one.to_json() for one in found]})
    else:
        output.show(*render.planned(found))
    raise typer.Exit(code)
