"""The command that a newcomer begins with: `init` asks for keys, tests them and writes them down."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gapless.pipelines import json_logs, redaction
from gapless.pipelines.cli import completion, output
from gapless.pipelines.cli.options import NAMES, initialise
from gapless.pipelines.errors import GaplessError, WrongSettings
from gapless.sources import SOURCES, Source

if TYPE_CHECKING:
    from gapless.pipelines.cli.doctor.check import Check

Named = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SOURCE]...",
        help=f"{NAMES}. Default: every source that has no keys yet. Keys of a source that is named are replaced.",
        autocompletion=completion.sources,
    ),
]


def register(app: typer.Typer) -> None:
    """Adds this module's command to `app`."""
    app.command()(init)


def init(sources: Named = None) -> None:
    """Ask for the keys of the vendors that you have, test each with one request, and write .dlt/secrets.toml.

    Example: [bold]gapless init[/bold] · to replace a key: [bold]gapless init SOURCE[/bold]

    Keys are not shown while they are typed. The file is for its owner alone (mode 0600); its other settings stay.
    """
    from gapless.pipelines.config.secrets_file import add, secrets_file
    from gapless.pipelines.sync import build

    initialise(again=True)
    file = secrets_file()
    names = build.known(sources or [])
    _require_answers(file)
    output.print_message(
        f"Keys are tested and written to {file}, for its owner alone. They are not shown while you type.",
        "Press Enter to leave a vendor out.",
    )
    ready = [] if names else build.configured()[0]
    for name in ready:
        output.print_message(f"{name}: has its keys already; gapless init {name} replaces them")
    written = []
    for name in names or (one for one in SOURCES if one not in ready):
        if settings := _asked(SOURCES[name]):
            # At once: who gives up at the third vendor keeps the first two.
            add(file, {f"sources.{name}": settings})
            written.append(name)
    if not written and not ready:
        raise GaplessError("no key was given, and nothing was written. To try it without any: gapless demo")
    output.print_message(f"Next: gapless plan {' '.join(written)}".rstrip() + " says what the first sync costs;")
    output.print_message("then gapless sync")


def _require_answers(file: Path) -> None:
    """Raises WrongSettings where nobody can answer, with what to do there."""
    if not _somebody_answers():
        example = next(iter(SOURCES.values()))
        raise WrongSettings(
            "gapless init asks questions, and nobody can answer them here. Set the variables instead, such as"
            f" {example.needs[0].upper()}, or write them in lower case under [sources.{example.name}] into {file}"
            " (mode 0600). Then run gapless doctor."
        )


def _somebody_answers() -> bool:
    # A prompt is no JSON line, and a log collector cannot answer it.
    return sys.stdin.isatty() and not json_logs.on()


def _asked(source: Source) -> dict[str, str]:
    """Returns the needed settings of a source as they were typed and tested; nothing if it is left out."""
    while settings := _typed(source):
        check = _tested(source, settings)
        output.print_message(f"{check.result:<4} {check.name}: {check.found}", check.remedy)
        if check.result == "ok" or not (choice := _choice()):
            return settings
        if choice == "skip":
            return {}
    return {}


def _typed(source: Source) -> dict[str, str]:
    """Returns the needed settings as they are typed, secret ones unseen; nothing after a blank first one."""
    settings: dict[str, str] = {}
    for need in source.needs:
        hidden = need in source.secrets
        label = f"{source.name}: {need.upper()}{'' if settings else ' (Enter: leave out)'}"
        answer = ""
        while not answer:
            answer = typer.prompt(label, default="", show_default=False, hide_input=hidden, err=True).strip()
            if not answer and not settings:
                return {}
        if hidden:
            redaction.add(answer)
        settings[need] = answer
    return settings


def _tested(source: Source, settings: dict[str, str]) -> Check:
    """Asks the vendor with these settings, as the doctor does."""
    from gapless.pipelines.cli.doctor.check import Check
    from gapless.pipelines.cli.doctor.keys import checked

    try:
        return checked(source, settings)
    except WrongSettings as error:
        return Check(f"{source.name} settings", "fail", str(error))


def _choice() -> str:
    """Returns what to do with settings that failed: "again", "skip", or nothing to write them anyway."""
    question = "Type them again, write them anyway, or skip this vendor? [again/write/skip]"
    answer = typer.prompt(question, "again", show_default=False, err=True)
    return {"write": "", "skip": "skip"}.get(answer.strip().lower(), "again")
