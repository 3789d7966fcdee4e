"""Reads many parents in parallel, by threads that share one client; pages are yielded as they arrive.

Threads with a synchronous client were faster than asyncio (11.7 s against 30.7 s for 32 in parallel at 50 ms a
request). The queue between them is bounded, so a slow consumer slows the threads down.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Generic, TypeVar

from gapless.sources._http.errors import ForeignHost, QuotaSpent, Retryable, Stop, VendorError

_log = logging.getLogger(__name__)
P = TypeVar("P")
Q = TypeVar("Q")

PING_AFTER = 5
"""Consecutive parents without an answer after which `ping` checks whether the vendor works at all."""

AHEAD_BYTES, AHEAD_PAGES = 12 * 2**20, 200
"""JSON of the pages that wait to be taken while a load package is written, a third of one; and their number."""
GROUP_SIZE = 2_000
"""Answers and records in one group, which is looked up by one query."""
GROUP_SECONDS = 5.0
"""Seconds after which a group ends with the next answer."""
SHUTDOWN_TIMEOUT = 2.0
"""Seconds to wait for threads at the end."""


@dataclass(frozen=True)
class ParentPage(Generic[P, Q]):
    """One page of one parent; or the parent's end, with no page, and with the error if it failed."""

    parent: P
    page: Q | None
    error: VendorError | None = None


def map_concurrently(
    parents: Sequence[P],
    read: Callable[[P], Iterable[Q]],
    workers: int,
    ping: Callable[[], None],
    weight: Callable[[Q], int] | None = None,
) -> Iterator[ParentPage[P, Q]]:
    """Yields the pages of every parent as they arrive, `workers` parents at a time, and an end for each parent.

    As many pages as `workers` wait to be taken; where `weight` returns the bytes of a page, AHEAD_BYTES of them.
    Raises what stops the source: a `Stop`, any bug in `read`, and what `ping` raises after `PING_AFTER` consecutive
    parents without an answer.
    """
    unanswered = 0
    pool = _WorkerPool(parents, read, workers, _AheadByBytes(weight) if weight else None)
    try:
        for item in pool.results():
            if item.page is None:
                # A redirect elsewhere may be one parent's, or the sign-in page of a base URL that is out of date.
                unanswered = unanswered + 1 if isinstance(item.error, Retryable | ForeignHost) else 0
            if isinstance(item.error, QuotaSpent):
                raise item.error  # it says nothing about this parent
            # Before the error is raised, so that the ledger says which parent ended the sync.
            yield item
            if isinstance(item.error, Stop):
                raise item.error
            if unanswered >= PING_AFTER:
                ping()
                unanswered = 0
    finally:
        pool.shutdown()


def prefetch(pages: Iterable[Q], weight: Callable[[Q], int]) -> Iterator[Q]:
    """Yields the same pages, and requests the next AHEAD_BYTES while one is parsed or a package is loaded.

    `weight` returns the bytes of a page. Use it for a listing that is read to its end: if reading may stop earlier,
    requests would be wasted.
    """
    for item in map_concurrently(["all"], lambda _: pages, 1, lambda: None, weight):
        if item.error:
            raise item.error
        if item.page is not None:
            yield item.page


def grouped(
    answers: Iterable[ParentPage[P, Q]], size: Callable[[Q], int], most: int | None = None
) -> Iterator[list[ParentPage[P, Q]]]:
    """Yields the answers in groups that are looked up at once; what came before an error, and then raises that.

    `size` returns how many records a page has, `most` is after how many a group ends: those of a load package.
    """
    most = min(GROUP_SIZE, most or GROUP_SIZE)
    group: list[ParentPage[P, Q]] = []
    waiting, began = 0, monotonic()
    try:
        for answer in answers:
            group.append(answer)
            waiting += 1 + (0 if answer.page is None else size(answer.page))
            if waiting >= most or monotonic() - began >= GROUP_SECONDS:
                yield group
                group, waiting, began = [], 0, monotonic()
    except VendorError:
        yield group
        raise
    yield group


_Item = ParentPage[P, Q] | BaseException | None
"""What a thread hands on; None: it has ended."""


class _AheadByBytes(queue.Queue[Any]):
    """A queue that is full when it holds AHEAD_BYTES, AHEAD_PAGES or an error."""

    def __init__(self, weight: Callable[[Any], int]) -> None:
        super().__init__(AHEAD_BYTES)
        self._weight, self._bytes = weight, 0

    def _weight_of(self, item: Any) -> int:
        if isinstance(item, ParentPage) and item.error:
            return AHEAD_BYTES  # it may end the sync, so nobody is asked before it is looked at
        page = item.page if isinstance(item, ParentPage) else None
        return max(AHEAD_BYTES // AHEAD_PAGES, 0 if page is None else self._weight(page))

    # What Python's own kinds of queues override, too.
    def _qsize(self) -> int:
        return self._bytes

    def _put(self, item: Any) -> None:
        super()._put(item)
        self._bytes += self._weight_of(item)

    def _get(self) -> Any:
        item = super()._get()
        self._bytes -= self._weight_of(item)
        return item


class _WorkerPool(Generic[P, Q]):
    def __init__(
        self,
        parents: Sequence[P],
        read: Callable[[P], Iterable[Q]],
        workers: int,
        pages: queue.Queue[_Item[P, Q]] | None = None,
    ) -> None:
        self._stop = threading.Event()
        # More threads than parents would only wait.
        self._size = max(1, min(workers, len(parents)))
        # Daemons, because a request that hangs must not keep the process from ending.
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._size)]
        self._read, self._todo, self._lock = read, iter(parents), threading.Lock()
        # Bounded, so that a slow load does not fill the memory with pages.
        self._pages: queue.Queue[_Item[P, Q]] = pages or queue.Queue(self._size)

    def results(self) -> Iterator[ParentPage[P, Q]]:
        """Starts the threads and yields what they read. Raises what a thread raised."""
        running = self._start()
        while running:
            item = self._pages.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                running -= 1
            else:
                yield item

    def _start(self) -> int:
        """Starts the threads and returns how many: a limit of this process may leave some out, which are not needed.

        Raises RuntimeError when there is none.
        """
        for number, thread in enumerate(self._threads):
            try:
                thread.start()
            except RuntimeError:
                if not number:
                    raise
                _log.warning("only %d of %d threads can be started: more would read faster", number, self._size)
                return number
        return self._size

    def shutdown(self) -> None:
        """Stops reading, and waits up to `SHUTDOWN_TIMEOUT` for threads that sleep or wait for an answer."""
        self._stop.set()
        until = monotonic() + SHUTDOWN_TIMEOUT
        for thread in self._threads:
            # A thread that was never started cannot be joined.
            if thread.ident is not None:
                thread.join(max(0.0, until - monotonic()))

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                with self._lock:
                    parent = next(self._todo, None)
                if parent is None:
                    break
                self._read_parent(parent)
            self._put(None)
        except BaseException as bug:  # else the consumer would wait for ever
            self._put(bug)

    def _read_parent(self, parent: P) -> None:
        error: VendorError | None = None
        try:
            for page in self._read(parent):
                self._put(ParentPage(parent, page))
                if self._stop.is_set():
                    return
        except VendorError as failed:
            error = failed
        self._put(ParentPage(parent, None, error))

    def _put(self, item: _Item[P, Q]) -> None:
        while not self._stop.is_set():
            try:
                return self._pages.put(item, timeout=0.1)
            # Wakes up to see whether the consumer has stopped.
            except queue.Full:
                continue
