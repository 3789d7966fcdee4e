"""The app `gapless`: its global options and its commands. What a command does stands in `cli/commands/`."""

from __future__ import annotations

import gc
import logging
import sys
from enum import StrEnum
from typing import Annotated

import typer

from gapless.pipelines import json_logs
from gapless.pipelines.cli import output, streams
from gapless.pipelines.cli.commands import erase, inspect, maintain, serve, start, state, sync
from gapless.pipelines.cli.commands.panels import panel
from gapless.pipelines.outcome import own_version

app = typer.Typer(
    name="gapless",
    cls=output.Commands,
    invoke_without_command=True,
    pretty_exceptions_enable=False,  # they print local variables, which may hold keys
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
# In this order the commands stand in the help.
for room in (start, sync, inspect, serve, erase, maintain, state):
    room.register(app)
for info in app.registered_commands:
    info.rich_help_panel = panel(str(info.name or getattr(info.callback, "__name__", "")))
for group in app.registered_groups:
    group.rich_help_panel = panel(str(group.name))


class LogFormat(StrEnum):
    """The format of stderr."""

    TEXT = "text"
    JSON = "json"


def _print_version(wanted: bool) -> None:
    """Prints the version and ends the command."""
    if wanted:
        version = own_version()
        typer.echo(f"gapless {version}" if version != "0" else "gapless, run from its folder without being installed")
        raise typer.Exit


@app.callback()
def gapless(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            envvar=output.DEBUG,
            help="Show the traceback of each error that ends a source or is unexpected.",
        ),
    ] = False,
    log_format: Annotated[
        LogFormat,
        typer.Option(
            json_logs.OPTION, envvar=json_logs.SETTING, help="Format of stderr; json writes one object per line."
        ),
    ] = LogFormat.TEXT,
) -> None:
    """Keeps a complete, provable copy of SaaS activity logs in a database you can query.

    Try it without any key: [bold]gapless demo[/bold]. With keys: [bold]gapless init[/bold], then
    [bold]gapless sync[/bold].

    Exit codes: 0 complete, 1 failed, 2 wrong usage or settings, 3 partial, 75 the database is in use, 130 stopped.
    """
    logging.getLogger("gapless").setLevel(logging.DEBUG if debug else logging.NOTSET)
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def main() -> None:
    """Runs the command line; never returns."""
    # Garbage in cycles is rare here, and looking for it among all that is imported takes a fifth of an idle sync.
    gc.set_threshold(200_000, 20, 20)
    streams.make_safe()
    streams.end_on_sigterm()
    try:
        app()
    except SystemExit as ended:
        raise SystemExit(output.delivered(ended.code, sys.argv[1:])) from None
    finally:
        gc.freeze()  # nor need Python look for it when the process ends
