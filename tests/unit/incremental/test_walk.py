"""The walks, by themselves: a listing in memory, no HTTP, no dlt. Interrupted anywhere, they lose nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.sources._http.errors import BadRequest, Loop, NotFound, Unavailable
from gapless.sources._http.paging import LoopGuard
from gapless.sources._incremental.newest_first import newest_first
from gapless.sources._ledger.walk_state import KNOWN_IDS, WALK_KEYS, Page, WalkState
from gapless.sources._schema.parse import Unreadable
from tests.unit.incremental.listing_in_memory import (
    LAG,
    NOON,
    CoarselyFilteredListing,
    Entry,
    FilteredListing,
    Listing,
    OldestFirst,
    Sync,
    filled,
    minutes,
)


def test_a_first_walk_reads_each_page_once() -> None:
    """Every page once, down to the last; then the watermark is the newest entry."""
    sync = Sync(filled(9))
    read = sync.run()
    assert (len(read), sync.listing.reads, sync.whole) == (9, 5, True)
    assert (sync.watermark, sync.state["walks"], sync.state["known"]) == (NOON.isoformat(), [], list("01234"))


def test_an_idle_walk_ends_at_the_first_page_older_than_the_look_back() -> None:
    """Two pages: one that reaches into the look-back, one that is older as a whole."""
    sync = Sync(filled(20))
    sync.run()
    sync.listing.reads = 0
    sync.run()
    assert sync.listing.reads == 2


def test_a_filter_is_asked_for_what_is_new_alone() -> None:
    """The floor goes to the vendor: an idle walk is as many pages as the look-back has, whatever came before it."""
    sync = Sync(filled(20, kind=FilteredListing))
    sync.run()
    sync.listing.floors.clear()
    assert len(sync.run()) == 2
    assert sync.listing.floors == [NOON - LAG]


def test_a_resumed_walk_keeps_the_filter_that_its_cursor_was_made_with() -> None:
    """The newer walk above it has a floor of its own; after a refused cursor the walk's own floor is asked for."""
    sync = Sync(filled(20, kind=FilteredListing))
    sync.run(initial=NOON - minutes(500))
    for later in range(1, 6):
        sync.listing.add(NOON + minutes(40) * later)
    evening = NOON + minutes(200)
    sync.run(1, now=evening, initial=NOON - minutes(500))
    for refused in (False, True):
        sync.listing.floors.clear()
        sync.listing.generation += refused
        sync.run(1 + refused, now=evening, initial=NOON - minutes(500))
        assert sync.listing.floors[0] == evening - LAG
    sync.run(now=evening, initial=NOON - minutes(500))
    assert set(sync.listing.floors) == {evening - LAG, NOON - LAG}
    assert (sync.watermark, sync.state["walks"]) == (evening.isoformat(), [])
    assert {e for e in sync.listing.entries if e.created_at >= NOON - minutes(500)} == sync.kept


KINDS = pytest.mark.parametrize("kind", [Listing, FilteredListing])


@KINDS
@pytest.mark.parametrize("killed_at", range(1, 6))
def test_interrupted_at_any_page_and_resumed(killed_at: int, kind: type[Listing]) -> None:
    """As if it had not been: same entries, same state; the newest page is read twice."""
    once = Sync(filled(11, kind=kind))
    once.run()
    sync = Sync(filled(11, kind=kind))
    sync.run(killed_at)
    assert sync.watermark is None
    sync.run()
    assert sync.whole
    assert (sync.watermark, sync.state["walks"]) == (once.watermark, [])
    assert sync.listing.reads <= 6 + 2


