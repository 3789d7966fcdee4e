"""Every command's --json document has the same envelope, also when the command fails."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from filelock import FileLock
from typer.testing import CliRunner

from gapless.pipelines.cli import output
from gapless.pipelines.cli.app import app
from gapless.pipelines.errors import OUTCOMES, GaplessError
from gapless.pipelines.sync import loop
from gapless.sources.tines.fake import TinesFake
from tests.support.world import World

ENVELOPE = ["schema", "version", "command", "ok", "outcome", "exit_code", "error", "problems"]
ROOT = Path(__file__).resolve().parents[2]
LINES = {
    "sync": "sync tines",
    "backfill": "backfill tines --since 2026-01-01 --until 2026-03-01",
    "status": "status",
    "gaps": "gaps",
    "verify": "verify tines",
    "plan": "plan tines",
    "doctor": "doctor",
    "state show": "state show",
    "state rewind": "state rewind tines --to 2026-02-01 --yes",
    "state reset": "state reset tines --yes",
    "state adopt": "state adopt tines --yes",
    "state drop": "state drop kizen --yes",
    "views": "views",
    "dbt": "dbt models",
    "publish": "publish readers.duckdb",
    "copy": "copy --to second",
    "compact": "compact",
    "forget": "forget tines --id 701 --dry-run",
    "keep": "keep tines 9000d --yes",
    "privacy apply": "privacy apply tines --yes",
}
"""What is typed for each command; `demo` has its fixture in test_demo, which serves all vendors."""
OWN = {
    "sync": {"sources"},
    "backfill": {"sources"},
    "status": {"destination", "file", "fresh", "sources", "notes"},
    "gaps": {"gaps", "remedies", "notes"},
    "verify": {"seed", "sources"},
    "plan": {"sources"},
    "doctor": {"checks"},
    "state show": {"sources", "tines"},
    "state rewind": {"source", "changed"},
    "state reset": {"source", "changed"},
    "state adopt": {"source", "from", "to", "served", "same", "other", "proven"},
    "state drop": {"source", "records", "tombstones"},
    "views": {"destination", "file", "views"},
    "dbt": {"written", "sources"},
    "publish": {"published", "bytes", "seconds"},
    "copy": {"sources"},
    "forget": {
        "source",
        "warning",
        "destination",
        "dry_run",
        "kind",
        "parents",
        "records",
        "rows",
        "compacted",
        "key_file",
        "next",
    },
    "keep": {"source", "destination", "dry_run", "kept_from", "rows", "compacted", "next"},
    "compact": {"destination", "file", "bytes_before", "bytes_after", "published"},
    "privacy apply": {"dry_run", "sources", "bytes_before", "bytes_after", "published"},
}
"""The keys of each command besides the envelope's: programs of users read them."""


def document(line: str, **how: Any) -> dict[str, Any]:
    """The one line on stdout; its exit code is the command's, and its outcome that code's."""
    done = CliRunner().invoke(app, [*shlex.split(line), "--json"], **how)
    *echoed, text = done.stdout.splitlines()
    assert len(echoed) == len(how)  # a runner without a terminal shows the answer to a question
    found: dict[str, Any] = json.loads(text)
    assert list(found)[: len(ENVELOPE)] == ENVELOPE
    assert (found["schema"], found["exit_code"]) == (output.JSON_SCHEMA, done.exit_code)
    assert (found["ok"], found["outcome"]) == (done.exit_code == 0, OUTCOMES[done.exit_code])
    assert all({"source", "message"} <= problem.keys() for problem in found["problems"])
    return found


@pytest.fixture
def here(world: Callable[[Any], World]) -> World:
    """A file with one source in it, and another destination to copy to."""
    fake = TinesFake()
    fake.seed(2, logs=3)
    made = world(fake).alone()  # else the doctor asks the others' own hosts
    made.synced()
    return made.set(DESTINATION__SECOND__DESTINATION_TYPE="duckdb", DESTINATION__SECOND__CREDENTIALS="second.duckdb")


@pytest.mark.slow
@pytest.mark.parametrize("command", LINES)
def test_every_command_has_the_envelope(command: str, here: World) -> None:
    """And beside it the keys that it always had."""
    found = document(LINES[command])
    assert (found["command"], found["error"]) == (command, None)
    assert found.keys() - set(ENVELOPE) == OWN[command]


