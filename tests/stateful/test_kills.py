"""kill -9 of a sync at random moments, then one more: exact, nothing lost, nothing twice.

Real processes die here. They are forked from one that has everything imported, because that takes longer than
a sync; it has no threads and no connection of its own.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import IO, Any, cast

import httpx
import pytest

from gapless.sources import SOURCES
from tests.support.world import World, some

Begin = Callable[[Any], World]
KILLS = 2
"""Of each source; the fault laboratory kills by the hundred."""
LATENCY = 0.004
SYNCER = """
import json, os, signal, sys, time
import duckdb, dlt, pyarrow.parquet
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.sync.run import sync
from gapless.pipelines.sync.request import SyncRequest
from gapless.sources import SOURCES
for source in SOURCES.values():
    source.build
print("ready", flush=True)
for line in sys.stdin:
    name, chunk, kill_after = json.loads(line)
    child = os.fork()
    if not child:
        (outcome,) = sync([name], Target.find("duckdb"), SyncRequest(package_records=chunk))
        os._exit(0 if outcome.outcome == "complete" else 3)
    if kill_after:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)  # nobody has waited for it yet, so the number is still its own
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Syncer:
    """Syncs in a process of their own each."""

    def __init__(self, folder: Path) -> None:
        root = Path(__file__).resolve().parents[2]
        self._process = subprocess.Popen(
            [sys.executable, "-c", SYNCER],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read() == "ready"

    def run(self, name: str, chunk: int, kill_after: float | None = None) -> int:
        """The exit code of one sync: minus nine when it was killed, so many seconds after it began."""
        to = cast("IO[str]", self._process.stdin)
        to.write(json.dumps([name, chunk, kill_after]) + "\n")
        to.flush()
        return int(self._read())

    def end(self) -> None:
        with self._process:
            cast("IO[str]", self._process.stdin).close()

    def _read(self) -> str:
        return cast("IO[str]", self._process.stdout).readline().strip()


@pytest.fixture
def filled(world: Begin) -> Iterator[Callable[[str], tuple[World, Syncer]]]:
    syncers = []

    def begin(name: str) -> tuple[World, Syncer]:
        fake = getattr(import_module(f"gapless.sources.{name}.fake"), f"{name.capitalize()}Fake")(page_cap=8)
        counts = {"omni": (6, {"logs": 30}), "kizen": (3, {"logged": 30}), "tines": (6, {"logs": 40})}
        number, more = counts.get(name, (80, {}))
        fake.seed(number, **more)
        here = world(fake)
        here.intercept = _slowly
        syncers.append(Syncer(here.folder))
        return here, syncers[-1]

    yield begin
    for syncer in syncers:
        syncer.end()


def _slowly(request: httpx.Request) -> None:
    time.sleep(LATENCY)


@pytest.mark.parametrize("name", some(SOURCES, "omni", "sequence"))
def test_killed_at_random_moments(name: str, filled: Callable[[str], tuple[World, Syncer]]) -> None:
    """While it asks, writes, merges or notes its state: the next sync ends exact."""
    here, syncer = filled(name)
    chance = random.Random(name)
    killed, usual = 0, 1.0
    for _ in range(KILLS):
        killed += (
            syncer.run(name, chunk=chance.choice([10, 40, 1000]), kill_after=chance.uniform(0.02, 1) * usual) != 0
        )
        began = time.monotonic()
        assert syncer.run(name, chunk=1000) == 0
        usual = time.monotonic() - began
        here.assert_exact()
        here.fake.advance(30)
    assert killed >= KILLS - 1