@pytest.mark.parametrize(
    "first",
    [
        pytest.param([100, 0, 200], id="not sorted"),
        pytest.param([200, 200], id="a tie"),
        pytest.param([0, 10, 200], id="sorted"),
    ],
)
def test_only_a_sorted_page_ends_a_walk_before_it_is_older_as_a_whole(first: list[int]) -> None:
    """What is newer than the look-back may else stand on the next one."""
    ages = [first, [20, 30], [300, 400]]
    pages = [
        Page([Entry(NOON - minutes(age), age) for age in some], after=str(number + 1) if number < 2 else None)
        for number, some in enumerate(ages)
    ]
    progress = WalkState(watermark=NOON - minutes(5))
    read = list(newest_first(lambda after, floor: pages[int(after or 0) :], progress, lag=LAG, now=NOON))
    assert len(read) == (1 if first in ([0, 10, 200], [200, 200]) else 3)


@pytest.mark.parametrize("kind", [Listing, FilteredListing, CoarselyFilteredListing])
@pytest.mark.parametrize("killed_at", [None, 1, 2, 3])
def test_another_listing_is_read_whole(killed_at: int | None, kind: type[Listing]) -> None:
    """As with another account's key: what was read before proves nothing, wherever it was left; alternately, too.

    A filter has left out what is older than the floor: then the listing is read once more without it.
    """
    one, other = filled(9, step=40, kind=kind), filled(17, step=30, kind=kind)
    other.entries = [Entry(e.created_at - minutes(5), e.id + 100) for e in other.entries]
    sync = Sync(one)
    sync.run(killed_at)
    sync.listing = other
    assert list(dict.fromkeys(sync.run())) == sorted(other.entries, reverse=True)
    sync.listing = one
    sync.run()
    assert sync.whole or sync.kept >= set(one.entries)


@pytest.mark.parametrize("later", [False, True], ids=["from the first sync on", "after the first sync"])
def test_a_listing_that_turns_round_loses_nothing(later: bool) -> None:
    """Oldest first, whatever was asked for: nothing is missed, and it is not taken for another listing."""
    listing = filled(30, kind=OldestFirst)
    listing.turned = not later
    sync = Sync(listing)
    sync.run()
    listing.turned = True
    for count in range(3):
        new = listing.add(NOON + minutes(count + 1))
        assert new in sync.run(now=NOON + minutes(count + 1))
        assert not sync.changed
    listing.turned = False
    sync.run(now=NOON + minutes(9))
    assert sync.whole
    assert not sync.changed


def test_some_of_the_newest_records_may_be_deleted() -> None:
    """All but one of them: it still is the listing that was read before."""
    sync = Sync(filled(20))
    sync.run()
    del sync.listing.entries[: KNOWN_IDS - 1]
    sync.listing.reads = 0
    sync.run()
    assert sync.listing.reads < 10 / 2


def test_the_watermark_moves_only_at_the_floor() -> None:
    """Not one page before, and not past what was read when the walk began."""
    sync = Sync(filled(9))
    for killed_at in (1, 1, 2):
        sync.run(killed_at)
        assert sync.watermark is None
    sync.run()
    assert (sync.watermark, sync.state["walks"]) == (NOON.isoformat(), [])


def test_two_interruptions_stacked() -> None:
    """New entries between two interrupted walks: the newest come first, then both gaps are closed."""
    sync = Sync(filled(12))
    sync.run(2)
    for later in range(1, 9):
        sync.listing.add(NOON + minutes(50) * later)
    evening = NOON + minutes(500)
    newest = sync.run(1, now=evening)
    assert [e.created_at for e in newest] == [NOON + minutes(400), NOON + minutes(350)]
    assert len(sync.state["walks"]) == 2
    for later in range(9, 12):
        sync.listing.add(NOON + minutes(50) * later)
    sync.run(1, now=NOON + minutes(600))
    assert len(sync.state["walks"]) == 3
    sync.run(now=NOON + minutes(600))
    assert sync.whole
    assert (sync.watermark, sync.state["walks"]) == ((NOON + minutes(550)).isoformat(), [])


@pytest.mark.parametrize("error", [BadRequest, NotFound])
def test_a_refused_cursor_restarts_the_walk(error: type[BadRequest | NotFound]) -> None:
    """From the newest page, once, down to the floor."""
    sync = Sync(filled(12))
    sync.run(3)
    sync.listing.generation += 1
    real = sync.listing.page

    def page(after: str | None) -> Page[Entry]:
        try:
            return real(after)
        except BadRequest:
            raise error(method="GET", path="listing", status=400) from None

    sync.listing.page = page
    sync.run()
    assert (sync.whole, sync.watermark, sync.state["walks"]) == (True, NOON.isoformat(), [])


