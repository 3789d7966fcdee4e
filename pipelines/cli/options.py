"""Options that several commands share, and the steps that every command takes before it does its work."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from gapless.pipelines import json_logs, redaction
from gapless.pipelines.cli import completion, output
from gapless.pipelines.config import apply_dlt_defaults
from gapless.pipelines.errors import WrongSettings
from gapless.sources import SOURCES

if TYPE_CHECKING:
    from gapless.pipelines.destinations.target import Target
    from gapless.sources._ledger.shard import Shard

MOST_NAMES = 12
"""Sources that a help text names; there may be hundreds of accounts."""
_more = len(SOURCES) - MOST_NAMES
NAMES = ", ".join([*SOURCES][:MOST_NAMES]) + (f" and {_more} more" if _more > 0 else "")

Destination = Annotated[
    str,
    typer.Option(
        help="duckdb, or the name of a destination in dlt's configuration.", autocompletion=completion.destinations
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
OneSource = Annotated[
    str,
    typer.Argument(metavar="SOURCE", help=f"One of {NAMES}.", show_default=False, autocompletion=completion.sources),
]
Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SOURCE]...",
        help=f"{NAMES}. Default: all sources.",
        autocompletion=completion.sources,
    ),
]


def open_target(
    destination: str, shard: Shard | None = None, accept_append: bool = False, *, again: bool = False
) -> Target:
    """Initialises the process, `again` where it runs on, and returns the destination of that name.

    Raises WrongSettings for a name without a configuration, and for an append-only destination that was not accepted.
    """
    from gapless.pipelines.destinations.target import Target

    initialise(again)  # first: to find a destination reads dlt's configuration
    return Target.find(destination, shard, accept_append)


def initialise(again: bool = False) -> None:
    """Sets dlt's defaults and starts redaction; `again` reads the files of settings once more.

    Raises WrongSettings for a TOML file or a register that is wrong.
    """
    from gapless.pipelines.sync.build import check_register

    # Before anything reads dlt's configuration, which these variables are a part of.
    apply_dlt_defaults()
    check_register()
    redaction.register_secrets(again)
    redaction.guard_logs()
    json_logs.guard()  # last: it replaces the formatter that guard_logs has set


def configured_sources(target: Target | None = None) -> list[str]:
    """Returns the sources that have credentials, and prints which ones do not; of `target` also that it holds them.

    Raises WrongSettings if none has, or one has a part of them.
    """
    from gapless.pipelines.sync import build

    ready, lacking = build.configured()
    for name, missing in lacking.items():
        if there := {need.upper() for need in SOURCES[name].needs} - set(missing):
            raise WrongSettings(
                f"{name}: {', '.join(missing)} not set, although {', '.join(sorted(there))} is. Set all of them, or"
                " none to leave this source out."
            )
    if not ready:
        raise build.nothing_configured()
    held = _held(target, lacking) if target and lacking else set()
    for name, missing in lacking.items():
        # On stderr, so that a key that got lost is noticed although the sync ends well.
        here = ", although its tables are here: they will not get anything new" if name in held else ""
        level = "warning" if here else "info"
        text = f"{name}: skipped, {', '.join(missing)} not set{here}"
        output.print_message(text, event="left_out", level=level, source=name)
    return ready


def _held(target: Target, names: Iterable[str]) -> set[str]:
    """Returns those sources of which the destination holds something."""
    from gapless.pipelines.destinations.reader import reading
    from gapless.pipelines.errors import Locked
    from gapless.pipelines.evidence.completeness import exists

    try:
        with reading(target) as reader:
            return {name for name in names if exists(reader, SOURCES[name])}
    except Locked:  # the command itself will say it
        return set()


def print_nothing_synced(target: Target) -> None:
    """Prints that the destination is empty, and how to fill it."""
    where = target.file or target.destination
    output.print_message(f"nothing synced yet into {where}: run gapless sync, or gapless demo to try it without keys")
