"""The published copy: whole, always readable, never in a sync's way; and what may not be published over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner, Result

from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations import publish
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.views import refresh
from tests.contract.subject import filled
from tests.support import warm
from tests.support.world import World

Begin = Callable[[Any], World]
ROOT = Path(__file__).resolve().parents[2]
COUNTS = "select (select count(*) from tines.runs), (select count(*) from activity.timeline)"
READER = f"""
import duckdb, pathlib, sys
print("begun", flush=True)
while not pathlib.Path("stop").exists():
    with duckdb.connect(sys.argv[1], read_only=True) as db:
        print(*db.execute("{COUNTS}").fetchone(), flush=True)
"""
DYING = '#!/bin/sh\nhead -c 5000 "$2" > "$3"\necho part > "$3.wal"\nkill -9 $PPID\n'
"""A `cp` whose caller is killed in the middle of it."""


def gapless(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def process(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python process of its own, in the working folder."""
    return warm.run([sys.executable, *args], env={**os.environ, **environment})


def asked(file: Path | str, query: str = COUNTS) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(file), read_only=True) as db:
        return db.execute(query).fetchall()


def contents(file: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of every table and view, but for the mark of a copy."""
    with duckdb.connect(str(file), read_only=True) as db:
        names = db.execute("select table_schema, table_name from information_schema.tables").fetchall()
        return {
            f"{schema}.{name}": db.execute(f'select * from "{schema}"."{name}" order by all').fetchall()
            for schema, name in sorted(names)
            if name != publish.MARK
        }


def names(folder: Path) -> set[str]:
    """Of the files that publishing has to do with."""
    return {path.name for path in folder.iterdir() if "copy" in path.name}


def test_the_copy_is_the_file(world: Begin, tmp_path: Path) -> None:
    """All rows of all tables and views, whatever the copy is called; nobody can write to it by mistake."""
    world(filled("tines")).synced()
    held = contents(tmp_path / "gapless.duckdb")
    assert {f"activity.{view.name}" for view in refresh.views()} <= held.keys()
    for name in ("copy.duckdb", "a copy's.file", "main"):
        done = gapless("publish", name, "--json")
        assert done.exit_code == 0, done.output
        told, copy = json.loads(done.stdout), tmp_path / name
        assert (told["published"], told["bytes"]) == (str(copy), copy.stat().st_size)
        assert asked(copy) == asked("gapless.duckdb")
        assert copy.stat().st_mode & 0o222 == 0
    assert contents(tmp_path / "a copy's.file") == held


@pytest.mark.slow
def test_after_every_sync(world: Begin, tmp_path: Path) -> None:
    """When it is configured; a reader who has the old copy open keeps it."""
    here = world(filled("tines")).set(GAPLESS_PUBLISH="copy.duckdb")
    here.complete()
    with duckdb.connect("copy.duckdb", read_only=True) as reader:
        before = reader.execute(COUNTS).fetchall()
        here.fake.advance(60)
        here.complete()
        assert reader.execute(COUNTS).fetchall() == before
    assert before != asked("copy.duckdb") == asked("gapless.duckdb")
    assert contents(tmp_path / "copy.duckdb") == contents(tmp_path / "gapless.duckdb")


@pytest.mark.sweep
def test_the_setting_may_stand_in_the_file(world: Begin, tmp_path: Path) -> None:
    """In config.toml, under [gapless]."""
    world(filled("tines"))
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text('[gapless]\ngapless_publish = "copy.duckdb"\n')
    done = process("-m", "gapless.pipelines", "sync", "tines")
    assert done.returncode == 0, done.stderr
    assert asked("copy.duckdb") == asked("gapless.duckdb")


@contextmanager
def reading(file: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that asks the file again and again; at the end, `stdout` has all that it saw."""
    command, seen = [sys.executable, "-c", READER, file], folder / "seen"
    with seen.open("w") as out, warm.Popen(command, stdout=out, stderr=subprocess.PIPE) as reader:
        try:
            yield reader
        finally:
            (folder / "stop").touch()
            _, complaint = reader.communicate(timeout=60)
    assert (reader.returncode, complaint) == (0, "")


@pytest.mark.sweep
def test_a_reader_meets_neither_a_writer_nor_half_a_file(world: Begin, tmp_path: Path) -> None:
    """A process that queries the copy without a pause, during syncs and publishes, sees published states and no
    error."""
    here = world(filled("tines")).set(GAPLESS_PUBLISH="copy.duckdb")
    here.complete()
    published = asked("copy.duckdb")
    with reading("copy.duckdb", tmp_path):
        for _ in range(3):
            here.fake.advance(60)
            here.complete()
            assert gapless("publish", "copy.duckdb").exit_code == 0
            published += asked("copy.duckdb")
    seen = [tuple(map(int, line.split())) for line in (tmp_path / "seen").read_text().splitlines()[1:]]
    assert len(seen) > 5
    assert set(seen) <= set(published)
    assert len(set(published)) == 4


@pytest.mark.sweep
def test_killed_while_it_publishes(world: Begin, tmp_path: Path) -> None:
    """The old copy stays whole; what is left beside it does not grow, and goes with the next publish."""
    here = world(filled("tines"))
    here.synced()
    assert gapless("publish", "copy.duckdb").exit_code == 0
    before = contents(tmp_path / "copy.duckdb")
    here.fake.advance(60)
    here.complete()
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "cp").write_text(DYING)
    (bin_ / "cp").chmod(0o755)
    for _ in range(2):
        path = f"{bin_}{os.pathsep}{os.environ['PATH']}"
        assert process("-m", "gapless.pipelines", "publish", "copy.duckdb", PATH=path).returncode == -9
        assert contents(tmp_path / "copy.duckdb") == before
        (left,) = names(tmp_path) - {"copy.duckdb", "copy.duckdb.lock"}
        assert (tmp_path / left).is_dir()
    assert gapless("publish", "copy.duckdb").exit_code == 0
    assert contents(tmp_path / "copy.duckdb") == contents(tmp_path / "gapless.duckdb") != before
    assert names(tmp_path) == {"copy.duckdb", "copy.duckdb.lock"}