def test_cursors_refused_again_and_again_end_with_an_error() -> None:
    """A vendor that refuses the very same place after a restart is not asked for ever."""
    sync = Sync(filled(12))
    sync.run(3)
    sync.listing.refused = {sync.state["walks"][0]["after"]}
    with pytest.raises(BadRequest):
        sync.run()
    assert sync.listing.reads < 15
    assert sync.watermark is None


def test_a_refused_first_page_is_an_error() -> None:
    """There is nothing to restart."""
    listing = filled(3)
    listing.refused = {None}
    with pytest.raises(BadRequest):
        Sync(listing).run()


@pytest.mark.parametrize("chain", [["a", "a"], ["a", "b", "a"]], ids=["A-A", "A-B-A"])
def test_a_repeated_cursor_is_a_loop(chain: list[str]) -> None:
    """It stops the source; what came before was yielded, and the watermark stands still."""
    cursors, progress = iter(chain), WalkState()

    def pages(after: str | None, floor: datetime | None) -> Iterator[Page[Entry]]:
        guard = LoopGuard("listing")
        while True:
            if after:
                guard.pass_on(after)
            after = next(cursors)
            yield Page([Entry(NOON, 1)], after=after)

    walk = newest_first(pages, progress, lag=LAG, now=NOON)
    with pytest.raises(Loop):
        list(walk)
    assert progress.watermark is None


def test_an_empty_page_ends() -> None:
    """Whether the listing is empty, or ends with a page that holds nothing."""
    empty = Sync(Listing())
    assert empty.run() == []
    assert empty.state["walks"] == []
    sync = Sync(filled(4))
    sync.listing.ends_on_empty_page = True
    sync.run()
    assert (sync.whole, sync.watermark) == (True, NOON.isoformat())


def test_any_other_error_keeps_the_place() -> None:
    """What is unavailable is raised, and the next sync goes on from there."""
    sync = Sync(filled(10))
    real = sync.listing.page

    def page(after: str | None) -> Page[Entry]:
        if sync.listing.reads >= 3:
            raise Unavailable(method="GET", path="listing", status=500)
        return real(after)

    sync.listing.page = page
    with pytest.raises(Unavailable):
        sync.run()
    assert len(sync.kept) == 6
    sync.listing.page = real
    sync.run()
    assert sync.whole


def test_the_look_back_is_a_closed_interval() -> None:
    """A late entry at watermark - look-back, to the microsecond, is read; ties of the watermark are, too."""
    sync = Sync(Listing(size=1))
    for at in (NOON, NOON - 2 * LAG, NOON - 3 * LAG):
        sync.listing.add(at)
    sync.run()
    for at in (NOON - LAG, NOON - LAG, NOON):
        sync.listing.add(at)
    sync.run()
    assert sync.whole


def test_a_time_yet_to_come_moves_nothing() -> None:
    """An entry of 2099 is kept; the watermark is the newest that is past, also when nothing is past."""
    sync = Sync(Listing(size=1))
    sync.listing.add(datetime(2099, 1, 1, tzinfo=UTC))
    sync.run()
    assert sync.watermark is None
    sync.listing.add(NOON - minutes(5))
    sync.run(1)
    sync.run()
    assert (sync.whole, sync.watermark) == (True, (NOON - minutes(5)).isoformat())


def test_initial_value_ends_the_walk() -> None:
    """Nothing older is asked for than the first page that is older as a whole."""
    sync = Sync(filled(30))
    sync.run(initial=NOON - minutes(60))
    assert sync.listing.reads == 2
    assert sync.watermark == NOON.isoformat()


