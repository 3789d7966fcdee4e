"""The resumable walk over a listing that serves its newest records first and is paged by opaque cursors.

State, as JSON: `watermark` (all records created up to it are loaded) and `walks`, the unfinished ones, newest
first. Each has read from `top` down to `reached`, resumes at the cursor `after`, and is finished when a page that is
sorted goes below `floor`, or a whole page is older. A sync first walks down to where the newest unfinished walk
began, then resumes that one: so the newest data come first, nothing is read twice, and the watermark moves only once
its walk has met its floor.
dlt's `incremental` would move it after the first page and lose the tail of an interrupted sync.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

from gapless.sources._http.errors import BadRequest, NotFound
from gapless.sources._incremental.concurrency import prefetch
from gapless.sources._incremental.walk_state import D, Page, Walk, WalkState, whole_page_older


def newest_first(
    pages: Callable[[str | None], Iterable[Page[D]]],
    progress: WalkState,
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
            finished = walk.take(page, now) and progress.finish()
            yield page
            if finished:
                break


def _restarting(pages: Callable[[str | None], Iterable[Page[D]]], walk: Walk) -> Iterator[Page[D]]:
    """The walk's pages; after a refused cursor once more from the newest, as long as that leads deeper."""
    deepest: datetime | None = None
    while True:
        try:
            yield from pages(walk.after) if walk.floor else prefetch(pages(walk.after))
            return
        except (BadRequest, NotFound):
            no_deeper = deepest is not None and (walk.reached is None or walk.reached >= deepest)
            if walk.after is None or no_deeper:
                raise
            deepest, walk.after = walk.reached, None


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
        if floor is not None and proven and whole_page_older(page, floor):
            return
