"""State of the walk in newest_first.py: how far a listing was read that serves its newest records first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Generic, TypeVar

from gapless.sources._dlt.types import State
from gapless.sources._ledger.ledger import Coverage
from gapless.sources._ledger.markers import LOST
from gapless.sources._ledger.window import OLDEST, earlier
from gapless.sources._schema.parse import Unreadable

R = TypeVar("R")

KNOWN_IDS = 5
"""Ids remembered of the page with a walk's newest records, one of them from further down. Several, because one may be
deleted, or not be served yet by another machine of the vendor: its absence proves nothing."""


EMPTY = (
    "it is empty, and it had records before. If the next sync finds it empty again, it is believed. If the keys are"
    " another account's, give it a database of its own (DESTINATION__DUCKDB__CREDENTIALS)"
)
EVERYWHERE = datetime.max.replace(tzinfo=UTC)
"""A place above every record: it adds nothing to what a walk has to pass."""


@dataclass(frozen=True)
class Page(Generic[R]):
    """Records of one page and the cursor of the next one; no cursor: it is the last."""

    records: Sequence[R]
    unreadable: Sequence[Unreadable] = ()
    after: str | None = None
    total: int | None = None
    """Records of the whole listing according to the vendor."""
    shifted: bool = False
    """Records moved between this page and the one before it, so its times prove nothing about later pages."""
    weight: tuple[int, int] = (0, 0)
    """Bytes of all its records as JSON, and of the largest one."""
    id: str = "id"
    """Attribute of a record that holds its id."""
    time: str = "created_at"
    """Attribute of a record that holds its creation time."""
    erased: frozenset[str] = frozenset()
    """Ids that no state may keep, as their records were erased."""

    @property
    def times(self) -> list[datetime]:
        """Returns the creation times, in the page's order."""
        return [getattr(record, self.time) for record in self.records]

    @property
    def every_id(self) -> list[str]:
        """Returns the ids of all records that have one."""
        return [*(str(getattr(r, self.id)) for r in self.records), *(bad.key for bad in self.unreadable if bad.key)]

    @property
    def nameless(self) -> list[str]:
        """Returns the texts of the records without a readable id."""
        return [bad.raw for bad in self.unreadable if not bad.key]

    @property
    def may_be_last(self) -> list[str]:
        """Returns ids and texts of which one is the page's last record; where unreadable ones stood is not known."""
        return [*self.every_id[max(0, len(self.records) - 1) :], *self.nameless]

    @property
    def count(self) -> int:
        """Returns how many records came."""
        return len(self.records) + len(self.unreadable)

    def ids(self, until: datetime) -> list[str]:
        """Returns the ids of the records, without those created after `until`; ids of unreadable records last."""
        dated = [str(getattr(r, self.id)) for r, at in zip(self.records, self.times, strict=True) if at <= until]
        every = [*dated, *(record.key for record in self.unreadable if record.key)]
        return [one for one in every if one not in self.erased] if self.erased else every


@dataclass
class Walk:
    """One pass over the listing, from newer to older records."""

    top: datetime | None = None
    """The newest creation time read."""
    reached: datetime | None = None
    """The oldest creation time read."""
    floor: datetime | None = None
    """Where it may stop; None: at the end of the listing."""
    after: str | None = None
    """The cursor to resume at; None: the newest page."""
    newest: list[str] = field(default_factory=list)
    """Ids of the newest records it read: those of its first page, where the listing is in order."""
    known: list[str] = field(default_factory=list)
    """Ids of which one must appear if this is still the listing read before; empty: found, or not needed."""
    latest: datetime | None = None
    """The newest creation time read in this session since it began at the newest page."""
    missed: list[str] = field(default_factory=list)
    """Such ids that had not appeared at its floor; empty: they did, or did further down."""
    met: int | None = 0
    """Records that came since it began at the newest page; None: an earlier version did not count them."""
    total: int | None = None
    """The vendor's total at that time."""
    began: datetime | None = None
    """When it began at the newest page; what was met before may be elsewhere, or gone."""

    def restart(self, now: datetime) -> None:
        """Begins at the newest page once more; what it knows of the listing stays."""
        self.after, self.reached, self.newest, self.latest = None, None, [], None
        self.met, self.total, self.began = 0, None, now

    def take(self, page: Page[R], now: datetime) -> bool:
        """Updates the walk with a page; returns whether it reached its floor. Times after now are ignored."""
        # A time in the future is a vendor's clock or a planned record: it must not move the watermark.
        past, ids = [at for at in page.times if at <= now], page.ids(now)
        # In another order than newest first, a later page has newer records than the first one.
        before = self.latest or (self.top if self.newest else None)
        newer = before is not None and bool(past) and max(past) > before
        if newer or len(self.newest) < KNOWN_IDS:
            some = [*ids[: KNOWN_IDS - 1], *ids[-1:]]
            self.newest = list(dict.fromkeys([*some, *self.newest] if newer else [*self.newest, *some]))[:KNOWN_IDS]
        if set(self.known).intersection(ids):
            self.known = []
        if set(self.missed).intersection(ids):
            self.missed = []
        self.latest = max([*past, *([before] if before else [])], default=None)
        below = self.floor is not None and (whole_page_older(page, self.floor) or self._goes_below(page, self.floor))
        self.top = max([*past, *([self.top] if self.top else [])], default=None)
        self.reached = min([*past, *([self.reached] if self.reached else [])], default=None)
        self.after = page.after
        return below

    def _goes_below(self, page: Page[R], floor: datetime) -> bool:
        """Returns whether the page continues the walk newest first and ends below the floor."""
        times = page.times
        # Records that all have one time prove no order.
        falls = all(one >= other for one, other in pairwise(times)) and len(set(times)) > 1 and not page.unreadable
        return falls and times[-1] < floor and (self.reached is None or times[0] <= self.reached)


