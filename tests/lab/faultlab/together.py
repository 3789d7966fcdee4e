"""Two or three commands at once into one destination, a moment apart, then one more sync: exact, nothing twice.

Who may end how is data, written before any run. Whoever does not get the lock says so and asks nobody; a sync that
ends with 0 leaves the destination exact whatever goes on beside it. The processes are real, each with a zygote of
its own. What one trial does stands in crowd.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import product

from gapless.sources import SOURCES
from tests.contract.subject import subject
from tests.lab.faultlab.verdict import Verdict
from tests.lab.faultlab.world import PHASES, Trial

SPREADS = (0.6, 0.6, 0.6, 1.5)
"""Seconds within which all begin; in the longest one ends while another begins."""
HELD = 0.4
"""Seconds for which a foreign reader holds the destination."""
NAMED = tuple(name for name, source in SOURCES.items() if source.stream.by_id)
"""Where `--id` is."""


def _sync(trial: Trial) -> list[str]:
    return trial.arguments


def _window(trial: Trial) -> list[str]:
    since, until = (trial.fake.now - timedelta(days=days) for days in (7, 1))
    return [*_plain(trial), "--since", since.isoformat(), "--until", until.isoformat()]


def _ids(trial: Trial) -> list[str]:
    one = subject(trial.source)
    ids = (
        one.parents(trial.fake)
        if one.source.stream.by_id == "parent"
        else [r[one.id] for r in one.records(trial.fake)]
    )
    return [*_plain(trial), *(word for key in (ids[0], ids[-1]) for word in ("--id", str(key)))]


def _rewind(trial: Trial) -> list[str]:
    to = (trial.fake.now - timedelta(days=3)).isoformat()
    return ["state", "rewind", trial.source, "--to", to, "--yes", *_into(trial)]


def _plain(trial: Trial) -> list[str]:
    return ["sync", trial.source, *_into(trial)]


def _into(trial: Trial) -> list[str]:
    return ["--destination", trial.destination.name]


@dataclass(frozen=True)
class Beside:
    """What goes on beside a sync."""

    args: Callable[[Trial], list[str]] | None = _sync
    """Of its command; None: no command of ours."""
    exits: tuple[int, ...] = (0, 75)
    """How it may end; 75 and 1 must be explained."""
    syncs: bool = False
    """Whether 0 means that all of its vendor's records are there."""
    reads: bool = False
    """DuckDB admits no writer beside it, so nobody need get the lock."""
    sources: tuple[str, ...] = tuple(SOURCES)


SYNC = Beside(syncs=True)
STATUS = Beside(lambda trial: ["status", *_into(trial)], reads=True)
BESIDE = {
    "the same sync": SYNC,
    "a sync of another source": SYNC,
    "a sync that is killed": Beside(exits=(-9, 0, 75), syncs=True),
    "a window": Beside(_window),
    "single records": Beside(_ids, sources=NAMED),
    "state reset": Beside(lambda trial: ["state", "reset", trial.source, "--yes", *_into(trial)]),
    "state rewind": Beside(_rewind),
    "state show": Beside(lambda trial: ["state", "show", *_into(trial)], reads=True),
    "status": STATUS,
    "doctor": Beside(lambda trial: ["doctor", *_into(trial)], exits=(0, 1)),
    "a foreign reader": Beside(None, reads=True),
    "another account, another database": SYNC,
    "another account, the same database": SYNC,
}
UNPROMISED = ("another account, the same database",)
"""README: two accounts of one vendor need two databases; a change is said. What comes of it is measured as well."""
THIRD = {"the same sync": SYNC, "status": STATUS}


@dataclass(frozen=True)
class Crowd:
    """A sync, what goes on beside it and, if there are zygotes for it, a third one."""

    source: str
    phase: str
    kind: str
    other: str
    """Another source, for what needs one."""
    third: str
    offsets: tuple[float, ...]
    """Seconds after which each begins."""
    at: int
    """The side effect at which the killed one dies."""

    def beside(self, many: int) -> list[Beside]:
        """What goes on, the sync first; `many` at most."""
        return [SYNC, BESIDE[self.kind], THIRD[self.third]][:many]


@dataclass
class Crowded:
    crowd: Crowd
    verdict: Verdict
    exits: tuple[int | str, ...]
    seconds: float


def chosen(sources: tuple[str, ...], many: int, seed: int) -> list[Crowd]:
    """`many` trials, every kind in every source and phase once before any comes twice, as `seed` has it."""
    chance, places = random.Random(seed), list(_places(sources))
    todo: list[tuple[str, str, str]] = []
    while len(todo) < many:
        todo += _mixed(places, chance)
    return [_crowd(*place, chance) for place in todo[:many]]


def _places(sources: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    for kind, source, phase in product(BESIDE, sources, PHASES):
        if source in BESIDE[kind].sources:
            yield kind, source, phase


def _mixed(places: list[tuple[str, str, str]], chance: random.Random) -> list[tuple[str, str, str]]:
    """In turns of one of each kind."""
    by_kind = {kind: chance.sample(found, len(found)) for kind in BESIDE if (found := _of(places, kind))}
    turns = range(max(map(len, by_kind.values())))
    return [found[turn] for turn in turns for found in by_kind.values() if turn < len(found)]


def _of(places: list[tuple[str, str, str]], kind: str) -> list[tuple[str, str, str]]:
    return [place for place in places if place[0] == kind]


def _crowd(kind: str, source: str, phase: str, chance: random.Random) -> Crowd:
    spread = chance.choice(SPREADS)
    offsets = tuple(round(chance.uniform(0, spread), 3) for _ in range(3))
    other, third = chance.choice([name for name in SOURCES if name != source]), chance.choice(list(THIRD))
    return Crowd(source, phase, kind, other, third, offsets, at=int(10 ** chance.uniform(0.5, 3.6)))
