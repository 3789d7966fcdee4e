"""Walks over a listing that serves its newest records first and is paged by opaque cursors; it can be resumed.

State, as JSON: `watermark` (all records created up to it are loaded) and `walks`, the unfinished ones, newest
first. Each has read from `top` down to `reached`, resumes at the cursor `after`, and is finished when a page that is
sorted goes below `floor`, when a whole page is older, or at the end of the listing if that end is proven. A sync
first walks down to where the newest unfinished walk began, then resumes that one: so the newest data come first,
nothing is read twice, and the watermark moves only once its walk has met its floor.
dlt's `incremental` would move it after the first page and lose the rest of an interrupted sync.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Generic

from gapless.sources._http.errors import BadRequest, NotFound
from gapless.sources._incremental.listing_end import ListingEnd
from gapless.sources._ledger.walk_state import EVERYWHERE, Page, R, WalkState, whole_page_older

Pages = Callable[[str | None, datetime | None], Iterable[Page[R]]]


def newest_first(
    pages: Pages[R],
    progress: WalkState,
    *,
    lag: timedelta,
    now: datetime,
    filtered: bool = False,
    down_to: datetime | None = EVERYWHERE,
    per_page: int | None = None,
    resume: bool = False,
) -> Iterator[Page[R]]:
    """Yields every page that may hold something new; `progress` is updated before each page is yielded.

    `pages(after, floor)` continues at a cursor. `filtered` says that it leaves out records older than `floor`.
    A cursor that the vendor refuses restarts its walk at the newest page. `down_to` is as in `WalkState.begin`. A
    walk whose end is not proven stays open: `progress.unproven` says why. `per_page` is the most records of a page.
    With `resume` no new walk begins while one can be resumed: so runs that read only a few pages come to the end.
    """
    if not (resume and progress.can_resume(now)):
        progress.begin(lag, now, down_to)
    while progress.walks and not progress.unproven:
        yield from _Reading(pages, progress, now, filtered, per_page).pages()


class _Next(Enum):
    """What follows a page."""

    PAGE = auto()
    READ_AGAIN = auto()
    """From `walk.after` on."""
    NOTHING = auto()
    """The walk is finished, or given up."""


class _Reading(Generic[R]):
    """Reads the newest walk until it is finished or given up."""

    def __init__(
        self, pages: Pages[R], progress: WalkState, now: datetime, filtered: bool, per_page: int | None
    ) -> None:
        self._source, self._progress, self._now, self._filtered = pages, progress, now, filtered
        self._walk, self._per_page, self._longest = progress.walks[0], per_page, 0
        self._begin()

    def _begin(self) -> None:
        self._resumed = self._walk.after is not None
        # A walk that is resumed has met a part of the records in an earlier session.
        self._end = ListingEnd(self._walk.met, self._walk.total)
        self._first, self._asked_twice = True, set[str | None]()
        self._before: dict[str, R] = {}
        """Records, by id, of the page that is requested once more."""

    def _restart(self) -> None:
        self._walk.restart(self._now)
        self._begin()

    def pages(self) -> Iterator[Page[R]]:
        """Yields the walk's pages."""
        following = _Next.READ_AGAIN
        while following is _Next.READ_AGAIN:
            following = _Next.NOTHING
            for page in self._restarting():
                fresh = self._without_read(page)
                following = self._take(page)
                yield fresh
                if following is not _Next.PAGE:
                    break

    def _without_read(self, page: Page[R]) -> Page[R]:
        """Returns a page that was requested once more, without the records that it had before."""
        before, self._before = self._before, {}
        if not before:
            return page
        ids = (str(getattr(record, page.id)) for record in page.records)
        return replace(
            page, records=[record for one, record in zip(ids, page.records, strict=True) if before.get(one) != record]
        )

    def _restarting(self) -> Iterator[Page[R]]:
        """Yields the pages; after a refused cursor again from the newest, while that reaches older records."""
        deepest: datetime | None = None
        while True:
            walk = self._walk
            try:
                yield from self._source(walk.after, walk.floor)
                return
            except (BadRequest, NotFound):
                # A cursor that is refused again without progress would restart for ever.
                no_deeper = deepest is not None and (walk.reached is None or walk.reached >= deepest)
                if walk.after is None or no_deeper:
                    raise
                deepest = walk.reached
                self._restart()

    def _take(self, page: Page[R]) -> _Next:
        """Updates the walk, and decides what to read next."""
        walk, end, cursor, met = self._walk, self._end, self._walk.after, self._walk.met
        reached_floor = walk.take(page, self._now)
        end.see(page.every_id, page.total, nameless=page.nameless)
        walk.met, walk.total = end.met, end.total
        repeated, count = cursor in self._asked_twice, page.count
        if not reached_floor and page.after is not None and not end.endless:
            self._first, self._longest = self._first and not count, max(self._longest, count)
            if not count and not repeated:
                return self._read_again("an empty page names a next one", cursor, met, page)
            if not count and end.total is not None:
                walk.floor = None  # what it should have held may be newer than the floor: only the total can show it
            return _Next.PAGE
        # At the floor it is enough to have met what was read before; without that the end of the listing counts.
        surely = reached_floor and (page.after is not None or not walk.known)
        why = None if surely else self._doubt(page, repeated)
        if why is None:
            # At the floor the cursor stays: if no known record was met, `finish` reads on from there.
            walk.after = walk.after if surely else None
            return self._finish()
        return self._read_again(why, cursor, met, page)

    def _finish(self) -> _Next:
        if self._progress.finish(self._filtered):
            return _Next.NOTHING
        if self._walk.after is not None:  # another listing than before is read on, to its end
            return _Next.PAGE
        self._restart()
        return _Next.READ_AGAIN

    def _doubt(self, page: Page[R], repeated: bool) -> str | None:
        """Returns why the listing may go on below this page, although the page says that it is the last one."""
        count, end = page.count, self._end
        why = end.why_not(fell=repeated)
        if why or end.total is not None:
            return why
        if self._resumed and self._first and not count:
            return "the cursor at which it was resumed answers with an empty page"
        full = self._longest or self._per_page
        if full and (count >= full or not count) and not repeated:
            return "its last page is a full or an empty one"
        return None

    def _read_again(self, why: str, cursor: str | None, met: int | None, page: Page[R]) -> _Next:
        """Requests the page once more, then the walk from the newest page; gives up if that was done already.

        `met` is what the walk had met before the page, which a later session would count again.
        """
        if cursor not in self._asked_twice:
            self._asked_twice.add(cursor)
            self._before = {str(getattr(record, page.id)): record for record in page.records}
            self._walk.after, self._walk.met = cursor, met
            return _Next.READ_AGAIN
        if self._resumed:
            self._restart()
            return _Next.READ_AGAIN
        self._progress.give_up(why)
        return _Next.NOTHING


def until_older(pages: Iterable[Page[R]], floor: datetime | None) -> Generator[Page[R], None, bool]:
    """Yields pages of a listing without a documented order, up to the first whose records are all older than `floor`.

    It stops there only if all records so far were sorted newest first; otherwise it yields every page. Returns
    whether it stopped.
    """
    last: datetime | None = None
    sorted_so_far, descended = True, False
    for page in pages:
        yield page
        for at in page.times:
            if last is not None:
                sorted_so_far &= at <= last
                descended |= at < last
            last = at
        # Equal times prove no order, and a shifted page may hide an unsorted one.
        proven = sorted_so_far and descended and not page.shifted
        if floor is not None and proven and whole_page_older(page, floor):
            return True
    return False
