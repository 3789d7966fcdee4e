"""Lanes of the coverage: what is proven of one parent or of many, as segments of one line of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate, groupby
from typing import Literal

from gapless.pipelines.evidence.proofs import Proof

Kind = Literal["proven", "asked", "unread", "gap"]
BUCKETS = 200
"""Of a lane of many parents."""
MEANINGS: dict[Kind, str] = {
    "proven": "proven complete",
    "asked": "read, nothing newer was there",
    "unread": "not read since",
    "gap": "gap",
}
STEPS = [
    timedelta(**step)
    for step in (
        {"minutes": 5}, {"minutes": 15}, {"hours": 1}, {"hours": 3}, {"hours": 6}, {"hours": 12}, {"days": 1},
        {"days": 2}, {"days": 7}, {"days": 14}, {"days": 28}, {"days": 91}, {"days": 182}, {"days": 365},
        {"days": 730}, {"days": 1826}, {"days": 3652},
    )
]  # fmt: skip


@dataclass(frozen=True)
class Span:
    """The time that is shown."""

    start: datetime
    end: datetime

    def percent(self, at: datetime) -> float:
        """Returns where a time lies, from 0 to 100."""
        part = (at - self.start) / max(self.end - self.start, timedelta(seconds=1))
        return round(100 * min(1.0, max(0.0, part)), 3)

    def ticks(self, most: int = 6) -> list[tuple[float, str, datetime, datetime]]:
        """Returns the marks of the axis: place, label, and the span until the next one."""
        whole = self.end - self.start
        step = next((one for one in STEPS if whole / one <= most), whole)
        zero = datetime(1970, 1, 5, tzinfo=UTC)  # a Monday
        at, made = zero + -(-(self.start - zero) // step) * step, []
        while at < self.end:
            made.append((self.percent(at), _label(at, step, whole), at, min(at + step, self.end)))
            at += step
        return made


def _label(at: datetime, step: timedelta, whole: timedelta) -> str:
    if step < timedelta(days=1):
        return f"{at:%H:%M}" if at.hour or at.minute else f"{at.day} {at:%b}"
    return f"{at.day} {at:%b}" if whole < timedelta(days=300) else f"{at.day} {at:%b} {at:%Y}"


@dataclass(frozen=True)
class Segment:
    """A part of a lane; `x` and `width` are percent of it."""

    x: float
    width: float
    kind: Kind
    title: str
    label: str = ""
    """What stands in it where there is room."""


@dataclass
class Lane:
    """One line: of one parent, or of all parents of a stream."""

    name: str
    key: str
    """The parent's id; empty for many."""
    note: str
    """What the line says, in words."""
    bad: bool
    segments: list[Segment] = field(default_factory=list)


Interval = tuple[datetime, datetime, Kind, str]
"""Start, end, kind and meaning."""


def intervals(proof: Proof, span: Span, now: datetime) -> Iterator[Interval]:
    """Yields what is known of a parent over time; later intervals cover earlier ones."""
    if proof.reset:
        yield span.start, now, "gap", "reset: the next sync reads all of it again"
        return
    until, since = proof.covered_to, proof.covered_from
    # Of a first walk that is not finished nothing is proven yet.
    known = until or since or span.start
    checked = proof.last_checked_at or known
    if until:
        begin = f"{since:%Y-%m-%d %H:%M}" if since else "the beginning"
        yield since or span.start, until, "proven", f"proven complete from {begin} to {until:%Y-%m-%d %H:%M}"
    if proof.gone:
        return
    yield known, checked, "asked", f"nothing newer was there when last read, {checked:%Y-%m-%d %H:%M}"
    yield max(known, checked), now, "unread", f"not read since {checked:%Y-%m-%d %H:%M}"
    if proof.failures:
        why = f": {proof.error}" if proof.error else ""
        yield known, now, "gap", f"failed {proof.failures:,} times, not read since {known:%Y-%m-%d %H:%M}{why}"
    for first, last in proof.missing:
        text = f"gap from {first or 'the beginning'} to {last or 'now'}"
        yield _time(first, span.start), _time(last, now), "gap", text


