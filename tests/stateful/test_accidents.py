"""Operators' accidents: each is harmless, or said with the command that repairs it, and that command repairs it.

By default every accident happens to one source; with the sweeps (`pytest -m ''`) to all.
"""

from __future__ import annotations

import gc
import os
import resource
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import httpx2 as httpx
import pytest
from typer.testing import CliRunner, Result

from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError, Locked
from gapless.pipelines.sync import run
from gapless.pipelines.sync.request import SyncRequest
from gapless.pipelines.sync.run import sync
from gapless.sources import SOURCES
from gapless.sources._ledger.session import Session
from gapless.sources.kizen.fake import KizenFake
from gapless.sources.sequence.fake import SequenceFake
from tests.contract.subject import filled, subject
from tests.support import warm
from tests.support.world import LET_THROUGH, World, some

Begin = Callable[[Any], World]
ROOT = Path(__file__).resolve().parents[2]
MAIN = {name: source.main.name for name, source in SOURCES.items()}
CHILD = {
    name: next((table for table in subject(name).tables if table.startswith(f"{MAIN[name]}__")), None)
    for name in SOURCES
}
"""A table below the records."""


def of(*usual: str) -> Any:
    """Which sources it happens to without the sweeps."""
    return pytest.mark.parametrize("name", some(SOURCES, *usual))


def gapless(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def change(here: World, *statements: str) -> None:
    """SQL of somebody else, between two syncs."""
    with duckdb.connect(str(here.folder / "gapless.duckdb")) as db:
        db.execute(f"use {here.name}")
        for statement in statements:
            db.execute(statement)


def repaired(here: World, said: str) -> None:
    """The commands that `said` names, in backquotes, then a sync: exact, and nothing is said any more."""
    for command in said.split("`")[1].split(" && "):
        program, *words = command.split()
        assert (program, gapless(*words).exit_code) == ("gapless", 0)
    here.complete()
    here.assert_exact()
    here.complete()


# -- rows and tables that somebody took away ---------------------------------------------------------


TAKEN = [
    (name, taken)
    for name in SOURCES
    for taken in ("rows", "table", *(("child rows", "child table") if CHILD[name] else ()))
]


@pytest.mark.parametrize(("name", "taken"), some(TAKEN))  # usually lost rows, in the next test
def test_what_was_taken_is_said_and_brought_back(name: str, taken: str, world: Begin) -> None:
    """Rows, or a whole table: the next sync says so, names the command and ends with 3; the command repairs it."""
    table = CHILD[name] if "child" in taken else MAIN[name]
    here = world(filled(name))
    here.synced()
    here.fake.now += timedelta(days=1)
    change(here, f"drop table {table}" if "table" in taken else f"delete from {table}")
    outcome = here.sync()
    assert outcome.outcome == "partial"
    (said,) = [str(failure) for failure in outcome.failures if table in str(failure)]
    repaired(here, said)


@pytest.mark.sweep
@of("sequence")
def test_what_is_gone_is_said_until_it_is_repaired(name: str, world: Begin) -> None:
    """Not just once: a sync that was not read by anybody, or broke off, must not end it."""
    here = world(filled(name))
    here.synced()
    oldest = f"select id from {MAIN[name]} order by {SOURCES[name].main.time_column} limit 2"
    change(here, f"delete from {MAIN[name]} where id in ({oldest})")
    for _ in range(2):
        outcome = here.sync()
        assert outcome.outcome == "partial"
        assert "state reset" in str(outcome.failures[0])
        # What was below them is no row of anybody.
        below = [shape.name for shape in SOURCES[name].main.schema.tree() if shape.parent]
        for table in below:
            nobodys = f"select 1 from {table} where _dlt_root_id not in (select _dlt_id from {MAIN[name]})"
            assert here.sql(nobodys) == []
        here.fake.advance(10)
    repaired(here, str(outcome.failures[0]))


@pytest.mark.sweep
@of("tines")
def test_a_dropped_schema(name: str, world: Begin) -> None:
    """As if it had never been synced: read again, whole."""
    here = world(filled(name))
    here.synced()
    change(here, "use main", f"drop schema {name} cascade")
    here.sync()
    here.complete()
    here.assert_exact()


LEDGERS = ("_dlt_loads", "_dlt_pipeline_state", "_dlt_version", "coverage", "runs")


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("name", "table"), some([(name, table) for name in SOURCES for table in LEDGERS], ("kizen", "coverage"))
)
def test_a_ledger_that_was_emptied(name: str, table: str, world: Begin) -> None:
    """State and proof are gone: what they spoke of is read again, exact, and nothing stands twice."""
    here = world(filled(name))
    here.synced()
    change(here, f"delete from {table}")
    here.fake.advance(30)
    here.sync()
    here.complete()
    here.assert_exact()


