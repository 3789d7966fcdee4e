"""`gapless init`: keys are asked for, tested and written where only their owner can read them."""

from __future__ import annotations

import json
import os
import pty
import select
import stat
import subprocess
import sys
import termios
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gapless.pipelines.cli.app import app
from gapless.pipelines.cli.commands import start
from gapless.pipelines.cli.commands.panels import LAST, ORDER, panel
from gapless.pipelines.cli.doctor import keys
from gapless.pipelines.destinations._dlt.config import read_again
from gapless.sources import SOURCES
from gapless.sources._http.testing import serve

KEYS = {name: {key: str(value) for key, value in source.demo.items()} for name, source in SOURCES.items()}
FIRST, SECOND, *_ = SOURCES


@pytest.fixture
def vendors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """All vendors are served and none has a key yet; somebody sits at the terminal, in an empty folder."""
    monkeypatch.setenv("DLT_PROJECT_DIR", str(tmp_path))
    monkeypatch.setattr(start, "_somebody_answers", lambda: True)
    monkeypatch.setattr(keys, "PING_SETTINGS", {"gapless_retry_budget": 0.05})
    with ExitStack() as stack:
        for name, source in SOURCES.items():
            url = stack.enter_context(serve(source.fake.demo().handle))
            monkeypatch.setenv(f"{name.upper()}_BASE_URL", url)
            for need in source.needs:
                if not need.endswith("_base_url"):
                    monkeypatch.delenv(need.upper(), raising=False)
        yield
    # dlt keeps what it has read, for the next test in this process, too.
    for file in (tmp_path / ".dlt").glob("*.toml"):
        file.unlink()
    read_again()


def init(*names: str, answers: list[str]) -> Result:
    return CliRunner().invoke(app, ["init", *names], input="".join(f"{answer}\n" for answer in answers))


def written(folder: Path) -> Any:
    return tomllib.loads((folder / ".dlt" / "secrets.toml").read_text()).get("sources")


def typed(name: str) -> list[str]:
    """Returns the right answers for a source; a base URL is asked for as well where it is needed."""
    return [KEYS[name].get(need) or os.environ[need.upper()] for need in SOURCES[name].needs]


def test_a_key_is_tested_and_written(vendors: None, tmp_path: Path) -> None:
    """A wrong one is said and asked for again; vendors left out are not written; the next command is named."""
    done = init(answers=["wrong-canary", "again", *typed(FIRST), *typed(SECOND), *[""] * (len(SOURCES) - 2)])
    assert done.exit_code == 0, done.output
    assert "401" in done.output
    assert f"{SECOND} key: accepted by the vendor" in done.output
    assert written(tmp_path) == {
        name: dict(zip(SOURCES[name].needs, typed(name), strict=True)) for name in (FIRST, SECOND)
    }
    assert stat.S_IMODE((tmp_path / ".dlt" / "secrets.toml").stat().st_mode) == 0o600
    assert f"gapless plan {FIRST} {SECOND}" in done.output
    assert [key for name in (FIRST, SECOND) for key in ("wrong-canary", *typed(name)) if key in done.output] == []


@pytest.mark.parametrize(("choice", "kept"), [("write", True), ("skip", False)])
def test_a_key_that_fails(choice: str, kept: bool, vendors: None, tmp_path: Path) -> None:
    """It can be written all the same, as where the vendor is down, or be left out."""
    done = init(FIRST, answers=["not-the-key", choice])
    assert (done.exit_code, (tmp_path / ".dlt" / "secrets.toml").exists()) == (0 if kept else 1, kept)
    assert "not-the-key" not in done.output
    assert not kept or written(tmp_path)[FIRST] == {SOURCES[FIRST].needs[0]: "not-the-key"}


def test_only_a_named_source_is_asked_again(vendors: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has its keys is passed over; its name replaces them, and leaves all others."""
    (tmp_path / ".dlt").mkdir(mode=0o700)
    file = tmp_path / ".dlt" / "secrets.toml"
    file.write_text(f'[sources.{FIRST}]\n{SOURCES[FIRST].needs[0]} = "old"\n\n[gapless]\nx = "y"\n')
    file.chmod(0o600)
    done = init(answers=[""] * (len(SOURCES) - 1))
    assert (done.exit_code, f"{FIRST}: has its keys already" in done.output) == (0, True)
    assert init(FIRST, answers=typed(FIRST)).exit_code == 0
    assert written(tmp_path) == {FIRST: dict(zip(SOURCES[FIRST].needs, typed(FIRST), strict=True))}
    assert tomllib.loads(file.read_text())["gapless"] == {"x": "y"}


def test_nobody_answers(vendors: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under cron it asks nothing, writes nothing and says what to do in its place: 2. Without any answer: 1."""
    assert init(answers=[""] * len(SOURCES)).exit_code == 1
    monkeypatch.undo()
    monkeypatch.setenv("DLT_PROJECT_DIR", str(tmp_path))
    done = init(answers=["x"])
    assert done.exit_code == 2
    assert all(word in done.output for word in (SOURCES[FIRST].needs[0].upper(), "gapless doctor", "secrets.toml"))
    assert not (tmp_path / ".dlt").exists()


@pytest.mark.slow
def test_at_a_real_terminal(vendors: None, tmp_path: Path) -> None:
    """In an empty folder: what is typed is not echoed, and the doctor finds the key afterwards."""
    environment = {name: value for name, value in os.environ.items() if name != "DLT_PROJECT_DIR"}
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "gapless.pipelines", "init", FIRST]
    own = {"cwd": tmp_path, "env": environment, "start_new_session": True}
    running = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, **own)
    os.close(theirs)
    shown = _until(ours, "(Enter: leave out)")
    # What is typed before the echo is off is thrown away, as by every program that asks for a password.
    while termios.tcgetattr(ours)[3] & termios.ECHO:
        time.sleep(0.01)
    os.write(ours, f"{typed(FIRST)[0]}\n".encode())
    shown += _until(ours, "then gapless sync")
    assert running.wait(20) == 0
    assert typed(FIRST)[0] not in shown
    assert written(tmp_path)[FIRST]
    run: Callable[..., Any] = subprocess.run
    done = run([*command[:3], "doctor", "--json"], cwd=tmp_path, env=environment, capture_output=True, check=False)
    checks = {check["name"]: check["result"] for check in json.loads(done.stdout)["checks"]}
    assert checks[f"{FIRST} key"] == "ok"


def _until(terminal: int, words: str, seconds: float = 30) -> str:
    """Reads from a terminal until it shows these words."""
    shown, ends = "", time.monotonic() + seconds
    while words not in shown:
        assert time.monotonic() < ends, shown
        if select.select([terminal], [], [], 1)[0]:
            shown += os.read(terminal, 4096).decode()
    return shown


def test_every_command_has_its_place() -> None:
    """The help has groups in the order of use, and no command outside of them."""
    names = [info.name or info.callback.__name__ for info in app.registered_commands if info.callback]
    names += [str(group.name) for group in app.registered_groups]
    assert [name for name in names if panel(name) == LAST] == []
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"}).stdout
    places = [shown.index(f"│ {name} ") for name in ORDER if name in names]
    assert places == sorted(places)
