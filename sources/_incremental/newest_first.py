"""Walks over a listing that serves its newest records first and is paged by opaque cursors; it can be resumed.

State, as JSON: `watermark` (all records created up to it are loaded) and `walks`, the unfinished ones, newest
first. Each has read from `top` down to `reached`, resumes at the cursor `after`, and is finished when a page that is
sorted goes below `floor`, or a whole page is older. A sync first walks down to where the newest unfinished walk
began, then resumes that one: so the newest data come first, nothing is read twice, and the watermark moves only once
its walk has met its floor.
dlt's `incremental` would move it after the first page and lose the rest of an interrupted sync.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

from gapless.sources._http.errors import BadRequest, NotFound
from gapless.sources._incremental.concurrency import prefetch
from gapless.sources._ledger.walk_state import Page, R, Walk, WalkState, whole_page_older

Pages = Callable[[str | None, datetime | None], Iterable[Page[R]]]


def newest_first(
    pages: Pages[R],
    progress: WalkState,
    *,
    lag: timedelta,
    now: datetime,
    filtered: bool = False,
) -> Iterator[Page[R]]:
    """Yields every page that may hold something new; `progress` is updated before each page is yielded.

    `pages(after, floor)` continues at a cursor. `filtered` says that it leaves out records older than `floor`.
    A cursor that the vendor refuses restarts its walk at the newest page.
    """
    progress.begin(lag, now)
    while progress.walks:
        walk = progress.walks[0]
        for page in _restarting(pages, walk):
            finished = walk.take(page, now) and progress.finish(filtered)
            yield page
            if finished or walk.after is None:  # a walk that goes on without its filter begins at the newest page
                break


def _restarting(pages: Pages[R], walk: Walk) -> Iterator[Page[R]]:
    """Yields the walk's pages; after a refused cursor again from the newest, while that reaches older records."""
    deepest: datetime | None = None
    while True:
        try:
            read = pages(walk.after, walk.floor)
            yield from read if walk.floor else prefetch(read)
            return
        except (BadRequest, NotFound):
            # A cursor that is refused again without progress would restart for ever.
            no_deeper = deepest is not None and (walk.reached is None or walk.reached >= deepest)
            if walk.after is None or no_deeper:
                raise
            deepest, walk.after = walk.reached, None


def until_older(pages: Iterable[Page[R]], floor: datetime | None) -> Iterator[Page[R]]:
    """Yields pages of a listing without a documented order, up to the first whose records are all older than `floor`.

    It stops there only if all records so far were sorted newest first; otherwise it yields every page.
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
            return
