"""State can be set back and forgotten; the next sync honours it, and no row of data is touched by that."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner, Result

from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations.target import Target
from gapless.sources import SOURCES
from gapless.sources.sequence.fake import SequenceFake
from tests.contract.subject import subject
from tests.support.world import some

TREES = {source: SOURCES[source].main for source in SOURCES}
"""The main table of each source."""


def gapless(*args: str, **kwargs: Any) -> Result:
    return CliRunner().invoke(app, list(args), **kwargs)


def vendor(source: str) -> Any:
    """A vendor with more than one sync needs to ask again for what it has."""
    fake = subject(source).empty(page_cap=100 if SOURCES[source].stream.walks else 4)
    fake.fill(2, 600 if SOURCES[source].stream.walks else 24)
    return fake


def lose(source: str, folder: Path, where: str = "true") -> None:
    """Delete rows of the main table and all below them, behind the back of everyone."""
    roots = f"select _dlt_id from {source}.{TREES[source].name} where {where}"
    with duckdb.connect(str(folder / "gapless.duckdb")) as db:
        for shape in reversed(list(TREES[source].schema.tree())):
            key = "_dlt_root_id" if shape.parent else "_dlt_id"
            db.execute(f"delete from {source}.{shape.name} where {key} in ({roots})")


@pytest.mark.sweep
@pytest.mark.parametrize("source", some(SOURCES, "sequence"))
def test_reset(source: str, world: Callable[[Any], Any], tmp_path: Path) -> None:
    """After a reset the next sync reads everything again, which brings back rows that were lost."""
    here = world(vendor(source))
    here.synced()
    lose(source, tmp_path)
    here.sync()  # says what is gone
    result = gapless("state", "reset", source, "--yes")
    assert result.exit_code == 0, result.output
    here.complete()
    here.assert_exact()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "days", "fewest", "most"), some([("sequence", 12, 3, 4), ("tines", 6, 5, 9)], ("tines", 6, 5, 9))
)
def test_rewind(source: str, days: int, fewest: int, most: int, world: Callable[[Any], Any], tmp_path: Path) -> None:
    """Set back to a time, the next sync reads down to there, and no deeper; without that it does not."""
    here = world(vendor(source))
    here.synced()
    to = here.fake.now - timedelta(days=days)
    stream = SOURCES[source].stream  # the newest one of each parent stays: what is newer than that is read anyway
    group = f" group by {stream.column}" if stream.column else ""
    newest = f"select max(created_at) from {source}.{TREES[source].name}{group}"
    lose(source, tmp_path, f"created_at > '{to.isoformat()}' and created_at not in ({newest})")
    here.sync()  # says what is gone
    assert here.mismatches()
    result = gapless("state", "rewind", source, "--to", to.isoformat(), "--yes", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["changed"] > 0
    here.sync()  # nobody knows yet whether that was all that is lost
    here.assert_exact()
    assert fewest <= here.asked() <= most
    assert gapless("verify", source, "--repair").exit_code == 0
    here.complete()


@pytest.mark.sweep
def test_what_was_never_asked_for_stays_so(world: Callable[[Any], Any]) -> None:
    """Set back, a source still knows that it began at an initial value: without that it reads what is older."""
    here = world(SequenceFake(page_cap=5))
    here.fake.seed(40, days=30)
    middle = sorted(log["createdAt"] for log in here.fake.truth()["activity_logs"])[20]
    here.set(SEQUENCE_INITIAL_VALUE=middle).complete()
    assert gapless("state", "rewind", "sequence", "--to", middle, "--yes").exit_code == 0
    here.monkeypatch.delenv("SEQUENCE_INITIAL_VALUE")
    here.complete()
    here.assert_exact()


@pytest.mark.slow
def test_it_asks_first_and_touches_no_row(world: Callable[[Any], Any]) -> None:
    """Without --yes it asks, and without a yes nothing changes; what changes is the ledger, never a row of data."""
    here = world(vendor("omni"))
    here.synced()
    rows, proofs = here.sql("select * from action_logs order by id"), here.sql("select * from coverage order by all")
    unanswered = gapless("state", "reset", "omni")
    assert (unanswered.exit_code, "--yes" in unanswered.stderr) == (2, True)
    assert gapless("state", "reset", "omni", input="n\n").exit_code == 1
    assert here.sql("select * from coverage order by all") == proofs
    assert gapless("state", "reset", "omni", input="y\n").exit_code == 0
    assert here.sql("select * from action_logs order by id") == rows
    document = json.loads(gapless("status", "--json").stdout)["sources"]["omni"]
    assert (document["complete"], document["coverage"]["action_logs"]["unproven"] > 0) == (False, True)


def test_wrong_usage() -> None:
    """An unknown source and a time that is none end with 2."""
    assert gapless("state", "reset", "omno", "-y").exit_code == 2
    result = gapless("state", "rewind", "omni", "--to", "then", "-y")
    assert (result.exit_code, "--to: 'then' is not an ISO 8601 time" in result.stderr) == (2, True)


def test_nothing_to_change(tmp_path: Path) -> None:
    """Before the first sync there is nothing to forget, which is no error."""
    result = gapless("state", "reset", "omni", "-y")
    assert (result.exit_code, "nothing synced yet" in result.stderr) == (0, True)


def test_locked() -> None:
    """While a sync runs the state cannot be changed: 75."""
    with Target.find("duckdb").locked():
        assert gapless("state", "reset", "omni", "-y").exit_code == 75


@pytest.mark.slow
def test_show(world: Callable[[Any], Any]) -> None:
    """It shows watermark, unfinished walks without their cursors, and coverage."""
    fake = SequenceFake()
    fake.seed(250)
    here = world(fake)
    here.fail_after(1)
    here.sync(package_records=100)
    shown = json.loads(gapless("state", "show", "--json").stdout)["sequence"]
    ((newest, oldest),) = here.sql("select max(created_at), min(created_at) from activity_logs")
    (walk,) = shown["state"]["walks"]
    assert shown["state"]["watermark"] is None
    assert (walk["top"], walk["reached"]) == (newest.isoformat(), oldest.isoformat())
    assert len(walk["after"]) == len("12345678…")
    assert shown["coverage"]["activity_logs"]["complete"] is False
    assert "continues to the beginning" in gapless("state", "show").stdout
