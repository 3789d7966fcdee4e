"""Nobody else reads, replaces or blocks what gapless writes: working files, the database, its copies, its notes."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import httpx2 as httpx
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.config import folders
from gapless.pipelines.destinations import publish
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import WrongSettings
from gapless.sources import SOURCES
from gapless.sources._http.testing import serve
from tests.contract.subject import subject
from tests.support.other_user import ATTACKER, SERVICE, acting, can, gapless, needs_root
from tests.support.world import LET_THROUGH, World, settings, some

pytestmark = needs_root
Begin = Callable[[Any], World]
FIRST = next(iter(SOURCES))


def files(folder: Path) -> Iterator[Path]:
    """All that is below, without following a link."""
    for root, below, names in os.walk(folder):
        yield from (Path(root, name) for name in (*below, *names))


def readable(folder: Path) -> list[str]:
    """What the attacker can read below a folder, or list, that is not his own."""
    become = ["setpriv", f"--reuid={ATTACKER}", f"--regid={ATTACKER}", "--clear-groups"]
    command = [*become, "find", ".", "-mindepth", "1", "-not", "-user", str(ATTACKER), "-readable", "-print"]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # 1: one was closed
    return sorted(line.removeprefix("./") for line in found.stdout.splitlines())


def his_folder(path: Path) -> None:
    with acting(ATTACKER):
        path.mkdir(mode=0o777)


def his_link(path: Path) -> None:
    with acting(ATTACKER):
        path.with_name("loot").mkdir(mode=0o777)
        path.symlink_to(path.with_name("loot"))


def his_file(path: Path) -> None:
    with acting(ATTACKER):
        path.touch(mode=0o666)


@pytest.mark.parametrize("squat", some([his_folder, his_link, his_file], his_folder))
def test_a_squatter_in_the_temporary_folder(squat: Callable[[Path], None], shared: Path, own: Path) -> None:
    """A service without a home: its sync is not blocked, and while it works nobody reads or forges a working file."""
    squat(shared / f"gapless-{SERVICE}")
    fake, seen = subject(FIRST).filled(), set[str]()

    def handle(request: httpx.Request) -> httpx.Response:
        answer: httpx.Response = fake.handle(request)
        if len(fake.requests) % 3 == 0:
            seen.update(readable(shared))
        return answer

    with serve(handle) as url:
        where = {"HOME": "/nonexistent", "TMPDIR": str(shared), f"{FIRST.upper()}_BASE_URL": url, **settings([FIRST])}
        done = gapless(SERVICE, "sync", FIRST, cwd=own, **where)
    assert done.returncode == 0, done.stderr
    assert seen == {"own"}
    assert [*files(shared / "loot"), *files(shared / f"gapless-{SERVICE}")] == []
    assert {path.name.removeprefix("gapless.duckdb") for path in own.iterdir()} == {
        "",
        ".lock",
        ".gapless.duckdb.gapless",
    }


@pytest.mark.parametrize("begun", some(["command", "library", "demo"], "library"))
def test_nobody_else_reads_what_is_written(
    begun: str, world: Begin, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Database, write-ahead log, lock, copy, working files and notes, in a folder that everybody may look into.

    Also in the process of Airflow or Dagster, whose umask is another.
    """
    here = world(subject(FIRST).filled())
    monkeypatch.chdir(shared)
    here.set(
        GAPLESS_PUBLISH="copy.duckdb", XDG_STATE_HOME=str(shared / "state"), GAPLESS_WEBHOOK_URL="http://127.0.0.1:9"
    )
    seen, open_to_others = set[str](), set[str]()

    def look(request: httpx.Request) -> httpx.Response:
        if here.asked() % 3 == 1:
            seen.update(path.name for path in files(shared))
            open_to_others.update(readable(shared))
        return LET_THROUGH

    here.intercept = look
    if begun == "library":
        here.complete()
    elif begun == "command":
        assert CliRunner().invoke(app, ["sync", FIRST]).exit_code == 0
        assert CliRunner().invoke(app, ["publish", "second.duckdb"]).exit_code == 0
    else:
        here.may_not_fire()
        assert CliRunner().invoke(app, ["demo", "--file", "copy.duckdb"]).exit_code == 0
    assert begun == "demo" or {"gapless.duckdb", "gapless.duckdb.lock", "gapless"} <= seen
    assert (open_to_others, readable(shared)) == (set(), [])
    assert "copy.duckdb" in {path.name for path in files(shared)}
    assert not [path for path in files(shared) if path.stat().st_mode & 0o077]


def test_the_process_of_others_keeps_its_umask(world: Begin) -> None:
    """A sync in somebody else's process changes it for its own files alone, also when two run side by side."""
    os.umask(0o027)
    world(subject(FIRST).filled()).complete()
    first, second = folders.private_files(), folders.private_files()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert os.umask(0o077) == 0o077
    second.__exit__(None, None, None)
    assert os.umask(0o022) == 0o027


