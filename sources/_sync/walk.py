"""The resumable walk over a listing that serves its newest records first and is paged by opaque cursors.

State, as JSON: `watermark` (all records created up to it are loaded) and `walks`, the unfinished ones, newest
first. Each has read from `top` down to `reached`, resumes at the cursor `after` and is finished when a whole page
is older than `floor`. A sync first walks down to where the newest unfinished walk began, then resumes that one: so
the newest data come first, nothing is read twice, and the watermark moves only once its walk has met its floor.
dlt's `incremental` would move it after the first page and lose the tail of an interrupted sync.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

from sources._records.parse import Unreadable
from sources._rest.errors import BadRequest, NotFound
from sources._sync.fan_out import ahead


class Dated(Protocol):
    @property
    def created_at(self) -> datetime: ...


D = TypeVar("D", bound=Dated)


@dataclass(frozen=True)
class Page(Generic[D]):
    """Records of one page and the cursor of the next one; no cursor: it is the last."""

    records: Sequence[D]
    unreadable: Sequence[Unreadable] = ()
    after: str | None = None
    total: int | None = None
    """How many the vendor says there are in all."""
    shifted: bool = False
    """It does not follow on the page before it, so it says nothing about what comes after it."""


@dataclass
class Walk:
    top: datetime | None = None
    reached: datetime | None = None
    floor: datetime | None = None
    after: str | None = None
    """None: it begins at the newest page."""

    def take(self, page: Page[Any], now: datetime) -> bool:
        """Note what `page` brought; whether the walk is finished. A time yet to come moves nothing."""
        past = [r.created_at for r in page.records if r.created_at <= now]
        self.top = max([*past, *([self.top] if self.top else [])], default=None)
        self.reached = min([*past, *([self.reached] if self.reached else [])], default=None)
        self.after = page.after
        return self.after is None or (self.floor is not None and _whole_page_older(page, self.floor))


@dataclass
class Progress:
    """The state of the listing; `walks` newest first. Nothing older than `initial_value` was ever asked for."""

    watermark: datetime | None = None
    walks: list[Walk] = field(default_factory=list)
    initial_value: datetime | None = None

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Progress:
        walks = [
            Walk(_instant(w["top"]), _instant(w["reached"]), _instant(w["floor"]), w["after"])
            for w in state.get("walks", ())
        ]
        return cls(_instant(state.get("watermark")), walks, _instant(state.get("initial_value")))

    def to_json(self) -> dict[str, Any]:
        walks = [
            {"top": _text(w.top), "reached": _text(w.reached), "floor": _text(w.floor), "after": w.after}
            for w in self.walks
        ]
        initial_value = _text(self.initial_value)
        return {"watermark": _text(self.watermark), "walks": walks, "initial_value": initial_value}

    def back_to(self, initial_value: datetime | None) -> Progress:
        """To read from `initial_value` on: all over again if that is further back than was asked for so far."""
        before = self.initial_value
        if before and (initial_value is None or initial_value < before):
            return Progress(initial_value=initial_value)
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
        self.walks.insert(0, Walk(floor=max(filter(None, floors), default=None)))

    def finish(self) -> None:
        """The newest walk met its floor: it joins the one below it, or is the new watermark."""
        done = self.walks.pop(0)
        if self.walks:
            self.walks[0].top = max(filter(None, (done.top, self.walks[0].top)), default=None)
        elif done.top:
            self.watermark = max(done.top, self.watermark or done.top)


def newest_first(
    pages: Callable[[str | None], Iterable[Page[D]]],
    progress: Progress,
    *,
    lag: timedelta,
    now: datetime,
) -> Iterator[Page[D]]:
    """Every page that may hold something new; `progress` is up to date whenever one is yielded.

    `pages` reads on from a cursor. One that the vendor refuses restarts its walk at the newest page.
    """
    progress.begin(lag, now)
    while progress.walks:
        walk = progress.walks[0]
        for page in _restarting(pages, walk):
            finished = walk.take(page, now)
            if finished:
                progress.finish()
            yield page
            if finished:
                break


def _restarting(pages: Callable[[str | None], Iterable[Page[D]]], walk: Walk) -> Iterator[Page[D]]:
    """The walk's pages; after a refused cursor once more from the newest, as long as that leads deeper."""
    deepest: datetime | None = None
    while True:
        try:
            yield from pages(walk.after) if walk.floor else ahead(pages(walk.after))
            return
        except (BadRequest, NotFound):
            no_deeper = deepest is not None and (walk.reached is None or walk.reached >= deepest)
            if walk.after is None or no_deeper:
                raise
            deepest, walk.after = walk.reached, None


def _whole_page_older(page: Page[Any], floor: datetime) -> bool:
    return bool(page.records) and all(record.created_at < floor for record in page.records)


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _text(value: datetime | None) -> str | None:
    return value.isoformat() if value else None


def until_older(pages: Iterable[Page[D]], floor: datetime | None) -> Iterator[Page[D]]:
    """Pages of a listing whose order is not documented, up to the first that is older than `floor` as a whole.

    That is believed only while all that was read proves to be sorted newest first; else every page is read.
    """
    last: datetime | None = None
    sorted_so_far, descended = True, False
    for page in pages:
        yield page
        for record in page.records:
            if last is not None:
                sorted_so_far &= record.created_at <= last
                descended |= record.created_at < last
            last = record.created_at
        proven = sorted_so_far and descended and not page.shifted
        if floor is not None and proven and _whole_page_older(page, floor):
            return
