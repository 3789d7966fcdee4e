"""The runbook's commands for a backup, played: a restored database is synced on, exact."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.sources.omni.fake import OmniFake
from tests.support import postgres
from tests.support.world import World

PAGE = (Path(__file__).resolve().parents[2] / "pipelines" / "docs" / "RUNBOOK.md").read_text()
SECTION = PAGE.split("\n## Backup and restore\n")[1].split("\n## ")[0]
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)


def play(block: str) -> None:
    """Runs the lines of a block as a shell does; our own command in this process."""
    tools = f"{postgres._binaries(None)}{os.pathsep}{os.environ['PATH']}"
    for line in block.splitlines():
        if line.startswith("gapless "):
            done = CliRunner().invoke(app, shlex.split(line)[1:])
            assert done.exit_code == 0, (line, done.output)
        else:
            subprocess.run(["sh", "-euc", line], check=True, env={**os.environ, "PATH": tools})


@pytest.mark.slow
@pytest.mark.parametrize(("destination", "commands"), [("duckdb", BLOCKS[:2]), ("postgres", BLOCKS[2:])])
def test_a_restored_database_is_synced_on(
    destination: str, commands: list[str], world: Callable[[Any], World]
) -> None:
    """What came after the backup is read again, and counted as new; the comparison with the vendor ends well."""
    backup, restore = commands
    here = world(OmniFake.demo()).alone()
    here.complete()
    play(backup)
    here.fake.advance(120)
    newer = here.complete().rows_new
    assert newer
    here.database.change("omni", "delete from omni.action_logs where true")
    play(restore)
    here.assert_exact()
    assert here.sql("select new_rows from runs order by started_at desc limit 1") == [(newer,)]
    here.fake.advance(30)
    here.complete()
    here.assert_exact()


def test_every_block_is_played() -> None:
    """No command of the section is left out."""
    assert len(BLOCKS) == 4
