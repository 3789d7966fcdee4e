"""SQLite by dlt's destination for SQLAlchemy; needs the extra `sqlite`, which makes dlt slower to start."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import Locked, WrongSettings
from gapless.pipelines.maintenance.drop import drop
from tests.contract.commands import fill, gapless, gaps
from tests.support.destinations import Begin, killed, seeded, snippets
from tests.support.world import World

CLIENT = "dlt.destinations.impl.sqlalchemy.db_api_client:SqlalchemyClient"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def destination() -> str:
    """Where `world` has its data."""
    return "sqlalchemy"


@pytest.fixture
def land(world: Begin) -> Callable[[str], World]:
    """A vendor and no file."""
    return lambda name: world(seeded(name))


def test_not_a_digit_of_json_changes(land: Callable[[str], World]) -> None:
    """A JSON value that looks like a number stays what it was, in a column where SQLite would round it."""
    here = land("tines")
    action = here.fake.truth()["actions"][0]["id"]
    wanted = [12345678901234567890123, 0.1, "1e3", "", True, [], {"a": None}]
    ids = [here.fake.add_log(action, inbound_event=value)["id"] for value in wanted]
    big = here.fake.add_log(action, level=2**63 - 1)["id"]
    here.complete()
    held = dict(here.sql("select id, inbound_event from action_logs"))
    assert [json.loads(held[i]) for i in ids] == wanted
    assert here.sql(f"select level from action_logs where id = {big}") == [(2**63 - 1,)]


def test_the_doctor_leaves_nothing_behind(land: Callable[[str], World]) -> None:
    """In the files of two sources, which SQLite opens outside of a transaction alone."""
    for name in ("tines", "omni"):
        here = land(name)
        here.complete()
    shown = CliRunner().invoke(app, ["doctor", "--destination", "sqlalchemy"])
    assert ("writable" in shown.output, "Safety level" in shown.output) == (True, False), shown.output
    for file in here.folder.glob("*.db"):
        with closing(sqlite3.connect(file)) as db:
            assert db.execute("select name from sqlite_master where name like 'gapless_doctor%'").fetchall() == []


def test_first_sight_of_a_status_stays(land: Callable[[str], World]) -> None:
    """dlt has no insert-only merge for SQLite: what was seen keeps its time when its lead is read again."""
    here = land("omni")
    here.complete()
    query = "select record_id, status, seen_at from status_changes"
    first = set(here.sql(query))
    here.fake.advance(45)
    here.complete()
    assert first < set(here.sql(query))


@pytest.mark.parametrize("statement", [20, 60, 75, 90])
def test_killed(statement: int, land: Callable[[str], World]) -> None:
    """kill -9 at a counted statement: the next sync ends exact, and no letter is lost."""
    here = land("sequence")
    here.fake.add_log(origin=[])
    assert here.sync().outcome == "partial"
    here.fake.advance(45)
    assert killed(here, CLIENT, statement)
    assert here.sync().outcome == "partial"
    assert len(here.mismatches()) == 1
    assert len(here.sql("select key from dead_letters")) == 1


def test_the_commands(land: Callable[[str], World]) -> None:
    """Status and state are told as on DuckDB: coverage, letters, drift, runs and times."""
    here = land("sequence")
    here.fake.add_log(origin=[], brandNew=1)
    here.fake.add_log(brandNew={"a": 1})
    assert command("sync", "sequence")[0] == 3
    told = command("status")[1]["sources"]["sequence"]
    assert told["rows"]["activity_logs"] == 21
    assert told["dead_letters"] == {"record": 1}
    assert told["drift"] == {"activity_logs": {"rows": 1, "fields": ["brandNew"]}}
    assert told["coverage"]["activity_logs"]["covered_to"].startswith(here.fake.now.isoformat()[:16])
    assert command("state", "show")[1]["sequence"]["state"]["watermark"]
    assert command("state", "reset", "sequence", "--yes")[1]["changed"] == 1
    done = CliRunner().invoke(app, ["status", "--destination", "sqlalchemy"])
    assert (done.exit_code, "partial 20" in done.stdout) == (0, True)
    (times,) = here.sql("select started_at, finished_at from runs")
    assert all(isinstance(time, datetime) for time in times)


def command(*args: str) -> tuple[int, Any]:
    result = CliRunner().invoke(app, [*args, "--destination", "sqlalchemy", "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_one_writer(land: Callable[[str], World], tmp_path: Path) -> None:
    """The lock lies beside the file, for whoever shares it."""
    here = land("tines")
    with Target.find("sqlalchemy").locked():
        assert (tmp_path / "gapless.sqlite.lock").exists()
        with pytest.raises(Locked):
            here.sync()
        assert here.asked() == 0


@pytest.mark.parametrize(
    ("url", "said"),
    [("sqlite:///:memory:", "must be a file"), ("postgresql+psycopg2://me:canary@host/db", "SQLite alone")],
)
def test_what_is_refused(url: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database in memory would be gone at once; of SQLAlchemy's other databases nothing is proven."""
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", url)
    with pytest.raises(WrongSettings, match=said) as failed:
        Target.find("sqlalchemy")
    assert "canary" not in str(failed.value)


def test_the_page(world: Begin) -> None:
    """What DESTINATIONS.md shows works as shown, but for the folder."""
    (shown,) = [snippet for snippet in snippets() if snippet.destination == "sqlalchemy"]
    assert (shown.run(world(seeded("tines")), "") / "gapless__tines.sqlite").exists()


@pytest.mark.slow
def test_the_file_of_a_source_that_is_gone(land: Callable[[str], World]) -> None:
    """There are no views that remember it, and it is missed all the same, until a sync has made it again; a source
    that was dropped on purpose is not.
    """
    for name in ("sequence", "tines"):
        here = land(name)
        assert gapless(here, "sync", name).exit_code == 0
    (file,) = here.folder.glob("*__tines.*")
    file.unlink()
    told = gaps(here)
    assert [(gap["source"], gap["kind"], gap["fill"]) for gap in told] == [
        ("tines", "never synced", "gapless sync tines --destination sqlalchemy")
    ]
    assert not json.loads(gapless(here, "status", "--json").stdout)["sources"]["tines"]["complete"]
    fill(here, told)
    here.assert_exact()
    drop(Target.find("sqlalchemy"), "tines")
    assert gaps(here) == []