WALK_KEYS = ("watermark", "walks", "initial_value", "known", "lost")
"""What a WalkState writes to its resource's state."""


@dataclass
class WalkState:
    """All walks of a listing that are not finished, newest first, and the watermark below them."""

    watermark: datetime | None = None
    """All records created up to it are loaded."""
    walks: list[Walk] = field(default_factory=list)
    initial_value: datetime | None = None
    """Nothing older was ever requested."""
    known: list[str] = field(default_factory=list)
    """Ids of the newest records when the last walk was finished."""
    listing_changed: bool = False
    """This sync found none of the known ids: it is another listing than before, of another account perhaps."""
    lost: list[list[str | None]] = field(default_factory=list)
    """Intervals that the vendor did not keep until they were read, as in `missing`."""
    unproven: str | None = None
    """Why this sync could not prove that it read a walk to its end; that walk stays open."""
    _covered_before: datetime | None = None
    """The newest creation time read before, of a listing that is another one now."""
    passed_since: datetime | None = None
    """All that this and earlier syncs had to read was passed since then, without a stop; None: not all of it."""

    @classmethod
    def from_json(cls, state: State) -> WalkState:
        """Reads the state as `to_json` wrote it; an empty state is a new one."""
        walks = [_walk(saved) for saved in state.get("walks", ())]
        watermark, initial_value = _instant(state.get("watermark")), _instant(state.get("initial_value"))
        return cls(watermark, walks, initial_value, state.get("known", []), lost=state.get("lost", []))

    def to_json(self) -> State:
        """Returns the state as JSON values, times as ISO 8601 texts."""
        walks = [
            {
                **{name: _text(getattr(walk, name)) for name in ("top", "reached", "floor", "began")},
                **{name: getattr(walk, name) for name in ("after", "newest", "known", "met", "total")},
            }
            for walk in self.walks
        ]
        initial_value = _text(self.initial_value)
        state = {
            "watermark": _text(self.watermark), "walks": walks, "initial_value": initial_value, "known": self.known,
        }  # fmt: skip
        return {**state, "lost": self.lost} if self.lost else state

    def back_to(self, initial_value: datetime | None) -> WalkState:
        """Returns the state for reading from `initial_value` on: a new one if that is further back than before."""
        before = self.initial_value
        # What is older than the old initial value was never requested, so the watermark proves nothing about it.
        if before and (initial_value is None or initial_value < before):
            return WalkState(initial_value=initial_value, lost=self.lost)
        for walk in self.walks:
            # Nothing older is loaded any more, so an unfinished walk may end there, too.
            walk.floor = max(filter(None, (walk.floor, initial_value)), default=None)
        lost = [one for one in self.lost if not (initial_value and one[1] and _instant(one[1]) <= initial_value)]  # type: ignore[operator]  # a text is a time
        return replace(self, initial_value=initial_value, lost=lost)

    @property
    def newest(self) -> datetime | None:
        """Returns the newest creation time that was read, in UTC; None before the first record."""
        return next((walk.top for walk in self.walks if walk.top), self.watermark)

    def missing(self) -> list[list[str | None]]:
        """Returns the intervals not read yet, newest first, as [from, to]; a from of None is the beginning."""
        return [[_text(walk.floor), _text(walk.reached or walk.top)] for walk in self.walks]

    def lost_by(self, proof: Coverage | None) -> list[list[str | None]]:
        """Returns the lost intervals, with those that the proof of a load that broke off notes: its state is gone."""
        if proof is None or not proof.in_doubt or not (proof.error or "").startswith(LOST):
            return self.lost
        noted: list[list[str | None]] = json.loads(proof.missing or "[]")
        # One without a beginning or an end is a walk's, which begins anew.
        return [*self.lost, *(one for one in noted if None not in one and one not in self.lost)]

    def can_resume(self, now: datetime) -> bool:
        """Returns whether there is an unfinished walk that goes on at a cursor."""
        # A time in the future was written while our clock was wrong; `begin` forgets such a state.
        return bool(self.walks) and self.walks[0].after is not None and not (self.newest and self.newest > now)

    def begin(self, lag: timedelta, now: datetime, down_to: datetime | None = EVERYWHERE) -> None:
        """Starts a new walk, down to where the last one started, less the look-back `lag`.

        `down_to` is a place that must be passed, too; None: all of it. A walk that has to begin at the newest page
        again takes the place of a new one. A state with a time after now was written while our clock was wrong. It
        proves nothing, so all is read again.
        """
        if self.newest and self.newest > now:
            self.watermark, self.walks = None, []
        floors = [earlier(self.newest, lag) if self.newest else None, self.initial_value]
        floor = max(filter(None, floors), default=None)
        if floor and down_to is not EVERYWHERE:
            # Never below the initial value, although the place may be: nothing older is loaded.
            places = [self.initial_value or OLDEST, down_to or OLDEST]
            floor = min(floor, max(places)) if max(places) > OLDEST else None
        if self.walks and self.walks[0].after is None:
            again = self.walks[0]
            # Nothing above the old floor is proven yet, so the walk must reach the lower one of the two.
            again.floor = min(again.floor, floor) if again.floor and floor else None
            return again.restart(now)
        # Below the floor no known record can be met, so then none is expected.
        known = next((walk.newest for walk in self.walks if walk.top), self.known)
        down_to_it = floor is not None and self.newest is not None and floor <= self.newest
        self.walks.insert(0, Walk(floor=floor, known=known if down_to_it else [], began=now))

    def give_up(self, why: str) -> None:
        """Leaves the newest walk open: its end is not proven, so the next sync begins it at the newest page."""
        self.unproven, self.walks[0].after, self.walks[0].reached = why, None, None

    def finish(self, filtered: bool = False) -> bool:
        """Joins the newest walk, at its floor, to the walk below, or sets the watermark; returns whether it ended.

        If it found none of the known ids, an earlier sync read another listing, of another account perhaps. That
        proves nothing about this one, so the walk continues to the end, or to the initial value.
        """
        done = self.walks[0]
        if done.known:
            # Kept from the first time on: what is read after it belongs to the other listing.
            self._covered_before = (
                self._covered_before
                or self.watermark
                or next((walk.top for walk in self.walks[1:] if walk.top), None)
            )
            self.listing_changed, self.watermark, self.walks = True, None, [done]
            done.known, done.missed, done.floor = [], done.known, self.initial_value
            if filtered:  # the vendor left out what is older than the floor, so read again from the newest page
                done.after = None
            if filtered or done.after is not None:
                return False
        if done.missed and done.met == 0:
            # The next sync expects none of the records known until now, so it believes a listing that is empty again.
            self.give_up(EMPTY)
            return True
        self.walks.pop(0)
        # They stand further down: the vendor has only changed its order.
        self.listing_changed = self.listing_changed and bool(done.missed)
        if self.walks:
            # The new walk met the one below it, so together they reach up to the newer top.
            self.walks[0].top = max(filter(None, (done.top, self.walks[0].top)), default=None)
            self.walks[0].newest = done.newest or self.walks[0].newest
        else:
            self._end(done)
        return True

    def _end(self, done: Walk) -> None:
        before = self._covered_before
        # What the vendor served before is not there any more: what came after it may be gone as well.
        if before and done.reached and done.reached > before:
            self.lost = [*self.lost, [_text(before), _text(done.reached)]]
        # Only a walk down to the very end shows that a record it did not meet is not served any more.
        if done.floor is None or done.floor == self.initial_value:
            self.passed_since = done.began
        if done.top:
            self.watermark, self.known = max(done.top, self.watermark or done.top), done.newest or self.known


def _walk(saved: State) -> Walk:
    """Reads one walk; an earlier version did not write all of its fields."""
    times = {name: _instant(saved.get(name)) for name in ("top", "reached", "floor", "began")}
    others = {name: saved.get(name) for name in ("after", "newest", "known", "met", "total")}
    fields: dict[str, Any] = {**times, **others}
    return Walk(**fields)


def whole_page_older(page: Page[R], floor: datetime) -> bool:
    """Returns whether every record of a page was created before `floor`; False for a page without records."""
    return bool(page.records) and all(at < floor for at in page.times)


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _text(value: datetime | None) -> str | None:
    return value.isoformat() if value else None
