"""The catalogue of HTTP faults: what goes over the wire instead of the vendor's answer, and what must come of it.

A fault has a group, a group has an expectation at every site; both are data. Left out, because nothing tells them
from the truth: an empty list where a list may be empty, a smaller total, a last page that says it is the last.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx2 as httpx

from tests.lab.faultlab.answer_faults import BODY_BENDS, STATUS_BENDS, WIRE_BENDS, Bend, Exchange
from tests.lab.faultlab.paging_faults import PAGING_BENDS
from tests.lab.faultlab.verdict import Expect, Verdict, judge
from tests.lab.faultlab.wire import Acts, plain
from tests.lab.faultlab.world import PATCH, PHASES, Lab, Trial

BENDS = (*STATUS_BENDS, *WIRE_BENDS, *BODY_BENDS, *PAGING_BENDS)
WHOLE = {**PATCH, "package_records": 1000, "described": False}
LATER = {"sequence": 2, "omni": 4, "kizen": 6, "tines": 4}
"""The request that "later" means: beyond the first page, in the midst of the parents."""
PARENT = {
    "omni": r"/leads/([^/]+)/action-logs",
    "kizen": r"/activities/([^/]+)/responses",
    "tines": r"/actions/([^/]+)/logs",
}
SITES = ("once first", "once later", "for ever", "for ever later", "one parent")
EXACT = Expect()
FAILED = Expect(("resumed",), (1,))
PARTIAL = Expect(("resumed",), (3,))
STOPPED = Expect(("resumed",), (1, 3))
UNPROVEN = Expect(("exact", "resumed"), (0, 3))
SAID = Expect(("exact", "resumed"), (0, 1, 3))
EITHER = Expect(("exact", "resumed"), (0, 1, 3), letters=True)

EXPECT: dict[str, dict[str, Expect]] = {
    # passes by itself: asked again
    "passing": dict(zip(SITES, (EXACT, EXACT, FAILED, STOPPED, PARTIAL), strict=True)),
    # will never work: this one is skipped, said and tried again next time
    "refused": dict(zip(SITES, (FAILED, PARTIAL, FAILED, STOPPED, PARTIAL), strict=True)),
    # is not asked again, and says nothing about another parent; what proves the account asks for another record
    "one alone": dict(zip(SITES, (SAID, SAID, FAILED, STOPPED, PARTIAL), strict=True)),
    # as refused, for what is listed is not gone; a later page that is not found is read again
    "gone": dict(zip(SITES, (FAILED, UNPROVEN, FAILED, STOPPED, PARTIAL), strict=True)),
    # nothing makes sense before someone mends something
    "stop": dict(zip(SITES, (FAILED,) * 5, strict=True)),
    # odd, but a right answer
    "harmless": dict(zip(SITES, (EXACT,) * 5, strict=True)),
    # text that may or may not be readable: never wrong in silence
    "doubtful": dict(zip(SITES, (EITHER,) * 5, strict=True)),
}
SPECIAL = {
    # a refused cursor restarts the walk
    ("sequence", "refused", "once later"): EXACT,
    ("sequence", "gone", "once later"): EXACT,
    ("sequence", "gone", "for ever later"): FAILED,
}
BY_NAME = {
    # 403 says nothing about a cursor
    ("sequence", "status 403", "once later"): FAILED,
    # what came of a listing of parents without its next link is read
    ("kizen", "paging missing", "for ever"): STOPPED,
    # an end that the total does not bear out is believed by nobody
    **{(source, f"a total of {10**12}", "for ever"): UNPROVEN for source in ("sequence", "kizen", "tines")},
}
FOUND = {
    ("omni", "first", "paging missing", "once first"),
    ("tines", "first", "paging an empty object", "for ever"),
    ("kizen", "first", "paging missing", "once later"),
    ("omni", "incremental", "the answer twice", "once later"),
    ("tines", "first", "a record goes while pages are read", "one parent"),
}
"""Cases that were silent once: the first of every sample. See tests/lab/test_faultlab.py."""


@dataclass(frozen=True)
class Case:
    source: str
    phase: str
    bend: Bend
    site: str

    def __reduce__(self) -> tuple[Callable[..., Case], tuple[str, str, str, str]]:
        """Pickles by names: what a fault does is code."""
        return case, self.place

    @property
    def fault(self) -> str:
        return self.bend.name

    @property
    def place(self) -> tuple[str, str, str, str]:
        return self.source, self.phase, self.fault, self.site

    @property
    def expect(self) -> Expect:
        usual = SPECIAL.get((self.source, self.bend.group, self.site), EXPECT[self.bend.group][self.site])
        return BY_NAME.get((self.source, self.bend.name, self.site), usual)


@dataclass
class Tried:
    case: Case
    verdict: Verdict
    seconds: float


def case(source: str, phase: str, fault: str, site: str) -> Case:
    """Returns the case of these names."""
    return Case(source, phase, next(bend for bend in BENDS if bend.name == fault), site)


def cases(sources: tuple[str, ...], phases: tuple[str, ...] = PHASES) -> list[Case]:
    """Every fault at every site where it means something."""
    return [
        Case(source, phase, bend, site)
        for bend in BENDS
        for source in sources
        for phase in phases
        for site in SITES
        if bend.fits(source, phase, site) and (site != "one parent" or source in PARENT)
    ]


def chosen(cases: list[Case], many: int | None, seed: int) -> list[Case]:
    """`many` cases: those of FOUND, then every fault once before any comes twice, as `seed` has it; None: all."""
    if many is None:
        return cases
    chance = random.Random(seed)
    by_fault: dict[str, list[Case]] = {}
    for case in chance.sample(cases, len(cases)):
        by_fault.setdefault(case.fault, []).append(case)
    faults = chance.sample(list(by_fault), len(by_fault))
    rounds = range(max(map(len, by_fault.values())))
    turns = [by_fault[fault][turn] for turn in rounds for fault in faults if turn < len(by_fault[fault])]
    return sorted(turns, key=lambda case: case.place not in FOUND)[:many]


class Faulty:
    """Answers as the vendor does, but for the requests that `site` means."""

    def __init__(self, trial: Trial, case: Case) -> None:
        self._trial, self._case = trial, case
        self._number = 0
        self._parent: str | None = None
        self.hits = 0

    def __call__(self, request: httpx.Request) -> Acts:
        self._number += 1
        good = self._trial.good(request)
        if not self._meant(request):
            return plain(good)
        self.hits += 1
        return self._case.bend.acts(Exchange(request, good, self._trial.source, self._trial.fake, self.hits))

    def _meant(self, request: httpx.Request) -> bool:
        later = LATER[self._case.source]
        return {
            "once first": self._number == 1,
            "once later": self._number == later,
            "for ever": True,
            "for ever later": self._number >= later,
            "one parent": self._is_parent(request),
        }[self._case.site]

    def _is_parent(self, request: httpx.Request) -> bool:
        found = re.search(PARENT.get(self._case.source, "$^"), request.url.path)
        if found and self._parent is None:
            self._parent = found[1]
        return bool(found) and found[1] == self._parent


def run(lab: Lab, todo: list[Case]) -> Iterator[Tried]:
    for case in todo:
        with lab.trial(case.source, case.phase) as trial, trial.vendor() as url:
            yield _run(trial, url, case)


def _run(trial: Trial, url: str, case: Case) -> Tried:
    truth = trial.fake.truth()
    trial.answer = faulty = Faulty(trial, case)
    harmed = trial.run(url, patch=WHOLE)
    after = trial.destination.mismatches(trial.folder, case.source, truth) if harmed.code == 0 else []
    asked, trial.answer = harmed.requests, None
    if case.phase != "backfill":
        trial.fake.advance(10)
    healed = trial.run(url, patch=WHOLE)
    if not faulty.hits:
        return Tried(case, Verdict("OTHER", ["the fault was never reached"]), harmed.seconds)
    verdict = judge(trial, case.expect, trial.fake.truth(), harmed, healed, after=after, requests=asked)
    return Tried(case, verdict, harmed.seconds)