@pytest.mark.slow
def test_what_a_killed_writer_left_in_its_log(world: Begin, tmp_path: Path) -> None:
    """What was committed is in the copy, also when it stands in the write-ahead log alone."""
    world(filled("tines")).synced()
    script = (
        "import duckdb, os; db = duckdb.connect('gapless.duckdb');"
        " db.execute('set checkpoint_threshold = \\'1GB\\'');"
        " db.execute('create table late as select 7 as n'); os._exit(0)"
    )
    assert process("-c", script).returncode == 0
    assert (tmp_path / "gapless.duckdb.wal").stat().st_size
    assert gapless("publish", "copy.duckdb").exit_code == 0
    assert asked("copy.duckdb", "select n from late") == [(7,)]


@pytest.mark.sweep
def test_the_lock_on_the_file_outlives_a_publish(world: Begin) -> None:
    """While a sync goes on after it, nobody else can open the file."""
    world(filled("tines")).synced()
    place, opened = Target.find("duckdb"), "import duckdb; duckdb.connect('gapless.duckdb', read_only=True)"
    os.environ["GAPLESS_PUBLISH"] = "copy.duckdb"
    try:
        with place.locked():
            publish.refresh(place)
            done = process("-c", opened)
    finally:
        del os.environ["GAPLESS_PUBLISH"]
    assert asked("copy.duckdb") == asked("gapless.duckdb")
    assert (done.returncode, "lock" in done.stderr) == (1, True)


