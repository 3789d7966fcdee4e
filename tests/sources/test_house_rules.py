"""What every registered source promises, whatever its vendor: a fifth one is held to the same."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from json import loads
from typing import Any

import dlt
import duckdb
import pytest
from dlt.destinations.job_client_impl import SqlLoadJob
from filelock import FileLock, Timeout

from gapless.pipelines.config import DLT_SETTINGS
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import Locked, WrongSettings
from gapless.pipelines.sync.build import build
from gapless.pipelines.sync.request import SyncRequest
from gapless.pipelines.sync.run import sync
from gapless.sources import SOURCES
from gapless.sources._ledger.session import Session
from tests.support.oracle import CONTRACT, contract
from tests.support.world import World

Begin = Callable[[Any], World]
every_source = pytest.mark.parametrize("name", SOURCES)
KEYS = {
    "omni": {"action_logs": ["id"], "leads": ["lead_id"], "status_changes": ["record_id", "status"]},
    "sequence": {"activity_logs": ["id"]},
    "kizen": {"logged_activities": ["id"], "activities": ["id"]},
    "tines": {"action_logs": ["id"], "actions": ["id"]},
}
BAD = {
    "omni": {"summary": []},
    "sequence": {"origin": []},
    "kizen": {"notes": []},
    "tines": {"message": []},
}
MENDED = {"omni": "summary", "sequence": "origin", "kizen": "notes", "tines": "message"}


def empty(name: str, **how: Any) -> Any:
    """The vendor's fake without a record."""
    fakes = import_module(f"gapless.sources.{name}.fake")
    return getattr(fakes, f"{name.capitalize()}Fake")(**how)


def filled(name: str) -> Any:
    """The vendor's fake with a few parents and 24 records, four to a page."""
    fake = empty(name, page_cap=4)
    if name == "sequence":
        fake.seed(24, days=5)
    elif name == "kizen":
        fake.seed(4, logged=24)
    else:
        fake.seed(4, logs=24)
    return fake


def add(fake: Any, name: str, **fields: Any) -> Any:
    """One record six days old, of the first parent; its id."""
    fields |= {"at": fake.now - timedelta(days=6)}
    if name == "sequence":
        return fake.add_log(**fields)["id"]
    if name == "kizen":
        return fake.add_logged(fake.truth()["activities"][0]["id"], **fields)["id"]
    parent = fake.truth()["leads" if name == "omni" else "actions"][0]
    return fake.add_log(parent["leadId" if name == "omni" else "id"], **fields)["id"]


