"""A sync that is broken off, or killed, costs nothing but time; a bad record that heals is there."""

from __future__ import annotations

import random
import sys
import time

import httpx2 as httpx
import pytest

from gapless.pipelines.sync import history
from gapless.sources import SOURCES
from tests.contract.commands import everything, gapless
from tests.contract.conftest import NAMES, Begin, elsewhere, of
from tests.contract.subject import Subject
from tests.support import warm
from tests.support.merges import killed_after
from tests.support.world import LET_THROUGH, World

PACKAGE = 6
"""Records of one load package."""
LATENCY = 0.004
KILLS = 2
"""Of each source; the fault laboratory kills by the hundred."""
SYNC = """
import os, sys
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.sync.run import sync
from gapless.pipelines.sync.request import SyncRequest
from gapless.sources import SOURCES, Source
for package in filter(None, os.environ["GAPLESS_SOURCES"].split(",")):
    source = Source.at(package)
    SOURCES[source.name] = source
(outcome,) = sync([sys.argv[1]], Target.find(sys.argv[2]), SyncRequest(package_records=int(sys.argv[3])))
sys.exit(0 if outcome.outcome == "complete" else 3)
"""


@pytest.mark.slow
@elsewhere(2)
@of(NAMES[-1])
def test_broken_off(subject: Subject, world: Begin) -> None:
    """In the middle of a first sync: what is here is kept, and the next one is exact."""
    here = world(subject.filled())
    here.fail_after(4, status=401)
    assert here.sync(package_records=PACKAGE).outcome == "failed"
    here.mend()
    here.fake.advance(30)
    here.complete()
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
        here.database.remove()
        here.fail_after(number, status=401)
        assert here.sync(package_records=3).outcome == "failed", number
        here.mend()
        here.complete()
        here.assert_exact()
    before = everything(here, subject.tables)
    here.complete()
    assert everything(here, subject.tables) == before


@elsewhere(3)
@of(NAMES[-1])
def test_heals(subject: Subject, synced: World) -> None:
    """A record that cannot be read is a letter that says why; mended at the vendor it is here, and no letter is."""
    bad = subject.add_one(synced.fake, **subject.with_text([]))
    assert synced.sync().outcome == "partial"
    ((kind, key, _),) = synced.letters()
    assert (kind, key) == ("record", str(bad))
    subject.edit(synced.fake, bad, "mended")
    synced.complete()
    synced.assert_exact()
    assert synced.letters() == []


@pytest.mark.sweep
def test_a_crash_while_a_record_heals(subject: Subject, synced: World) -> None:
    """A letter is not deleted before its record is there, in whatever order a load that dies merges its tables."""
    bad = subject.add_one(synced.fake, **subject.with_text([]))
    assert synced.sync().outcome == "partial"
    subject.edit(synced.fake, bad, "mended")
    with killed_after("dead_letters"):
        assert synced.sync().outcome == "failed"
    synced.complete()
    synced.assert_exact()
    assert synced.letters() == []


@elsewhere(2)
@of(NAMES[0])
def test_a_sync_that_dies_while_it_notes_how_it_ended(
    subject: Subject, synced: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counts of the sync before stay until its own are there: no row passes for lost."""

    def die(*_: object) -> None:
        raise OSError("it dies here")

    synced.fake.advance(45)
    with monkeypatch.context() as patch:
        patch.setattr(history, "_insert_row", die)
        with pytest.raises(OSError, match="it dies here"):
            synced.sync()
    assert len(synced.sql("select 1 from runs where held is not null")) == 1
    synced.complete()
    synced.assert_exact()


@pytest.mark.slow
@of(NAMES[0], NAMES[1])
def test_a_first_load_that_dies_after_one_table(subject: Subject, world: Begin) -> None:
    """Whatever table was merged alone, the next sync knows its account, calls it no older database, and is exact."""
    here = world(subject.filled(2, 4))
    for table in (table.name for table in subject.source.tables):
        here.database.remove()
        with killed_after(table):
            assert here.sync().outcome == "failed"
        assert here.sql(f"select count(*) > 0 from {table}") == [(True,)]
        result = gapless(here, "sync", here.name)
        assert result.exit_code == 0, (table, result.output)
        assert "of layout" not in result.output
        here.assert_exact()


def run(here: World, chunk: int, kill_after: float | None = None) -> int:
    """The exit code of one sync in a process of its own: minus nine when it was killed, so many seconds after it
    began."""
    with warm.Popen(
        [sys.executable, "-c", SYNC, here.name, here.database.name, str(chunk)], cwd=here.folder
    ) as process:
        if kill_after:
            time.sleep(kill_after)
            process.kill()
        return process.wait(60)


@elsewhere(4)
@of(NAMES[0])
def test_killed(subject: Subject, world: Begin) -> None:
    """kill -9 at random moments, while it asks, writes, merges or notes its state: the next sync ends exact."""
    here = world(subject.filled(6, 40, page_cap=8))
    here.intercept = _slowly
    chance = random.Random(subject.name)
    killed, usual = 0, 1.0
    for _ in range(4 * KILLS):  # one that was quicker than the last one is not killed
        after = chance.uniform(0.02, 1) * usual
        killed += run(here, chunk=chance.choice([10, 40, 1000]), kill_after=after) != 0
        began = time.monotonic()
        assert run(here, chunk=1000) == 0
        usual = time.monotonic() - began
        here.assert_exact()
        here.fake.advance(30)
        if killed == KILLS:
            return
    raise AssertionError(f"{killed} syncs were killed")


def _slowly(request: httpx.Request) -> httpx.Response:
    time.sleep(LATENCY)
    return LET_THROUGH


def test_every_source_is_here() -> None:
    """The names that the tests run for are those of the register."""
    assert list(SOURCES) == NAMES
