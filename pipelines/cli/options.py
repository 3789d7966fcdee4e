"""Options that several commands share, and the steps that every command takes before it does its work."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from gapless.pipelines import json_logs, redaction
from gapless.pipelines.cli import completion, output
from gapless.pipelines.config import apply_dlt_defaults
from gapless.pipelines.config.folders import OWNER_ONLY
from gapless.pipelines.config.misnamed import absent, misnamed
from gapless.pipelines.config.project import PROJECT
from gapless.pipelines.errors import GaplessError, WrongSettings
from gapless.pipelines.printable import command
from gapless.sources import SOURCES, reread

if TYPE_CHECKING:
    from gapless.pipelines.destinations.target import Target
    from gapless.pipelines.outcome import Outcome
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


def initialise(again: bool = False, *, silent: bool = False) -> None:
    """Sets dlt's defaults and starts redaction; `again` reads the files of settings once more.

    The first time it prints which files are no settings by a slip in their names, unless it is `silent`.

    Raises WrongSettings for a TOML file or a register that is wrong.
    """
    from gapless.pipelines.sync.build import check_register

    os.umask(OWNER_ONLY)  # for all that this process writes: it is a command's own
    # Before anything reads dlt's configuration, which these variables are a part of.
    project = os.environ.get(PROJECT)
    apply_dlt_defaults()
    if os.environ.get(PROJECT) != project:  # the register was read before the settings were found
        reread()
    if not again and not silent:
        # Before anything can fail for want of a setting that stands in such a file.
        output.print_message(*misnamed())
    check_register()
    redaction.register_secrets(again)
    redaction.guard_logs()
    json_logs.guard()  # last: it replaces the formatter that guard_logs has set


def known_here(target: Target, names: list[str]) -> list[str]:
    """Returns `names`, each once, also of accounts that the destination holds alone. Raises WrongSettings."""
    from gapless.pipelines.evidence.seen import take_in_stored
    from gapless.pipelines.sync import build

    if any(name not in SOURCES for name in names):
        take_in_stored(target)
    return build.known(names)


def configured_sources() -> list[str]:
    """Returns the sources that have credentials, and prints which ones do not.

    Raises WrongSettings if none has, or one has a part of them.
    """
    ready, lacking = _configured()
    for name, missing in lacking.items():
        _print_skipped(name, missing)
    return ready


def sources_to_sync(target: Target, said: set[str] | None = None) -> tuple[list[str], list[Outcome]]:
    """Does as `configured_sources`; says of a source without credentials also that `target` holds its tables.

    Returns besides the outcomes of those whose last sync failed: without a key they stay so, and that is no success.
    What is in `said` is not printed once more; what is printed is added to it.
    """
    from gapless.pipelines.destinations.reader import reading
    from gapless.pipelines.errors import GaplessError
    from gapless.pipelines.evidence.completeness import exists
    from gapless.pipelines.evidence.seen import left_sentence, take_in_left
    from gapless.pipelines.sync.history import failed_without_settings

    ready, lacking = _configured()
    held: set[str] = set()
    failed: list[Outcome | None] = []
    left: list[str] = []
    with suppress(GaplessError), reading(target) as reader:  # the sync itself will say it, and note it
        held = {name for name in lacking if exists(reader, SOURCES[name])}
        failed = [failed_without_settings(reader, SOURCES[name], lacking[name]) for name in sorted(held)]
        left = [name for names in take_in_left(reader, target) for name in names]
    for name, missing in lacking.items():
        _print_skipped(name, missing, said, is_held=name in held)
    for name in left:
        _print_left_out(left_sentence(name, target.destination), name, said, level="warning")
    return ready, [one for one in failed if one]


def print_doubled(target: Target, names: list[str], said: set[str]) -> None:
    """Says that an account's records are here twice, under a name of these and under one that is not synced."""
    from gapless.pipelines.destinations.reader import reading
    from gapless.pipelines.evidence.seen import take_in_left
    from gapless.pipelines.ledger.notes import twin_notes
    from gapless.pipelines.sync.build import is_served

    with suppress(Exception), reading(target) as reader:  # it is advice: what is wrong there the sync itself will say
        take_in_left(reader, target)
        packages = {SOURCES[name].package for name in names}
        others = [one.name for one in SOURCES.values() if one.package in packages and one.name not in names]
        for note in twin_notes(reader, target, [name for name in others if not is_served(name)]) if others else ():
            if note.message not in said:
                output.print_message(note.message, level="warning", source=note.source, kind=note.kind)
            said.add(note.message)


def _configured() -> tuple[list[str], dict[str, list[str]]]:
    """Returns the sources that have credentials, and what the others lack. Raises as `configured_sources`."""
    from gapless.pipelines.sync import build

    ready, lacking = build.configured()
    for name, missing in lacking.items():
        if there := {need.upper() for need in SOURCES[name].needs} - set(missing):
            raise WrongSettings(
                f"{name}: {', '.join(missing)} not set, although {', '.join(sorted(there))} is. Set all of them, or"
                " none to leave this source out.",
                *absent(),
            )
    if not ready:
        raise build.nothing_configured()
    return ready, lacking


def _print_skipped(name: str, missing: list[str], said: set[str] | None = None, *, is_held: bool = False) -> None:
    # On stderr, so that a key that got lost is noticed although the sync ends well.
    here = ", although its tables are here: they will not get anything new" if is_held else ""
    level = "warning" if here else "info"
    _print_left_out(f"{name}: skipped, {', '.join(missing)} not set{here}", name, said, level=level)


def _print_left_out(text: str, name: str, said: set[str] | None, *, level: str) -> None:
    if text not in (said or ()):
        output.print_message(text, event="left_out", level=level, source=name)
    if said is not None:
        said.add(text)


def print_nothing_synced(target: Target) -> None:
    """Prints that the destination is empty, and how to fill it."""
    where, sync = target.file or target.destination, command(target.destination, "sync")
    output.print_message(f"nothing synced yet into {where}: run {sync}, or gapless demo to try it without keys")


def confirm(yes: bool, question: str) -> None:
    """Asks on stderr unless `yes`. Raises WrongSettings if nobody can answer, GaplessError if the answer is no."""
    if yes:
        return
    try:
        # A prompt is not a JSON line, and a log collector cannot answer it.
        agreed = typer.confirm(question, err=True) if not json_logs.on() else None
    except (typer.Abort, OSError, ValueError):  # stdin is closed, as under cron, or nothing that can be read
        agreed = None
    if agreed is None:
        raise WrongSettings("nothing was changed: the question was not answered. Add --yes to skip it.")
    if not agreed:
        raise GaplessError("nothing was changed")
