"""How far a listing was read that serves its newest records first: the state of the walk in walk.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Generic, TypeVar

from gapless.sources._schema.parse import Unreadable

R = TypeVar("R")

NEWEST = 5
"""So many ids are kept of the first records, one from further down: what the vendor deleted, or does not serve yet
from another of its machines, proves nothing."""


@dataclass(frozen=True)
class Page(Generic[R]):
    """Records of one page and the cursor of the next one; no cursor: it is the last."""

    records: Sequence[R]
    unreadable: Sequence[Unreadable] = ()
    after: str | None = None
    total: int | None = None
    """How many the vendor says there are in all."""
    shifted: bool = False
    """It does not follow on the page before it, so it says nothing about what comes after it."""
    id: str = "id"
    time: str = "created_at"
    """Attributes of a record."""

    @property
    def times(self) -> list[datetime]:
        """Creation times, in the page's order."""
        return [getattr(record, self.time) for record in self.records]

    def ids(self, until: datetime) -> list[str]:
        """Returns the ids of its records, but of those created later than `until`; unreadable ones last."""
        dated = [str(getattr(r, self.id)) for r, at in zip(self.records, self.times, strict=True) if at <= until]
        return [*dated, *(record.key for record in self.unreadable if record.key)]


@dataclass
class Walk:
    top: datetime | None = None
    reached: datetime | None = None
    floor: datetime | None = None
    after: str | None = None
    """None: it begins at the newest page."""
    newest: list[str] = field(default_factory=list)
    """Ids of the first records it came upon."""
    known: list[str] = field(default_factory=list)
    """Ids of which it must meet one, if this still is the listing that was read before; empty: met, or no matter."""

    def take(self, page: Page[Any], now: datetime) -> bool:
        """Note what `page` brought; whether the walk is finished. A time yet to come moves nothing."""
        past, ids = [at for at in page.times if at <= now], page.ids(now)
        if len(self.newest) < NEWEST:
            self.newest = list(dict.fromkeys([*self.newest, *ids[: NEWEST - 1], *ids[-1:]]))[:NEWEST]
        if set(self.known).intersection(ids):
            self.known = []
        below = self.floor is not None and (whole_page_older(page, self.floor) or self._goes_below(page, self.floor))
        self.top = max([*past, *([self.top] if self.top else [])], default=None)
        self.reached = min([*past, *([self.reached] if self.reached else [])], default=None)
        self.after = page.after
        return self.after is None or below

    def _goes_below(self, page: Page[Any], floor: datetime) -> bool:
        """Whether it is sorted newest first, in itself and after what came before, and ends below the floor."""
        times = page.times
        falls = all(one >= other for one, other in pairwise(times)) and len(set(times)) > 1 and not page.unreadable
        return falls and times[-1] < floor and (self.reached is None or times[0] <= self.reached)


@dataclass
class WalkState:
    """The state of the listing; `walks` newest first. Nothing older than `initial_value` was ever asked for."""

    watermark: datetime | None = None
    walks: list[Walk] = field(default_factory=list)
    initial_value: datetime | None = None
    known: list[str] = field(default_factory=list)
    """Ids of the newest records when the last walk was finished."""
    another: bool = False
    """This sync met none of what was known: it is another listing than before."""

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> WalkState:
        walks = [
            Walk(
                _instant(w["top"]), _instant(w["reached"]), _instant(w["floor"]), w["after"], w["newest"], w["known"]
            )
            for w in state.get("walks", ())
        ]
        watermark, initial_value = _instant(state.get("watermark")), _instant(state.get("initial_value"))
        return cls(watermark, walks, initial_value, state.get("known", []))

    def to_json(self) -> dict[str, Any]:
        walks = [
            {
                **{name: _text(getattr(walk, name)) for name in ("top", "reached", "floor")},
                **{name: getattr(walk, name) for name in ("after", "newest", "known")},
            }
            for walk in self.walks
        ]
        initial_value = _text(self.initial_value)
        return {
            "watermark": _text(self.watermark), "walks": walks, "initial_value": initial_value, "known": self.known,
        }  # fmt: skip

    def back_to(self, initial_value: datetime | None) -> WalkState:
        """To read from `initial_value` on: all over again if that is further back than was asked for so far."""
        before = self.initial_value
        if before and (initial_value is None or initial_value < before):
            return WalkState(initial_value=initial_value)
        return replace(self, initial_value=initial_value)

    @property
    def newest(self) -> datetime | None:
        """Up to here the newest walk, or the last finished one, has read."""
        return next((walk.top for walk in self.walks if walk.top), self.watermark)

    def missing(self) -> list[list[str | None]]:
        """The intervals not read yet, newest first, as [from, to]; from None: from the beginning."""
        return [[_text(walk.floor), _text(walk.reached)] for walk in self.walks]

    def begin(self, lag: timedelta, now: datetime) -> None:
        """Put a new walk on top, down to where reading began last time, less the look-back.

        What was read up to a time yet to come was read while our clock was wrong. It proves nothing: all is read.
        """
        if self.newest and self.newest > now:
            self.watermark, self.walks = None, []
        floors = [self.newest - lag if self.newest else None, self.initial_value]
        floor = max(filter(None, floors), default=None)
        known = next((walk.newest for walk in self.walks if walk.top), self.known)
        down_to_it = floor is not None and self.newest is not None and floor <= self.newest
        self.walks.insert(0, Walk(floor=floor, known=known if down_to_it else []))

    def finish(self, filtered: bool = False) -> bool:
        """The newest walk met its floor: it joins the one below it, or is the new watermark. Whether it may end.

        If it met nothing known, what was read before was another listing, another account's maybe. That proves
        nothing here, so this walk goes on to the end, or to the initial value, and then stands alone.
        """
        done = self.walks[0]
        if done.known:
            self.another, self.watermark, self.walks = True, None, [done]
            done.known, done.floor = [], self.initial_value
            if filtered:  # what is older than the floor was left out: all is read, from the newest page on
                done.after = None
            if filtered or done.after is not None:
                return False
        self.walks.pop(0)
        if self.walks:
            self.walks[0].top = max(filter(None, (done.top, self.walks[0].top)), default=None)
            self.walks[0].newest = done.newest or self.walks[0].newest
        elif done.top:
            self.watermark, self.known = max(done.top, self.watermark or done.top), done.newest or self.known
        return True


def whole_page_older(page: Page[Any], floor: datetime) -> bool:
    return bool(page.records) and all(at < floor for at in page.times)


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _text(value: datetime | None) -> str | None:
    return value.isoformat() if value else None
