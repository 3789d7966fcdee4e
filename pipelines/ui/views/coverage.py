"""Coverage: the time that is proven complete, by source, stream and parent, and each gap with what fills it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from gapless.pipelines.evidence.grouping import Problem, problems
from gapless.pipelines.evidence.proofs import Proof, as_utc, read_proofs
from gapless.pipelines.evidence.sentences import reason
from gapless.pipelines.ui.address import View
from gapless.pipelines.ui.lanes import Lane, Span, is_open, lane_of_many, lane_of_one, whole_span
from gapless.pipelines.ui.site import Question, source_choices
from gapless.pipelines.ui.views.health import gaps, named_problem
from gapless.sources import SOURCES

FEW = 40
"""Parents of a stream that are all shown at once."""
LINES = 60
"""Parents on one page of a stream."""
GAPS = 100
"""Problems in the table."""


@dataclass
class Group:
    """One stream with its lanes."""

    source: str
    stream: str
    noun: str
    parents: int
    open: int
    lanes: list[Lane] = field(default_factory=list)
    shown: int = 0
    """Parents that fit the filters."""


def fetch(question: Question) -> Mapping[str, Any]:
    """Returns the lanes of each stream, the axis above them, and the gaps."""
    proofs = {
        name: question.remembered(("proofs", name), partial(_proofs, question, name)) for name in question.sources
    }
    span, whole = _span(question, [proof for some in proofs.values() for proof in some])
    groups = [
        _group(question, name, stream, [proof for proof in some if proof.stream == stream], span)
        for name, some in proofs.items()
        for stream in dict.fromkeys(proof.stream for proof in some)
        if question.address["stream"] in ("", stream)
    ]
    found = problems(gaps(question, question.sources))
    return {
        "groups": groups,
        "span": span,
        "zoomed": span != whole,
        "ticks": span.ticks(),
        "problems": [_problem(question, problem) for problem in found[:GAPS]],
        "more": max(0, len(found) - GAPS),
        "lines": LINES,
        "page": _page(question),
    }


def _proofs(question: Question, name: str) -> list[Proof]:
    return read_proofs(question.db.reader, name) or []


def _span(question: Question, proofs: list[Proof]) -> tuple[Span, Span]:
    """Returns the span of the address, and the whole one."""
    now = question.now
    where, values = question.where("source")
    query = f"select min(occurred_at) from activity.timeline where {where}"
    oldest = question.remembered((query, *values), lambda: as_utc(question.db.rows(query, *values)[0][0]))
    whole = whole_span(proofs, oldest, now)
    start, end = _moment(question.address["from"]) or whole.start, _moment(question.address["to"]) or whole.end
    return (Span(start, end), whole) if start < end else (whole, whole)


def _moment(text: str) -> datetime | None:
    """Returns a time or a day of an address in UTC; None for a text that is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _page(question: Question) -> int:
    return max(1, int(question.address["page"])) if question.address["page"].isdigit() else 1


def _group(question: Question, source: str, stream: str, proofs: list[Proof], span: Span) -> Group:
    """Returns a stream: one lane for all of its parents, and a lane for each where they are few or were chosen."""
    parents, now = SOURCES[source].stream.parents, question.now
    noun = parents.noun if parents and stream == SOURCES[source].main.name else "parents"
    group = Group(source, stream, noun, len(proofs), sum(map(is_open, proofs)))
    if len(proofs) == 1 and not proofs[0].parent:
        group.lanes = [lane_of_one(proofs[0], stream, span, now)]
        return group
    group.lanes = [lane_of_many(proofs, f"all {len(proofs):,} {noun}", span, now)]
    if question.address["stream"] or (question.source and len(proofs) <= FEW):
        chosen = _chosen(question, source, proofs)
        group.shown, first = len(chosen), LINES * (_page(question) - 1)
        some = chosen[first : first + LINES]
        names = question.labels(source, [proof.parent for proof in some])
        group.lanes += [lane_of_one(proof, names.get(proof.parent, proof.parent), span, now) for proof in some]
    return group


def _chosen(question: Question, source: str, proofs: list[Proof]) -> list[Proof]:
    """Returns the parents that fit the filters, those with gaps first."""
    text = question.address["q"].strip().lower()
    if text:
        named = set(question.named(text))
        proofs = [proof for proof in proofs if text in proof.parent.lower() or proof.parent in named]
    if question.address["show"]:
        proofs = [proof for proof in proofs if is_open(proof)]
    return sorted(proofs, key=lambda proof: (not is_open(proof), proof.parent))


def _problem(question: Question, problem: Problem) -> dict[str, Any]:
    return {
        "source": problem.source,
        "stream": problem.stream,
        "what": named_problem(question, problem),
        "kind": problem.kind,
        "since": _moment(problem.since) if problem.since else None,
        "until": _moment(problem.until) if problem.until else None,
        "why": reason(problem, question.now),
        "fill": problem.fill,
    }


VIEW = View(
    "coverage",
    "Coverage",
    ("source", "stream", "show", "q", "from", "to", "page"),
    fetch,
    choices={"source": source_choices, "show": lambda: {"gaps": "with gaps only"}},
)
