"""What proves that a listing was read to its end, by itself and under the walk over cursors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from json import dumps, loads

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.sources._http.errors import Incomplete, NotFound
from gapless.sources._http.paging import NumberedPage, NumberedPages
from gapless.sources._incremental.listing_end import EMPTY_PAGES, ListingEnd
from gapless.sources._incremental.newest_first import newest_first
from gapless.sources._incremental.parent_listing import PAGES_READINGS, proven_pages
from gapless.sources._ledger.walk_state import Page, WalkState
from tests.unit.incremental.listing_in_memory import LAG, NOON, Entry, Listing, Sync, filled, minutes


def seen(*pages: tuple[str, int | None]) -> ListingEnd:
    """A page is the letters of its ids, and the total it tells."""
    end = ListingEnd()
    for ids, total in pages:
        end.see(list(ids), total)
    return end


@pytest.mark.parametrize(
    ("pages", "proven"),
    [
        ([("abc", 5), ("de", 5)], True),
        ([("abc", 5)], False),
        ([("abc", 5), ("cd", 5)], False),  # four ids, one of them twice
        ([("abc", None), ("de", None)], True),  # nothing to compare with
        ([("abc", None), ("de", 6)], False),
        ([("abc", 5), ("de", 7)], True),  # two came meanwhile: they are newer
        ([("abc", -1), ("de", -1)], True),
        ([("", 0)], True),
    ],
)
def test_totals_and_distinct_ids(pages: list[tuple[str, int | None]], proven: bool) -> None:
    """As many distinct ids as the first page told."""
    assert (seen(*pages).why_not() is None) is proven


def test_a_total_told_elsewhere() -> None:
    """The larger of the two counts."""
    assert seen(("abc", 3)).why_not(4) == "3 of 4 records came before its end"
    assert seen(("abc", None)).why_not(3) is None


def test_a_total_that_falls_breaks_a_reading() -> None:
    """Others moved up; told twice, by a listing that is not numbered, it counts."""
    end = seen(("abc", 5), ("d", 4))
    assert end.broken
    assert end.why_not() is not None
    assert end.why_not(fell=True) is None


def test_a_seam() -> None:
    """A page that overlaps begins with the end of the one before."""
    for second, broken in (("cde", False), ("de", True), ("xcd", False)):
        end = seen(("abc", 5))
        end.see(list(second), 5, overlaps=True)
        assert bool(end.broken) is broken, second


def test_records_without_a_readable_id_count_each() -> None:
    """Two of one text are two, on a page and on different pages; those on overlapping pages are the same."""
    for pages, proven in (((["x", "x"], []), True), ((["x"], ["x"]), True), ((["x"], []), False)):
        end = ListingEnd()
        for ids, nameless in zip(("ab", "c"), pages, strict=True):
            end.see(list(ids), 5, nameless=nameless)
        assert (end.why_not() is None) is proven, pages
    end = ListingEnd()
    end.see(["a"], 3, nameless=["x"])
    end.see([], 3, nameless=["x", "x"], overlaps=True)
    assert (end.broken, end.why_again()) == (None, None)


def test_pages_of_another_length_than_was_asked() -> None:
    """Their seams never match: two readings that met the same, all of it, are proof; one alone is none."""

    def reading(end: ListingEnd, second: str) -> ListingEnd:
        end.see(list("abc"), 5)
        end.see(list(second), 5, overlaps=True)
        return end

    first = reading(ListingEnd(), "de")
    assert first.why_again() == first.broken is not None
    assert reading(first.again(), "de").why_again() is None
    assert reading(first.again(), "dx").why_again() is not None  # it moves
    whole = first.again()  # what moved may be gone, so the first reading adds nothing to another one
    whole.see(list("abc"), 5)
    assert whole.why_again() == "3 of 5 records came before its end"
    short = reading(reading(ListingEnd(), "d").again(), "d")
    assert short.why_again() == "4 of 5 records came before its end"


def test_what_comes_is_read_though_its_end_is_never_proven() -> None:
    """Of a listing whose total falls on its second page, each time: the last reading goes on to its end."""
    found: set[str] = set()
    pages = [Page([_Row("a")], total=3), Page([_Row("b")], total=2), Page([_Row("c")], total=2)]

    def typed(page: Page[_Row]) -> Page[_Row]:
        found.update(page.every_id)
        return page

    with pytest.raises(Incomplete):
        list(proven_pages("rows", lambda: pages, typed))
    assert found == {"a", "b", "c"}


def test_another_reading_adds_up_while_the_total_stays() -> None:
    """Pages of an unstable order; not when the total is another one, or records moved."""
    first = seen(("abc", 5), ("ab", 5))
    vanished = seen(("abc", 5), ("d", 4), ("e", 5)).again()
    vanished.see(["a"], 5)
    assert vanished.why_again() is not None
    for later, proven in (((("de", 5),)), True), (((("de", 4), ("de", 4))), False):
        end = first.again()
        for ids, total in later:
            end.see(list(ids), total)
        assert (end.why_not() is None) is proven


def test_empty_pages_do_not_go_on_for_ever() -> None:
    """Some are followed."""
    end = ListingEnd()
    for _ in range(EMPTY_PAGES):
        end.see([], None)
        assert not end.endless
    end.see([], None)
    assert end.endless


@dataclass
class Counted(Listing):
    """Tells its total; some reads answer with a page that names no next one, or with an empty one."""

    cut: set[int] = field(default_factory=set)
    emptied: set[int] = field(default_factory=set)

    def page(self, after: str | None) -> Page[Entry]:
        page = replace(super().page(after), total=len(self.entries))
        if self.reads in self.emptied and page.after:
            page = replace(page, records=[])
        return replace(page, after=None) if self.reads in self.cut else page


@given(
    cut=st.sets(st.integers(1, 14)),
    emptied=st.sets(st.integers(1, 14)),
    kills=st.lists(st.integers(1, 4), max_size=3),
    size=st.integers(1, 4),
    later=st.integers(0, 5),
)
def test_whatever_is_cut_no_walk_is_finished_before_all_is_read(
    cut: set[int], emptied: set[int], kills: list[int], size: int, later: int
) -> None:
    """Cut or emptied anywhere, killed anywhere; once the vendor is mended the next walk ends whole."""
    listing = Counted(size, cut=cut, emptied=emptied)
    for index in range(11):
        listing.add(NOON - minutes(40 * index))
    sync, now = Sync(listing), NOON
    for pages in (*kills, None):
        sync.run(pages, now=now)
        assert sync.whole or sync.state["walks"]
        for _ in range(later):
            now += minutes(50)
            listing.add(now)
    cut.clear()
    emptied.clear()
    sync.run(now=now)
    assert (sync.whole, sync.state["walks"]) == (True, [])


def test_an_end_that_is_not_proven_says_why_and_is_bounded() -> None:
    """A vendor that cuts for ever: a few requests, an open walk, no watermark."""
    listing = Counted(2, cut=set(range(100)))
    for index in range(9):
        listing.add(NOON - minutes(40 * index))
    progress = WalkState()
    list(newest_first(listing.pages, progress, lag=LAG, now=NOON))
    assert progress.unproven == "2 of 9 records came before its end"
    assert (progress.watermark, listing.reads) == (None, 2)
    assert progress.missing() == [[None, NOON.isoformat()]]


def test_a_page_that_is_asked_for_again_counts_once() -> None:
    """Also where the session ends between: else it would make up for as many records as it has."""
    entries = [Entry(NOON - minutes(40 * index), index) for index in range(3)]

    def pages(after: str | None, floor: object = None) -> Iterator[Page[Entry]]:
        if after is None:
            yield Page(entries[:2], after="further", total=4)
        yield Page(entries[2:], total=4)  # the fourth never comes

    first = WalkState()
    list(islice(newest_first(pages, first, lag=LAG, now=NOON), 2))
    second = WalkState.from_json(loads(dumps(first.to_json())))
    assert second.walks[0].after == "further"
    list(newest_first(pages, second, lag=LAG, now=NOON, resume=True))
    assert (second.unproven is not None, second.watermark) == (True, None)


def test_a_walk_of_an_earlier_version_goes_on() -> None:
    """It counted nothing, so an end that a total contradicts, or may, is read from the newest page once more."""
    listing = Counted(2)
    for index in range(9):
        listing.add(NOON - minutes(40 * index))
    sync = Sync(listing)
    sync.run(2)
    for walk in sync.state["walks"]:
        for name in ("met", "total", "began"):
            del walk[name]
    sync.run()
    assert (sync.whole, sync.state["walks"]) == (True, [])


def test_no_total_means_no_further_request_for_a_short_last_page() -> None:
    """A full last page is asked for once more; a short one is believed."""
    for count, more in ((9, 0), (10, 1)):
        sync = Sync(filled(count))
        sync.run()
        assert (sync.whole, sync.listing.reads) == (True, 5 + more)


def numbered(rows: list[str], cap: int, deleted: dict[int, str] | None = None) -> Iterator[NumberedPage]:
    """Reads `rows` by overlapping pages; before a request in `deleted` one of them goes and a late one comes."""
    seams, number, size, overlaps, requests = NumberedPages(), 1, cap, False, 0
    while True:
        requests += 1
        if gone := (deleted or {}).get(requests):
            rows.remove(gone)
            rows.append("late")
        page = rows[(number - 1) * size : number * size]
        yield NumberedPage([row.encode() for row in page], len(rows), overlaps)  # type: ignore[misc]  # bytes are enough here
        if number * size >= len(rows):
            return
        following = seams.following(number, size, len(page), len(rows))
        if following is None:
            return
        number, size, overlaps = following


def read(rows: list[str], cap: int, deleted: dict[int, str] | None = None) -> tuple[set[str], int]:
    """What proven_pages reads, and in how many pages."""
    found: set[str] = set()
    first, pages = [deleted], 0

    def typed(page: NumberedPage) -> Page[str]:
        nonlocal pages
        pages += 1
        found.update(str(row, "utf-8") for row in map(bytes, page.records))
        ids = [str(row, "utf-8") for row in map(bytes, page.records)]
        return Page([_Row(one) for one in ids], total=page.total)  # type: ignore[misc]  # a Page of _Row

    list(proven_pages("rows", lambda: numbered(rows, cap, first.pop() if first else None), typed))
    return found, pages


@dataclass(frozen=True)
class _Row:
    id: str


@given(count=st.integers(0, 300), cap=st.integers(1, 60))
def test_overlapping_pages_hold_everything(count: int, cap: int) -> None:
    """Whatever the size; at most one page more than plain ones."""
    rows = [f"r{number}" for number in range(count)]
    found, pages = read(list(rows), cap)
    assert found == set(rows)
    assert pages <= max(1, -(-count // cap)) + 1


@given(at=st.integers(2, 4), gone=st.integers(0, 19))
def test_a_record_that_moves_across_a_seam(at: int, gone: int) -> None:
    """One goes from the first page and a late one comes on the last: the count stays, and nothing is lost."""
    rows = [f"r{number}" for number in range(61)]
    found, _ = read(rows, 20, {at: f"r{gone}"})
    assert set(rows) <= found


def test_a_later_page_that_is_not_found_is_read_again() -> None:
    """The first request tells whether it is there; a later one only of paging."""

    def pages(fail_at: int) -> Iterator[Page[_Row]]:
        for number in range(3):
            if number == fail_at:
                raise NotFound(method="GET", path="rows", status=404)
            yield Page([_Row(str(number))], total=3)

    with pytest.raises(NotFound):
        list(proven_pages("rows", lambda: pages(0), lambda page: page))
    with pytest.raises(Incomplete):
        list(proven_pages("rows", lambda: pages(2), lambda page: page))
    readings = iter([2, 9])
    assert len(list(proven_pages("rows", lambda: pages(next(readings)), lambda page: page))) == 2 + 3
    assert PAGES_READINGS > 1
