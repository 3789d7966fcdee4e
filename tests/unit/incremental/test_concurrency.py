"""Many parents side by side: each page arrives once, each parent has one end, and nobody waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from time import monotonic, sleep

import pytest

from gapless.sources._http.errors import Forbidden, NotFound, QuotaSpent, Unauthorized, Unavailable, VendorError
from gapless.sources._incremental.concurrency import (
    AHEAD_BYTES,
    AHEAD_PAGES,
    PING_AFTER,
    ParentPage,
    map_concurrently,
)


def here() -> None:
    """A ping that the vendor answers."""


def failing(kind: type[VendorError]) -> VendorError:
    return kind(method="GET", path="parent", status=400)


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_every_page_and_one_end_each(workers: int) -> None:
    """In the order of its parent's pages, whatever the number of workers."""
    parents = list(range(20))
    reads = list(map_concurrently(parents, lambda p: [(p, n) for n in range(p % 4)], workers, here))
    for parent in parents:
        own = [read for read in reads if read.parent == parent]
        assert [read.page for read in own] == [*((parent, n) for n in range(parent % 4)), None]
        assert own[-1].error is None


def test_no_parents() -> None:
    """Nothing to read, nothing to wait for."""
    assert list(map_concurrently([], lambda p: [p], 8, here)) == []


def test_a_failing_parent_never_stops_the_rest() -> None:
    """Its pages so far came, its end tells the error, the others are whole."""

    def read(parent: int) -> Iterator[int]:
        yield parent
        if parent % 2:
            raise failing(Forbidden)

    reads = list(map_concurrently(range(12), read, 3, here))
    assert sorted(r.parent for r in reads if r.page is not None) == list(range(12))
    assert sorted(r.parent for r in reads if r.error) == [1, 3, 5, 7, 9, 11]


def test_what_stops_the_source_is_raised() -> None:
    """After it was told as that parent's end; nobody else is asked."""
    asked: list[int] = []

    def read(parent: int) -> Iterable[int]:
        asked.append(parent)
        raise failing(Unauthorized)

    seen: list[ParentPage[int, int]] = []
    with pytest.raises(Unauthorized):
        seen.extend(map_concurrently(range(500), read, 2, here))
    assert len(asked) < 20


def test_a_quota_is_no_parents_failure() -> None:
    """It is raised at once, and told of nobody."""

    def read(parent: int) -> Iterable[int]:
        if parent:
            raise failing(QuotaSpent)
        yield parent

    seen: list[ParentPage[int, int]] = []
    with pytest.raises(QuotaSpent):
        seen.extend(map_concurrently(range(500), read, 1, here))
    assert [(one.parent, one.error) for one in seen] == [(0, None), (0, None)]


def test_a_vendor_that_is_down_is_left_alone() -> None:
    """When nobody is answered, not every parent's retry budget is spent: it is asked whether it is there."""
    asked: list[int] = []

    def read(parent: int) -> Iterable[int]:
        asked.append(parent)
        raise failing(Unavailable)

    def gone() -> None:
        raise failing(Unavailable)

    with pytest.raises(Unavailable):
        list(map_concurrently(range(500), read, 2, gone))
    assert PING_AFTER <= len(asked) < PING_AFTER + 20


def test_many_unanswered_parents_do_not_stop_the_rest() -> None:
    """While the vendor is there, even if those that fail are asked first, as they are next time."""
    pings: list[int] = []

    def read(parent: int) -> Iterable[int]:
        if parent < 17:
            raise failing(Unavailable)
        return [parent]

    reads = list(map_concurrently(range(30), read, 2, lambda: pings.append(1)))
    assert sorted(r.parent for r in reads if r.page is not None) == list(range(17, 30))
    assert 1 <= len(pings) <= 17 // PING_AFTER


def test_gone_parents_are_no_sign_of_a_vendor_that_is_down() -> None:
    """A hundred answers of 404 are answers."""

    def read(parent: int) -> Iterable[int]:
        raise failing(NotFound)

    assert len(list(map_concurrently(range(100), read, 4, here))) == 100


def test_a_bug_in_a_worker_is_raised() -> None:
    """Not swallowed with its thread, and nobody waits for it."""

    def read(parent: int) -> Iterable[int]:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        list(map_concurrently(range(5), read, 2, here))


def test_the_workers_end_when_the_reader_does() -> None:
    """A reader that stops early leaves no thread behind."""
    before = threading.active_count()
    reads = map_concurrently(range(1000), lambda p: [p, p], 4, here)
    next(reads)
    reads.close()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.daemon and "_work" in thread.name:
            thread.join(2)
    assert threading.active_count() <= before


def test_a_slow_reader_holds_the_workers_back() -> None:
    """Memory is bounded: no more pages are read than the queue between them holds."""
    asked: list[int] = []

    def read(parent: int) -> Iterable[int]:
        asked.append(parent)
        return [parent]

    reads = map_concurrently(range(1000), read, 2, here)
    for _ in range(3):
        next(reads)
    assert len(asked) < 20
    reads.close()


@pytest.mark.parametrize(
    ("size", "most"), [(AHEAD_BYTES // 4, 4), (AHEAD_BYTES * 3, 1), (1, AHEAD_PAGES)], ids=["usual", "wide", "small"]
)
def test_a_slow_reader_is_read_ahead_of_by_bytes(size: int, most: int) -> None:
    """While a load package is written, pages wait up to a number of bytes, however wide one is, and of pages."""
    asked: list[int] = []

    def read(parent: int) -> Iterable[int]:
        asked.append(parent)
        return [parent]

    reads = map_concurrently(range(1000), read, 1, here, weight=lambda _: size)
    next(reads)
    until = monotonic() + 10
    while len(asked) < most // 2 + 1 and monotonic() < until:
        sleep(0.01)
    sleep(0.1)
    # The ends of parents count as pages; one page was taken, and one is in the worker's hand.
    assert most // 2 <= len(asked) <= most + 2
    reads.close()


def test_no_one_is_asked_ahead_of_an_error() -> None:
    """It may end the sync: while a load package is written, a key that is refused is not sent again and again."""
    asked: list[int] = []

    def read(parent: int) -> Iterable[int]:
        asked.append(parent)
        if parent:
            raise failing(Unauthorized)
        yield parent

    reads = map_concurrently(range(1000), read, 2, here, weight=lambda _: 1)
    next(reads)
    sleep(0.3)
    assert len(asked) <= 4
    with pytest.raises(Unauthorized):
        list(reads)