@every_source
def test_building_asks_nobody(name: str, world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedulers build a source at parse time: no socket is opened, no name looked up."""
    world(empty(name))

    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    session = Session()
    assert build(SOURCES[name], session).name == name
    assert session.client is not None
    assert session.client.stats.requests == 0
    session.client.close()


@every_source
def test_keys_merge_and_a_schema_from_the_first_day(name: str, world: Begin) -> None:
    """A vendor without a record: every table and column stands, with its type, key and disposition."""
    here = world(empty(name))
    here.complete()
    for table, columns in contract(name).items():
        query = f"select column_name, data_type from information_schema.columns where table_name = '{table}'"
        held = dict(here.sql(f"{query} and table_schema = '{name}'"))
        assert {column: held.get(column) for column in columns} == columns, table
        assert {"_dlt_id", "_dlt_load_id"} & held.keys(), table
        if "__" in table:
            assert held["_dlt_parent_id"] == "VARCHAR", table
            assert held["_dlt_list_idx"] == "BIGINT", table
    extra = here.sql(f"select distinct table_name from information_schema.tables where table_schema = '{name}'")
    assert {t for (t,) in extra if not t.startswith("_dlt")} == contract(name).keys()
    ((schema,),) = here.sql("select schema from _dlt_version order by inserted_at desc limit 1")
    tables = dlt.Schema.from_stored_schema(loads(schema)).tables
    for table, key in KEYS[name].items():
        assert tables[table]["write_disposition"] == "merge"
        assert [c for c, hints in tables[table]["columns"].items() if hints.get("primary_key")] == key


@pytest.mark.sweep
@every_source
def test_a_crash_after_any_chunk(name: str, world: Begin) -> None:
    """Broken off again and again in small chunks, then one sync to the end: exact, nothing twice; and again."""
    fake = filled(name)
    here = world(fake)
    for requests in (2, 4):
        here.fail_after(requests, status=401)
        assert here.sync(package_records=3).outcome == "failed"
    here.mend()
    fake.advance(30)
    here.complete(package_records=9)
    here.assert_exact()
    for table in ("coverage", *KEYS[name]):
        orphans = f"select count(*) from {table} where _dlt_load_id not in (select load_id from _dlt_loads)"
        assert here.sql(orphans) == [(0,)], table
    before = _everything(here)
    here.complete()
    assert _everything(here) == before
    here.assert_exact()


def _everything(here: World) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the vendor's own tables, but for dlt's note of the load that brought them."""
    columns = "columns(name -> name <> '_dlt_load_id')"
    return {table: here.sql(f"select {columns} from {table} order by all") for table in CONTRACT[here.name]}


@pytest.mark.sweep
@every_source
def test_a_crash_while_a_record_heals(
    name: str, world: Begin, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A letter is not deleted before its record is there, in whatever order a load that dies merges its tables."""
    fake = filled(name)
    here = world(fake)
    bad = add(fake, name, **BAD[name])
    assert here.sync().outcome == "partial"
    fake.change(bad, **{MENDED[name]: "mended"})
    real, letters_merged = SqlLoadJob.run, threading.Event()

    def run(job: SqlLoadJob) -> None:
        if job._parsed_file_name.table_name != "dead_letters":
            letters_merged.wait(2)
            raise KeyError("killed before the merge of any other table")
        real(job)
        letters_merged.set()

    monkeypatch.setattr(SqlLoadJob, "run", run)
    assert here.sync().outcome == "failed"
    assert letters_merged.is_set()
    monkeypatch.setattr(SqlLoadJob, "run", real)
    here.complete()
    here.assert_exact()
    assert here.letters() == []


@every_source
def test_plain_dlt(name: str, world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source is an ordinary dlt source: it syncs, and sees what changed, without anything of `pipelines`."""
    fake = filled(name)
    here = world(fake)
    for setting in DLT_SETTINGS.keys() - {"RUNTIME__DLTHUB_TELEMETRY"}:
        monkeypatch.delenv(setting, raising=False)
    session = Session()
    source = SOURCES[name].build(session=session)
    for minutes in (0, 45):
        fake.advance(minutes)
        pipeline = dlt.pipeline(
            name,
            destination=dlt.destinations.duckdb(str(here.folder / "gapless.duckdb")),
            dataset_name=name,
            pipelines_dir=str(here.folder / "work"),
        )
        pipeline.run(source, loader_file_format="parquet")
        here.assert_exact()
    _closed(session)


@every_source
def test_a_source_that_failed_can_be_run_again(name: str, world: Begin) -> None:
    """The same object after an error: it begins anew instead of bringing nothing and calling it done."""
    fake = filled(name)
    here = world(fake)
    session = Session()
    source = SOURCES[name].build(session=session)
    pipeline = dlt.pipeline(
        name,
        destination=dlt.destinations.duckdb(str(here.folder / "gapless.duckdb")),
        dataset_name=name,
        pipelines_dir=str(here.folder / "work"),
    )
    here.fail_after(2, status=401)
    with pytest.raises(Exception, match="401"):
        pipeline.run(source, loader_file_format="parquet")
    here.mend()
    pipeline.run(source, loader_file_format="parquet")
    _closed(session)
    here.assert_exact()


def _closed(session: Session) -> None:
    if session.client:
        session.client.close()


@every_source
def test_the_run_is_told(name: str, world: Begin) -> None:
    """One row of `runs` per sync, the failed one too, with what it did."""
    fake = filled(name)
    here = world(fake)
    done = here.complete()
    here.fail_after(0, status=401)
    here.sync()
    first, second = here.sql("select outcome, rows, requests, error from runs order by started_at")
    assert first == ("complete", sum(done.rows.values()), done.requests, None)
    assert second[0] == "failed"
    assert "401" in second[3]


@every_source
def test_a_loser_of_the_lock_asks_nobody(name: str, world: Begin) -> None:
    """One writer per file: the second one ends before any request, and the first one's working files stay."""
    fake = filled(name)
    here = world(fake)
    place = Target.find("duckdb")
    with place.locked() as folder:
        (folder / "mine").touch()
        with pytest.raises(Locked):
            here.sync()
        assert (folder / "mine").exists()
    assert here.asked() == 0


def test_working_files_are_deleted_under_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleted after it is released, they may be those of the sync that took it meanwhile."""
    place, held = Target.find("duckdb"), []
    real = shutil.rmtree

    def rmtree(*args: Any, **kwargs: Any) -> None:
        other = FileLock(place.lock_file)
        try:
            other.acquire(timeout=0)
            other.release()
            held.append(False)
        except Timeout:
            held.append(True)
        real(*args, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with place.locked():
        pass
    assert held == [True, True]


def test_what_is_not_configured_is_told_before_any_request(world: Begin, tmp_path: Any) -> None:
    """Also when it is the last of several sources."""
    here = world(filled("sequence"))
    here.monkeypatch.delenv("OMNI_API_KEY")
    with pytest.raises(WrongSettings, match="OMNI_API_KEY"):
        list(sync(["sequence", "omni"], Target.find("duckdb"), SyncRequest()))
    assert here.asked() == 0
    assert not duckdb.execute("select * from glob('*.duckdb')").fetchall()
