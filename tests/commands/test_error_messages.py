"""Whatever goes wrong for a newcomer, the message names the next step, and that step exists."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import typer.main
from filelock import FileLock
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.cli.doctor import keys
from gapless.pipelines.ui import server
from gapless.sources import SOURCES
from gapless.sources.tines.fake import TinesFake
from tests.docs.test_readme import CONFIG, README, SECRETS, SETTINGS_PAGE
from tests.support import warm
from tests.support.world import World

Begin = Callable[[Any], World]
ROOT = Path(__file__).resolve().parents[2]
DESTINATIONS = (ROOT / "pipelines" / "docs" / "DESTINATIONS.md").read_text()
NOWHERE = {"OMNI_BASE_URL": "http://127.0.0.1:9", "GAPLESS_RETRY_BUDGET": "0.01"}
"""Nobody listens there."""
KEY = {"OMNI_API_KEY": "key-of-a-test"} | NOWHERE
POSTGRES = {"DESTINATION__POSTGRES__CREDENTIALS": "postgresql://gapless:canary@127.0.0.1:9/logs"}
FILE = "DESTINATION__DUCKDB__CREDENTIALS"
KEYS = {need for source in SOURCES.values() for need in source.needs if need.endswith(("_key", "_id", "_secret"))}
CASES: dict[str, tuple[str, dict[str, str], str]] = {
    # what went wrong: (what was typed, in which environment, the step that the message must name)
    "a command misspelt": ("synk", {}, "Did you mean 'sync'?"),
    "an option misspelt": ("sync --evry 15m", {}, "--every"),
    "an option forgotten": ("copy", {}, "gapless copy -h"),
    "a source misspelt": ("sync omnii", {}, "Did you mean omni?"),
    "no keys, sync": ("sync", {}, "gapless demo"),
    "no keys, plan": ("plan", {}, "gapless doctor"),
    "no keys, verify": ("verify", {}, "gapless doctor"),
    "no keys of one": ("sync kizen", {}, "KIZEN_API_KEY"),
    "no keys, doctor": ("doctor", {}, "gapless demo"),
    "no file, status": ("status", {}, "gapless sync"),
    "no file, gaps": ("gaps", {}, "gapless sync"),
    "no file, gaps of one": ("gaps tines", {}, "gapless sync tines"),
    "no file, verify": ("verify omni", KEY, "gapless sync omni"),
    "no file, views": ("views", {}, "gapless sync"),
    "no file, publish": ("publish readers.duckdb", {}, "gapless sync"),
    "no file, copy": ("copy --to postgres", POSTGRES, "gapless sync"),
    "no file, state show": ("state show", {}, "gapless sync"),
    "no file, state reset": ("state reset omni --yes", {}, "gapless sync omni"),
    "unreachable, sync": ("sync omni", KEY, "gapless doctor"),
    "unreachable, plan": ("plan omni", KEY, "gapless doctor"),
    "unreachable, doctor": ("doctor", KEY, "Check OMNI_BASE_URL"),
    "a host without scheme": ("sync omni", KEY | {"OMNI_BASE_URL": "omni"}, "OMNI_BASE_URL must be scheme and host"),
    "no number": ("sync omni", KEY | {"OMNI_WORKERS": "many"}, "OMNI_WORKERS"),
    "no rate": ("sync omni", KEY | {"OMNI_REQUESTS_PER_MINUTE": "0"}, "OMNI_REQUESTS_PER_MINUTE"),
    "no time": ("sync omni", KEY | {"OMNI_INITIAL_VALUE": "now"}, "OMNI_INITIAL_VALUE"),
    "no column": ("sync omni", KEY | {"OMNI_PRIVACY": "leads.nobody=drop"}, "sources/omni/README.md"),
    "no destination": ("status --destination nowhere", {}, "pipelines/docs/DESTINATIONS.md"),
    "a destination misspelt": ("status --destination postgre", {}, "Did you mean postgres?"),
    "no credentials": ("copy --to postgres", {}, "Set DESTINATION__POSTGRES__CREDENTIALS to"),
    "a server that is away": (
        "sync omni --destination postgres", KEY | POSTGRES, "gapless doctor --destination postgres"),
    "a server that is away, status": ("status --destination postgres", POSTGRES, "gapless doctor"),
    "a destination that appends": ("sync omni --destination filesystem",
        KEY | {"DESTINATION__FILESYSTEM__BUCKET_URL": "files"}, "--accept-append"),
    "no database, status": ("status", {FILE: "notes.txt"}, FILE),
    "no database, sync": ("sync omni", KEY | {FILE: "notes.txt"}, FILE),
    "no database, demo": ("demo --file notes.txt", {}, "--file PATH"),
    "a name of a source": ("status", {FILE: "omni.duckdb"}, FILE),
    "a page without its extra": ("ui", {}, "pip install -e '.[ui]'"),
    "a page elsewhere": ("ui --destination redshift",
        {"DESTINATION__REDSHIFT__CREDENTIALS": "redshift://u:canary@127.0.0.1:9/logs"}, "Leave out --destination"),
}  # fmt: skip


def told(line: str) -> str:
    """All that a command says, in one line, without frames. It fails, or says that nothing is there yet."""
    done = CliRunner().invoke(app, shlex.split(line))
    text = " ".join(re.sub(r"[─│╭╮╰╯]", " ", done.output).split())
    assert done.exit_code != 0 or "nothing synced yet" in text, text
    assert "Traceback" not in text
    return text


def options(command: Any, path: str = "") -> Iterator[tuple[str, set[str]]]:
    """Of every command, by its name."""
    yield path, {option for parameter in command.params for option in parameter.opts}
    for name, child in getattr(command, "commands", {}).items():
        yield from options(child, f"{path} {name}".strip())


COMMANDS = dict(options(typer.main.get_command(app)))


def assert_exists(text: str) -> None:
    """Commands that are named have the options they are named with, settings stand where settings are explained,
    pages are there."""
    for named in re.findall(r"gapless ([a-z]+ ?(?:[\w.-]+ ?)*)", text):
        words = named.split()
        command = " ".join(words[:2]) if words[0] == "state" else words[0]
        assert command in COMMANDS, named
        assert {word for word in words if word.startswith("-")} - COMMANDS[command] <= {"-h"}, named
    explained = README + SETTINGS_PAGE + CONFIG + SECRETS + DESTINATIONS
    for setting in re.findall(r"\b(?:OMNI|SEQUENCE|KIZEN|TINES|GAPLESS|DESTINATION)_[A-Z_]*[A-Z]", text):
        assert setting in explained or setting.lower() in explained, setting
    for page in re.findall(r"\b(?:sources|pipelines)/[\w/]+\.md", text):
        assert (ROOT / page).is_file(), page


@pytest.fixture(autouse=True)
def notes(tmp_path: Path) -> None:
    """A file that is no database."""
    (tmp_path / "notes.txt").write_text("milk, bread\n" * 1000)


@pytest.mark.parametrize(("line", "environment", "step"), CASES.values(), ids=CASES)
def test_the_next_step_is_named(
    line: str, environment: dict[str, str], step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to type or to set stands in the message, and exists."""
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    monkeypatch.setattr(keys, "PING_SETTINGS", {"gapless_retry_budget": 0.01})
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    text = told(line)
    assert step in text, text
    assert_exists(text)


