"""A DuckDB file that is cut off, overwritten or has the log of another: said in plain words, with what ends it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from tests.contract.subject import filled
from tests.support.world import World

Begin = Callable[[Any], World]
DAMAGED, LOG = "damaged or cut off: put a backup in its place", "Move that log away"
OTHER = """
import duckdb, os
db = duckdb.connect("other.duckdb")
db.execute("create table t as select 1 as a; checkpoint; set checkpoint_threshold = '1TB'; insert into t values (2)")
os._exit(0)
"""


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2 + 13)


def overwrite(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 2)
        opened.write(b"x" * 5_000)


def log_of_another(file: Path) -> None:
    subprocess.run([sys.executable, "-c", OTHER], cwd=file.parent, check=True)
    shutil.copy(file.parent / "other.duckdb.wal", f"{file}.wal")


@pytest.mark.slow
@pytest.mark.parametrize(("done", "said"), [(cut, DAMAGED), (overwrite, DAMAGED), (log_of_another, LOG)])
def test_a_damaged_file(done: Callable[[Path], None], said: str, world: Begin) -> None:
    """The commands agree, and a backup in its place is synced on."""
    here = world(filled("omni")).alone()
    here.complete()
    file = here.folder / "gapless.duckdb"
    before = file.read_bytes()
    done(file)
    here.fake.advance(1)
    for line in ("status", "sync", "gaps", "doctor"):
        ended = CliRunner().invoke(app, [line])
        output = " ".join(ended.output.split())
        assert (ended.exit_code, said in output) == (1, True), (line, output)
        assert "Exception" not in output
        assert "not expected" not in output
    file.write_bytes(before)
    Path(f"{file}.wal").unlink(missing_ok=True)
    here.complete()
    here.assert_exact()
