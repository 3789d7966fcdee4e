"""Status says what the destination holds, how complete that is, and asks nobody."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner, Result

from gapless.pipelines.cli.app import app
from gapless.sources.omni.fake import OmniFake
from gapless.sources.sequence.fake import SequenceFake
from gapless.sources.tines.fake import TinesFake
from tests.support import warm


def gapless(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def status(source: str) -> dict[str, Any]:
    result = gapless("status", "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)["sources"][source]
    return found


@pytest.mark.parametrize("command", [["status"], ["state", "show"]])
def test_nothing_yet(command: list[str], tmp_path: Path) -> None:
    """Before the first sync it says so kindly, and makes no file."""
    result = gapless(*command)
    assert result.exit_code == 0
    assert "nothing synced yet" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_after_a_sync(world: Callable[[Any], Any]) -> None:
    """Freshness, rows, proof and the last run are those of the destination; no vendor is asked."""
    fake = SequenceFake()
    fake.seed(5)
    here = world(fake)
    here.synced()
    here.fake.requests.clear()
    found = status("sequence")
    ((newest,),) = here.sql("select max(created_at) from activity_logs")
    assert datetime.fromisoformat(found["newest"]) == newest
    assert (found["rows"]["activity_logs"], found["complete"], found["dead_letters"]) == (5, True, {})
    assert datetime.fromisoformat(found["coverage"]["activity_logs"]["covered_to"]) == newest
    assert (found["last_run"]["outcome"], found["last_run"]["error"]) == ("complete", None)
    assert here.fake.requests == []


@pytest.mark.slow
def test_failed_parents(world: Callable[[Any], Any]) -> None:
    """A parent that failed and one that is gone are counted apart; the failed one keeps it from being complete."""
    fake = OmniFake()
    fake.seed(3, logs=3)
    here = world(fake)
    failed, gone, _ = (lead["leadId"] for lead in fake.truth()["leads"])
    here.complete()
    fake.failing |= {failed: 403}
    fake.delete_lead(gone)
    here.sync()
    found = status("omni")
    coverage = found["coverage"]["action_logs"]
    assert (coverage["parents"], coverage["failed"], coverage["gone"]) == (3, 1, 1)
    assert (found["complete"], coverage["complete"], found["dead_letters"]) == (False, False, {"parent": 1})
    shown = gapless("status").stdout
    assert "not complete" in shown
    assert "1 failed, 1 gone" in shown
    assert "1 parent" in shown


@pytest.mark.slow
def test_missing_intervals(world: Callable[[Any], Any]) -> None:
    """What an interrupted walk has not read yet is said, with its bounds."""
    fake = SequenceFake()
    fake.seed(250)
    here = world(fake)
    here.fail_after(1)
    assert here.sync(package_records=100).outcome == "failed"
    found = status("sequence")
    ((oldest,),) = here.sql("select min(created_at) from activity_logs")
    (((start, end),)) = found["coverage"]["activity_logs"]["missing"]
    assert (start, datetime.fromisoformat(end), found["complete"]) == (None, oldest, False)
    assert "not read yet: the beginning to" in gapless("status").stdout


@pytest.mark.slow
def test_drift(world: Callable[[Any], Any]) -> None:
    """Fields that no model knows are named, and their rows counted."""
    fake = TinesFake()
    action = fake.add_action()
    fake.add_log(action["id"], mood="calm", colour=None)
    fake.add_log(action["id"], mood="wild")
    fake.add_log(action["id"])
    world(fake).synced()
    assert status("tines")["drift"]["action_logs"] == {"rows": 2, "fields": ["mood", "colour"]}
    assert "mood, colour (in 2 rows)" in gapless("status").stdout


@pytest.mark.slow
def test_proof_of_a_broken_load(world: Callable[[Any], Any], tmp_path: Path) -> None:
    """A row of the ledger proves nothing unless its load was completed, as for the next sync."""
    fake = OmniFake()
    fake.seed(2, logs=2)
    world(fake).synced()
    with duckdb.connect(str(tmp_path / "gapless.duckdb")) as db:
        db.execute(
            "update omni.coverage set _dlt_load_id = 'broken' where parent = (select min(parent) from omni.coverage)"
        )
    found = status("omni")
    told = found["coverage"]["action_logs"]
    assert (told["parents"], told["unproven"], found["complete"]) == (2, 1, False), found


def test_while_a_sync_writes(tmp_path: Path) -> None:
    """While another process writes, status ends with 75 and says why."""
    file = tmp_path / "gapless.duckdb"
    script = f"import duckdb, sys; db = duckdb.connect({str(file)!r}); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script]
    with warm.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        assert writer.stdin
        assert writer.stdout.readline() == "open\n"
        result = gapless("status")
        writer.stdin.close()
    assert result.exit_code == 75
    assert "is being written to" in result.stderr