@pytest.fixture
def synced(world: Begin) -> World:
    """A file with one source in it."""
    fake = TinesFake()
    fake.seed(1, logs=2)
    here = world(fake)
    here.synced()
    for name in KEYS - set(SOURCES["tines"].needs):
        here.monkeypatch.delenv(name.upper())
    return here


@pytest.mark.slow
@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused(status: int, synced: World) -> None:
    """A sync names the doctor, and the doctor the settings."""
    synced.intercept = lambda request: httpx.Response(status)
    for line, step in {"sync": "gapless doctor", "verify": "gapless doctor", "doctor": "TINES_API_KEY"}.items():
        text = told(line)
        assert step in text, text
        assert_exists(text)


def test_somebody_else_is_writing(synced: World) -> None:
    """Who is in the way is named, and what then; readers hear of the copy."""
    with FileLock(synced.folder / "gapless.duckdb.lock"):
        for line in ("sync", "publish readers.duckdb", "doctor"):
            assert re.search("another sync is writing.*(Try again when|Wait until) it has ended", told(line))
    script = "import duckdb; db = duckdb.connect('gapless.duckdb'); print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with warm.Popen([sys.executable, "-c", script], **pipes) as writer:
        try:
            writer.stdout.readline()
            for line in ("status", "gaps"):
                text = told(line)
                assert "gapless publish PATH" in text, text
                assert_exists(text)
        finally:
            writer.kill()


def test_what_the_file_does_not_hold(synced: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that was never synced is not copied, and the command that brings it is named."""
    monkeypatch.setenv("DESTINATION__SECOND__DESTINATION_TYPE", "duckdb")
    monkeypatch.setenv("DESTINATION__SECOND__CREDENTIALS", "second.duckdb")
    text = told("copy omni --to second")
    assert text.splitlines()[-1].endswith("This ends it: `gapless sync omni && gapless copy omni --to second`"), text
    assert "doctor" not in text
    assert "Choose another path" in told("publish nowhere/readers.duckdb")


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is the first thing to be written: which file, and the settings that name another."""

    def refused(self: FileLock, **_: float) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(FileLock, "acquire", refused)
    monkeypatch.setattr(keys, "PING_SETTINGS", {"gapless_retry_budget": 0.01})
    for name, value in KEY.items():
        monkeypatch.setenv(name, value)
    for line in ("sync omni", "demo", "doctor"):
        text = told(line)
        assert "Permission denied" in text, text
        assert FILE in text, text
