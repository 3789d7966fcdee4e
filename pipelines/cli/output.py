"""What a command writes, and how it ends: results go to stdout, messages to stderr, an error becomes an exit code.

No other module of the command line writes; everything is redacted and escaped here.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import typer
from rich.console import Console, RenderableType
from rich.text import Text
from typer.core import TyperGroup

from gapless.pipelines import json_logs
from gapless.pipelines.cli import streams
from gapless.pipelines.cli.commands.panels import ANSWERS, DRY, PARTS, place
from gapless.pipelines.errors import (
    COMPLETE,
    FAILED,
    INTERRUPTED,
    OUTCOMES,
    USAGE,
    GaplessError,
    frames,
    is_foreseen,
    summarize,
)
from gapless.pipelines.outcome import own_version
from gapless.pipelines.printable import escaped, json_text
from gapless.pipelines.redaction import cleaned, printable
from gapless.sources import SOURCES

# Newer typers carry their own copy of click: the class is looked up, and a context is typed as Any where click's is.
USAGE_ERROR: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")
DEBUG, ON, OFF = "GAPLESS_DEBUG", ("1", "true", "t", "yes", "y", "on"), ("", "0", "false", "f", "no", "n", "off")
"""A switch of the environment, and what typer takes for on and off."""
JSON_SCHEMA = 1
"""Version of the envelope; it grows when a key goes or changes its meaning, not when one is added."""
LOG_WIDTH = 160
"""Characters in a line of a table that goes into a file or a pipe, which has no width."""


def out() -> Console:
    """Returns a console for stdout as it is now: a test or a pipe may have replaced it."""
    return Console(width=None if sys.stdout.isatty() else LOG_WIDTH, highlight=False, emoji=False)


def err() -> Console:
    """Returns a console for stderr as it is now."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else LOG_WIDTH, highlight=False, emoji=False)


def print_message(*lines: str, event: str = "note", level: str = "info", **facts: object) -> None:
    """Writes lines for a person to stderr, or a JSON line that also holds `event`, `level` and `facts`.

    Empty texts write nothing, unless there are facts and JSON lines are on.
    """
    if json_logs.on():
        if any(lines) or facts:
            json_logs.emit("\n".join(lines), event=event, level=level, **facts)
        return
    for line in filter(None, lines):
        err().print(stamped(line), markup=False, soft_wrap=True)


def stamped(line: str) -> str:
    """Returns a line of a message as it is printed, with the time in UTC before it unless stderr is a terminal.

    A file that a scheduler appends to is read days later.
    """
    shown = printable(line)
    return shown if sys.stderr.isatty() else f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {shown}"


def print_results(*results: RenderableType) -> None:
    """Writes tables and lines of a result to stdout, redacted and escaped: a text is one line."""
    for result in results:
        text = printable(result) if isinstance(result, str) else result
        out().print(text, markup=False, soft_wrap=isinstance(result, str | Text))


def print_json(
    command: str,
    content: Mapping[str, object],
    code: int = COMPLETE,
    problems: Sequence[Mapping[str, object]] = (),
    error: str | None = None,
) -> None:
    """Writes the one JSON document of a command to stdout, on one line and redacted.

    The keys of the envelope are the same for every command; those of `content` are the command's own.
    """
    envelope = {
        "schema": JSON_SCHEMA,
        "version": own_version(),
        "command": command,
        "ok": code == COMPLETE,
        "outcome": OUTCOMES[code],
        "exit_code": code,
        "error": error,
        "problems": list(problems),
    }
    # Not through rich, which would wrap long lines and break the document.
    sys.stdout.write(json_text(cleaned({**envelope, **content, **envelope})) + "\n")
    sys.stdout.flush()


class Context(Protocol):
    """What is used of click's context."""

    meta: dict[str, Any]
    params: dict[str, Any]


class UsageError(Protocol):
    """What is used of click's UsageError."""

    message: str

    def format_message(self) -> str:
        """Returns what is wrong, for a person."""


