"""Where the reading of pages may end early: at a page that is older as a whole, if they prove to be newest first."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from gapless.sources._incremental.newest_first import until_older
from gapless.sources._ledger.walk_state import Page
from tests.unit.incremental.listing_in_memory import (
    NOON,
    Entry,
    minutes,
)


def taken(*pages: Iterable[float], floor: float | None) -> int:
    """How many pages are read, given the minutes before noon of each page's entries."""
    listing = [Page([Entry(NOON - minutes(ago), 0) for ago in page]) for page in pages]
    return len(list(until_older(listing, None if floor is None else NOON - minutes(floor))))


def test_pages_end_at_the_first_that_is_older_as_a_whole() -> None:
    """Proven newest-first, the rest is older still."""
    assert taken([1, 2], [3, 11], [12, 13], [14, 15], floor=10) == 3


def test_without_a_floor_every_page_is_read() -> None:
    """A parent without a watermark gets its whole history."""
    assert taken([1, 2], [3, 4], [5, 6], floor=None) == 3


def test_oldest_first_every_page_is_read() -> None:
    """The new entries stand on the last page."""
    assert taken([90, 80], [70, 60], [2, 1], floor=10) == 3
    assert taken([90], [80], [1], floor=10) == 3


def test_no_order_every_page_is_read() -> None:
    """One entry out of order is proof enough that there is none."""
    assert taken([5, 20, 19, 30], [40, 50], [1, 2], floor=10) == 3


def test_ties_prove_no_order() -> None:
    """A page of one time may be the first of an ascending listing."""
    assert taken([20, 20], [20, 20], [1, 1], floor=10) == 3


def test_the_floor_belongs_to_the_look_back() -> None:
    """A page that touches it is not older."""
    assert taken([1, 2], [9, 10], [11, 12], [13, 14], floor=10) == 3


def test_an_empty_page_is_not_older() -> None:
    """It says nothing about time."""
    assert taken([1, 2], [], [11, 12], [13, 14], floor=10) == 3


@given(ages=st.lists(st.integers(0, 50), max_size=30), size=st.integers(1, 5), newest=st.booleans())
def test_a_sorted_listing_never_loses_what_is_new(ages: list[int], size: int, newest: bool) -> None:
    """In either order, all at and after the floor is read."""
    ordered = sorted(ages, reverse=not newest)
    pages = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    read = [age for page in pages[: taken(*pages, floor=20)] for age in page]
    assert [age for age in ages if age <= 20 and age not in read] == []
