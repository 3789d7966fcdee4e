"""The command line: what may be asked, and what is printed. What a command does stands in the module of its name.

dlt, duckdb, pyarrow and the sources are imported inside the commands, so that `--help` is instant.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines import ending, report
from pipelines.errors import COMPLETE, FAILED, WrongSettings
from sources import SOURCES

if TYPE_CHECKING:
    from pipelines.place import Place
    from pipelines.run import Job, Outcome

NAMES = ", ".join(SOURCES)

app = typer.Typer(
    name="gapless",
    cls=ending.Commands,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

state = typer.Typer(help="What each source remembers, and how to make it read again.", no_args_is_help=True)
app.add_typer(state, name="state")

Destination = Annotated[str, typer.Option(help="duckdb, or any destination configured for dlt, by its name.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else there.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
OneSource = Annotated[str, typer.Argument(metavar="SOURCE", help=f"One of {NAMES}.", show_default=False)]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"gapless {version('gapless')}")
        except PackageNotFoundError:
            typer.echo("gapless, run from its folder without being installed")
        raise typer.Exit


@app.callback()
def gapless(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="GAPLESS_DEBUG", help="Show the traceback of an unexpected error.")
    ] = False,
) -> None:
    """A complete, provable copy of SaaS activity logs in a database you can query.

    Try it without any key: [bold]gapless demo[/bold]. With keys: [bold]gapless doctor[/bold], then
    [bold]gapless sync[/bold].

    Exit codes: 0 complete, 1 failed, 2 wrong usage or settings, 3 partial, 75 another sync is running,
    130 stopped by Ctrl-C.
    """
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def _begin(destination: str) -> Place:
    from pipelines.place import Place

    _settle()
    return Place.find(destination)


def _settle() -> None:
    """Settings and the net under the keys, before anything is asked."""
    from pipelines import secrets
    from pipelines.place import settle

    settle()
    secrets.learn()
    secrets.guard_logs()


@app.command()
def sync(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE]...", help=f"{NAMES}; without a name those with credentials."),
    ] = None,
    every: Annotated[
        str | None, typer.Option(metavar="SPAN", help="Repeat every 30s, 15m, 2h …, until Ctrl-C.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Read again what was created from then on (ISO 8601).")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Read again what was created before then (ISO 8601).")
    ] = None,
    ids: Annotated[
        list[str] | None,
        typer.Option("--id", metavar="ID", help="Read one record again (of omni: a lead). Repeatable, one source."),
    ] = None,
    destination: Destination = "duckdb",
    as_json: Json = False,
) -> None:
    """Bring the destination up to date with the vendors, and say what came of it.

    Examples: [bold]gapless sync[/bold] · [bold]gapless sync sequence omni[/bold] ·
    [bold]gapless sync --every 15m[/bold] · [bold]gapless sync tines --since 2026-01-01 --until 2026-02-01[/bold] ·
    [bold]gapless sync kizen --id 5f1c…[/bold]

    An interrupted sync loses nothing: the next one goes on where it stopped. --since and --until read a span again
    and leave the watermarks where they are. With --every and --json there is one document per round, one per line.
    """
    from pipelines import choose, rounds

    span = choose.seconds(every) if every else None
    place = _begin(destination)
    names = choose.known(sources or [])
    job = choose.job(names, since, until, ids or [])
    names = names or _configured()
    if span is None:
        raise typer.Exit(_round(names, place, job, as_json))
    rounds.repeat(lambda: _round(names, place, job, as_json), span, ending.say)


def _configured() -> list[str]:
    from pipelines import choose

    ready, lacking = choose.configured()
    if not ready:
        raise choose.nothing_configured()
    for name, missing in lacking.items():
        ending.say(f"{name}: left out, {', '.join(missing)} not set")
    return ready


def _round(names: list[str], place: Place, job: Job, as_json: bool) -> int:
    from pipelines.run import exit_code

    outcomes = _watched(names, place, job)
    code = exit_code(outcomes)
    if as_json:
        ending.document({"exit_code": code, "sources": [outcome.to_json() for outcome in outcomes]})
    else:
        ending.show(report.summary(outcomes))
    for line in report.reasons(outcomes):
        ending.say(line)
    ending.say(report.advice(code))
    return code


def _watched(names: list[str], place: Place, job: Job) -> list[Outcome]:
    from pipelines import progress, run

    outcomes = []
    with progress.shown(ending.err()) as display:
        for outcome in run.sync(names, place, job, display.start):
            display.end(outcome)
            outcomes.append(outcome)
    return outcomes


@app.command()
def status(destination: Destination = "duckdb", as_json: Json = False) -> None:
    """What is there, how fresh and how complete it is. Reads the destination and asks no vendor."""
    from pipelines import status

    place = _begin(destination)
    found = list(status.statuses(place))
    if as_json:
        sources = {one.source: one.to_json() for one in found}
        ending.document({"destination": place.destination, "file": place.file, "sources": sources})
    elif found:
        ending.show(report.status(found), "", report.tables(found))
    else:
        ending.say(f"nothing synced yet into {place.file or place.destination}: gapless sync, or try gapless demo")


@app.command()
def doctor(destination: Destination = "duckdb", as_json: Json = False) -> None:
    """Will a sync work? Checks settings, keys (one cheap request each), destination, lock, versions and clock."""
    from pipelines import doctor

    _settle()
    checks = []
    for check in doctor.checks(destination):
        checks.append(check)
        if not as_json:
            ending.show(report.check(check))
    code = FAILED if any(check.result == "fail" for check in checks) else COMPLETE
    if as_json:
        ending.document({"exit_code": code, "checks": [vars(check) for check in checks]})
    raise typer.Exit(code)


@state.command()
def show(destination: Destination = "duckdb", as_json: Json = False) -> None:
    """What each source remembers: watermark, unfinished walks, how far its parents are proven complete."""
    from pipelines import state

    place = _begin(destination)
    found = list(state.kept(place))
    if as_json:
        ending.document({one.source: one.to_json() for one in found})
    elif found:
        ending.show(report.state(found))
    else:
        ending.say(f"nothing synced yet into {place.file or place.destination}, so nothing is remembered")


@state.command()
def rewind(
    source: OneSource,
    to: Annotated[str, typer.Option(metavar="TIME", help="Proven complete up to then, no further (ISO 8601).")],
    destination: Destination = "duckdb",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Set a source back to a time: the next sync reads again what came later. No row is deleted.

    Example: [bold]gapless state rewind sequence --to 2026-03-01[/bold]
    """
    from pipelines import choose, state

    (name,), time = choose.known([source]), choose.time(to, "--to")
    place = _begin(destination)
    _confirm(yes, f"Set {name} back to {time.isoformat()}?")
    _changed(name, state.rewind(place, name, time), as_json)


