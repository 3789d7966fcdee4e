"""An end is proven, not believed: whatever a listing does, no sync and no `gaps` says complete before it is so."""

from __future__ import annotations

import httpx2 as httpx
import pytest

from tests.contract.commands import gapless, gaps, lose
from tests.contract.conftest import NAMES, Begin, of
from tests.contract.listings import Bend, ListingPage, bend
from tests.contract.subject import Subject
from tests.support.world import World

ROUNDS = 3
CUT, EMPTIED = ListingPage.as_last, ListingPage.emptied


def claims(here: World) -> bool:
    """One sync, and whether it claims that all is here; then all must be here, and otherwise a gap must say so."""
    outcome = here.sync()
    if outcome.outcome == "complete":
        here.assert_exact()
        assert gaps(here) == []
        return True
    told = gaps(here)
    assert told, f"{outcome.outcome} and no gap: {outcome.failures}"
    return False


def ends_exact(here: World) -> int:
    """How many syncs it takes until all is here, and is said to be."""
    for number in range(1, ROUNDS + 1):
        if claims(here):
            return number
    raise AssertionError(f"still not complete after {ROUNDS} syncs: {gaps(here)}")


@pytest.mark.slow
@of(NAMES[1])
@pytest.mark.parametrize("how", [CUT, EMPTIED], ids=["cut", "emptied"])
def test_once(subject: Subject, world: Begin, how: Bend) -> None:
    """One page that names no next one, or holds nothing: it is read again, at the latest by the next sync."""
    here = world(subject.filled(9, 48))
    bend(here, subject, how, skip=1, times=1)
    assert ends_exact(here) <= 2


@pytest.mark.sweep
@of(NAMES[1])
def test_for_ever(subject: Subject, world: Begin) -> None:
    """Every page is the last one: no sync claims anything until the vendor is mended; then the next one is exact.

    A vendor that tells no total, and cuts every time, cannot be told from one that has no more.
    """
    if not subject.tells_total:
        pytest.skip("the vendor tells no total")
    here = world(subject.filled(9, 48))
    bend(here, subject, CUT)
    assert not claims(here)
    assert not claims(here)
    here.mend()
    assert ends_exact(here) == 1


@pytest.mark.sweep
@pytest.mark.parametrize("how", [CUT, EMPTIED], ids=["cut", "emptied"])
@pytest.mark.parametrize("skip", range(0, 6, 2))
def test_at_any_page(subject: Subject, world: Begin, how: Bend, skip: int) -> None:
    """As `test_once`, wherever it happens, also in the sync after the first."""
    if skip == 0 and how is CUT and not subject.tells_total:
        pytest.skip("a first page that is smaller than the vendor documents cannot be told from the only one")
    here = world(subject.filled(9, 48))
    bend(here, subject, how, skip=skip, times=2 if subject.tells_total else 1)
    here.may_not_fire()
    ends_exact(here)
    here.mend()
    here.fake.advance(60)
    bend(here, subject, how, skip=skip, times=2 if subject.tells_total else 1)
    here.may_not_fire()
    ends_exact(here)


@pytest.mark.slow
@of(NAMES[1])
@pytest.mark.parametrize("skip", [0, pytest.param(1, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("how", ["cut", pytest.param("not found", marks=pytest.mark.sweep)])
def test_verify_of_a_listing_that_is_cut(subject: Subject, world: Begin, how: str, skip: int) -> None:
    """What a listing lacks may be served: nobody is told that all is here while its end is not proven."""
    if how == "cut" and not subject.tells_total:
        pytest.skip("the vendor tells no total")
    here = world(subject.filled(9, 48))
    here.synced()
    if skip == 0:
        lose(here)
    if how == "cut":
        bend(here, subject, CUT, skip=skip)
    else:
        bend(here, subject, lambda page: httpx.Response(404), skip=1)
    assert gapless(here, "verify", subject.name, "--whole").exit_code in (1, 3)
    here.mend()
    assert gapless(here, "verify", subject.name, "--repair").exit_code == 0
    here.assert_exact()


@pytest.mark.slow
@of(NAMES[1])
def test_resumed_at_a_cursor_that_answers_with_nothing(subject: Subject, world: Begin) -> None:
    """A walk that broke off goes on at its cursor; an empty answer there does not erase what is missing."""
    if subject.parents_table:
        pytest.skip("parents are read from their first page")
    here = world(subject.filled())
    here.fail_after(2, status=401)
    assert here.sync(package_records=4).outcome == "failed"

    asked = 0

    def nothing(page: ListingPage) -> httpx.Response:
        nonlocal asked
        resumed = "after" in page.request.url.params
        asked += resumed
        if not resumed or asked > 2:  # what comes after it was asked twice
            return page.answer
        page.emptied()
        return page.as_last()

    bend(here, subject, nothing)
    assert ends_exact(here) <= 2


@pytest.mark.slow
@of(NAMES[0])
def test_an_account_that_lists_nothing(subject: Subject, synced: World) -> None:
    """Once it may be a fault, so no sync claims that what is new is here; twice in a row it is believed."""
    here, empty = synced, subject.empty()
    full = {name: value for name, value in vars(here.fake).items() if name in vars(empty)}
    vars(here.fake).update({name: value for name, value in vars(empty).items() if name != "_lock"})
    outcome = here.sync()
    assert "it is empty, and" in " ".join(map(str, outcome.failures))
    assert gaps(here)
    here.complete()
    assert gaps(here) == []
    vars(here.fake).update(full)
    here.complete()
    here.assert_exact()
    assert gaps(here) == []
