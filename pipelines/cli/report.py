"""The end of a command that loads data: prints its outcomes and returns the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gapless.pipelines.cli import output
from gapless.pipelines.cli.render import syncs
from gapless.pipelines.errors import COMPLETE, FAILED, PARTIAL, USAGE
from gapless.pipelines.outcome import exit_code

if TYPE_CHECKING:
    from gapless.pipelines.outcome import Outcome

LEVELS = {COMPLETE: "info", PARTIAL: "warning", FAILED: "error", USAGE: "error"}


def print_outcomes(command: str, outcomes: list[Outcome], *, as_json: bool, strict: bool = False) -> int:
    """Prints the outcomes, what failed and the next step. Returns the exit code; `strict` has no 3."""
    code = exit_code(outcomes, strict=strict)
    if as_json:
        sources = [outcome.to_json() for outcome in outcomes]
        output.print_json(command, {"sources": sources}, code, problems_of(outcomes))
    else:
        output.print_results(syncs.summary(outcomes))
    # Also with --json: stdout holds the document alone, and stderr is for people.
    print_failures(outcomes)
    output.print_message(syncs.advice(outcomes), event="ended", level=LEVELS[code], exit_code=code)
    return code


def problems_of(outcomes: list[Outcome]) -> list[dict[str, object]]:
    """Returns the problems of all outcomes, one for each reason."""
    return [problem for outcome in outcomes for problem in outcome.described_problems()]


def print_failures(outcomes: list[Outcome]) -> None:
    """Prints one line for each failure, the first ten of a source."""
    for outcome in outcomes:
        if outcome.note:
            output.print_message(outcome.note, event="note", source=outcome.source, run_id=outcome.run_id)
        level = "error" if outcome.error else "warning"
        for line, facts in syncs.reasons_with_facts(outcome):
            facts |= {"source": outcome.source, "run_id": outcome.run_id}
            output.print_message(line, event="failure", level=level, **facts)
