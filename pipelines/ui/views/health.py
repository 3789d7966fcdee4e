"""Health: a card for each source with the one verdict on it, and a line for each stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import takewhile
from typing import Any

from gapless.pipelines.evidence.completeness import verdicts
from gapless.pipelines.evidence.gap import Gap
from gapless.pipelines.evidence.grouping import Problem, problems
from gapless.pipelines.evidence.known import Known
from gapless.pipelines.evidence.proofs import low_watermark, read_proofs
from gapless.pipelines.evidence.rounds import last_round, of_part, read_rounds
from gapless.pipelines.evidence.sentences import failed_source, reason, what
from gapless.pipelines.printable import command
from gapless.pipelines.ui.address import View, short
from gapless.pipelines.ui.site import Question
from gapless.sources import SOURCES

SHOWN = 3
"""Problems on a card; the coverage has the others."""
STREAMS = (
    "account, stream, newest_record_at, covered_to, last_checked_at, parents, failing, missing, reset, dead_letters,"
    " last_run_at, last_run_outcome"
)


@dataclass
class Shown:
    """One problem of a card, in words."""

    what: str
    why: str
    fill: str
    """The command that mends it; empty: nobody knows one."""
    tone: str = "bad"


@dataclass
class Card:
    """The verdict on one source."""

    source: str
    colour: str
    verdict: str
    tone: str
    """good, some, bad, or empty where nothing is known."""
    proven_to: datetime | None = None
    newest: datetime | None = None
    checked: datetime | None = None
    late: bool = False
    """The last check is older than the source's cadence allows."""
    problems: list[Shown] = field(default_factory=list)
    more: int = 0
    """Problems that are not shown."""


def gaps(question: Question, names: Iterable[str]) -> list[Gap]:
    """Returns the gaps of sources, as `gapless gaps` lists them."""
    known = question.remembered(("gaps",), partial(_verdicts, question))
    return [gap for name in names for gap in known.get(name, ())]


def _verdicts(question: Question) -> dict[str, list[Gap]]:
    found = verdicts(question.db.reader, question.site.target.target, now=question.now)
    return {one.source: one.gaps for one in found}


def fetch(question: Question) -> Mapping[str, Any]:
    """Returns the cards, and the lines of the streams."""
    # The view reads every source, so it has no rows where somebody dropped the tables of one.
    rows = question.db.rows_if_exists(f"select {STREAMS} from activity.freshness order by account, stream")
    cards = [_card(question, name, [row for row in rows if row[0] == name]) for name in SOURCES]
    order = {name: at for at, name in enumerate(SOURCES)}
    return {"cards": cards, "streams": sorted(rows, key=lambda row: (order.get(row[0], 99), row[5] == 0))}


def _last_round(question: Question, name: str) -> tuple[Any, ...] | None:
    """Returns the last round's outcome and error, and since when how many in a row have ended so; None: none was."""
    reader = Known(question.db.reader, SOURCES[name])
    rounds = question.remembered(("rounds", name), lambda: read_rounds(reader, name, question.now))
    last = last_round(rounds)
    if last is None:
        return None
    same = [*takewhile(lambda one: one.outcome == last.outcome, of_part(rounds, last.shard))]
    return last.outcome, last.error, len(same), same[-1].started_at


def _card(question: Question, name: str, rows: list[tuple[Any, ...]]) -> Card:
    source, now, run = SOURCES[name], question.now, _last_round(question, name)
    card, found = Card(name, source.facts.colour, "never synced", ""), problems(gaps(question, [name]))
    if run is None and not rows and not found:
        return card
    proofs = question.remembered(
        ("proven", name),
        lambda: low_watermark(read_proofs(Known(question.db.reader, source), name, source.main.name) or []),
    )
    card.proven_to = proofs
    card.newest, card.checked = (max(filter(None, (row[i] for row in rows)), default=None) for i in (2, 4))
    card.late = card.checked is not None and now - card.checked > source.facts.cadence.warn_after
    card.problems = [_shown(question, problem) for problem in found[:SHOWN]]
    card.more = len(found) - len(card.problems)
    outcome, error, times, first = run or ("never synced", None, 0, None)
    # That problem already says so, with what to do.
    if outcome == "failed" and not any(problem.kind == "not asked" for problem in found):
        text = failed_source(name, error or "no reason is known", times, first, card.proven_to, now)
        card.problems.insert(0, Shown("", text, command(question.site.target.target.destination, "doctor")))
    card.verdict, card.tone = _verdict(outcome, card)
    return card


def _shown(question: Question, problem: Problem) -> Shown:
    soft = problem.kind in ("backfill", "stale", "shard")
    return Shown(
        named_problem(question, problem), reason(problem, question.now), problem.fill, "some" if soft else "bad"
    )


def named_problem(question: Question, problem: Problem) -> str:
    """Returns what is not complete: "4 of 26 leads (Ada Vale, Bo Lind, …)", by names as far as there are some."""
    if not problem.ids:
        return what(problem)
    first = problem.ids[: 3 if problem.of is not None else 1]
    # The ids of dead letters are those of records, which have no name.
    names = question.labels(problem.source, first) if problem.of is not None else {}
    more = ", …" if len(problem.ids) > len(first) else ""
    return f"{what(problem, ids=False)} ({', '.join(names.get(key) or short(key) for key in first)}{more})"


def _verdict(outcome: str, card: Card) -> tuple[str, str]:
    """Returns the verdict in a word or two, and its tone."""
    if outcome == "failed":
        return "failed", "bad"
    if card.problems:
        # A sync can be complete while older gaps are still open.
        count = len(card.problems) + card.more
        return f"{count:,} {'problem' if count == 1 else 'problems'}", "some"
    return ("complete", "good") if outcome == "complete" else (outcome, "")


VIEW = View("health", "Health", (), fetch)
