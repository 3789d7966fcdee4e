"""What the shell offers at a TAB: commands, options, sources and destinations, at once."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli import completion
from gapless.pipelines.cli.app import app
from tests.docs.test_readme import run

ROOT = Path(__file__).resolve().parents[2]
DLT = """\
import os, sys
from gapless.pipelines.cli.app import app
try:
    app(prog_name="gapless")
finally:
    print({"dlt", "duckdb", "pyarrow", "httpx2"} & set(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("gapless sy", ["sync"]),
        ("gapless sync o", ["omni"]),
        ("gapless sync omni ", ["sequence", "kizen", "tines"]),
        ("gapless backfill k", ["kizen"]),
        ("gapless state re", ["rewind", "reset"]),
        ("gapless verify --who", ["--whole"]),
        ("gapless status --destination ", ["duckdb", "lake", "postgres", "warehouse"]),
        ("gapless copy --to ", ["lake", "postgres", "warehouse"]),
    ],
)
def test_the_shell_completes(line: str, offered: list[str], tmp_path: Path) -> None:
    """Commands, options, sources that are not on the line yet, destinations that have settings."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text('[destination.lake]\ndestination_type = "ducklake"\n')
    (tmp_path / ".dlt" / "secrets.toml").write_text('[destination.warehouse]\ncredentials = "canary"\n')
    asked = {
        "_GAPLESS_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
        "DESTINATION__POSTGRES__CREDENTIALS": "canary",
        "DLT_PROJECT_DIR": str(tmp_path),
    }
    done = CliRunner().invoke(app, [], env=asked, prog_name="gapless")
    assert done.stdout.split() == offered


def test_a_tab_is_instant(tmp_path: Path) -> None:
    """dlt, which takes most of a second, is not imported for it."""
    asked = {"_GAPLESS_COMPLETE": "complete_bash", "COMP_WORDS": "gapless copy --to ", "COMP_CWORD": "3"}
    done = run(tmp_path, asked | {"DESTINATION__POSTGRES__CREDENTIALS": "canary"}, "-c", DLT, fresh=True)
    assert (done.stdout.split(), done.stderr.strip()) == (["postgres"], "set()")


def test_a_broken_settings_file_offers_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TAB says nothing of what is wrong there: a sync does."""
    (tmp_path / ".dlt").mkdir()
    for text in ("[destination.", "destination = 1", "[destination]\nduckdb = 1"):
        (tmp_path / ".dlt" / "config.toml").write_text(text)
        assert completion.destinations("") == ["duckdb"]


def test_bash_is_told_how(tmp_path: Path) -> None:
    """`--show-completion` prints a script that bash takes, and with which it asks gapless; as installed it is the
    same."""
    bash = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    shown = run(tmp_path, bash, "-c", DLT, "--show-completion", "bash").stdout
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "gapless"
    program.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(DLT)} 2>/dev/null\n")
    program.chmod(0o755)
    asked = 'COMP_WORDS=(gapless sync o); COMP_CWORD=2; _gapless_completion gapless; echo "${COMPREPLY[@]}"'
    environment = {"PATH": f"{program.parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{shown}\n{asked}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "omni"), done.stderr
