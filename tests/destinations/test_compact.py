"""`gapless compact` on each destination: what was deleted is in no file of it, rows are the same, a sync goes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from gapless.pipelines.destinations._compaction.sqlite_database import compact_file
from tests.contract.commands import document, everything, gapless
from tests.contract.subject import subject
from tests.sources.test_security import written
from tests.support.databases import DATABASES
from tests.support.world import World

Begin = Callable[[Any], World]
CANARY = "Zyxomma-4711"


@pytest.fixture(
    params=[
        pytest.param(
            name, marks=[*each.marks, pytest.mark.skipif(not each.at_hand(), reason="its driver is not here")]
        )
        for name, each in DATABASES.items()
    ]
)
def destination(request: pytest.FixtureRequest) -> str:
    """Where `world` has its data."""
    return str(request.param)


def holding(here: World, canary: str = CANARY) -> list[str]:
    """Returns the files in which the canary is: of the test's folder, and of a database server."""
    found = {where for where, text in written(here.folder) if canary in text}
    if here.database.name == "postgres":
        found |= {str(path) for path in data_files(here) if canary.encode() in path.read_bytes()}
    return sorted(found)


def data_files(here: World) -> list[Path]:
    """Returns the files of a Postgres database, all of whose pages are on the disk."""
    assert isinstance(here.database, DATABASES["postgres"])
    with closing(psycopg2.connect(here.database.url)) as db, db.cursor() as cursor:  # type: ignore[attr-defined]  # Postgres has it
        db.autocommit = True
        cursor.execute("checkpoint")
        cursor.execute(
            "select current_setting('data_directory'), oid from pg_database where datname = current_database()"
        )
        folder, number = cursor.fetchone()
    return [path for path in (Path(folder) / "base" / str(number)).iterdir() if path.is_file()]


@pytest.mark.slow
def test_what_was_replaced_is_in_no_file(world: Begin) -> None:
    """Of a record's text that the vendor changed, also where dlt staged it; all rows stay as they are."""
    omni = subject("omni")
    fake = omni.filled()
    here = world(fake)
    record = omni.add_one(fake, **{omni.text: CANARY, **omni.with_children})
    here.complete()
    assert holding(here) != [], "this looks where nothing is"
    fake.change(record, **{omni.text: "clean"})
    fake.advance(1)
    here.complete()
    idle = here.complete().rows
    tables = [*omni.tables, "coverage", "runs", "dead_letters", "status_changes", "_dlt_loads", "_dlt_version"]
    before = everything(here, tables)
    done = document(here, "compact")
    assert done["exit_code"] == 0
    assert done["bytes_before"] > 0 < done["bytes_after"]
    assert holding(here) == []
    assert everything(here, tables) == before
    assert gapless(here, "compact", "omni").exit_code == 0
    assert here.complete().rows == idle
    here.assert_exact()
    # What the last load staged is deleted by no load any more.
    fake.change(record, **{omni.text: CANARY})
    fake.advance(1)
    here.complete()
    here.database.change("omni", f"update action_logs set {omni.text} = 'clean' where id = '{record}'")
    assert gapless(here, "compact", "omni").exit_code == 0
    assert holding(here) == []


@pytest.mark.slow
def test_nothing_is_there(world: Begin) -> None:
    """Before the first sync it says so."""
    here = world(subject("omni").empty())
    done = gapless(here, "compact")
    assert (done.exit_code, "nothing synced yet" in done.stderr) == (0, True), done.output


@pytest.mark.sweep
def test_somebody_keeps_it_locked(world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 75 and who or what it is; nothing is changed. A lake has no locks of that kind."""
    omni = subject("omni")
    here = world(omni.filled())
    here.complete()
    before = everything(here, omni.tables)
    monkeypatch.setenv("PGOPTIONS", "-clock_timeout=300")
    if isinstance(here.database, DATABASES["postgres"]):
        with closing(psycopg2.connect(here.database.url)) as db:  # type: ignore[attr-defined]  # Postgres has it
            db.cursor().execute("select 1 from omni.leads")
            done = gapless(here, "compact")
    elif here.database.name == "sqlalchemy":
        with closing(sqlite3.connect(here.folder / "gapless__omni.sqlite")) as db:
            db.execute("begin immediate")
            done = gapless(here, "compact")
    else:
        return
    assert done.exit_code == 75, done.output
    assert everything(here, omni.tables) == before


@pytest.mark.slow
def test_sqlite_writes_the_file_anew(tmp_path: Path) -> None:
    """No byte of a deleted row and no free page is left, whether or not SQLite overwrites what it deletes."""
    file = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("pragma secure_delete = off")
        db.execute("create table t (x)")
        db.executemany("insert into t values (?)", [(f"{CANARY} {number}" * 50,) for number in range(200)])
        db.execute("delete from t where rowid > 1")
        db.execute("update t set x = 'clean'")
    assert CANARY.encode() in file.read_bytes(), "this looks where nothing is"
    before, after = compact_file(file)
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("pragma freelist_count").fetchone() == (0,)
        assert db.execute("select x from t").fetchall() == [("clean",)]
    assert (CANARY.encode() in file.read_bytes(), after < before) == (False, True)