class Commands(TyperGroup):
    """Commands that turn an error into one line; accepts `--debug` and `--log-format` at any position."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns the names of the commands in the order of use."""
        return sorted(super().list_commands(ctx), key=place)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Moves the global options to the front and switches JSON lines on before anything can fail."""
        if "--debug" in args:
            args = ["--debug", *(arg for arg in args if arg != "--debug")]
        args = _formats_first(args)
        # Read here, because a document is also due for an error before the option is parsed.
        ctx.meta["gapless.json"] = _command(args) if "--json" in args else None
        json_logs.switch(json_logs.wanted(args))
        try:
            _require_text(args)
            _require_known(args)
            _require_order(args)
            return super().parse_args(ctx, args)
        except USAGE_ERROR as error:
            _end_wrong_usage(ctx, error)
            raise

    def invoke(self, ctx: Any) -> object:
        """Runs the command. Every error ends in one line, with --json also a document, and its exit code."""
        try:
            return super().invoke(ctx)
        # A command that ends itself has said all already.
        except (typer.Exit, typer.Abort):
            raise
        except USAGE_ERROR as error:
            _end_wrong_usage(ctx, error)
            raise
        except (Exception, KeyboardInterrupt) as error:
            # Everything, so that a scheduler sees an exit code of ours and never a bare traceback.
            raise typer.Exit(_report(ctx, error)) from None


def _require_text(args: list[str]) -> None:
    """Raises BadParameter for an argument that is not UTF-8: no database holds it, nor does a document name it."""
    for arg in args:
        if arg != arg.encode(errors="replace").decode():
            raise typer.BadParameter(f"{arg[:80]!a} is not valid UTF-8")


def _require_known(args: list[str]) -> None:
    """Raises BadParameter, with what is expected, for an unknown format of stderr or value of GAPLESS_DEBUG."""
    if (unknown := json_logs.unknown(args)) is not None:
        raise typer.BadParameter(f"{unknown}; expected text or json")
    debug = os.environ.get(DEBUG, "").strip()
    if debug.lower() not in (*ON, *OFF):
        raise typer.BadParameter(f"{DEBUG} is {debug[:40]!a}; expected 1 (on) or 0 (off)")


def _require_order(args: list[str]) -> None:
    """Raises UsageError, with what to type, where a source or a part of a command stands in a command's place."""
    first = next((arg for arg in args if arg == "--json" or not arg.startswith("-")), "")
    within = next((command for command, parts in PARTS.items() if first in parts.split()), None)
    if first == "--json":
        raise USAGE_ERROR("--json stands behind a command, as in gapless status --json")
    if first in SOURCES:
        raise USAGE_ERROR(f"{first} is a source, and a command comes first, as in gapless sync {first}")
    if within:
        raise USAGE_ERROR(f"{first} is a part of a command: gapless {within} {first}")


def _report(ctx: Context, error: BaseException) -> int:
    """Prints the error, with --debug the traceback of an unexpected one. Returns the exit code."""
    lines, code = _message_and_code(error)
    trace = {}
    if ctx.params.get("debug") and not isinstance(error, KeyboardInterrupt | GaplessError):
        trace = {"traceback": frames(error)}
        if not json_logs.on():
            sys.stderr.write(printable(trace["traceback"], lines=True))
    print_message(*lines, event="error", level="error", exit_code=code, **trace)
    _print_error_json(ctx, lines, code)
    return code


def _formats_first(args: list[str]) -> list[str]:
    """Moves `--log-format json` before the command, joined to one word."""
    options: list[str] = []
    rest: list[str] = []
    remaining = iter(args)
    # typer takes global options before the command alone; people add them at the end.
    for arg in remaining:
        if arg == json_logs.OPTION:
            options.append(f"{arg}={next(remaining, '')}")
        else:
            (options if arg.startswith(f"{json_logs.OPTION}=") else rest).append(arg)
    return [*options, *rest]


def _end_wrong_usage(ctx: Context, error: UsageError) -> None:
    """Prints the document and ends with 2 when JSON lines are on; else typer prints its own box and ends with 2."""
    text = error.format_message()
    _print_error_json(ctx, [text], USAGE)
    if json_logs.on():
        print_message(text, event="error", level="error", exit_code=USAGE)
        raise typer.Exit(USAGE)
    # The box repeats arguments as they are.
    error.message = printable(error.message)
    for name in ("option_name", "possibilities"):
        if given := getattr(error, name, None):
            setattr(error, name, escaped(given) if isinstance(given, str) else [*map(escaped, given)])


NO_SPACE = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
"""What the system says, through whatever library, when a file cannot grow."""


def _message_and_code(error: BaseException) -> tuple[Sequence[str], int]:
    """Returns the lines for a person and the exit code."""
    # Ctrl-C is no error; people want to know whether it has lost anything.
    if isinstance(error, KeyboardInterrupt):
        return ["Stopped. What is committed stays; run the same command again to continue."], INTERRUPTED
    if isinstance(error, GaplessError):
        return error.lines, error.code
    message = summarize(error)
    if is_foreseen(error):  # the line holds the next step
        return [message], FAILED
    if any(words in message for words in NO_SPACE):
        step = "The disk, a quota or a limit is full: make room. What was committed stays; run the same again."
    else:
        step = "This error was not expected; gapless doctor may find the cause, --debug shows where it happened."
    return [message, step], FAILED


def _print_error_json(ctx: Context, lines: Sequence[str], code: int) -> None:
    """Prints the document of a command that failed, if --json was given."""
    command: str | None = ctx.meta.get("gapless.json")
    if command is not None:
        print_json(command, {}, code, error="\n".join(lines))


def _command(args: list[str]) -> str:
    """Returns the words of the command, such as "state show"; empty if there is none."""
    words = [arg for arg in args if not arg.startswith("-")]
    return " ".join(words[: 2 if words[:1] in (["state"], ["privacy"]) else 1])


def delivered(code: object, args: list[str]) -> object:
    """Returns the exit code of a command: 1 in place of 0 for one that only answers, and whose answer got lost.

    `args` are its arguments. A command that has done something keeps its own code; of both it is said on stderr.
    """
    if (problem := streams.undelivered()) is None:
        return code
    only_answers = _command(_formats_first(args)) in ANSWERS or not {DRY, "--help", "-h"}.isdisjoint(args)
    kept = "" if only_answers else "; what the command did stays done"
    print_message(
        f"the answer could not be written to stdout: {problem}{kept}", event="error", level="error", problem=problem
    )
    return (code or FAILED) if only_answers else code


def print_round_error(command: str, error: Exception) -> None:
    """Writes the document of a round of `--every` that broke off."""
    lines, code = _message_and_code(error)
    print_json(command, {}, code, error="\n".join(lines))
