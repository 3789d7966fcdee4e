"""A database that another program has open, or whose folder is not there: one exit code, and advice that helps."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.config import database_file
from gapless.pipelines.destinations import duckdb_file, ducklake
from gapless.pipelines.observability import webhook
from tests.contract.conftest import NAMES
from tests.contract.subject import subject
from tests.support import warm
from tests.support.world import World

CATALOG, STORAGE = (f"DESTINATION__DUCKLAKE__CREDENTIALS__{name}" for name in ("CATALOG", "STORAGE__BUCKET_URL"))
Begin = Callable[[Any], World]
WINDOW = ("--since", "2020-01-01", "--until", "2021-01-01")
WRITE = ("sync", "views", "state rewind", "state reset", "state adopt", "compact", "privacy apply")
READ = ("status", "gaps", "verify", "publish readers.duckdb", "state show", "backfill", "copy --to second")


def gapless(*arguments: str) -> tuple[int, str]:
    """Returns the exit code, and all that was said in one line."""
    told = CliRunner().invoke(app, list(arguments))
    return told.exit_code, " ".join(told.output.split())


@contextmanager
def held(file: Path, mode: str) -> Iterator[int]:
    """Another process has the file open, to read or to write; yields its number."""
    script = f"import duckdb, os; db = duckdb.connect({str(file)!r}, read_only={mode == 'read'}); print(os.getpid());"
    with warm.Popen([sys.executable, "-uc", f"{script} input()"], stdin=PIPE, stdout=PIPE) as other:
        try:
            yield int(other.stdout.readline())
        finally:
            other.kill()


@pytest.fixture
def synced(world: Begin, monkeypatch: pytest.MonkeyPatch) -> World:
    """A file with one source in it, whose vendor was not asked yet; a reader is waited for a moment only."""
    here = world(subject(NAMES[0]).filled())
    here.synced()
    here.fake.requests.clear()
    here.alone()
    monkeypatch.setattr(duckdb_file, "READERS_TIME", 0.01)
    return here.set(DESTINATION__SECOND__DESTINATION_TYPE="duckdb", DESTINATION__SECOND__CREDENTIALS="second.duckdb")


def arguments(command: str, name: str) -> list[str]:
    """Returns the words of a command about that source."""
    more = {"state rewind": [name, "--yes", "--to", "2026-01-01"], "state reset": [name, "--yes"]} | {
        "state adopt": [name, "--yes"],
        "privacy apply": [name, "--yes"],
    }
    return [*command.split(), *more.get(command, []), *((name, *WINDOW) if command == "backfill" else ())]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["read", "write"])
def test_another_program_has_the_file(mode: str, synced: World) -> None:
    """An analyst who reads is in the way of who writes, one who writes in everybody's: 75, who it is, what helps."""
    with held(synced.folder / "gapless.duckdb", mode) as process:
        for command in (*WRITE, *READ):
            code, told = gapless(*arguments(command, synced.name))
            if mode == "read" and command in READ and command != "backfill":
                assert code == 0, told
            else:
                assert (code, str(process) in told, "gapless publish PATH" in told) == (75, True, True), told
        assert synced.fake.requests == [] or mode == "read"  # verify has asked
        code, told = gapless("doctor", "--json")
        check = {check["name"]: check for check in json.loads(told)["checks"]}["destination"]
        assert (code, check["result"], str(process) in check["found"]) == (1, "fail", True)
        assert check["mends"] == "Close the file in that program, or let people read a copy."
    code, told = gapless("sync")
    assert code == 0, told


@pytest.mark.parametrize("command", ["publish readers.duckdb", "demo --file readers.duckdb", "copy --to second"])
def test_the_other_file_is_open(command: str, synced: World) -> None:
    """Of a copy, of the demo, of another destination: 75, too."""
    file = synced.folder / ("second.duckdb" if "second" in command else "readers.duckdb")
    with held(file, "write") as process:
        code, told = gapless(*command.split())
        assert (code, str(process) in told) == (75, True), told


