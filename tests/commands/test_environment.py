"""Containers, cron and Jenkins: what the environment has wrong is named before anything is done, or does no harm."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from typer.testing import CliRunner

from gapless.pipelines import redaction
from gapless.pipelines.cli.app import app
from gapless.pipelines.config import folders
from tests.contract.conftest import NAMES
from tests.contract.subject import subject
from tests.support import warm
from tests.support.world import World

Begin = Callable[[Any], World]


def gapless(*arguments: str) -> tuple[int, str]:
    """Returns the exit code, and all that was said in one line, without the time that it begins with."""
    told = CliRunner().invoke(app, list(arguments))
    assert "Traceback" not in told.output
    return told.exit_code, re.sub(r"(?m)^20[0-9T:-]+Z ", "", " ".join(told.output.split()))


@pytest.fixture
def synced(world: Begin) -> World:
    """A file with one source in it, whose vendor was not asked yet."""
    here = world(subject(NAMES[0]).filled())
    here.synced()
    here.fake.requests.clear()
    here.alone()
    return here


@pytest.mark.parametrize(
    ("variable", "value"), [("HTTPS_PROXY", "http://user:canary@proxy:port"), ("SSL_CERT_FILE", "nowhere.pem")]
)
def test_variables_of_the_network(variable: str, value: str, synced: World) -> None:
    """One that cannot be used ends what needs the network with 2 and its name; other commands work on."""
    synced.set(**{variable: value})
    name = synced.name
    window = ("--since", "2020-01-01", "--until", "2020-02-01")
    for needs in (("sync",), ("sync", "--every", "1h"), ("plan",), ("verify",), ("backfill", name, *window)):
        code, told = gapless(*needs)
        assert (code, told.startswith(f"{variable}: "), "canary" in told) == (2, True, False), told
    code, told = gapless("doctor", "--json")
    found = {check["name"]: check for check in json.loads(told)["checks"]}
    assert (code, found["network"]["result"], found["destination"]["result"]) == (1, "fail", "ok")
    assert variable in found["network"]["found"]
    for needs_none in (("status",), ("gaps",), ("views",), ("state", "show"), ("publish", "readers.duckdb")):
        assert gapless(*needs_none)[0] == 0
    assert synced.fake.requests == []


@pytest.mark.parametrize("name", ["ws%2Fjob", "ws%s", "a 'quoted\" {0} blank", "[a]*?", "a" * 200])
def test_folders_for_working_files_with_odd_names(name: str, world: Begin) -> None:
    """A sync works in each of them, as in Jenkins' for a branch."""
    here = world(subject(NAMES[0]).filled()).set(XDG_STATE_HOME=str(tmp := Path.cwd() / name))
    here.complete()
    here.assert_exact()
    assert list(tmp.iterdir()) == [tmp / "gapless"]


def without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a service whose user has no folder of its own."""
    for name in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR", "DLT_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/dev/null")
    folders._made.clear()


@pytest.mark.parametrize("command", ["sync", "status", "doctor", "demo"])
def test_a_temporary_folder_that_cannot_be(command: str, synced: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that is no UTF-8, and no folder at all: 2, and the variable."""

    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    without_a_home(monkeypatch)
    for found in (lambda: str(synced.folder / "bad\udcff"), none):
        monkeypatch.setattr(tempfile, "gettempdir", found)
        code, told = gapless(command)
        assert (code, "TMPDIR" in told) == (2, True), told
    assert synced.fake.requests == []


@pytest.mark.parametrize("home", ["file", "folder"])
def test_a_file_in_place_of_the_working_files(home: str, synced: World) -> None:
    """It is named, with the setting for another place."""
    (synced.folder / "file").write_text("")
    (synced.folder / "folder").mkdir()
    (synced.folder / "folder" / "gapless").write_text("")
    synced.set(XDG_STATE_HOME=str(synced.folder / home))
    code, told = gapless("sync")
    assert (code, f"{synced.folder}/{home}" in told, "XDG_STATE_HOME" in told) == (2, True, True), told


def test_a_password_of_a_proxy_is_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is written and as it is sent; the proxy's address is not."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:canary%2Fx@proxy:3128")
    redaction.register_secrets()
    assert redaction.redact("canary/x canary%2Fx at http://proxy:3128") == "*** *** at http://proxy:3128"


def test_a_working_directory_that_is_gone(synced: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said by every command."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for command in ("sync", "status", "doctor", "demo"):
        assert gapless(command) == (2, "the working directory was removed; change to one that is there.")


@pytest.mark.parametrize("name", ["q?x=1.duckdb", "bad\udcff.duckdb"])
def test_paths_that_duckdb_cannot_have(name: str, synced: World) -> None:
    """The database's, the demo's and a copy's: 2, before anything is made."""
    for command in (("demo", "--file", name), ("publish", name)):
        code, told = gapless(*command)
        assert (code, "question mark" in told or "not valid UTF-8" in told) == (2, True), told
    synced.set(DESTINATION__DUCKDB__CREDENTIALS=name)
    assert gapless("sync")[0] == 2
    assert not [*synced.folder.glob("q*"), *synced.folder.glob("bad*")]


@pytest.mark.parametrize("command", ["sync", "verify"])
def test_debug_shows_what_fails_inside_a_source(command: str, synced: World) -> None:
    """With its traceback, without a key; and nothing of it else."""
    synced.intercept = lambda request: httpx.Response(401)
    run = partial(warm.run, cwd=synced.folder)
    outputs = [run([sys.executable, "-m", "gapless.pipelines", command, *more]).stderr for more in ([], ["--debug"])]
    assert [("Traceback" in output, "Unauthorized" in output) for output in outputs] == [(False, False), (True, True)]
