"""`gapless compact` deletes the files in a DuckLake's folder that no snapshot names, and no file of anybody else."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gapless.pipelines.destinations._compaction.lake_orphans import AGE, MARK
from tests.contract.commands import document, gapless
from tests.contract.subject import subject
from tests.destinations.test_compact import CANARY, holding
from tests.support import warm
from tests.support.databases import DATABASES
from tests.support.world import World

pytestmark = [
    pytest.mark.slow,
    *DATABASES["ducklake"].marks,
    pytest.mark.skipif(not DATABASES["ducklake"].at_hand(), reason="its driver is not here"),
]
OMNI = subject("omni")
KILLED = """
import os, sys
from gapless.sources._dlt import types
from gapless.pipelines.destinations._dlt import ducklake_client
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
commit = DuckDbSqlClient.commit_transaction
def killed(self):
    if [*__import__("pathlib").Path(sys.argv[1]).glob("ducklake.files/omni/action_logs/*.parquet")]:
        os.kill(os.getpid(), 9)
    commit(self)
DuckDbSqlClient.commit_transaction = killed
from gapless.pipelines.cli.app import app
app(sys.argv[2:])
"""


@pytest.fixture
def destination() -> str:
    return "ducklake"


@pytest.fixture
def here(world: Callable[[Any], World]) -> World:
    """A lake after its first sync."""
    made = world(OMNI.filled())
    made.complete()
    return made


def files(here: World) -> set[Path]:
    return {*(here.folder / "ducklake.files").rglob("*.parquet")}


def orphan(here: World, name: str = "", *, age: float = 2 * AGE.total_seconds()) -> Path:
    """Puts a file beside the live ones that was written so many seconds ago, as by a write that was killed."""
    live = min(files(here))
    made = live.with_name(name or f"ducklake-{uuid4()}.parquet")
    shutil.copy(live, made)
    os.utime(made, (time.time() - age,) * 2)
    return made


def begun(here: World, days: float) -> None:
    """Each lake left its mark so long ago."""
    for mark in (here.folder / "ducklake.files").glob(f"{MARK}*"):
        os.utime(mark, (time.time() - days * 86400,) * 2)


def compacted(here: World) -> str:
    done = gapless(here, "compact")
    assert done.exit_code == 0, done.output
    here.assert_exact()
    return str(done.stderr)


def test_files_of_a_sync_that_was_killed(world: Callable[[Any], World]) -> None:
    """What it wrote and did not commit is deleted an hour later, and said until then."""
    here = world(OMNI.filled())
    begun_at = time.time()
    OMNI.add_one(here.fake, **{OMNI.text: CANARY})
    line = [sys.executable, "-c", KILLED, str(here.folder), "sync", "omni", *here.database.option]
    done = warm.run(line, env=dict(os.environ))
    assert done.returncode == -9, done.stdout + done.stderr
    left = files(here)
    assert left != set()
    here.complete()
    said = compacted(here)
    assert re.search("that no snapshot names (is|are) of the last hour", said)
    assert left & files(here)
    begun(here, 1)
    for file in left & files(here):
        os.utime(file, (begun_at - 2 * AGE.total_seconds(),) * 2)
    assert "no snapshot names" not in compacted(here)
    assert left & files(here) == set()


def test_what_is_not_known_to_be_its_own_stays(here: World) -> None:
    """Files from before the lake's mark, and names that no lake gives."""
    begun(here, 1)
    old, other = orphan(here, age=2 * 86400), orphan(here, "mine.parquet")
    own = orphan(here)
    assert "2 files that no snapshot names stay in" in compacted(here)
    assert (old.exists(), other.exists(), own.exists()) == (True, True, False)
    other.unlink()
    assert "1 file that no snapshot names stays" in compacted(here)


def test_another_lake_in_the_same_folder(here: World) -> None:
    """Its files are none of this lake's snapshots, and stay."""
    live = files(here)
    here.set(DESTINATION__DUCKLAKE__CREDENTIALS__CATALOG=f"sqlite:///{here.folder}/other.sqlite")
    assert gapless(here, "sync", "omni").exit_code == 0
    begun(here, 1)
    for file in live:
        os.utime(file, (time.time() - 2 * AGE.total_seconds(),) * 2)
    done = gapless(here, "compact")
    assert (done.exit_code, "that no snapshot names stay" in done.stderr) == (0, True), done.output
    assert live <= files(here)


def test_an_erasure_waits_for_the_files_of_the_last_hour(here: World) -> None:
    """It counts as finished when nothing is left that a later compaction deletes."""
    lead = OMNI.add_parent(here.fake, **{OMNI.parent_text: CANARY})[OMNI.parent_id]  # type: ignore[misc]  # it has them
    OMNI.add(here.fake, lead, **{OMNI.text: CANARY})
    here.complete()
    begun(here, 1)
    young = orphan(here, age=0)
    done = document(here, "forget", "omni", "--id", str(lead), "--yes")
    assert (done["compacted"], young.exists()) == (False, True)
    assert [note["kind"] for note in document(here, "gaps")["notes"]] == ["erasure"]
    os.utime(young, (time.time() - 2 * AGE.total_seconds(),) * 2)
    assert gapless(here, "compact", "omni").exit_code == 0
    assert (document(here, "gaps")["notes"], young.exists(), holding(here)) == ([], False, [])
