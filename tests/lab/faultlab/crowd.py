"""One trial of together.py: the commands run at once, then each vendor's last sync is judged."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from gapless.sources import SOURCES
from tests.lab.faultlab.runs import Run, Zygote
from tests.lab.faultlab.together import HELD, UNPROMISED, Beside, Crowd, Crowded
from tests.lab.faultlab.verdict import Expect, Verdict, judge
from tests.lab.faultlab.world import PATCH, Lab, Trial, filled

WHOLE = {**PATCH, "package_records": 1000}
AFTER = Expect(("exact", "resumed"), (0, 1, 75, -9))
"""The storm's exit codes have been judged by then."""
SAID = {75: ("ry again when it has ended",), 1: ("Close the file in that program", "another sync is writing")}
LIMIT = 40.0
"""Seconds that one may compute, and wait."""


@dataclass
class Command:
    """One of those that run at once, in the vendor's world that it belongs to."""

    trial: Trial
    beside: Beside
    offset: float
    switch: dict[str, Any]

    def run(self, url: str) -> Run:
        time.sleep(self.offset)
        if self.beside.args is None:
            return self._read()
        order = {"switch": self.switch} if self.switch else {}
        return self.trial.run(url, args=self.beside.args(self.trial), limit=LIMIT, **order)

    def _read(self) -> Run:
        with suppress(Exception):  # whether a stranger gets in is not our promise
            rows = self.trial.destination.texts(self.trial.folder, self.trial.source)
            next(iter(rows), None)
            time.sleep(HELD)
            del rows
        return Run(0, HELD, 0.0, 0, "")


def run(lab: Lab, todo: list[Crowd], zygotes: list[Zygote]) -> Iterator[Crowded]:
    """As many at once as there are zygotes."""
    for crowd in todo:
        for zygote, source in product(zygotes, {crowd.source, crowd.other} & {*SOURCES}):
            lab.warm(source, zygote)
        began = time.monotonic()
        with ExitStack() as kept:
            trial = kept.enter_context(lab.trial(crowd.source, crowd.phase))
            vendors = [trial, *_another(lab, crowd, trial, kept)]
            commands = list(_commands(crowd, vendors, zygotes))
            verdict = _judged(crowd, vendors, commands, _at_once(commands))
            exits = tuple(command.trial.runs[0].code if command.trial.runs else "-" for command in commands)
        yield Crowded(crowd, verdict, exits, time.monotonic() - began)


def _another(lab: Lab, crowd: Crowd, trial: Trial, kept: ExitStack) -> Iterator[Trial]:
    """Another vendor's world, if the crowd needs one; it has not been synced yet."""
    if crowd.kind == "a sync of another source":
        yield _beside(trial, crowd.other, filled(crowd.other))
    elif crowd.kind == "another account, the same database":
        yield _beside(trial, crowd.source, filled(crowd.source, account=1))
    elif crowd.kind == "another account, another database":
        other = kept.enter_context(lab.trial(crowd.source, "first"))
        yield replace(other, fake=filled(crowd.source, account=1), port=0)


def _beside(trial: Trial, source: str, fake: Any) -> Trial:
    arguments = ["sync", source, "--destination", trial.destination.name]
    return replace(trial, source=source, phase="first", fake=fake, arguments=arguments, name="other", runs=[], port=0)


def _commands(crowd: Crowd, vendors: list[Trial], zygotes: list[Zygote]) -> Iterator[Command]:
    """Whatever stands beside the sync belongs to the other vendor, if there is one."""
    for number, beside in enumerate(crowd.beside(len(zygotes))):
        vendor = vendors[number == 1 and len(vendors) > 1]
        one = replace(
            vendor, zygote=zygotes[number], name=f"{vendor.name}-at-once-{number}", runs=[], arrived=0, port=0
        )
        dies = number == 1 and crowd.kind == "a sync that is killed"
        yield Command(one, beside, crowd.offsets[number], {"at": crowd.at} if dies else {})


def _at_once(commands: list[Command]) -> list[Run]:
    with ExitStack() as served, ThreadPoolExecutor(len(commands)) as threads:
        urls = [served.enter_context(command.trial.vendor()) for command in commands]
        return list(threads.map(Command.run, commands, urls))


def _judged(crowd: Crowd, vendors: list[Trial], commands: list[Command], runs: list[Run]) -> Verdict:
    """The first bad one of: how the commands ended, and what is there of each vendor in the end."""
    wrong = list(_wrong(vendors[0], commands, runs))
    verdicts = [_of_vendor(crowd, vendors, vendor, commands, runs) for vendor in vendors]
    worst = next((verdict for verdict in verdicts if not verdict.good), verdicts[0])
    scanned = sum(verdict.scanned for verdict in verdicts) + len(runs)
    if crowd.kind in UNPROMISED and not worst.good and worst.kind != "LEAK":
        return Verdict("unpromised", worst.notes, scanned)
    if any(run.code == "hang" for run in runs):
        return Verdict("HANG", wrong, scanned)
    return Verdict("OTHER", wrong, scanned) if wrong and worst.good else replace(worst, scanned=scanned)


def _wrong(trial: Trial, commands: list[Command], runs: list[Run]) -> Iterator[str]:
    """What no command may do."""
    blocked = trial.destination.name == "duckdb" and any(command.beside.reads for command in commands)
    for command, run in zip(commands, runs, strict=True):
        args = command.beside.args(command.trial) if command.beside.args else []
        told = f"{' '.join(args[:3])} ended with {run.code}"
        if run.code not in command.beside.exits:
            yield f"{told}: {run.output[-400:]}"
        elif run.code in SAID and not any(text in " ".join(run.output.split()) for text in SAID[run.code]):
            yield f"{told} and does not say why: {run.output[-400:]}"
        elif run.code in SAID and run.requests and command.beside.exits != (0, 1):
            yield f"{told} after {run.requests} requests"
    if not blocked and all(run.code not in (0, -9) for run in runs):
        yield f"nobody got the lock: {[run.code for run in runs]}"


def _of_vendor(
    crowd: Crowd, vendors: list[Trial], vendor: Trial, commands: list[Command], runs: list[Run]
) -> Verdict:
    """Exact at once if a sync of it ended with 0; one more sync, some minutes later, is exact in any case."""
    shared = [one.fake for one in vendors if one.source == vendor.source and one.folder == vendor.folder]
    own = [
        run
        for command, run in zip(commands, runs, strict=True)
        if command.beside.syncs and command.trial.fake is vendor.fake
    ]
    harmed = next((run for run in own if run.code == 0), own[0])
    after = []
    if harmed.code == 0 and len(shared) == 1:  # else the other account may not have been let in yet
        after = vendor.destination.mismatches(vendor.folder, vendor.source, vendor.fake.truth())
    if "--since" not in vendor.arguments:
        vendor.fake.advance(10)
    with vendor.vendor() as url:
        healed = vendor.run(url, patch=WHOLE, limit=LIMIT)
    if len(shared) > 1 and vendor is vendors[0]:
        with vendors[1].vendor() as url:
            vendors[1].run(url, patch=WHOLE, limit=LIMIT)
    return judge(vendor, AFTER, _truth(shared), harmed, healed, after=after, requests=0)


def _truth(fakes: list[Any]) -> dict[str, list[Any]]:
    """What the accounts hold together."""
    truths = [fake.truth() for fake in fakes]
    return {table: [row for truth in truths for row in truth[table]] for table in truths[0]}
