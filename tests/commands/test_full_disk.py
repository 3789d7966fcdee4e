"""A disk that is full: the doctor sees it, and the syncs that could not write are told until one can."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.config import unwritten
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.evidence.rounds import Round, was_followed
from gapless.sources._ledger.shard import WHOLE, Shard
from tests.contract.conftest import NAMES
from tests.contract.subject import subject
from tests.support.world import World

Begin = Callable[[Any], World]


def document(*arguments: str) -> dict[str, Any]:
    """What a command says with --json; it ends with the exit code that it names."""
    ended = CliRunner().invoke(app, [*arguments, "--json"])
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    assert ended.exit_code == found["exit_code"]
    return found


@contextmanager
def full(size: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes: the system refuses it as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
def test_the_doctor_sees_it(world: Begin) -> None:
    """Also where the rows of its check find a place within the database's own file."""
    here = world(subject(NAMES[0]).filled()).alone()
    here.synced()
    left = {path.name for path in here.folder.iterdir()} | {"gapless.duckdb.lock"}
    with full((here.folder / "gapless.duckdb").stat().st_size):
        found = {check["name"]: check for check in document("doctor")["checks"]}["destination"]
    assert (found["result"], "File too large" in found["found"]) == ("fail", True), found
    assert found["mends"].startswith("Make room there")
    assert {path.name for path in here.folder.iterdir()} <= left
    found = {check["name"]: check for check in document("doctor")["checks"]}["destination"]
    assert found["result"] == "ok", found


@pytest.mark.slow
@pytest.mark.parametrize("first", [True, False])
def test_syncs_that_could_not_write_are_told(first: bool, world: Begin) -> None:
    """By `gaps` and `status`, although the database knows nothing of them; the sync that can write ends it."""
    here = world(subject(NAMES[0]).filled()).alone()
    if not first:
        here.synced()
    for _ in range(2):
        with full(0):
            assert document("sync", here.name)["exit_code"] == 1
        found = document("gaps")
        ((kind, source, times),) = [(one["kind"], one["source"], one["times"]) for one in found["gaps"]]
        assert (found["exit_code"], kind, source) == (3, "not asked", here.name)
    assert "could not write to the database" in found["gaps"][0]["why"]
    assert times >= 1
    assert (found["gaps"][0]["since"] is None) == first
    if not first:
        assert document("status")["sources"][here.name]["gaps"] == {"not asked": 1}
    here.complete()
    assert document("gaps")["gaps"] == []
    here.assert_exact()


@pytest.mark.slow
def test_an_empty_file_is_no_obstacle(world: Begin) -> None:
    """It is left where the disk was full when the database was made, and DuckDB does not open it."""
    here = world(subject(NAMES[0]).filled()).alone()
    (here.folder / "gapless.duckdb").touch()
    for command in ("status", "gaps"):
        assert document(command)["exit_code"] == 0
    here.complete()
    here.assert_exact()


@pytest.mark.slow
@pytest.mark.parametrize("made", ["a link", "a file"])
def test_an_empty_file_stays_what_it_is(made: str, world: Begin) -> None:
    """The mode, the link and the inode, as of a mount, that its owner chose; the doctor leaves it empty."""
    here = world(subject(NAMES[0]).filled()).alone()
    file = here.folder / "gapless.duckdb"
    if made == "a link":
        (here.folder / "data").mkdir()
        file.symlink_to("data/logs")
        (here.folder / "data" / "logs").touch(0o640)
    else:
        file.touch(0o640)
    before = file.stat()
    assert document("doctor")["exit_code"] == 0
    assert file.stat().st_size == 0
    here.complete()
    here.assert_exact()
    assert file.is_symlink() == (made == "a link")
    assert (file.stat().st_ino, file.stat().st_mode & 0o777) == (before.st_ino, 0o640)


@pytest.mark.slow
def test_an_empty_file_on_a_full_disk(world: Begin) -> None:
    """It is empty still, and no half of a database; the next sync fills it."""
    here = world(subject(NAMES[0]).filled()).alone()
    file = here.folder / "gapless.duckdb"
    file.touch()
    with full(4096):
        found = document("sync", here.name)
    assert (found["exit_code"], file.stat().st_size) == (1, 0), found
    assert "File too large" in found["error"] or "No space" in found["error"], found
    here.complete()
    here.assert_exact()


@pytest.mark.slow
def test_a_folder_that_cannot_be_written(world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor does not take it for a full disk."""
    here = world(subject(NAMES[0]).filled()).alone()
    here.synced()

    def refused(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("gapless.pipelines.cli.doctor.probe.tempfile.TemporaryFile", refused)
    found = {check["name"]: check for check in document("doctor")["checks"]}["destination"]
    assert (found["result"], found["found"].endswith("cannot be written to: Permission denied.")) == ("fail", True)
    assert found["mends"].startswith("Let this user write there, or choose another")


def test_a_note_that_finds_no_room(tmp_path: Path) -> None:
    """The file alone says that there was such a sync, and when; the next ones are counted on."""
    path = tmp_path / "note"
    with full(0):
        unwritten.note(path, "no space")
    found = unwritten.noted(path)
    assert found is not None
    assert (found.reason, found.times) == ("", 1)
    unwritten.note(path, "no space")
    found = unwritten.noted(path)
    assert found is not None
    assert (found.reason, found.times) == ("no space", 2)
    unwritten.clear(path)
    assert unwritten.noted(path) is None


def test_a_note_is_one_of_its_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole source and each shard have notes of their own, and a sync of all removes every one."""
    monkeypatch.chdir(tmp_path)
    target = Target.find("duckdb")
    shards = [WHOLE, Shard(1, 2), Shard(2, 2)]
    for shard in shards:
        unwritten.note(target.note_file("omni", shard), "no space")
    unwritten.note(target.note_file("tines", WHOLE), "no space")
    assert [*target.note_files("omni").values()] == shards
    assert [*target.note_files("omni", Shard(1, 2)).values()] == [Shard(1, 2)]


def test_a_note_is_answered_by_rounds_of_all_its_parts() -> None:
    """One shard says nothing of the other, nor of the whole source; a round before the note says nothing at all."""
    at = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)

    def round_of(shard: Shard, minutes: int) -> Round:
        time = at + timedelta(minutes=minutes)
        return Round("run", "complete", shard, time, time, None)

    one, other = round_of(Shard(1, 2), 2), round_of(Shard(2, 2), 1)
    assert not was_followed([one, round_of(Shard(2, 2), -1)], WHOLE, at)
    assert was_followed([one, other], WHOLE, at)
    assert not was_followed([other], Shard(1, 2), at)
    assert was_followed([one], Shard(1, 2), at)
    assert was_followed([round_of(WHOLE, 1)], Shard(1, 2), at)
    assert not was_followed([], WHOLE, at)
