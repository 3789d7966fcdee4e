"""An answer that stdout did not take is no success of a command that only answers; and a stdin without answers."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli import app as cli
from gapless.pipelines.cli import streams
from tests.commands.test_json_documents import LINES, here
from tests.support.world import World

__all__ = ["here"]
AS_TEXT = ("--help", "--version", "sync --help", "status --prometheus", "status", "gaps", "doctor", "views")
"""What is run without --json, too, or has none."""
ONLY_ANSWER = {
    *AS_TEXT, "verify tines", "plan tines", "state show", "forget tines --id 701 --dry-run",
    "keep tines 9000d --dry-run", "privacy apply tines --dry-run",
} - {"views"}  # fmt: skip
ALL = [*AS_TEXT, *(f"{line} --json" for line in {*LINES.values(), *ONLY_ANSWER - {*AS_TEXT[:4]}})]
SAID = "the answer could not be written to stdout: No space left on device"


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, io.TextIOWrapper], object]:
    """Runs the whole command line in this process, with another stdout; returns the exit code."""
    monkeypatch.setattr(streams, "make_safe", lambda: None)
    monkeypatch.setattr(streams, "end_on_sigterm", lambda: None)
    monkeypatch.setattr(cli, "gc", SimpleNamespace(set_threshold=lambda *_: None, freeze=lambda: None))

    def run(line: str, stdout: io.TextIOWrapper) -> object:
        with stdout, pytest.MonkeyPatch.context() as replaced:
            replaced.setattr(sys, "stdout", streams._safe(stdout, 1))
            replaced.setattr(sys, "argv", ["gapless", *shlex.split(line)])
            with pytest.raises(SystemExit) as ended:
                cli.main()
            return ended.value.code or 0

    return run


def full() -> io.TextIOWrapper:
    return open("/dev/full", "w", encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("line", sorted(ALL))
def test_a_full_disk_below_stdout(
    line: str, here: World, ends: Callable[[str, io.TextIOWrapper], object], capsys: pytest.CaptureFixture[str]
) -> None:
    """1 for what only answers, and its own code for what has done something; stderr says it of both."""
    only_answers = line.removesuffix(" --json") in ONLY_ANSWER
    code, told = ends(line, full()), capsys.readouterr().err
    assert code == (1 if only_answers else 0), told
    assert told.count(SAID) == 1
    assert told.count("what the command did stays done") == (0 if only_answers else 1)


@pytest.mark.slow
def test_what_counts_as_delivered(
    here: World, ends: Callable[[str, io.TextIOWrapper], object], capsys: pytest.CaptureFixture[str]
) -> None:
    """A reader that goes has had enough, and /dev/null is a choice; a code that is not 0 stays."""
    read, write = os.pipe()
    os.close(read)
    assert ends("gaps --json", os.fdopen(write, "w")) == 0
    assert ends("gaps", os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")) == 0
    assert "could not be written" not in capsys.readouterr().err
    assert ends("gaps nobody --json", full()) == 2
    assert SAID in capsys.readouterr().err
    here.fake.failing["/"] = 500
    assert here.sync().outcome == "failed"
    assert ends("gaps", full()) == 3


ASKING = ("state reset tines", "state rewind tines --to 2026-01-01", "keep tines 9000d", "forget tines --id 701")


@pytest.mark.slow
@pytest.mark.parametrize("stdin", ["<&-", "</dev/null", "0>/dev/null"])
def test_nobody_answers(stdin: str, here: World) -> None:
    """A closed stdin is as an empty one: nothing is changed, and --yes is named."""
    before = here.rows("coverage")
    for line in ASKING[:: 1 if stdin == "<&-" else 4]:
        command = [sys.executable, "-m", "gapless.pipelines", *shlex.split(line)]
        ended = subprocess.run(
            ["bash", "-c", f'"$@" {stdin}', "bash", *command], capture_output=True, text=True, check=False
        )
        assert (ended.returncode, "Add --yes to skip it." in ended.stderr) == (2, True), (line, ended.stderr)
    assert here.rows("coverage") == before


@pytest.mark.slow
@pytest.mark.parametrize("line", ["init", "mcp"])
def test_a_stdin_that_cannot_be_read(line: str, here: World) -> None:
    """Whoever reads from it says so."""
    command = [sys.executable, "-m", "gapless.pipelines", line]
    ended = subprocess.run(
        ["bash", "-c", '"$@" 0>/dev/null', "bash", *command], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, "not expected" in ended.stderr) == (2, False), ended.stderr
    ended = subprocess.run(["bash", "-c", '"$@" <&-', "bash", *command], capture_output=True, text=True, check=False)
    assert (ended.returncode, "not expected" in ended.stderr) == (2 if line == "init" else 0, False), ended.stderr


def test_an_answer_that_is_no_text(here: World) -> None:
    """Bytes that no encoding has, where a y was expected."""
    ended = CliRunner().invoke(cli.app, ["state", "reset", "tines"], input=b"\xff\n")
    assert (ended.exit_code, "Add --yes" in ended.output) == (2, True)
