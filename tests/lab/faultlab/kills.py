"""kill -9 at the N-th side effect, then one more sync: exact, nothing twice, at most one chunk read again.

How many side effects an unharmed run has is counted first. Three ways to die: at a point; `inside`, a moment after
a statement was handed to the database; `twice`, at a point, and in the run that would have healed it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.lab.faultlab.verdict import Expect, Verdict, judge
from tests.lab.faultlab.world import PATCH, Lab, Trial

COSTS = {
    ("sequence", "first"): (7, 1, 6),
    ("sequence", "incremental"): (7, 7, 4),
    ("sequence", "backfill"): (5, 5, 0),
    ("omni", "first"): (8, 8, 0),
    ("omni", "incremental"): (10, 10, 0),
    ("omni", "backfill"): (8, 8, 0),
    ("kizen", "first"): (25, 4, 22),
    ("kizen", "incremental"): (32, 14, 22),
    ("kizen", "backfill"): (23, 23, 0),
    ("tines", "first"): (11, 11, 6),
    ("tines", "incremental"): (19, 18, 6),
    ("tines", "backfill"): (11, 11, 0),
}
"""Requests of an unharmed run, of one more when nothing is new, and of a chunk with what workers read ahead."""
WHOLE = {**PATCH, "package_records": 1000}
"""The run that heals may take all that is left in one package."""


@dataclass(frozen=True)
class Kill:
    source: str
    phase: str
    at: int
    inside: float = 0.0
    again: int = 0
    """The next run dies, too, at this number."""

    @property
    def way(self) -> str:
        return "twice" if self.again else "inside" if self.inside else "point"

    @property
    def expect(self) -> Expect:
        """The harmed run is killed; the next one ends exact and asks for no more than one chunk again."""
        unharmed, idle, chunk = COSTS[self.source, self.phase]
        times = 2 if self.again else 1
        return Expect(first=("resumed",), exits=(-9,), requests=unharmed + times * (idle + chunk))


@dataclass
class Killed:
    kill: Kill
    verdict: Verdict
    last: str
    """The side effect it died at; empty: it ended before."""


def count(lab: Lab, source: str, phase: str) -> list[str]:
    """The side effects of an unharmed run, in order. Holds the run to COSTS."""
    with lab.trial(source, phase) as trial, trial.vendor() as url:
        run = trial.run(url, switch={"every": True})
        assert run.code == 0, run.output
        assert not lab.destination.mismatches(trial.folder, source, trial.fake.truth())
        assert run.requests == COSTS[source, phase][0], f"{source} {phase}: {run.requests} requests"
        lines = (trial.folder / "output-0.switch").read_text().splitlines()
    return [line.partition(" ")[2] for line in lines]


def chosen(effects: dict[tuple[str, str], list[str]], many: int | None, seed: int) -> list[Kill]:
    """`many` kills spread evenly over sources and phases, one in six `inside`, one in ten `twice`; None: all."""
    if many is None:
        return [Kill(s, p, at) for (s, p), found in effects.items() for at in range(1, len(found) + 1)]
    chance, kills, places = random.Random(seed), [], list(effects)
    for number in range(many):
        source, phase = places[number % len(places)]
        kills.append(_one(source, phase, effects[source, phase], chance))
    return kills


def _one(source: str, phase: str, found: list[str], chance: random.Random) -> Kill:
    """Every kind of side effect is as likely as any other: most of them all are writes of a few bytes to parquet."""
    kind = chance.choice(sorted(set(found)))
    way, at = chance.random(), chance.choice([n for n, what in enumerate(found, 1) if what == kind])
    if way < 1 / 6:
        statements = [n for n, what in enumerate(found, 1) if what.startswith("before sql.")]
        return Kill(source, phase, chance.choice(statements), inside=chance.choice([0.0002, 0.001, 0.003]))
    return Kill(source, phase, at, again=chance.randint(1, len(found) // 2) if way > 0.9 else 0)


def run(lab: Lab, kills: list[Kill]) -> Iterator[Killed]:
    for kill in kills:
        with lab.trial(kill.source, kill.phase) as trial, trial.vendor() as url:
            yield _run(trial, url, kill)


def _run(trial: Trial, url: str, kill: Kill) -> Killed:
    harmed = trial.run(url, switch={"at": kill.at, "inside": kill.inside})
    last = (trial.folder / "output-0.switch").read_text().strip()
    if kill.again:
        trial.run(url, patch=WHOLE, switch={"at": kill.again})
    healed = trial.run(url, patch=WHOLE)
    truth = trial.fake.truth()
    if harmed.code == 0:
        last = ""  # threads made it a shorter one; then it counts as no kill at all
        expect = Expect()
    else:
        expect = kill.expect
    return Killed(kill, judge(trial, expect, truth, harmed, healed, after=[], requests=trial.arrived), last)
