"""The command line: what may be asked, and what is printed. What a command does stands in the module of its name.

dlt, duckdb, pyarrow and the sources are imported inside the commands, so that `--help` is instant.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gapless.pipelines import json_logs
from gapless.pipelines.cli import completion, evidence, output, render
from gapless.pipelines.cli.options import NAMES, Destination, Json, OneSource, Yes, configured
from gapless.pipelines.cli.options import begin as _begin
from gapless.pipelines.cli.options import initialise as _settle
from gapless.pipelines.errors import COMPLETE, FAILED, PARTIAL, WrongSettings

if TYPE_CHECKING:
    from gapless.pipelines.destinations.target import Target
    from gapless.pipelines.observability.telemetry import Watcher
    from gapless.pipelines.observability.webhook import Webhook
    from gapless.pipelines.outcome import Outcome
    from gapless.pipelines.sync.request import SyncRequest
    from gapless.sources._ledger.session import Session

LEVELS = {COMPLETE: "info", PARTIAL: "warning", FAILED: "error"}

app = typer.Typer(
    name="gapless",
    cls=output.Commands,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

state = typer.Typer(help="What each source remembers, and how to make it read again.", no_args_is_help=True)
app.add_typer(state, name="state")
evidence.register(app)


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


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
    log_format: Annotated[
        LogFormat,
        typer.Option(json_logs.OPTION, envvar=json_logs.SETTING, help="Of stderr: json is one object per line."),
    ] = LogFormat.TEXT,
) -> None:
    """A complete, provable copy of SaaS activity logs in a database you can query.

    Try it without any key: [bold]gapless demo[/bold]. With keys: [bold]gapless doctor[/bold], then
    [bold]gapless sync[/bold].

    Exit codes: 0 complete, 1 failed, 2 wrong usage or settings, 3 partial, 75 another sync is running,
    130 stopped by Ctrl-C.
    """
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@app.command()
def sync(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]...",
            help=f"{NAMES}; without a name those with credentials.",
            autocompletion=completion.sources,
        ),
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
        typer.Option(
            "--id",
            metavar="ID",
            help="Read one record again, or one parent where records are read by parent. Repeatable, one source.",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Read part K of N of the parents; all N write to one database at once."),
    ] = None,
    destination: Destination = "duckdb",
    accept_append: Annotated[
        bool, typer.Option("--accept-append", help="Also into files that only take rows on: one more per change.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring the destination up to date with the vendors, and say what came of it.

    Examples: [bold]gapless sync[/bold] · [bold]gapless sync SOURCE SOURCE[/bold] ·
    [bold]gapless sync --every 15m[/bold] · [bold]gapless sync SOURCE --since 2026-01-01 --until 2026-02-01[/bold] ·
    [bold]gapless sync SOURCE --id 5f1c…[/bold]

    An interrupted sync loses nothing: the next one goes on where it stopped. --since and --until read a span again
    and leave the watermarks where they are. With --every and --json there is one document per round, one per line.
    """
    from gapless.pipelines.cli import arguments
    from gapless.pipelines.observability import telemetry, webhook
    from gapless.pipelines.sync import build, loop

    span = arguments.seconds(every) if every else None
    target = _begin(destination, arguments.shard(shard, ids or []), accept_append)
    names = build.known(sources or [])
    job = arguments.job(names, since, until, ids or [])
    names = names or configured()
    for line in (*arguments.idle(names, target.shard), *arguments.appended(target)):
        output.say(line)
    hook = webhook.configured()
    with telemetry.watching(target, output.say) as watcher:
        once = partial(_round, names, target, job, as_json, watcher, hook)
        if span is None:
            raise typer.Exit(once())
        loop.repeat(once, span, output.say, partial(output.say, event="error", level="error"))


@app.command()
def backfill(
    source: OneSource,
    since: Annotated[str, typer.Option(metavar="TIME", help="What was created from then on (ISO 8601),")],
    until: Annotated[str, typer.Option(metavar="TIME", help="and before then (ISO 8601).")],
    again: Annotated[bool, typer.Option("--again", help="From the beginning, if it was finished before.")] = False,
    destination: Destination = "duckdb",
    as_json: Json = False,
) -> None:
    """Read a span of time once more, and remember how far that is: stopped, it goes on where it was.

    Example: [bold]gapless backfill SOURCE --since 2025-01-01 --until 2026-01-01[/bold]

    No vendor filters by time: gapless plan says what it costs. Watermarks stay where they are.
    """
    from gapless.pipelines.cli import arguments
    from gapless.pipelines.ledger import backfills
    from gapless.pipelines.observability import telemetry, webhook
    from gapless.pipelines.sync import build

    (name,) = build.known([source])
    job = backfills.job(arguments.time(since, "--since"), arguments.time(until, "--until"))
    target = _begin(destination)
    before = backfills.kept(target, name, job.window)
    if before.done_at and not again:
        if as_json:
            output.document({"exit_code": COMPLETE, "done_at": before.done_at, "sources": []})
        output.say(f"{name}: this span was finished {before.done_at:%Y-%m-%d %H:%M} UTC; --again reads it once more")
        return
    if told := before.told(name):
        output.say(told)
    hook = webhook.configured()
    with telemetry.watching(target, output.say) as watcher:
        raise typer.Exit(_round([name], target, job, as_json, watcher, hook))