def test_a_lowered_initial_value_is_made_up_for() -> None:
    """What lies between is read, whether the walk was finished or not; a raised one is not."""
    for killed_at in (None, 1):
        sync = Sync(filled(30))
        sync.run(killed_at, initial=NOON - minutes(120))
        sync.run(initial=NOON - minutes(400))
        assert {e for e in sync.listing.entries if e.created_at >= NOON - minutes(400)} <= sync.kept
        sync.listing.reads = 0
        sync.run(initial=NOON - minutes(300))
        assert sync.listing.reads == 2
        sync.run()
        assert sync.whole


def test_a_page_without_a_readable_record_ends_nothing() -> None:
    """It has no times, so it cannot be older than anything."""
    listing = filled(8)
    sync = Sync(listing)
    sync.run()
    late = listing.add(NOON - minutes(30))
    real = listing.page

    def page(after: str | None) -> Page[Entry]:
        if after is None:
            return Page([], [Unreadable("{}", "bad", None)], after="9999-12-31T00:00:00+00:00 0 0")
        return real(after)

    listing.page = page
    assert late in sync.run()


events = st.lists(
    st.one_of(
        st.tuples(st.just("new"), st.integers(0, 59)),  # created so many minutes before it is listed
        st.tuples(st.just("wait"), st.integers(1, 200)),
        st.tuples(st.just("kill"), st.integers(1, 4)),  # a sync that reads so many pages
        st.tuples(st.just("forget"), st.just(0)),  # the vendor refuses every cursor it gave
    ),
    max_size=40,
)


@pytest.mark.parametrize("kind", [Listing, FilteredListing, CoarselyFilteredListing])
@given(events=events, size=st.integers(1, 4), past=st.integers(0, 12))
def test_random_interruptions_never_lose_an_entry(
    kind: type[Listing], events: list[tuple[str, int]], size: int, past: int
) -> None:
    """Entries up to the look-back late, between and during syncs that die anywhere: the next one has them all."""
    sync, now = Sync(filled(past, size, step=25, kind=kind)), NOON
    for what, amount in events:
        if what == "new":
            sync.listing.add(now - minutes(amount))
        elif what == "wait":
            now += minutes(amount)
        elif what == "kill":
            sync.run(amount, now=now)
        else:
            sync.listing.generation += 1
    sync.run(now=now)
    assert sync.whole
    assert sync.state["walks"] == []


@given(inserts=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 59)), max_size=12), size=st.integers(1, 3))
def test_entries_that_come_while_a_walk_reads(inserts: list[tuple[int, int]], size: int) -> None:
    """What is listed above the cursor of a running walk is read by the next one."""
    sync = Sync(filled(8, size, step=25))
    real, now = sync.listing.page, NOON

    def page(after: str | None) -> Page[Entry]:
        found = real(after)
        for at_read, late in inserts:
            if at_read == sync.listing.reads:
                sync.listing.add(now - minutes(late))
        return found

    sync.listing.page = page
    sync.run(2)
    sync.run()
    sync.listing.page = real
    sync.run()
    assert sync.whole


def test_the_keys_of_a_state_are_known() -> None:
    """What a step of the user's has put beside them stays: only these are written anew."""
    state = WalkState(lost=[["2026-01-01", None]]).to_json()
    assert {*state} == {*WALK_KEYS}


def test_with_resume_each_piece_of_one_page_comes_further() -> None:
    """Without it every piece of one page would be the newest page again, for ever."""
    start, seen = datetime(2026, 1, 1, tzinfo=UTC), dict[bool, list[int]]()
    for resume in (False, True):
        listing, state = Listing(), WalkState()
        for hour in range(6):
            listing.add(start + timedelta(hours=hour))
        seen[resume] = []
        for _ in range(3):
            pieces = newest_first(
                listing.pages, state, lag=timedelta(hours=1), now=start + timedelta(days=1), resume=resume
            )
            seen[resume] += [entry.id for page in islice(pieces, 1) for entry in page.records]
            state = WalkState.from_json(state.to_json())
    assert seen == {False: [5, 4] * 3, True: [5, 4, 3, 2, 1, 0]}
