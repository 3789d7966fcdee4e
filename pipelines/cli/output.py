"""How a command ends: every error becomes one line for a person and an exit code; with --json, a document too.

Also the only place that writes: results to stdout, everything else to stderr.
"""

from __future__ import annotations

import json
import sys
import traceback
from typing import Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from gapless.pipelines import json_logs
from gapless.pipelines.errors import FAILED, INTERRUPTED, USAGE, GaplessError
from gapless.pipelines.redaction import cleaned, redact

USAGE_ERROR: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")
LOG_WIDTH = 160
"""Of tables in files and pipes, which have no width of their own."""


def out() -> Console:
    return Console(width=None if sys.stdout.isatty() else LOG_WIDTH, highlight=False, emoji=False)


def err() -> Console:
    return Console(stderr=True, width=None if sys.stderr.isatty() else LOG_WIDTH, highlight=False, emoji=False)


def say(text: str, **facts: Any) -> None:
    """Something for the person at the terminal, on stderr. JSON lines have its facts too, even without a text."""
    if json_logs.on():
        if text or facts:
            json_logs.tell(text, **facts)
    elif text:
        err().print(redact(text), markup=False, soft_wrap=True)


def show(*results: Any) -> None:
    """Tables and lines of a result, on stdout."""
    for result in results:
        text = redact(result) if isinstance(result, str) else result
        out().print(text, markup=False, soft_wrap=isinstance(result, str | Text))


def document(content: Any) -> None:
    """The one JSON document of a command, on stdout; in one line."""
    sys.stdout.write(json.dumps(cleaned(content), ensure_ascii=False) + "\n")
    sys.stdout.flush()


class Commands(TyperGroup):
    """Commands whose errors are told in one line. `--debug` (show the traceback) and `--log-format` may stand
    anywhere."""

    # Contexts and errors are typed as Any: newer typers carry their own copy of click.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta["gapless.json"] = "--json" in args
        if "--debug" in args:
            args = ["--debug", *(arg for arg in args if arg != "--debug")]
        args = _formats_first(args)
        json_logs.begin(json_logs.asked(args))
        try:
            return super().parse_args(ctx, args)
        except USAGE_ERROR as error:
            _wrong_usage(ctx, error)
            raise

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if isinstance(error, USAGE_ERROR):
                _document(ctx, error.format_message(), USAGE)
                _wrong_usage(ctx, error)
                raise
            text, code = _ending(error)
            facts: dict[str, Any] = {"event": "error", "level": "error", "exit_code": code}
            if ctx.params.get("debug") and not isinstance(error, KeyboardInterrupt | GaplessError):
                facts["traceback"] = traceback.format_exc()
                if not json_logs.on():
                    sys.stderr.write(redact(facts["traceback"]))
            say(text, **facts)
            _document(ctx, text, code)
            raise typer.Exit(code) from None


def _formats_first(args: list[str]) -> list[str]:
    """`--log-format json` as one word, before the command."""
    ours: list[str] = []
    rest: list[str] = []
    waiting = iter(args)
    for arg in waiting:
        if arg == json_logs.OPTION:
            ours.append(f"{arg}={next(waiting, '')}")
        else:
            (ours if arg.startswith(f"{json_logs.OPTION}=") else rest).append(arg)
    return [*ours, *rest]


def _wrong_usage(ctx: Any, error: Any) -> None:
    """typer prints it and ends with 2; here it is a line as all others, and the end."""
    if json_logs.on():
        say(error.format_message(), event="error", level="error", exit_code=USAGE)
        raise typer.Exit(USAGE)


def _ending(error: BaseException) -> tuple[str, int]:
    if isinstance(error, KeyboardInterrupt):
        return "Stopped. What is committed stays; the same command goes on from there.", INTERRUPTED
    if isinstance(error, GaplessError):
        return str(error), error.code
    from gapless.pipelines.errors import explain

    what_next = "This was not expected; gapless doctor may know the cause, --debug shows where it happened."
    return f"{explain(error)}\n{what_next}", FAILED


def _document(ctx: Any, text: str, code: int) -> None:
    if ctx.meta.get("gapless.json"):
        document({"error": text, "exit_code": code})