@state.command()
def reset(source: OneSource, destination: Destination = "duckdb", yes: Yes = False, as_json: Json = False) -> None:
    """Forget what a source has proven: the next sync reads everything again. No row is deleted.

    Example: [bold]gapless state reset tines --yes[/bold]
    """
    from pipelines import choose, state

    (name,) = choose.known([source])
    place = _begin(destination)
    _confirm(yes, f"Forget all that {name} has proven? The next sync reads everything again.")
    _changed(name, state.reset(place, name), as_json)


def _confirm(yes: bool, question: str) -> None:
    if yes:
        return
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:
        raise WrongSettings("nothing was changed, as nobody answered; --yes goes without asking") from None
    if not agreed:
        ending.say("nothing was changed")
        raise typer.Exit(FAILED)


def _changed(name: str, proofs: int | None, as_json: bool) -> None:
    if as_json:
        ending.document({"source": name, "changed": proofs})
    elif proofs is None:
        ending.say(f"nothing synced yet from {name}, so there is nothing to change")
    else:
        ending.say(f"done: the next gapless sync {name} reads again from there; no row was touched")


@app.command()
def demo(
    file: Annotated[
        Path, typer.Option(metavar="PATH", help="Where to; a file of an earlier demo is replaced.")
    ] = Path("gapless-demo.duckdb"),
    as_json: Json = False,
) -> None:
    """See it work: four simulated vendors, synced twice with an hour in between. No keys, no network, no traces.

    Examples: [bold]gapless demo[/bold] · [bold]gapless demo --file /tmp/try.duckdb[/bold]
    """
    from pipelines import demo, progress
    from pipelines.run import exit_code

    _settle()
    with progress.shown(ending.err()) as display:
        shown = demo.run(file.resolve(), display.say, display.start, display.end)
    code = exit_code(shown.first + shown.second)
    if as_json:
        ending.document(demo.to_json(shown, code))
    else:
        ending.show(*demo.told(shown))
    for line in report.reasons(shown.first + shown.second):
        ending.say(line)
    raise typer.Exit(code)
