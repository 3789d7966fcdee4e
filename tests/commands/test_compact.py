"""`gapless compact`: nothing that was deleted is left in any byte, all else is the same; a kill changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner, Result

from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations._compaction import duckdb_database
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError
from tests.contract.subject import filled
from tests.sources.test_security import written
from tests.support import warm
from tests.support.world import World, some

Begin = Callable[[Any], World]
CANARY = "Zyxomma-4711"
FILE = Path("gapless.duckdb")
OF_A_USER = """
    create schema mine;
    create type mine.mood as enum ('good', 'bad'); create sequence mine.numbers start 5;
    create table mine.parents (
        id integer primary key default nextval('mine.numbers'), mood mine.mood default 'good',
        a varchar not null check (length(a) < 99), twice integer generated always as (id * 2),
        s struct(x integer, y varchar[]));
    create table mine.children (id integer references mine.parents (id), unique (id));
    insert into mine.parents (a) select 'name ' || i from range(5000) as r (i);
    delete from mine.parents where id % 3 = 0;
    insert into mine.children select max(id) from mine.parents;
    create index by_name on mine.parents (a);
    create macro mine.plus(x) as x + 1; create macro mine.pick(x) as table select * from mine.parents where id = x;
    create view mine.above as select mine.plus(id) as id from mine.parents;
    create or replace view mine.below as select * from mine.above; comment on view mine.below is 'a view';
    comment on table mine.parents is 'a table'; comment on column mine.parents.a is 'a column';
    create table mine.gone (id integer); create view mine.broken as select * from mine.gone; drop table mine.gone;
"""


def gapless(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def change(*statements: str) -> None:
    with duckdb.connect(str(FILE)) as db:
        for statement in statements:
            db.execute(statement)


def contents(file: Path = FILE) -> dict[str, list[tuple[Any, ...]]]:
    """The whole catalog, and the rows of each table in their order."""
    with duckdb.connect(str(file), read_only=True) as db:
        found = {}
        for what, select in duckdb_database.CATALOG.items():
            found[what] = sorted(
                db.execute(f"select {select} where database_name = current_database()").fetchall(), key=str
            )
        for schema, table in db.execute("select schema_name, table_name from duckdb_tables()").fetchall():
            found[f"{schema}.{table}"] = db.execute(f'select * from "{schema}"."{table}"').fetchall()
        return found


def strays(folder: Path) -> set[str]:
    """What is beside the file and its lock."""
    return {path.name for path in folder.iterdir() if path.name.lstrip(".").startswith("gapless.duckdb")} - {
        "gapless.duckdb",
        "gapless.duckdb.lock",
    }


def holding(folder: Path) -> list[str]:
    return [where for where, text in written(folder) if CANARY in text]


@pytest.fixture
def here(world: Begin) -> World:
    fake = filled("tines")
    made = world(fake)
    made.synced()
    return made


@pytest.mark.slow
def test_what_was_deleted_is_in_no_byte(here: World, tmp_path: Path) -> None:
    """Not in the file, beside it, or in the copy for readers; the next sync has nothing to do."""
    change(f"create table tines.notes as select '{CANARY}' as text")
    here.set(GAPLESS_PUBLISH="copy.duckdb")
    assert gapless("publish", "copy.duckdb").exit_code == 0
    change("delete from tines.notes")
    assert len(holding(tmp_path)) >= 2, "the canary must be in the file and the copy before"
    before = FILE.stat().st_size
    done = gapless("compact", "--json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["bytes_before"], found["bytes_after"]) == (0, before, FILE.stat().st_size)
    assert holding(tmp_path) == []
    assert strays(tmp_path) == set()
    outcome = here.complete()
    assert outcome.rows == {}
    here.assert_exact()
    assert gapless("gaps", "tines").exit_code == 0


@pytest.mark.slow
def test_all_else_is_the_same(here: World, tmp_path: Path) -> None:
    """Schemas, types, sequences, keys, defaults, computed columns, indexes, views, macros, comments, rows and their
    order, rights: also what is not ours, and a view that is broken."""
    change(*filter(None, map(str.strip, OF_A_USER.split(";"))))
    FILE.chmod(0o640)
    before = contents()
    done = gapless("compact")
    assert done.exit_code == 0, done.output
    assert "compacted: " in done.output
    assert contents() == before
    assert stat.S_IMODE(FILE.stat().st_mode) == 0o640
    change("insert into mine.parents (a) values ('next')")
    with pytest.raises(duckdb.ConstraintException):
        change("insert into mine.children values (-1)")


def test_a_copy_that_differs_is_not_taken(here: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one cell, one row or one comment: the file is as it was and says so."""
    real = duckdb_database._differences

    for table in ("runs", "action_logs"):

        def spoilt(connection: Any, old: str, tables: list[Any], table: str = table) -> Iterator[str]:
            connection.execute(f"delete from gapless_compacted.tines.{table} where rowid = 0")
            return real(connection, old, tables)

        monkeypatch.setattr(duckdb_database, "_differences", spoilt)
        before = FILE.read_bytes()
        done = gapless("compact")
        assert (done.exit_code, f"rows of tines.{table}" in done.stderr) == (1, True), done.output
        assert FILE.read_bytes() == before
        assert strays(tmp_path) == set()