@pytest.mark.slow
def test_the_keys_of_another_account(world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said, and each account is read whole, whichever came before. (Parents keep a watermark each, so only the one
    source without parents can take one account for the other.)"""
    one, other = filled("sequence"), SequenceFake(page_cap=4)
    for number in range(17):
        other.add_log(at=one.now - timedelta(hours=number), id=f"other-{number}")
    here = world(one)
    here.synced()
    for fake in (other, one):
        monkeypatch.setattr(here, "fake", fake)
        ended = gapless("sync", "sequence")
        assert ended.exit_code == 3
        assert "keys are another account's" in " ".join(ended.output.split())
    held = here.sql("select count(*), count(distinct id) from activity_logs")
    assert held == [(len(one.truth()["activity_logs"]) + 17,) * 2]


@pytest.mark.slow
@of("kizen")
def test_the_file_was_deleted(name: str, world: Begin) -> None:
    """Read again, whole."""
    here = world(filled(name))
    here.synced()
    (here.folder / "gapless.duckdb").unlink()
    here.complete()
    here.assert_exact()


@pytest.mark.slow
@of("kizen")
def test_an_older_copy_of_the_file(name: str, world: Begin) -> None:
    """State comes with the rows, so a backup is an earlier moment and nothing else: exact, nothing twice."""
    here = world(filled(name))
    here.synced()
    file = here.folder / "gapless.duckdb"
    shutil.copy(file, "backup")
    here.fake.advance(90)
    here.complete()
    shutil.copy("backup", file)
    here.fake.advance(5)
    here.complete()
    here.assert_exact()


@pytest.mark.sweep
def test_fewer_rows_below_a_changed_record_are_no_loss(world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync that was killed after its load, before it could write its end, is no false alarm for the next."""
    fake = KizenFake()
    logged = [fake.add_logged(fake.add_type()["id"])["id"] for _ in range(2)]
    for each in logged:
        fake.change(each, mentions=["a", "b"])
    here = world(fake)
    here.synced()
    fake.change(logged[0], mentions=[])
    with monkeypatch.context() as patch:
        patch.setattr(run, "write_run", lambda *_, **__: True)  # as a kill would
        here.sync()
    here.complete()
    here.assert_exact()


# -- the folder, the file and the disk ---------------------------------------------------------------


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file of this process may grow past `size` bytes."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # dlt's file that could not be closed
@pytest.mark.parametrize("more", some([4_000, 300_000, 900_000, 2_000_000], 300_000))
def test_a_full_disk(more: int, world: Begin) -> None:
    """Loud, and no half package is believed: with space again, one sync is exact."""
    here = world(filled("sequence"))
    here.synced()
    for index in range(20):
        here.fake.add_log(at=here.fake.now + timedelta(minutes=index), origin=os.urandom(150_000).hex())
    here.fake.now += timedelta(hours=1)
    with full_disk((here.folder / "gapless.duckdb").stat().st_size + more):
        try:
            outcome = here.sync(package_records=12)
            assert (outcome.outcome, bool(outcome.error)) == ("failed", True)
        except (GaplessError, OSError, duckdb.Error):
            pass
    gc.collect()
    here.complete()
    here.assert_exact()


def test_a_reader_holds_the_file(world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process reads and reads: said before any request, exit 75; exact when it has ended."""
    monkeypatch.setattr("gapless.pipelines.destinations.duckdb_file.READERS_TIME", 0.2)
    here = world(filled("tines"))
    here.synced()
    code = "import duckdb, sys; db = duckdb.connect('gapless.duckdb', read_only=True); print(1, flush=True); input()"
    with warm.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as reader:
        assert reader.stdout
        reader.stdout.readline()
        here.fake.requests.clear()
        result = gapless("sync", "tines")
        assert (result.exit_code, here.asked()) == (75, 0)
        assert "Close it there" in result.stderr
        reader.communicate("\n")
    here.complete()
    here.assert_exact()


def test_a_short_look_at_the_file_is_waited_for(world: Begin) -> None:
    here = world(filled("tines"))
    here.synced()
    code = "import duckdb, time; db = duckdb.connect('gapless.duckdb', read_only=True); print(1, flush=True)"
    with warm.Popen([sys.executable, "-c", f"{code}; time.sleep(1)"], stdout=-1) as reader:
        assert reader.stdout
        reader.stdout.readline()
        here.complete()


HUMBLE = """
import ctypes, os
if os.getuid() == 0:  # root may write everywhere, unless it gives that up
    ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())
from gapless.pipelines.cli.app import app
app(["sync", "tines"])
"""


@pytest.mark.parametrize("what", some([".", "gapless.duckdb", "state/gapless"], "gapless.duckdb"))
def test_not_writable(what: str, world: Begin, tmp_path: Path) -> None:
    """Said before any request, with the path: 2 for a place that was chosen, 1 for a file; nothing is harmed."""
    here = world(filled("tines"))
    here.synced()
    (tmp_path / "state" / "gapless").mkdir(parents=True)
    (tmp_path / "state" / "gapless").chmod(0o700)
    (tmp_path / "gapless.duckdb.lock").unlink(missing_ok=True)
    here.fake.requests.clear()
    (tmp_path / what).chmod(0o500)
    ended = warm.run([sys.executable, "-c", HUMBLE], env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")})
    (tmp_path / what).chmod(0o700)
    assert (ended.returncode, here.asked()) == (2 if what == "." else 1, 0), ended.stderr
    assert str(tmp_path / what) in ended.stderr
    assert "Traceback" not in ended.stderr
    here.complete()
    here.assert_exact()


@pytest.mark.sweep
def test_foreign_files_in_the_working_folder(world: Begin) -> None:
    """Whatever lies there, of a dead sync or of strangers, is not believed and goes."""
    here = world(filled("omni"))
    here.synced()
    folder = Target.find("duckdb").working_folder()
    old = folder / "omni" / "load" / "normalized" / "1.1"
    old.mkdir(parents=True)
    (old / "action_logs.1.parquet").write_bytes(b"none")
    (folder / "omni" / "state.json").write_text("{}")
    (folder / "nested").symlink_to(here.folder)
    here.fake.advance(30)
    here.complete()
    here.assert_exact()
    assert not folder.exists()


def test_the_lock_of_a_dead_process(world: Begin) -> None:
    """The file that it left does not matter: the lock died with it."""
    here = world(filled("tines"))
    lock = Target.find("duckdb").lock_file
    code = "import sys, os, filelock; filelock.FileLock(sys.argv[1]).acquire(); os.kill(os.getpid(), 9)"
    warm.run([sys.executable, "-c", code, str(lock)])
    assert lock.exists()
    here.complete()
    here.assert_exact()


# -- two at once, and clocks -------------------------------------------------------------------------


@pytest.mark.sweep
def test_a_database_of_an_older_version(world: Begin) -> None:
    """Columns that a later version added are missing in the ledger: it is read all the same, then they are there."""
    here = world(filled("tines"))
    here.synced()
    with duckdb.connect(str(here.folder / "gapless.duckdb")) as db:
        for table, column in (("coverage", "listed_at"), ("coverage", "digest"), ("dead_letters", "healed_at")):
            db.execute(f"alter table tines.{table} drop column {column}")
        db.execute("delete from tines._dlt_version")  # its schema was another one
    here.fake.advance(30)
    here.complete()
    here.assert_exact()
    assert here.sql("select count(*) > 0, count(digest) from coverage") == [(True, 0)]


@pytest.mark.slow
def test_ended_by_a_scheduler(world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow and Dagster end a task by an exception that is no Exception: it passes, and nobody reads "complete"."""
    here = world(SequenceFake(page_cap=8))
    here.fake.seed(40)
    lives = iter(range(2))

    class Ended(BaseException):
        pass

    def check(place: Target) -> None:
        if next(lives, None) is None:
            raise Ended

    with monkeypatch.context() as scheduler:
        scheduler.setattr(Target, "check", check)
        with pytest.raises(Ended):
            here.sync(package_records=8)
    assert here.sql("select outcome, error from runs") == [("failed", "Ended: ")]
    here.complete()
    here.assert_exact()


def test_two_syncs_into_one_file(world: Begin) -> None:
    """The second one ends before any request, the first one as if it had been alone."""
    here = world(filled("sequence"))
    refused = []

    def second(_: httpx.Request) -> httpx.Response:
        here.mend()
        asked = here.asked()
        with pytest.raises(Locked):
            list(sync(["sequence"], Target.find("duckdb"), SyncRequest()))
        refused.append(here.asked() == asked)
        return LET_THROUGH

    here.intercept = second
    here.complete()
    here.assert_exact()
    assert refused == [True]


@pytest.mark.sweep
def test_two_syncs_into_two_files(world: Begin) -> None:
    """Of one user on one machine, at the same time: each file is exact, and no working file is shared."""
    here = world(filled("tines"))
    files = [here.folder / f"{number}.duckdb" for number in range(2)]
    ready = threading.Barrier(2, timeout=10)
    left = iter(range(2))

    def meet(_: httpx.Request) -> httpx.Response:
        if next(left, None) is not None:
            ready.wait()
        return LET_THROUGH

    here.intercept = meet
    code = "import sys; from gapless.pipelines.cli.app import app; app(['sync', 'tines'])"
    both = [
        warm.Popen([sys.executable, "-c", code], env={**os.environ, "DESTINATION__DUCKDB__CREDENTIALS": str(file)})
        for file in files
    ]
    assert [each.wait(60) for each in both] == [0, 0]
    for file in files:
        shutil.copy(file, here.folder / "gapless.duckdb")
        here.assert_exact()


@of("tines")
def test_our_clock_was_behind(name: str, world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """While records came that are all of the future to it: once it is right again, none of them counts as lost."""
    here = world(filled(name))
    now = [min(_times(here)) - timedelta(minutes=1)]
    monkeypatch.setattr(run, "Session", partial(Session, now=lambda: now[0]))
    here.complete()
    now[0] = here.fake.now
    here.complete()
    here.assert_exact()


def _times(here: World) -> Iterator[datetime]:
    """When the records were created that are served."""
    one = subject(here.name)
    return (datetime.fromisoformat(str(row[one.time])) for row in here.fake.truth()[one.main])


@of("omni")
def test_our_clock_stands_still(name: str, world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two idle syncs, as after it was set back: the second one has no later time to note, and ends well."""
    here = world(filled(name))
    now = here.fake.now
    monkeypatch.setattr(run, "Session", partial(Session, now=lambda: now))
    for _ in range(4):
        here.complete()
    here.assert_exact()


@pytest.mark.sweep
@of("sequence")
def test_our_clock_is_set_back(name: str, world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a year: all looks like the future. What is new comes all the same, then and when it is right again."""
    here = world(filled(name))
    now = [datetime.now(UTC)]
    monkeypatch.setattr(run, "Session", partial(Session, now=lambda: now[0]))
    here.fake.now = now[0]
    for days in (0, -365, 0):
        now[0] = here.fake.now + timedelta(days=days)
        here.complete()
        here.assert_exact()
        here.fake.advance(30)


@pytest.mark.sweep
@of("sequence")
def test_our_clock_was_ahead(name: str, world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a record of the future came: once it is right again, what is older than that record still comes."""
    here = world(filled(name))
    now = [here.fake.now + timedelta(days=365)]
    monkeypatch.setattr(run, "Session", partial(Session, now=lambda: now[0]))
    rows = here.fake.truth().values()
    parent = next(iter(next(iter(rows))), None) if name != "sequence" else None
    at = here.fake.now + timedelta(days=30)
    if parent is None:
        here.fake.add_log(at=at)
    else:
        (here.fake.add_logged if name == "kizen" else here.fake.add_log)(parent.get("id") or parent["leadId"], at=at)
    here.complete()
    now[0] = here.fake.now = here.fake.now + timedelta(days=1)
    here.fake.advance(60)
    now[0] = here.fake.now
    here.complete()
    here.assert_exact()


def test_a_file_of_something_else(world: Begin) -> None:
    """No DuckDB file: said before any request, exit 2, and left as it is."""
    here = world(SequenceFake())
    (here.folder / "gapless.duckdb").write_text("dear diary")
    result = gapless("sync", "sequence")
    assert (result.exit_code, here.asked()) == (2, 0)
    assert "gapless.duckdb" in result.stderr
    assert (here.folder / "gapless.duckdb").read_text() == "dear diary"
