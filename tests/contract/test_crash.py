"""A sync that is broken off, or killed, costs nothing but time; a bad record that heals is there."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO, cast

import httpx
import pytest
from dlt.destinations.job_client_impl import SqlLoadJob

from gapless.sources import SOURCES
from tests.contract.commands import everything
from tests.contract.conftest import NAMES, ROOT, Begin, of
from tests.contract.subject import Subject
from tests.support.world import World

PACKAGE = 6
"""Records of one load package."""
LATENCY = 0.004
KILLS = 2
"""Of each source; the fault laboratory kills by the hundred."""
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
    name, chunk, kill_after, folder, environment = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(folder)
        os.environ.update(environment)
        (outcome,) = sync([name], Target.find("duckdb"), SyncRequest(package_records=chunk))
        os._exit(0 if outcome.outcome == "complete" else 3)
    if kill_after:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)  # nobody has waited for it yet, so the number is still its own
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_broken_off(subject: Subject, world: Begin) -> None:
    """In the middle of a first sync: what is here is kept, and the next one is exact."""
    here = world(subject.filled())
    here.fail_after(4, status=401)
    assert here.sync(package_records=PACKAGE).outcome == "failed"
    here.mend()
    here.fake.advance(30)
    here.complete(package_records=PACKAGE)
    here.assert_exact()
    for table in ("coverage", subject.main):
        orphans = f"select count(*) from {table} where _dlt_load_id not in (select load_id from _dlt_loads)"
        assert here.sql(orphans) == [(0,)], table


@pytest.mark.sweep
def test_broken_off_at_any_request(subject: Subject, world: Begin) -> None:
    """Of a first sync in small packages; then one sync to the end."""
    here = world(subject.filled(3, 9))
    here.complete()
    requests = here.asked()
    for number in range(requests):
        (here.folder / "gapless.duckdb").unlink()
        here.fail_after(number, status=401)
        assert here.sync(package_records=3).outcome == "failed", number
        here.mend()
        here.complete()
        here.assert_exact()
    before = everything(here, subject.tables)
    here.complete()
    assert everything(here, subject.tables) == before


def test_heals(subject: Subject, synced: World) -> None:
    """A record that cannot be read is a letter that says why; mended at the vendor it is here, and no letter is."""
    bad = subject.add_one(synced.fake, **{subject.text: []})
    assert synced.sync().outcome == "partial"
    ((kind, key, _),) = synced.letters()
    assert (kind, key) == ("record", str(bad))
    synced.fake.change(bad, **{subject.text: "mended"})
    synced.complete()
    synced.assert_exact()
    assert synced.letters() == []


@pytest.mark.sweep
def test_a_crash_while_a_record_heals(subject: Subject, synced: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter is not deleted before its record is there, in whatever order a load that dies merges its tables."""
    bad = subject.add_one(synced.fake, **{subject.text: []})
    assert synced.sync().outcome == "partial"
    synced.fake.change(bad, **{subject.text: "mended"})
    real, letters_merged = SqlLoadJob.run, threading.Event()

    def run(job: SqlLoadJob) -> None:
        if job._parsed_file_name.table_name != "dead_letters":
            letters_merged.wait(2)
            raise KeyError("killed before the merge of any other table")
        real(job)
        letters_merged.set()

    monkeypatch.setattr(SqlLoadJob, "run", run)
    assert synced.sync().outcome == "failed"
    assert letters_merged.is_set()
    monkeypatch.setattr(SqlLoadJob, "run", real)
    synced.complete()
    synced.assert_exact()
    assert synced.letters() == []


class Syncer:
    """Syncs in a process of their own each, forked from one that has everything imported."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SYNCER],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / ".ci" / "import")])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read() == "ready"

    def run(self, here: World, chunk: int, kill_after: float | None = None) -> int:
        """The exit code of one sync: minus nine when it was killed, so many seconds after it began."""
        to = cast("IO[str]", self._process.stdin)
        to.write(json.dumps([here.name, chunk, kill_after, str(here.folder), dict(os.environ)]) + "\n")
        to.flush()
        return int(self._read())

    def end(self) -> None:
        with self._process:
            cast("IO[str]", self._process.stdin).close()

    def _read(self) -> str:
        return cast("IO[str]", self._process.stdout).readline().strip()


@pytest.fixture
def syncer(_registered: None) -> Iterator[Syncer]:
    begun = Syncer()
    yield begun
    begun.end()


@of(NAMES[0], NAMES[-1])
def test_killed(subject: Subject, world: Begin, syncer: Syncer) -> None:
    """kill -9 at random moments, while it asks, writes, merges or notes its state: the next sync ends exact."""
    here = world(subject.filled(6, 40, page_cap=8))
    here.intercept = _slowly
    chance = random.Random(subject.name)
    killed, usual = 0, 1.0
    for _ in range(KILLS):
        after = chance.uniform(0.02, 1) * usual
        killed += syncer.run(here, chunk=chance.choice([10, 40, 1000]), kill_after=after) != 0
        began = time.monotonic()
        assert syncer.run(here, chunk=1000) == 0
        usual = time.monotonic() - began
        here.assert_exact()
        here.fake.advance(30)
    assert killed >= KILLS - 1


def _slowly(request: httpx.Request) -> None:
    time.sleep(LATENCY)


def test_every_source_is_here() -> None:
    """The names that the tests run for are those of the register."""
    assert list(SOURCES) == NAMES
