"""The end of a command that loads data: prints its outcomes and returns the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gapless.pipelines.cli import output, render
from gapless.pipelines.errors import COMPLETE, FAILED, PARTIAL
from gapless.pipelines.outcome import exit_code

if TYPE_CHECKING:
    from gapless.pipelines.outcome import Outcome

LEVELS = {COMPLETE: "info", PARTIAL: "warning", FAILED: "error"}


def print_outcomes(outcomes: list[Outcome], as_json: bool) -> int:
    """Prints the outcomes, what failed and the next step. Returns the exit code."""
    code = exit_code(outcomes)
    if as_json:
        output.print_json({"exit_code": code, "sources": [outcome.to_json() for outcome in outcomes]})
    else:
        output.print_results(render.summary(outcomes))
    # Also with --json: stdout holds the document alone, and stderr is for people.
    print_failures(outcomes)
    output.print_message(render.advice(code), event="ended", level=LEVELS[code], exit_code=code)
    return code


def print_failures(outcomes: list[Outcome]) -> None:
    """Prints one line for each failure, the first ten of a source."""
    for outcome in outcomes:
        for line in render.reasons([outcome]):
            output.print_message(line, event="failure", level="warning", source=outcome.source, run_id=outcome.run_id)