def _time(text: str | None, default: datetime) -> datetime:
    """Returns a time of the ledger in UTC; `default` for an open end."""
    if text is None:
        return default
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def is_open(proof: Proof) -> bool:
    """Returns whether something of a parent is not proven."""
    return bool(proof.reset or proof.failures or proof.missing)


def whole_span(proofs: Iterable[Proof], oldest: datetime | None, now: datetime) -> Span:
    """Returns the time from a little before the first known time on, so that a gap before it has a place."""
    known = [oldest] if oldest else []
    for proof in proofs:
        known += [proof.covered_from] if proof.covered_from else []
        known += [_time(end, now) for gap in proof.missing for end in gap]
    first = min(known, default=now - timedelta(days=1))
    return Span(first - (now - first) / 40, now)


def lane_of_one(proof: Proof, name: str, span: Span, now: datetime) -> Lane:
    """Returns the lane of one parent."""
    lane = Lane(name or proof.stream, proof.parent, note(proof), is_open(proof))
    for start, end, kind, meaning in intervals(proof, span, now):
        # An interval outside of the span, or of no length, has no place.
        if start < end and end > span.start and start < span.end:
            x = span.percent(start)
            label = meaning.split(" ")[0] if kind == "gap" else ""
            lane.segments.append(Segment(x, round(span.percent(end) - x, 3), kind, meaning, label))
    return lane


def note(proof: Proof) -> str:
    """Returns what is known of a parent, in a few words."""
    if proof.reset:
        return "reset: all of it is read again"
    if proof.gone:
        return "gone at the vendor"
    if proof.failures:
        return f"failed {proof.failures:,} {'time' if proof.failures == 1 else 'times'}"
    if proof.missing:
        count = len(proof.missing)
        return f"{count:,} {'gap' if count == 1 else 'gaps'}"
    if proof.proven_to:
        return f"proven to {proof.proven_to:%Y-%m-%d %H:%M}"
    return "read, no record yet" if proof.last_checked_at else "nothing is proven yet"


def lane_of_many(proofs: Sequence[Proof], name: str, span: Span, now: datetime) -> Lane:
    """Returns one lane for many parents: a gap stands where one of them has one."""
    open_ = sum(map(is_open, proofs))
    text = f"{open_:,} of {len(proofs):,} with gaps" if open_ else f"all {len(proofs):,} without a gap"
    lane = Lane(name, "", text, open_ > 0)
    counts = _counts(proofs, span, now)
    states = [_state({kind: row[at] for kind, row in counts.items()}) for at in range(BUCKETS)]
    width = 100 / BUCKETS
    for kind, group in groupby(range(BUCKETS), key=lambda at: states[at]):
        if kind is None:
            continue
        run = [*group]
        many = max(counts["gap"][at] for at in run)
        title = f"a gap of up to {many:,} of {len(proofs):,}" if kind == "gap" else MEANINGS[kind]
        label = f"{many:,}" if kind == "gap" else ""
        lane.segments.append(Segment(round(run[0] * width, 3), round(len(run) * width, 3), kind, title, label))
    return lane


def _state(counts: dict[Kind, int]) -> Kind | None:
    """Returns what one bucket shows: a gap of one outweighs whatever the others are."""
    if counts["gap"]:
        return "gap"
    # Of parents that were read at different times, the least of what is known.
    weaker: tuple[Kind, ...] = ("unread", "proven", "asked")
    return next((kind for kind in weaker if counts[kind]), None)


def _counts(proofs: Sequence[Proof], span: Span, now: datetime) -> dict[Kind, list[int]]:
    """Returns by kind how many parents are in each bucket."""
    changes: dict[Kind, list[int]] = {kind: [0] * (BUCKETS + 1) for kind in MEANINGS}
    for proof in proofs:
        for start, end, kind, _ in intervals(proof, span, now):
            if start < end and end > span.start and start < span.end:
                first, last = (round(span.percent(at) * BUCKETS / 100) for at in (start, end))
                if kind == "gap":  # however short it is
                    first = min(first, BUCKETS - 1)
                    last = max(last, first + 1)
                changes[kind][first] += 1
                changes[kind][last] -= 1
    return {kind: [*accumulate(row)] for kind, row in changes.items()}
