"""SQLite by dlt's destination for SQLAlchemy; needs the extra `sqlite`, which makes dlt slower to start."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import Locked, WrongSettings
from gapless.sources import SOURCES
from tests.support.destinations import Begin, Land, seeded, snippets
from tests.support.oracle import mismatches

pytestmark = pytest.mark.filterwarnings("ignore:Coercing Subquery")
"""dlt's own SQL."""
CLIENT = "dlt.destinations.impl.sqlalchemy.db_api_client:SqlalchemyClient"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Reader:
    """A SQLite connection that understands the oracle's queries, which are DuckDB's."""

    def __init__(self, folder: Path, name: str) -> None:
        file = folder / f"gapless__{name}.sqlite"
        self._name, self._db = name, sqlite3.connect(file, detect_types=sqlite3.PARSE_DECLTYPES)
        self._db.create_function("epoch_us", 1, _microseconds)

    def execute(self, query: str) -> Any:
        return self._db.execute(query.replace(f"from {self._name}.", "from ").replace("::varchar", ""))

    def close(self) -> None:
        self._db.close()


def _microseconds(text: str | None) -> int | None:
    if text is None:
        return None
    at = datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
    return (at - EPOCH) // timedelta(microseconds=1)


@pytest.fixture(autouse=True)
def _flags() -> Iterator[None]:
    """SQLite has no booleans; a reader that asks for the declared types gets them."""
    sqlite3.register_converter("BOOLEAN", lambda value: bool(int(value)))
    yield
    sqlite3.converters.pop("BOOLEAN")


@pytest.fixture
def land(world: Begin, tmp_path: Path) -> Any:
    def begin(name: str) -> Land:
        here = world(seeded(name)).set(DESTINATION__SQLALCHEMY__CREDENTIALS=f"sqlite:///{tmp_path}/gapless.sqlite")
        return Land(here, "sqlalchemy")

    return begin


def differences(here: Land, tmp_path: Path) -> list[str]:
    with closing(Reader(tmp_path, here.world.name)) as db:
        return mismatches(db, here.world.name, here.fake.truth())  # type: ignore[arg-type]


def rows(here: Land, tmp_path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(Reader(tmp_path, here.world.name)) as db:
        return list(db.execute(query).fetchall())


@pytest.mark.parametrize("name", SOURCES)
def test_first_idle_and_changed_syncs_are_exact(name: str, land: Any, tmp_path: Path) -> None:
    """Times to the microsecond in UTC, JSON to the letter, integers of 64 bits: as in the vendor's records."""
    here = land(name)
    here.complete(package_records=12)
    assert differences(here, tmp_path) == []
    here.complete()
    assert differences(here, tmp_path) == []
    here.fake.advance(45)
    here.complete()
    assert differences(here, tmp_path) == []
    assert [outcome for (outcome,) in rows(here, tmp_path, "select outcome from runs")] == ["complete"] * 3


def test_not_a_digit_of_json_changes(land: Any, tmp_path: Path) -> None:
    """A JSON value that looks like a number stays what it was, in a column where SQLite would round it."""
    here = land("tines")
    action = here.fake.truth()["actions"][0]["id"]
    wanted = [12345678901234567890123, 0.1, "1e3", "", True, [], {"a": None}]
    ids = [here.fake.add_log(action, inbound_event=value)["id"] for value in wanted]
    big = here.fake.add_log(action, level=2**63 - 1)["id"]
    here.complete()
    held = dict(rows(here, tmp_path, "select id, inbound_event from action_logs"))
    assert [json.loads(held[i]) for i in ids] == wanted
    assert rows(here, tmp_path, f"select level from action_logs where id = {big}") == [(2**63 - 1,)]


def test_first_sight_of_a_status_stays(land: Any, tmp_path: Path) -> None:
    """dlt has no insert-only merge for SQLite: what was seen keeps its time when its lead is read again."""
    here = land("omni")
    here.complete()
    query = "select record_id, status, seen_at from status_changes"
    first = set(rows(here, tmp_path, query))
    here.fake.advance(45)
    here.complete()
    assert first < set(rows(here, tmp_path, query))


@pytest.mark.parametrize("statement", [20, 60, 75, 90])
def test_killed(statement: int, land: Any, tmp_path: Path) -> None:
    """kill -9 at a counted statement: the next sync ends exact, and no letter is lost."""
    here = land("sequence")
    here.fake.add_log(origin=[])
    assert here.sync().outcome == "partial"
    here.fake.advance(45)
    assert here.killed(CLIENT, statement)
    assert here.sync().outcome == "partial"
    assert len(differences(here, tmp_path)) == 1
    assert len(rows(here, tmp_path, "select key from dead_letters")) == 1


def test_the_commands(land: Any, tmp_path: Path) -> None:
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
    assert command("state", "reset", "sequence", "--yes")[1] == {"source": "sequence", "changed": 1}
    done = CliRunner().invoke(app, ["status", "--destination", "sqlalchemy"])
    assert (done.exit_code, "partial 20" in done.stdout) == (0, True)
    (times,) = rows(here, tmp_path, "select started_at, finished_at from runs")
    assert all(_microseconds(time) for time in times)


def command(*args: str) -> tuple[int, Any]:
    result = CliRunner().invoke(app, [*args, "--destination", "sqlalchemy", "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_one_writer(land: Any, tmp_path: Path) -> None:
    """The lock lies beside the file, for whoever shares it."""
    here = land("tines")
    with Target.find("sqlalchemy").locked():
        assert (tmp_path / "gapless.sqlite.lock").exists()
        with pytest.raises(Locked):
            here.sync()
        assert here.world.asked() == 0


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
