"""Faults on the wire to Postgres at the N-th statement, then one more sync: exact, whatever the first one said.

The wire goes through tests.support.postgres_wire, with every wait of the product's cut short by the user's own
settings.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle, islice
from urllib.parse import quote

from tests.lab.faultlab.kills import WHOLE
from tests.lab.faultlab.postgres import Postgres
from tests.lab.faultlab.verdict import Expect, Verdict, judge
from tests.lab.faultlab.world import Lab, Trial
from tests.support.postgres_wire import FAULTS, Wire

EXPECT = Expect(first=("exact", "resumed"), exits=(0, 1))
"""A connection may be made anew and all go well; else it is said. Never an end without a word, never no end."""
LIMIT = 30.0
IMPATIENT = {
    "connect_timeout": "2",
    "tcp_user_timeout": "500",
    "keepalives_idle": "1",
    "keepalives_interval": "1",
    "keepalives_count": "1",
    "options": "-ctcp_keepalives_idle=1 -ctcp_keepalives_interval=1 -ctcp_keepalives_count=1 -ctcp_user_timeout=500",
}
"""What a user may say in the URL himself, and what of ours it overrules."""


@dataclass(frozen=True)
class Fault:
    source: str
    phase: str
    name: str
    at: int


@dataclass
class Broken:
    fault: Fault
    verdict: Verdict
    seconds: float


def count(lab: Lab, source: str, phase: str) -> int:
    """Statements of an unharmed run."""
    with lab.trial(source, phase) as trial, trial.vendor() as url, closing(_wire(trial, 0)) as wire:
        run = trial.run(url, env=_through(wire, trial, {}), limit=LIMIT)
        assert run.code == 0, run.output
        return wire.statements


def chosen(statements: dict[tuple[str, str], int], many: int, seed: int) -> list[Fault]:
    """Faults and places in turn; the statement by chance."""
    chance = random.Random(seed)
    turns = islice(zip(cycle(statements), cycle(FAULTS), strict=False), many)
    return [Fault(*place, name, chance.randint(1, statements[place])) for place, name in turns]


def run(lab: Lab, faults: list[Fault]) -> Iterator[Broken]:
    for fault in faults:
        with lab.trial(fault.source, fault.phase) as trial, trial.vendor() as url:
            yield _run(trial, url, fault)


def _run(trial: Trial, url: str, fault: Fault) -> Broken:
    with closing(_wire(trial, fault.at, fault.name)) as wire:
        harmed = trial.run(url, env=_through(wire, trial, IMPATIENT), limit=LIMIT)
        assert wire.server_is_up.wait(LIMIT)
        after = [] if harmed.code else _held(trial)
        left = _postgres(trial).others(trial.folder, seconds=10)  # before the wire ends, which would tell the server
    healed = trial.run(url, patch=WHOLE)
    truth = trial.fake.truth()
    if left:
        return Broken(fault, Verdict("OTHER", [f"the server still keeps: {left}"]), harmed.seconds)
    verdict = judge(trial, EXPECT, truth, harmed, healed, after=after, requests=trial.arrived)
    return Broken(fault, verdict, harmed.seconds)


def _held(trial: Trial) -> list[str]:
    return trial.destination.mismatches(trial.folder, trial.source, trial.fake.truth())


def _postgres(trial: Trial) -> Postgres:
    assert isinstance(trial.destination, Postgres)
    return trial.destination


def _wire(trial: Trial, at: int, fault: str = "lost") -> Wire:
    server = _postgres(trial).server
    return Wire(server.port, at, fault, server.restart if fault == "crash" else None)


def _through(wire: Wire, trial: Trial, asked: dict[str, str]) -> dict[str, str]:
    said = "&".join(f"{name}={quote(value)}" for name, value in asked.items())
    ((name, url),) = trial.destination.settings(trial.folder).items()
    return {name: f"{url.replace(f':{_postgres(trial).server.port}/', f':{wire.port}/')}?{said}"}