def test_somebody_hears_of_it(synced: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A webhook tells that a program keeps the file, which may last; of another sync, which ends, it does not."""
    sent: list[Any] = []
    monkeypatch.setattr(webhook, "deliver", lambda url, document: sent.append(document))
    synced.set(GAPLESS_WEBHOOK_URL="https://hooks.example.com/x")
    with held(synced.folder / "gapless.duckdb", "read"):
        assert gapless("sync")[0] == 75
    assert [document["exit_code"] for document in sent] == [75]


PLACES = {
    "duckdb": ("duckdb", {"DESTINATION__DUCKDB__CREDENTIALS": "away/gapless.duckdb"}),
    "a folder of files": ("filesystem", {"DESTINATION__FILESYSTEM__BUCKET_URL": "away/files"}),
    "a lake's catalog": ("ducklake", {CATALOG: "sqlite:///away/lake.sqlite"}),
    "a lake's files": ("ducklake", {CATALOG: "sqlite:///lake.sqlite", STORAGE: "away/files"}),
}


@pytest.mark.parametrize(("name", "settings"), PLACES.values(), ids=PLACES)
def test_a_folder_that_is_not_there(
    name: str, settings: dict[str, str], synced: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is not mounted: 2, and nothing is made, or a sync would read everything again into a new file."""
    monkeypatch.setattr(ducklake, "_extension", Path)  # an extra, which this does not come to
    synced.set(**settings)
    commands = [
        ["sync", "--accept-append"],
        ["status"],
        ["state", "show"],
        *([["views"]] if name == "duckdb" else []),
    ]
    for command in [*([*command, "--destination", name] for command in commands), ["copy", "--to", name]]:
        code, told = gapless(*command)
        if command[0] == "copy" and name in ("duckdb", "filesystem"):  # to itself, or to where nothing is replaced
            assert code == 2
        else:
            assert (code, "there is no folder" in told, "/away" in told) == (2, True, True), told
    assert (synced.fake.requests, (synced.folder / "away").exists()) == ([], False)
    code, told = gapless("doctor", "--json", "--destination", name)
    check = {one["name"]: one for one in json.loads(told)["checks"]}["destination"]
    assert name == "filesystem" or "there is no folder" in check["found"]
    assert check["result"] == "fail"


def test_a_database_in_memory(synced: World) -> None:
    """It would be gone at once: 2 for every command, and the check fails with the variable."""
    for path in (":memory:", "duckdb:///:memory:"):
        synced.set(DESTINATION__DUCKDB__CREDENTIALS=path)
        for command in (["sync"], ["status"], ["views"]):
            code, told = gapless(*command)
            assert (code, "DESTINATION__DUCKDB__CREDENTIALS must be a file" in told) == (2, True), told
        assert synced.fake.requests == []
        code, told = gapless("doctor", "--json")
        check = {one["name"]: one for one in json.loads(told)["checks"]}["destination"]
        assert (check["result"], "must be a file" in check["found"]) == ("fail", True)
        synced.fake.requests.clear()


def test_a_path_from_home(synced: World, tmp_path: Path) -> None:
    """No shell replaces the ~ of a setting: a DuckDB file is there, other paths are refused with the whole path."""
    home = tmp_path / "home"
    home.mkdir()
    synced.set(HOME=str(home), DESTINATION__DUCKDB__CREDENTIALS="~/gapless.duckdb")
    code, told = gapless("status")
    assert (code, str(home / "gapless.duckdb") in told) == (0, True), told
    assert database_file.at_home(Path("/srv/~/a.duckdb")) == home / "a.duckdb"
    (tmp_path / "~").mkdir()  # as a version before made it, and its file is in use
    assert database_file.at_home(tmp_path / "~" / "a.duckdb") == tmp_path / "~" / "a.duckdb"
    (tmp_path / "~").rmdir()
    synced.set(DESTINATION__FILESYSTEM__BUCKET_URL="~/files")
    code, told = gapless("status", "--destination", "filesystem", "--json")
    assert (code, f"Write the whole path: {home}/files" in told) == (2, True), told