KILLED = """
import os, sys
from gapless.pipelines.destinations._compaction import duckdb_database
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.maintenance.compact import compact
where = sys.argv[1]
def dying(real, before):
    def call(*args):
        if not before:
            real(*args)
        os.kill(os.getpid(), 9)
    return call
owner = os if where in ("replace",) else duckdb_database
setattr(owner, where, dying(getattr(owner, where), sys.argv[2] == "before"))
compact(Target.find("duckdb"))
"""


STEPS = ("checkpoint", "_write", "_differences", "_take_place", "flush", "replace")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "when"),
    some(product(STEPS, ("before", "after")), ("_write", "after"), ("replace", "before"), ("replace", "after")),
)
def test_a_kill_anywhere(where: str, when: str, here: World, tmp_path: Path) -> None:
    """The file is whole, old or new; the next command that writes removes what is left, and is exact."""
    before = contents()
    done = warm.run([sys.executable, "-c", KILLED, where, when], env=dict(os.environ))
    assert done.returncode == -9, done.stderr
    assert contents() == before
    here.fake.advance(30)
    here.complete()
    assert strays(tmp_path) == set()
    here.assert_exact()


def test_not_enough_disk(here: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is written; one that fills up meanwhile leaves the file as it was, too."""
    before = FILE.read_bytes()
    with monkeypatch.context() as small:
        small.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 1000))
        done = gapless("compact")
    assert (done.exit_code, "not enough disk" in done.stderr) == (1, True), done.output
    assert (FILE.read_bytes(), strays(tmp_path)) == (before, set())

    def full(path: Path) -> None:
        raise OSError(28, os.strerror(28), str(path))

    monkeypatch.setattr(duckdb_database, "flush", full)
    done = gapless("compact")
    assert (done.exit_code, "is as it was" in done.stderr, "No space left" in done.stderr) == (1, True, True)
    assert (FILE.read_bytes(), strays(tmp_path)) == (before, set())


@pytest.mark.slow
def test_when_it_cannot_be(here: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a sync, while an analyst reads, with a second name, in a destination of another kind."""
    before = FILE.read_bytes()
    with Target.find("duckdb").lock():
        assert gapless("compact").exit_code == 75
    reader = "import duckdb, sys; db = duckdb.connect('gapless.duckdb', read_only=True); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", reader], stdin=-1, stdout=-1, text=True) as open_elsewhere:
        assert open_elsewhere.stdout
        open_elsewhere.stdout.readline()
        done = gapless("compact")
        open_elsewhere.communicate("\n")
    assert (done.exit_code, "is open in another program" in done.stderr) == (75, True)
    os.link(FILE, "second.duckdb")
    done = gapless("compact")
    assert (done.exit_code, "second name" in done.stderr) == (1, True)
    Path("second.duckdb").unlink()
    assert (FILE.read_bytes(), strays(tmp_path)) == (before, set())
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(tmp_path / "files"))
    done = gapless("compact", "--destination", "filesystem")
    assert (done.exit_code, "cannot be compacted by gapless" in done.stderr) == (2, True), done.output


def test_nothing_synced_yet(tmp_path: Path) -> None:
    """It says so, and makes no file."""
    done = gapless("compact")
    assert (done.exit_code, "nothing synced yet" in done.stderr, FILE.exists()) == (0, True, False)


def test_what_a_stranger_put_there(here: World, tmp_path: Path) -> None:
    """A link in the place of the working folder is not followed."""
    (tmp_path / "other").mkdir()
    (tmp_path / ".gapless.duckdb.compact").symlink_to("other")
    done = gapless("compact")
    assert (done.exit_code, "cannot make the folder" in done.stderr) == (1, True)
    assert [*(tmp_path / "other").iterdir()] == []
    with pytest.raises(GaplessError):
        Target.find("duckdb").backend.compact([])