def synced_in(world: Begin, folder: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    here = world(subject(FIRST).filled())
    here.synced()
    monkeypatch.chdir(folder)
    return here.set(DESTINATION__DUCKDB__CREDENTIALS=str(here.folder / "gapless.duckdb"))


PLANTING = '#!/bin/sh\nln -sf "{loot}" "{new}"\nexec {cp} "$@"\n'
"""A `cp` before which the attacker is quick: he puts a link where the copy is about to be written."""


def test_a_link_that_is_planted_while_a_copy_is_made(
    world: Begin, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written goes into a folder that nobody else can write to."""
    synced_in(world, shared, monkeypatch)
    his_file(shared / "loot")
    cp = tmp_path / "bin" / "cp"
    cp.parent.mkdir()
    real = subprocess.run(["sh", "-c", "command -v cp"], capture_output=True, text=True, check=True).stdout.strip()
    cp.write_text(PLANTING.format(loot=shared / "loot", new=shared / ".copy.duckdb.new", cp=real))
    cp.chmod(0o755)
    monkeypatch.setenv("PATH", f"{cp.parent}:{os.environ['PATH']}")
    assert CliRunner().invoke(app, ["publish", "copy.duckdb"]).exit_code == 0
    assert (shared / "loot").read_bytes() == b""
    assert (readable(shared), (shared / "copy.duckdb").is_symlink()) == ([".copy.duckdb.new"], False)


@pytest.mark.parametrize("name", ["copy.duckdb", "folder/copy.duckdb"])
def test_a_link_in_place_of_a_copy(name: str, world: Begin, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It belongs to somebody else, so it may lead anywhere, now or later."""
    synced_in(world, shared, monkeypatch)
    with acting(ATTACKER):
        (shared / "loot").mkdir(mode=0o777)
        link = shared / name.partition("/")[0]
        link.symlink_to(shared / "loot" / "copy.duckdb" if link.name == name else shared / "loot")
    done = CliRunner().invoke(app, ["publish", name])
    assert (done.exit_code, "a link of the user 64301" in " ".join(done.output.split())) == (2, True), done.output
    assert [*files(shared / "loot")] == []
    link.unlink()
    (shared / "ours").mkdir()
    link.symlink_to(shared / "ours" / "copy.duckdb" if link.name == name else shared / "ours")
    assert CliRunner().invoke(app, ["publish", name]).exit_code == 0
    assert (shared / "ours" / "copy.duckdb").exists()


@pytest.mark.parametrize(("mode", "found"), [("", 0o400), ("440", 0o440), ("0444", 0o444), ("0o404", 0o404)])
def test_who_may_read_a_copy(mode: str, found: int, world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner, unless the setting says more."""
    here = synced_in(world, Path.cwd(), monkeypatch).set(GAPLESS_PUBLISH_MODE=mode)
    assert CliRunner().invoke(app, ["publish", "copy.duckdb"]).exit_code == 0
    assert stat.S_IMODE(Path("copy.duckdb").stat().st_mode) == found
    os.chown("copy.duckdb", -1, SERVICE)  # a group that somebody chose
    here.set(GAPLESS_PUBLISH_MODE="")
    assert CliRunner().invoke(app, ["publish", "copy.duckdb"]).exit_code == 0
    after = Path("copy.duckdb").stat()
    assert (stat.S_IMODE(after.st_mode), after.st_gid) == (found, SERVICE)  # no reader is locked out in silence


@pytest.mark.parametrize("mode", ["640", "777", "4", "440x", "0b1", "644"])
def test_modes_that_let_others_write(mode: str, world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """They end with 2, and doctor says so."""
    here = (
        synced_in(world, Path.cwd(), monkeypatch)
        .alone()
        .set(GAPLESS_PUBLISH_MODE=mode, GAPLESS_PUBLISH="copy.duckdb")
    )
    done = CliRunner().invoke(app, ["publish", "copy.duckdb"])
    assert (done.exit_code, f"GAPLESS_PUBLISH_MODE is {mode}" in done.output) == (2, True), done.output
    assert f"fail copy: GAPLESS_PUBLISH_MODE is {mode}" in CliRunner().invoke(app, ["doctor"]).stdout
    assert (Path("copy.duckdb").exists(), here.name) == (False, FIRST)


def test_what_was_left_of_a_copy_is_removed_and_nothing_else(shared: Path) -> None:
    """A process of ours that was killed may leave a large one; other copies, and files of others, are left alone."""
    his_folder(shared / ".copy.duckdb.12345678.new")
    names = [".copy.duckdb.abcdefgh.new", ".copy.duckdb.new", ".copy.duckdb.more.abcdefgh.new", ".copy.duckdb.wal"]
    for name in names:
        (shared / name).mkdir()
    publish._remove_left(shared / "copy.duckdb")
    assert {path.name for path in shared.iterdir()} == {".copy.duckdb.12345678.new", *names[2:]}


def his_database(path: Path) -> None:
    with acting(ATTACKER):
        duckdb.connect(str(path)).close()
        path.chmod(0o666)


def his_dangling_link(path: Path) -> None:
    with acting(ATTACKER):
        path.with_name("loot").mkdir(mode=0o777)
        path.symlink_to(path.with_name("loot") / "gapless.duckdb")


@pytest.mark.parametrize("plant", [his_database, his_dangling_link])
@pytest.mark.parametrize("command", ["sync", "demo", "status"])
def test_a_planted_database(
    command: str, plant: Callable[[Path], None], world: Begin, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder where everybody may write, a file or a link of somebody else is not written to, nor believed."""
    here = world(subject(FIRST).filled())
    monkeypatch.chdir(shared)
    plant(shared / ("gapless-demo.duckdb" if command == "demo" else "gapless.duckdb"))
    for named in (False, True):
        if named:
            here.set(DESTINATION__DUCKDB__CREDENTIALS="gapless.duckdb")
        done = CliRunner().invoke(app, [command])
        said = " ".join(done.output.split())
        assert (done.exit_code, "belongs to the user 64301, where everybody may write" in said) == (2, True), said
    assert (here.fake.requests, [*files(shared / "loot")]) == ([], [])


def test_a_database_that_a_team_shares(world: Begin, tmp_path: Path) -> None:
    """Its owner may be somebody else, in a folder where a group may write: that is no plant."""
    here = world(subject(FIRST).filled())
    here.complete()
    tmp_path.chmod(0o2775)
    for path in (tmp_path, tmp_path / "gapless.duckdb"):
        os.chown(path, ATTACKER, ATTACKER)
    (tmp_path / "gapless.duckdb").chmod(0o664)
    here.complete()
    (found,) = [
        line for line in CliRunner().invoke(app, ["doctor"]).stdout.splitlines() if "access: every user" in line
    ]
    assert "chmod go-rwx" in found
    assert stat.S_IMODE((tmp_path / "gapless.duckdb").stat().st_mode) == 0o664  # not changed in silence


@pytest.fixture
def homeless(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No folder of the user's own, and a temporary one that all share."""
    for name in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setattr("tempfile.tempdir", str(shared))
    folders._made.clear()
    return shared


def test_where_working_files_are(homeless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own folder, else beside the database, else where each process of this user finds it."""
    shared = homeless
    assert folders.state_folder() is None
    assert folders.working_root(tmp_path / "x.db") == tmp_path / ".x.db.gapless"
    assert folders.working_root() == folders.working_root() == shared / "gapless-0"
    for variable in ("XDG_RUNTIME_DIR", "HOME", "XDG_STATE_HOME"):
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
        within = ".local/state/gapless" if variable == "HOME" else "gapless"
        assert folders.working_root(tmp_path / "x.db") == tmp_path / variable / within
        assert (tmp_path / variable / within).stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert folders.state_folder() == tmp_path / "HOME" / ".local" / "state" / "gapless"


def test_a_lock_is_never_where_only_one_process_looks(homeless: Path) -> None:
    """Where the file is the only lock, a squatter is named with the way out; where it is not, he blocks nobody."""
    his_folder(homeless / "gapless-0")
    with pytest.raises(
        WrongSettings, match=r"gapless-0 is to hold working files, and belongs to somebody.*XDG_STATE"
    ):
        folders.working_root()
    alone = folders.working_root(needed_by_all=False)
    assert (alone.parent, alone.stat().st_mode & 0o777, alone.stat().st_uid) == (homeless, 0o700, 0)
    assert folders.working_root(needed_by_all=False) == alone
    alone.rmdir()  # as a system does with what is old in /tmp
    assert folders.working_root(needed_by_all=False).is_dir()


@pytest.mark.parametrize("variable", ["XDG_STATE_HOME", "HOME", "TMPDIR"])
def test_folders_that_somebody_else_can_change(
    variable: str, homeless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He could put his own in place of ours while we work. One that was chosen is named, another is not used."""
    (homeless / "his").mkdir()
    os.chown(homeless / "his", ATTACKER, ATTACKER)
    if variable == "TMPDIR":
        monkeypatch.setattr("tempfile.tempdir", str(homeless / "his"))
    monkeypatch.setenv(variable, str(homeless / "his"))
    if variable == "HOME":
        assert folders.working_root() == homeless / "gapless-0"
    else:
        with pytest.raises(WrongSettings, match=f"(?s)the user 64301.*{variable}|{variable}.*the user 64301"):
            folders.working_root()
    assert [*files(homeless / "his")] == []


def test_our_own_folder_that_others_look_into(homeless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused with the command that ends it, which is enough."""
    (homeless / "state" / "gapless").mkdir(parents=True)
    (homeless / "state" / "gapless").chmod(0o750)
    monkeypatch.setenv("XDG_STATE_HOME", str(homeless / "state"))
    with pytest.raises(WrongSettings) as raised:
        Target.find("duckdb").working_folder()
    subprocess.run(["sh", "-ec", str(raised.value).partition("End it: ")[2]], check=True)
    assert Target.find("duckdb").working_folder().parent == homeless / "state" / "gapless"
    assert can(ATTACKER, lambda: os.listdir(homeless / "state"))
    assert not can(ATTACKER, lambda: os.listdir(homeless / "state" / "gapless"))