def _round(
    names: list[str], target: Target, job: SyncRequest, as_json: bool, watcher: Watcher, hook: Webhook | None
) -> int:
    from gapless.pipelines.observability import webhook

    with webhook.told(hook, target, output.say) as outcomes:
        for outcome in _watched(names, target, job, watcher):
            outcomes.append(outcome)
        return _ended(outcomes, as_json)


def _ended(outcomes: list[Outcome], as_json: bool) -> int:
    from gapless.pipelines.outcome import exit_code

    code = exit_code(outcomes)
    if as_json:
        output.document({"exit_code": code, "sources": [outcome.to_json() for outcome in outcomes]})
    else:
        output.show(render.summary(outcomes))
    _reasons(outcomes)
    output.say(render.advice(code), event="ended", level=LEVELS[code], exit_code=code)
    return code


def _reasons(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        for line in render.reasons([outcome]):
            output.say(line, event="failure", level="warning", source=outcome.source, run_id=outcome.run_id)


def _watched(names: list[str], target: Target, job: SyncRequest, watcher: Watcher) -> Iterator[Outcome]:
    from gapless.pipelines.cli import progress
    from gapless.pipelines.sync import run

    def begun(name: str, session: Session) -> None:
        display.start(name, session)
        watcher.start(name, session)

    with watcher.round(names), progress.shown(output.err()) as display:
        for outcome in run.sync(names, target, job, begun):
            display.end(outcome)
            watcher.end(outcome)
            yield outcome


@app.command()
def status(destination: Destination = "duckdb", as_json: Json = False) -> None:
    """What is there, how fresh and how complete it is. Reads the destination and asks no vendor."""
    from gapless.pipelines.ledger import status

    target = _begin(destination, accept_append=True)
    found = list(status.statuses(target))
    if as_json:
        sources = {one.source: one.to_json() for one in found}
        output.document({"destination": target.destination, "file": target.file, "sources": sources})
    elif found:
        output.show(render.status(found), "", render.tables(found))
    else:
        output.say(f"nothing synced yet into {target.file or target.destination}: gapless sync, or try gapless demo")


@app.command()
def views(destination: Destination = "duckdb", as_json: Json = False) -> None:
    """Make the views of the schema activity, as each sync does, and list them with their rows."""
    from gapless.pipelines.views import refresh

    target = _begin(destination)
    found = refresh.listed(target)
    if as_json:
        rows = {one.name: {"one_row_per": one.grain, "rows": one.rows} for one in found or []}
        output.document({"destination": target.destination, "file": target.file, "views": rows})
    elif found is not None:
        output.show(render.views(found))
    else:
        output.say(f"nothing synced yet into {target.file or target.destination}: gapless sync, or try gapless demo")


@app.command()
def publish(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Where to; an earlier copy there is replaced.")],
    destination: Destination = "duckdb",
    as_json: Json = False,
) -> None:
    """Make a copy of the DuckDB file that can be read at any time, also while a sync writes. Whole or not at all.

    Example: [bold]gapless publish readers.duckdb[/bold] · after every sync: GAPLESS_PUBLISH=readers.duckdb
    """
    from gapless.pipelines.destinations import publish

    made = publish.publish(_begin(destination), path)
    if as_json:
        output.document({"published": made.file, "bytes": made.bytes, "seconds": round(made.seconds, 3)})
    else:
        output.show(f"published: {made.file}, {made.bytes / 1e6:,.1f} MB in {made.seconds:.1f} s")


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: one that is free.")] = 0,
    headless: Annotated[bool, typer.Option("--headless", "--no-browser", help="Open no browser.")] = False,
    destination: Destination = "duckdb",
) -> None:
    """A page to look at, on this machine alone and for as long as this runs: health, volume, timelines, gaps.

    It asks the copy that GAPLESS_PUBLISH names, if it is there, else the DuckDB file; and never a vendor.
    """
    from gapless.pipelines.ui import server

    server.serve(_begin(destination), port, not headless, output.say)


