"""Renders how a sync or a copy ended: a row for each source, why one is not complete, and the next step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from gapless.pipelines.cli.render.tables import REASONS, table
from gapless.pipelines.errors import FAILED, PARTIAL
from gapless.pipelines.evidence import sentences
from gapless.pipelines.evidence.grouping import Problem, failure_lines, is_plain_sync, remedies
from gapless.pipelines.outcome import exit_code, new_and_changed
from gapless.pipelines.printable import command

if TYPE_CHECKING:
    from gapless.pipelines.outcome import Outcome

NO_FACTS = ("source", "message", "ids")
"""Keys of a problem that a line of the log has elsewhere, or would repeat."""
STYLE = {"complete": "green", "partial": "yellow", "failed": "red"}


def summary(outcomes: list[Outcome]) -> Table:
    """Returns a row for each source of a sync: rows written, how many records are new, requests, seconds."""
    columns = ["source", "outcome", "rows written", "new", "by table", "requests", "retries", "waited s", "seconds"]
    return table("", columns, [_row(outcome) for outcome in outcomes])


def _row(outcome: Outcome) -> list[object]:
    """Returns the row of one source; child tables count in `rows` and are not listed."""
    # A child table is recognised by the double underscore in its name.
    roots = ", ".join(
        f"{name} {rows:,}{new_and_changed(_of(outcome.new, name), _of(outcome.changed, name))}"
        for name, rows in sorted(outcome.rows.items())
        if "__" not in name
    )
    return [
        outcome.source,
        Text(outcome.outcome, STYLE[outcome.outcome]),
        outcome.rows_written,
        "unknown" if outcome.rows_new is None else outcome.rows_new,
        roots,
        outcome.requests,
        outcome.retries,
        round(outcome.seconds_waited, 1),
        round(outcome.seconds, 1),
    ]


def _of(counts: dict[str, int] | None, table: str) -> int | None:
    return None if counts is None else counts.get(table, 0)


def problem_lines(found: Iterable[Problem]) -> list[str]:
    """Returns a sentence for each of the first problems, and how many more there are."""
    every = list(found)
    lines = [sentences.sentence(one) for one in every[:REASONS]]
    if len(every) > REASONS:
        lines.append(_more(every[0].source, len(every) - REASONS, sentences.destination_of(every[0])))
    return lines


def reasons(outcomes: list[Outcome]) -> Iterator[str]:
    """Yields a sentence for each source that failed, and for the first reasons why another is not complete."""
    yield from (line for outcome in outcomes for line, _ in reasons_with_facts(outcome))


def reasons_with_facts(outcome: Outcome) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the lines about one source, each with its facts for programs, of which a few lines have none."""
    problems = outcome.described_problems()
    for problem in problems[:REASONS]:
        yield str(problem["message"]), {name: problem[name] for name in problem if name not in NO_FACTS}
    lines = [*failure_lines(outcome.source, outcome.unexplained)]
    yield from ((line, {}) for line in lines[:REASONS])
    more = max(0, len(problems) - REASONS) + max(0, len(lines) - REASONS)
    if more:
        yield _more(outcome.source, more, outcome.destination), {}


def _more(source: str, count: int, destination: str) -> str:
    return f"{source}: and {count:,} more reasons; `{command(destination, 'gaps', source)}` lists them"


def _after_failures(failed: list[Outcome]) -> str:
    """Returns what ends that sources failed as a whole: the commands where they are known, else who looks for it."""
    doctor = command(failed[0].destination, "doctor")
    known = [one for one in dict.fromkeys(outcome.remedy for outcome in failed) if one != doctor]
    ends = [f"This ends it: {'; '.join(f'`{one}`' for one in known)}"] if known else []
    if any(outcome.remedy == doctor for outcome in failed):
        ends.append(f"{doctor} checks for the {'other ' if known else ''}cause; the same command continues.")
    return ". ".join(ends)


def advice(outcomes: list[Outcome]) -> str:
    """Returns the next step after a command with these outcomes; empty if there is none."""
    code = exit_code(outcomes)
    if code == FAILED:
        return f"What was committed stays. {_after_failures([one for one in outcomes if one.error])}"
    if code != PARTIAL:
        return ""
    commands = [
        one for one in remedies(p for outcome in outcomes for p in outcome.problems) if not is_plain_sync(one)
    ]
    again = command(outcomes[0].destination, "sync")
    first = f"All else is committed. The next {again} retries first what failed."
    return f"{first} The rest needs: {'; '.join(f'`{one}`' for one in commands)}" if commands else first