def test_no_sync_is_lost_by_a_publish_that_fails(
    world: Begin, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that says what mends it; the exit code is the sync's. That is for what only shows at its end."""
    world(filled("tines")).set(GAPLESS_PUBLISH="away/copy.duckdb")
    monkeypatch.setattr(publish, "require_usable", lambda target: None)
    assert gapless("sync", "tines").exit_code == 0
    (line,) = [
        record.getMessage() for record in caplog.records if record.name == "gapless.pipelines.destinations.publish"
    ]
    assert line.startswith(
        "the copy away/copy.duckdb was not published: away/copy.duckdb cannot be a file: it has no"
    )
    assert line.endswith("gapless publish away/copy.duckdb brings it up to date")
    assert gapless("publish", "away/copy.duckdb").exit_code == 2


WRONG = {
    "away/copy.duckdb": "it has no folder",
    ".": "it is a folder",
    "/dev/null": "it is a device or a pipe",
    "gapless.duckdb": "is the file that is to be published",
    "tines.duckdb": "called like the schema tines",
    "text": "was not made by gapless publish",
}
"""Paths where no copy can be, and why."""


def test_a_setting_that_cannot_work_is_refused(world: Begin, tmp_path: Path) -> None:
    """Before any request, with its name: readers would else see an old copy, and every sync end well."""
    here = world(filled("tines"))
    (tmp_path / "text").write_text("mine")
    for path, why in WRONG.items():
        here.set(GAPLESS_PUBLISH=path)
        done = gapless("sync", "tines")
        assert (done.exit_code, here.asked(), "GAPLESS_PUBLISH: " in done.stderr) == (2, 0, True), path
        assert why in done.stderr, path
    here.monkeypatch.delenv("GAPLESS_PUBLISH")
    here.set(GAPLESS_PUBLISH_MODE="777")
    done = gapless("sync", "tines")
    assert (done.exit_code, here.asked()) == (2, 0)
    assert "GAPLESS_PUBLISH_MODE is 777; expected 400" in done.stderr


def test_a_disk_that_is_full(world: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for as a command it ends with 1 and says why; nothing is left behind."""
    world(filled("tines")).synced()
    (tmp_path / "cp").write_text("#!/bin/sh\n: > \"$3\"\necho 'cp: No space left on device' >&2\nexit 1\n")
    (tmp_path / "cp").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    done = gapless("publish", "copy.duckdb")
    assert (done.exit_code, "cp: No space left on device" in done.stderr) == (1, True)
    assert names(tmp_path) == {"copy.duckdb.lock"}


def test_what_is_not_published_over(world: Begin, tmp_path: Path) -> None:
    """Not the file itself, under whatever name; not what is no copy; not where DuckDB could not read it."""
    world(filled("tines")).synced()
    (tmp_path / "link.duckdb").symlink_to("gapless.duckdb")
    os.link(tmp_path / "gapless.duckdb", tmp_path / "hard.duckdb")
    (tmp_path / "text").write_text("mine")
    duckdb.connect("other.duckdb").close()
    before = (tmp_path / "gapless.duckdb").read_bytes()
    for path in ("gapless.duckdb", "./gapless.duckdb", "link.duckdb", "hard.duckdb"):
        done = gapless("publish", path)
        assert (done.exit_code, "is the file that is to be published" in done.stderr) == (2, True), path
    for path, why in (
        ("text", "was not made by gapless publish"),
        ("other.duckdb", "was not made by gapless publish"),
        ("tines.duckdb", "called like the schema tines"),
        ("Omni.copy.duckdb", "called like the schema omni"),
        ("activity.db", "called like the schema activity"),
        (".", "it is a folder"),
    ):
        done = gapless("publish", path)
        assert (done.exit_code, why in done.stderr) == (2, True), done.output
    assert (tmp_path / "gapless.duckdb").read_bytes() == before
    assert (tmp_path / "text").read_text() == "mine"


def test_when_it_cannot_be(world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first sync, beside a sync, of another destination, and two at once."""
    done = gapless("publish", "copy.duckdb")
    assert (done.exit_code, "nothing synced yet" in done.stderr) == (1, True)
    world(filled("tines")).synced()
    with Target.find("duckdb").locked():
        assert gapless("publish", "copy.duckdb").exit_code == 75
    with Target.of_file(Path("copy.duckdb").resolve()).lock():
        done = gapless("publish", "copy.duckdb")
        assert (done.exit_code, "is being written by another program" in done.stderr) == (75, True)
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://u:p@127.0.0.1:1/d")
    done = gapless("publish", "copy.duckdb", "--destination", "postgres")
    assert (done.exit_code, "is no DuckDB file" in done.stderr) == (2, True)
    assert not Path("copy.duckdb").exists()
