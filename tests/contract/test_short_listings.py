"""A listing that lacks what was listed before proves nothing: `verify` says so, until a sync has believed it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import pytest

from tests.contract.commands import document, everything, gaps, run
from tests.contract.conftest import NAMES, of
from tests.contract.subject import Subject
from tests.contract.test_gone import delete_parent, parents_of
from tests.lab.scenarios.answers import Answer
from tests.support.world import World, some


def listed(subject: Subject, here: World, keep: Callable[[list[Any]], list[Any]]) -> None:
    """The listing of parents has some of them only, with a total that fits; all of them are served by their ids."""

    def answer(request: httpx.Request) -> httpx.Response | None:
        page = Answer(subject, here.fake, request)
        here.fake.requests.pop()  # it is noted again when the vendor answers it
        if page.kind != "parents":
            return None
        before = len(page.rows)
        page.rows = keep(page.rows)
        gone = before - len(page.rows)
        return page.cut().total(lambda count: max(0, count - gone)).sent()

    here.intercept = answer


def nothing(rows: list[Any]) -> list[Any]:
    return []


def one(rows: list[Any]) -> list[Any]:
    return rows[:1]


def verified(here: World, *options: str) -> tuple[int, str | None]:
    """The exit code of `verify`, and why it proves nothing."""
    found = document(here, "verify", here.name, *options)
    return found["exit_code"], found["sources"][0]["unproven"]


@of(NAMES[0])
@pytest.mark.parametrize("how", some([nothing, one], nothing))
@pytest.mark.parametrize("options", some(["--whole", "--sample=2"], "--whole"))
def test_verify_believes_none(
    subject: Subject, synced: World, how: Callable[[list[Any]], list[Any]], options: str
) -> None:
    """Nothing is written as proof, and the sync that is named ends it."""
    parents_of(subject, synced)
    before = everything(synced, ["coverage", "runs", "dead_letters"])
    listed(subject, synced, how)
    code, why = verified(synced, options)
    assert (code, f"gapless sync {subject.name}" in str(why)) == (3, True), why
    assert everything(synced, before) == before
    synced.mend()
    synced.complete()
    assert verified(synced, options) == (0, None)


@pytest.mark.slow
@of(NAMES[1])
def test_a_listing_that_stays_short(subject: Subject, synced: World) -> None:
    """What is served and not listed any more is no alarm for ever: a sync has seen it, and it may come back."""
    parents_of(subject, synced)
    listed(subject, synced, one)
    synced.complete()
    assert verified(synced, "--whole") == (0, None)
    assert gaps(synced) == []
    synced.mend()
    synced.complete()
    assert synced.sql(f"select count(*) from {subject.parents_table} where gone_at is not null") == [(0,)]
    synced.assert_exact()
    listed(subject, synced, nothing)
    assert verified(synced, "--whole")[0] == 3
    assert [synced.sync().outcome for _ in range(2)] == ["partial", "complete"]
    assert (verified(synced, "--whole"), gaps(synced)) == ((0, None), [])
    synced.mend()
    synced.complete()
    assert verified(synced, "--whole") == (0, None)
    synced.assert_exact()


@pytest.mark.slow
@of(NAMES[2])
def test_parents_that_were_deleted(subject: Subject, synced: World) -> None:
    """All but one: it is unproven until the next sync has closed them."""
    parents_of(subject, synced)
    for parent in subject.parents(synced.fake)[1:]:
        delete_parent(subject, synced.fake, parent)
    assert verified(synced, "--whole")[0] == 3
    synced.complete()
    assert (verified(synced, "--whole"), gaps(synced)) == ((0, None), [])


@pytest.mark.slow
@of(NAMES[3])
def test_a_shard_believes_none(subject: Subject, sharded: World) -> None:
    """However often it is empty: the letter that would make it believe may be that of another shard."""
    here, there = sharded, ("--destination", "postgres")

    def shard(number: int) -> int:
        return run("sync", subject.name, "--shard", f"{number}/2", *there).exit_code

    assert [shard(1), shard(2)] == [0, 0]
    listed(subject, here, nothing)
    assert [shard(number) for number in (1, 2, 1, 2, 1)] == [3] * 5
    here.mend()
    assert [shard(1), shard(2)] == [0, 0]
    assert run("gaps", *there).exit_code == 0


@of(NAMES[1])
def test_nothing_at_all_is_served(subject: Subject, synced: World) -> None:
    """Records were here and none is served any more: that is asked twice before it is believed, whatever the mode."""
    if subject.parents_table or subject.source.facts.keeps_days is not None:
        pytest.skip("its listing of parents tells it first, or records are deleted by their age")
    served = dict(vars(synced.fake))
    vars(synced.fake).update({name: value for name, value in vars(subject.empty()).items() if name != "_lock"})
    assert verified(synced)[0] == 3
    assert verified(synced, "--whole")[0] == 3
    assert verified(synced, "--whole") == (0, None)
    assert verified(synced) == (0, None)
    vars(synced.fake).update(served)
    assert verified(synced, "--whole") == (0, None)
