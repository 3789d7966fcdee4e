"""Property: whatever was limited, chosen, filtered, broken off or parallel, one more run has everything once."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from gapless.sources._extract.steps import settle
from tests.contract.conftest import NAMES, of
from tests.in_dlt.conftest import User
from tests.support.world import some


@pytest.mark.slow
@of(NAMES[0])
@pytest.mark.parametrize("seed", some(range(3), 0))
def test_any_mixture_then_all(user: User, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # So few that every run writes several times before its ledger.
    monkeypatch.setattr(settle, "FLUSH_ROWS", 3)
    chance = random.Random(f"{seed} {user.subject.name}")
    mine, done = user.pipeline(), []
    for _ in range(chance.randint(2, 5)):
        rows = chance.random() < 0.5
        what = chance.choice(sorted(STEPS))
        done.append((what, rows))
        try:
            STEPS[what](user, mine, user.source(rows=rows), chance)
        except Exception as error:  # a broken run is one of the things that happen
            done.append(type(error).__name__)
            mine.abort_packages()
    if user.file().exists() and user.subject.main in user.tables():
        assert [one for one in user.differences({}) if "orphans" in one] == [], done
    mine.run(user.source(rows=chance.random() < 0.5))
    assert user.differences() == [], done


def _limited(user: User, mine: Any, source: Any, chance: random.Random) -> None:
    mine.run(source.add_limit(chance.randint(1, 5)))


def _selected(user: User, mine: Any, source: Any, chance: random.Random) -> None:
    mine.run(source.with_resources(chance.choice(list(source.resources))).add_limit(chance.randint(1, 4)))


def _looked_at(user: User, mine: Any, source: Any, chance: random.Random) -> None:
    mine.activate()
    left = chance.randint(0, 20)
    for _ in source.resources[user.subject.main]:
        left -= 1
        if left < 0:
            return


def _raising(user: User, mine: Any, source: Any, chance: random.Random) -> None:
    left = iter(range(chance.randint(1, 20)))

    def step(item: Any) -> Any:
        if next(left, None) is None:
            raise ValueError("a user's step")
        return item

    source.resources[user.subject.main].add_map(step)
    mine.run(source)


def _broken_vendor(user: User, mine: Any, source: Any, chance: random.Random) -> None:
    user.world.fail_after(chance.randint(0, 6), status=chance.choice([400, 500]))
    user.world.may_not_fire()
    try:
        mine.run(source)
    finally:
        user.world.mend()


def _timed(user: User, mine: Any, source: Any, chance: random.Random) -> None:
    mine.run(source.add_limit(max_time=chance.choice([0.0001, 0.02])))


def _parallel(user: User, mine: Any, source: Any, chance: random.Random) -> None:
    source.resources[user.subject.main].add_limit(chance.randint(1, 5))
    mine.run(source.parallelize())


def _taken_apart(user: User, mine: Any, source: Any, chance: random.Random) -> None:
    def each(item: Any) -> Any:
        yield item

    source.resources[user.subject.main].add_yield_map(each).add_limit(chance.randint(1, 9))
    mine.run(source)


def _by_rows(user: User, mine: Any, source: Any, chance: random.Random) -> None:
    mine.run(source.add_limit(chance.randint(1, 12), count_rows=True))


def _killed_in_load(user: User, mine: Any, source: Any, chance: random.Random) -> None:
    mine.extract(source.add_limit(chance.randint(1, 9)))
    mine.normalize()
    if chance.random() < 0.5:
        mine.abort_packages()
    else:
        mine.load()


async def _later(item: Any) -> Any:
    await asyncio.sleep(random.random() / 50)
    return item


def _in_the_background(user: User, mine: Any, source: Any, chance: random.Random) -> None:
    source = user.source()  # of a list of rows dlt makes a list of coroutines
    source.resources[user.subject.main].add_map(_later).add_limit(chance.randint(1, 4))
    mine.run(source)


STEPS = {
    step.__name__.strip("_"): step
    for step in (
        _limited, _selected, _looked_at, _raising, _broken_vendor, _timed, _parallel, _taken_apart, _by_rows,
        _killed_in_load, _in_the_background,
    )
}  # fmt: skip
