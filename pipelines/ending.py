"""How a command ends: every error becomes one line for a person and an exit code; with --json, a document too.

Also the only place that writes: results to stdout, everything else to stderr.
"""

from __future__ import annotations

import json
import sys
import traceback
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from pipelines.errors import FAILED, INTERRUPTED, USAGE, GaplessError
from pipelines.secrets import redact

USAGE_ERROR: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")
LOG_WIDTH = 160
"""Of tables in files and pipes, which have no width of their own."""


def out() -> Console:
    return Console(width=None if sys.stdout.isatty() else LOG_WIDTH, highlight=False, emoji=False)


def err() -> Console:
    return Console(stderr=True, width=None if sys.stderr.isatty() else LOG_WIDTH, highlight=False, emoji=False)


def say(text: str) -> None:
    """Something for the person at the terminal, on stderr."""
    if text:
        err().print(redact(text), markup=False, soft_wrap=True)


def show(*results: Any) -> None:
    """Tables and lines of a result, on stdout."""
    for result in results:
        text = redact(result) if isinstance(result, str) else result
        out().print(text, markup=False, soft_wrap=isinstance(result, str | Text))


def document(content: Any) -> None:
    """The one JSON document of a command, on stdout; in one line."""
    sys.stdout.write(redact(json.dumps(content, default=_plain, ensure_ascii=False)) + "\n")
    sys.stdout.flush()


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


class Commands(TyperGroup):
    """Commands whose errors are told in one line. `--debug` may stand anywhere and shows the traceback."""

    # Contexts and errors are typed as Any: newer typers carry their own copy of click.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta["gapless.json"] = "--json" in args
        if "--debug" in args:
            args = ["--debug", *(arg for arg in args if arg != "--debug")]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if isinstance(error, USAGE_ERROR):  # typer prints it and ends with 2
                _document(ctx, error.format_message(), USAGE)
                raise
            text, code = _ending(error)
            if ctx.params.get("debug") and not isinstance(error, KeyboardInterrupt | GaplessError):
                sys.stderr.write(redact(traceback.format_exc()))
            say(text)
            _document(ctx, text, code)
            raise typer.Exit(code) from None


def _ending(error: BaseException) -> tuple[str, int]:
    if isinstance(error, KeyboardInterrupt):
        return "Stopped. What is committed stays; the same command goes on from there.", INTERRUPTED
    if isinstance(error, GaplessError):
        return str(error), error.code
    from pipelines.run import explain

    return f"{explain(error)}\nThis was not expected; --debug shows where it happened.", FAILED


def _document(ctx: Any, text: str, code: int) -> None:
    if ctx.meta.get("gapless.json"):
        document({"error": text, "exit_code": code})