def test_no_command_is_forgotten() -> None:
    """Whatever takes --json stands above."""

    def with_json(command: Any, path: str = "") -> Iterator[str]:
        if any("--json" in parameter.opts for parameter in command.params):
            yield path
        for name, child in getattr(command, "commands", {}).items():
            yield from with_json(child, f"{path} {name}".strip())

    assert {*with_json(typer.main.get_command(app))} == {*LINES, "demo"} == {*OWN, "demo"}


@pytest.mark.parametrize(
    ("line", "command", "code"),
    [
        ("sync nobody", "sync", 2),
        ("sync --nonsense", "sync", 2),
        ("--nonsense sync", "sync", 2),
        ("nonsense", "nonsense", 2),
        ("state rewind tines --to then --yes", "state rewind", 2),
        ("--log-format text state rewind tines --to then --yes", "state rewind", 2),
        ("publish nowhere/readers.duckdb", "publish", 2),
        ("status --destination nowhere", "status", 2),
    ],
)
def test_an_error_has_the_envelope(line: str, command: str, code: int, here: World) -> None:
    """Wrong usage wherever it is found."""
    found = document(line)
    assert (found["command"], found["exit_code"]) == (command, code)
    assert found["error"]


def test_what_is_locked_stopped_or_refused(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """75, 130, an unexpected error, and a question that was answered with no."""
    with FileLock(here.folder / "gapless.duckdb.lock"):
        assert (document("sync tines")["exit_code"], document("copy --to second")["exit_code"]) == (75, 75)
    assert document("state reset tines", input="n\n")["error"] == "nothing was changed"
    for error, code in ((KeyboardInterrupt(), 130), (RuntimeError("lost"), 1)):

        def broken(*args: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr("gapless.pipelines.sync.run.sync", broken)
        found = document("sync tines")
        assert (found["exit_code"], bool(found["error"])) == (code, True)


def test_each_round_has_a_document(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --every also one that breaks off."""

    def three_rounds(once: Callable[[], int], *args: object) -> None:
        once()
        with FileLock(here.folder / "gapless.duckdb.lock"), pytest.raises(GaplessError):
            once()
        here.set(TINES_WORKERS="none")
        once()

    monkeypatch.setattr(loop, "repeat", three_rounds)
    done = CliRunner().invoke(app, ["sync", "tines", "--every", "15m", "--json"])
    assert [json.loads(line)["exit_code"] for line in done.stdout.splitlines()] == [0, 75, 2]


@pytest.mark.slow
def test_problems_are_sentences(here: World) -> None:
    """A program that shows `message` needs to know nothing of the command."""
    here.fake.failing["/api/v1"] = 401
    synced = document("sync tines")
    (problem,) = synced["problems"]
    assert (problem["kind"], problem["times"]) == ("failed", 1)
    assert problem["message"].startswith("tines failed: GET /api/v1/actions answered 401: the key was refused")
    (gap,) = document("gaps tines")["problems"]
    assert (gap["kind"], gap["status"], gap["fill"]) == ("not asked", 401, "gapless sync tines")
    assert document("status")["problems"] == [gap]
    assert {one["message"].split(":")[0] for one in document("doctor")["problems"]} == {"tines key"}
    assert document("verify tines")["problems"][0]["message"].startswith("tines failed: ")
    assert document("plan tines")["problems"][0]["source"] == "tines"


def test_the_page_has_the_envelope() -> None:
    """Every key of the envelope, and of each command, stands on the page of commands."""
    page = (ROOT / "pipelines" / "docs" / "COMMANDS.md").read_text()
    section = page.split("## JSON", 1)[1].split("\n## ", 1)[0]
    rows = dict(re.findall(r"^\| `([\w ]+)` \| (.*?) \|$", section, re.MULTILINE))
    assert [name for name in rows if name in ENVELOPE] == ENVELOPE
    for command, keys in {**OWN, "state show": {"sources"}}.items():
        assert set(re.findall(r"`(\w+)`", rows[command])) >= keys, command