@app.command()
def doctor(destination: Destination = "duckdb", as_json: Json = False) -> None:
    """Will a sync work? Checks settings, keys (one cheap request each), destination, lock, versions and clock."""
    from gapless.pipelines.cli import doctor

    _settle()
    checks = []
    for check in doctor.checks(destination):
        checks.append(check)
        if not as_json:
            output.show(render.check(check))
    code = FAILED if any(check.result == "fail" for check in checks) else COMPLETE
    if as_json:
        output.document({"exit_code": code, "checks": [check.to_json() for check in checks]})
    raise typer.Exit(code)


@app.command()
def copy(
    to: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="A destination configured for dlt, by its name.", autocompletion=completion.copies
        ),
    ],
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]...",
            help=f"{NAMES}; without a name all that the file holds.",
            autocompletion=completion.sources,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring another destination up to date with the DuckDB file: all of it first, then what is new. Asks no vendor.

    Example: [bold]gapless copy --to postgres[/bold]

    The copy has the file's tables, ledger and state, so that gapless sync --destination NAME goes on from there.
    """
    from gapless.pipelines import destination_copy
    from gapless.pipelines.sync import build

    here, there = _begin("duckdb"), _begin(to)
    told = destination_copy.copy(build.known(sources or []), here, there, lambda name: output.say(f"{name}: copying"))
    raise typer.Exit(_ended(list(told), as_json))


@state.command()
def show(destination: Destination = "duckdb", as_json: Json = False) -> None:
    """What each source remembers: watermark, unfinished walks, how far its parents are proven complete."""
    from gapless.pipelines.ledger import state

    target = _begin(destination, accept_append=True)
    found = list(state.kept(target))
    if as_json:
        output.document({one.source: one.to_json() for one in found})
    elif found:
        output.show(render.state(found))
    else:
        where = target.file or target.destination
        output.say(f"nothing synced yet into {where}, so nothing is remembered: gapless sync")


@state.command()
def rewind(
    source: OneSource,
    to: Annotated[str, typer.Option(metavar="TIME", help="Proven complete up to then, no further (ISO 8601).")],
    destination: Destination = "duckdb",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Set a source back to a time: the next sync reads again what came later. No row is deleted.

    Example: [bold]gapless state rewind SOURCE --to 2026-03-01[/bold]
    """
    from gapless.pipelines.cli import arguments
    from gapless.pipelines.ledger import state
    from gapless.pipelines.sync import build

    (name,), time = build.known([source]), arguments.time(to, "--to")
    target = _begin(destination, accept_append=True)
    _confirm(yes, f"Set {name} back to {time.isoformat()}?")
    _changed(name, state.rewind(target, name, time), as_json)


@state.command()
def reset(source: OneSource, destination: Destination = "duckdb", yes: Yes = False, as_json: Json = False) -> None:
    """Forget what a source has proven: the next sync reads everything again. No row is deleted.

    Example: [bold]gapless state reset SOURCE --yes[/bold]
    """
    from gapless.pipelines.ledger import state
    from gapless.pipelines.sync import build

    (name,) = build.known([source])
    target = _begin(destination, accept_append=True)
    _confirm(yes, f"Forget all that {name} has proven? The next sync reads everything again.")
    _changed(name, state.reset(target, name), as_json)


def _confirm(yes: bool, question: str) -> None:
    if yes:
        return
    try:
        agreed = typer.confirm(question, err=True) if not json_logs.on() else None
    except typer.Abort:
        agreed = None
    if agreed is None:
        raise WrongSettings("nothing was changed, as nobody answered; --yes goes without asking")
    if not agreed:
        output.say("nothing was changed")
        raise typer.Exit(FAILED)


def _changed(name: str, proofs: int | None, as_json: bool) -> None:
    if as_json:
        output.document({"source": name, "changed": proofs})
    elif proofs is None:
        output.say(f"nothing synced yet from {name}, so there is nothing to change: gapless sync {name}")
    else:
        output.say(f"done: the next gapless sync {name} reads again from there; no row was touched")


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
    from gapless.pipelines.cli import demo, progress
    from gapless.pipelines.outcome import exit_code

    _settle()
    with progress.shown(output.err()) as display:
        shown = demo.run(file.resolve(), display.say, display.start, display.end)
    code = exit_code(shown.first + shown.second)
    if as_json:
        output.document(demo.to_json(shown, code))
    else:
        output.show(*demo.told(shown))
    _reasons(shown.first + shown.second)
    raise typer.Exit(code)
