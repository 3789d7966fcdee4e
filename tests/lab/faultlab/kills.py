"""kill -9 at the N-th side effect, then one more sync: exact, nothing twice, at most one chunk read again.

How many side effects an unharmed run has is counted first. Three ways to die: at a point; `inside`, a moment after
a statement was handed to the database; `twice`, at a point, and in the run that would have healed it. What kill -9
leaves of a destination in files can be had for less: at a point a run is `frozen`, all its threads stand still, its
folder is copied, and it goes on to the next point; each copy is then healed where the folder was.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from tests.lab.faultlab.verdict import Expect, Verdict, judge
from tests.lab.faultlab.world import PATCH, Lab, Trial

COSTS = {
    ("sequence", "first"): (7, 1, 6),
    ("sequence", "incremental"): (7, 7, 6),
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
"""Requests of an unharmed run, of one more when nothing is new, and of a chunk with what is read ahead of it: two
pages of a listing, since a page is asked for while the one before is written, and what each worker has in hand."""
PATIENT = {**PATCH, "deadline": 30.0, "read": 20.0}
"""Here the vendor answers as it should; when it is slow, so is the machine."""
WHOLE = {**PATIENT, "package_records": 1000, "described": False}
"""The run that heals may take all that is left in one package, and leaves out comments on columns."""
PROOF = 1
"""Requests by which a sync proves that the rows it finds are of its own account, when a kill left that open."""
OF_ONE_RUN = 12
"""Points at which one run is frozen."""


@dataclass(frozen=True)
class Kill:
    source: str
    phase: str
    at: int
    inside: float = 0.0
    again: int = 0
    """The next run dies, too, at this number."""
    frozen: bool = False
    """The run goes on, and what it would have left is healed."""

    @property
    def way(self) -> str:
        return "frozen" if self.frozen else "twice" if self.again else "inside" if self.inside else "point"

    @property
    def expect(self) -> Expect:
        """The harmed run is killed; the next one ends exact and asks for no more than one chunk again."""
        unharmed, idle, chunk = COSTS[self.source, self.phase]
        times = 2 if self.again else 1
        return Expect(first=("resumed",), exits=(-9,), requests=unharmed + times * (PROOF + idle + chunk))


@dataclass
class Killed:
    kill: Kill
    verdict: Verdict
    last: str
    """The side effect it died at; empty: it ended before."""


def count(lab: Lab, source: str, phase: str) -> list[str]:
    """The side effects of an unharmed run, in order. Holds the run to COSTS."""
    with lab.trial(source, phase) as trial, trial.vendor() as url:
        run = trial.run(url, patch=PATIENT, switch={"every": True})
        assert run.code == 0, run.output
        assert not lab.destination.mismatches(trial.folder, source, trial.fake.truth())
        assert run.requests == COSTS[source, phase][0], f"{source} {phase}: {run.requests} requests"
        lines = (trial.folder / "output-0.switch").read_text().splitlines()
    return [line.partition(" ")[2] for line in lines]


def chosen(
    effects: dict[tuple[str, str], list[str]], many: int | None, seed: int, *, frozen: bool = False
) -> list[Kill]:
    """`many` kills spread evenly over sources and phases; None: all.

    One in six is `inside`, one in ten `twice`; if runs can be `frozen`, five of six are, and of the others as many.
    """
    if many is None:
        return [Kill(s, p, at) for (s, p), found in effects.items() for at in range(1, len(found) + 1)]
    chance, kills, places = random.Random(seed), [], list(effects)
    for number in range(many):
        source, phase = places[number % len(places)]
        kill = _one(source, phase, effects[source, phase], chance)
        kills.append(
            replace(kill, inside=0.0, again=0, frozen=True) if frozen and number // len(places) % 6 else kill
        )
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
    """All places in turn, so that no place is left out when the time is over."""
    many = OF_ONE_RUN * len({(kill.source, kill.phase) for kill in kills})
    for start in range(0, len(kills), many or 1):
        some = kills[start : start + many]
        groups = groupby(sorted((k for k in some if k.frozen), key=_place), key=_place)
        for (source, phase), group in groups:
            with lab.trial(source, phase) as trial, trial.vendor() as url:
                yield from _frozen(trial, url, {kill.at: kill for kill in group})
        for kill in some:
            if not kill.frozen:
                with lab.trial(kill.source, kill.phase) as trial, trial.vendor() as url:
                    yield _run(trial, url, kill)


def _place(kill: Kill) -> tuple[str, str]:
    return kill.source, kill.phase


def _frozen(trial: Trial, url: str, kills: dict[int, Kill]) -> Iterator[Killed]:
    """What one run would have left at each point, healed."""
    unharmed, truth = trial.run(url, patch=PATIENT, switch={"stops": sorted(kills)}), trial.fake.truth()
    lines = (trial.folder / "output-0.switch").read_text().splitlines()
    arrivals = [*trial.arrivals]
    for number, (line, at) in enumerate(zip(lines, unharmed.stopped, strict=True)):
        shutil.rmtree(trial.folder)
        trial.folder.with_name(f"{trial.folder.name}-at-{number}").rename(trial.folder)
        trial.runs, trial.arrived = [replace(unharmed, code=-9)], sum(one < at for one in arrivals)
        healed = trial.run(url, patch=WHOLE)
        kill = kills[int(line.split()[0])]
        requests = trial.arrived
        verdict = judge(trial, kill.expect, truth, trial.runs[0], healed, after=[], requests=requests)
        yield Killed(kill, verdict, line)


def _run(trial: Trial, url: str, kill: Kill) -> Killed:
    harmed = trial.run(url, patch=PATIENT, switch={"at": kill.at, "inside": kill.inside})
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
