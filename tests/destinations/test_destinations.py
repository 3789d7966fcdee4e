"""Beside DuckDB and Postgres: parquet files that are only added to, one log in two places, and DESTINATIONS.md."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import WrongSettings
from gapless.sources import SOURCES
from gapless.sources._ledger.shard import Shard
from tests.contract.subject import subject
from tests.support.destinations import PAGE, ROOT, Begin, Land, seeded, snippets
from tests.support.oracle import contract, mismatches
from tests.support.postgres import Server
from tests.support.world import some

OWN = {"_dlt_load_id", "held", "started_at", "finished_at", "seconds_waited", "run_id", "_dlt_id"}
"""What a row of `runs` says of its own run."""


def command(*args: str) -> tuple[int, Any]:
    result = CliRunner().invoke(app, [*args, "--json"])
    return result.exit_code, json.loads(result.stdout)


# -- files that are only added to ------------------------------------------------------------------


@pytest.fixture
def folder(world: Begin, tmp_path: Path) -> Callable[[str], Land]:
    def begin(name: str) -> Land:
        here = world(seeded(name)).set(DESTINATION__FILESYSTEM__BUCKET_URL=str(tmp_path / "bucket"))
        return Land(here, "filesystem", accept_append=True)

    return begin


def newest(here: Land) -> duckdb.DuckDBPyConnection:
    """What counts, by the rule of DESTINATIONS.md, as tables of the vendor's schema in a new DuckDB."""
    name, db = here.world.name, duckdb.connect()
    bucket = here.world.folder / "bucket" / name
    db.execute(f"create schema {name}")
    loads = f"read_json('{bucket}/_dlt_loads/*.jsonl', columns = {{load_id: 'varchar'}})"
    done = f"_dlt_load_id in (select load_id from {loads})"
    for table in contract(name):
        root = table.split("__", maxsplit=1)[0]
        rows = f"read_parquet('{bucket}/{table}/*.parquet', union_by_name=true)"
        roots = f"read_parquet('{bucket}/{root}/*.parquet', union_by_name=true)"
        key = "_dlt_id" if table == root else "_dlt_root_id"
        last = f"select _dlt_id, max(_dlt_load_id) from {roots} where {done} group by 1"
        db.execute(f"create table {name}.{table} as select * from {rows} where ({key}, _dlt_load_id) in ({last})")
    return db


@pytest.mark.slow
@pytest.mark.parametrize("name", some(SOURCES, "sequence"))
def test_rows_are_added_and_the_newest_count(name: str, folder: Callable[[str], Land]) -> None:
    """After changes the newest version of each record is the vendor's; an idle sync adds no record."""
    here = folder(name)
    here.complete(package_records=12)
    bucket = here.world.folder / "bucket" / name
    with newest(here) as db:
        assert mismatches(db, name, here.fake.truth()) == []
    count = f"select count(*) from read_parquet('{bucket}/%s/*.parquet')"
    before = [duckdb.execute(count % table).fetchall() for table in subject(name).tables]
    here.complete()
    assert [duckdb.execute(count % table).fetchall() for table in subject(name).tables] == before
    here.fake.advance(45)
    here.complete()
    with newest(here) as db:
        assert mismatches(db, name, here.fake.truth()) == []
        assert db.execute(f"select outcome from {name}.runs").fetchall() == [("complete",)] * 3


@pytest.mark.sweep
def test_the_ledger_where_rows_are_added(folder: Callable[[str], Land]) -> None:
    """A letter stays open until it heals, is not told twice, and status and state know what counts."""
    here = folder("sequence")
    bad = here.fake.add_log(origin=[])["id"]
    assert [here.sync().outcome for _ in range(2)] == ["partial", "partial"]
    told = command("status", "--destination", "filesystem")[1]["sources"]["sequence"]
    assert (told["rows"]["activity_logs"], told["dead_letters"]) == (20, {"record": 1})
    here.fake.change(bad, origin="fine")
    here.complete()
    told = command("status", "--destination", "filesystem")[1]["sources"]["sequence"]
    assert (told["rows"]["activity_logs"], told["dead_letters"], told["complete"]) == (21, {}, True)
    assert told["last_run"]["outcome"] == "complete"
    assert command("state", "reset", "sequence", "--yes", "--destination", "filesystem")[0] == 0
    here.complete()
    with newest(here) as db:
        assert mismatches(db, "sequence", here.fake.truth()) == []


@pytest.mark.slow
def test_a_comparison_ends_where_rows_are_added(folder: Callable[[str], Land]) -> None:
    """No row is marked as gone there, so that most rows of a listing are gone is no doubt that lasts for ever.

    That none is listed proves nothing, and the command that is named is one that is accepted there.
    """
    here = folder("tines")
    here.complete()
    first, *others = [row["id"] for row in here.fake.truth()["stories"]]
    for story in others:
        here.fake.delete_story(story)
    here.complete()
    compare = ["verify", "tines", "--whole", "--destination", "filesystem"]
    code, told = command(*compare)
    (found,) = told["sources"]
    assert (code, found["unproven"], found["complete"]) == (0, None, True), found
    here.fake.delete_story(first)
    code, told = command(*compare)
    (found,) = told["sources"]
    assert code == 3
    assert "gapless sync tines --destination filesystem --accept-append reads" in found["unproven"], found


@pytest.mark.slow
def test_appending_must_be_accepted(folder: Callable[[str], Land]) -> None:
    """Without the flag it is refused by its name; with it the command says what is not promised."""
    here = folder("tines")
    done = CliRunner().invoke(app, ["sync", "tines", "--destination", "filesystem"])
    assert (done.exit_code, "--accept-append" in done.stderr, here.world.asked()) == (2, True, 0)
    done = CliRunner().invoke(app, ["sync", "tines", "--destination", "filesystem", "--accept-append"])
    assert (done.exit_code, "the newest completed _dlt_load_id" in done.stderr) == (0, True)
    with pytest.raises(WrongSettings, match="one writer at a time"):
        Target.find("filesystem", Shard.parse("1/2"), True)


# -- the page ----------------------------------------------------------------------------------------

HERE = ("duckdb", "postgres", "filesystem")
"""What is run with these tests; the rest of the page is run in tests/integrations."""


@pytest.mark.sweep
def test_the_page(world: Begin, server: Server, tmp_path: Path) -> None:
    """What DESTINATIONS.md shows works as shown, but for folders and hosts, and its query answers."""
    here = world(seeded("omni"))
    folder = tmp_path
    for snippet in (snippet for snippet in snippets() if snippet.destination in HERE):
        folder = snippet.run(here, server.database())
    (query,) = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    messages = duckdb.sql(query.replace("/srv/logs", str(folder))).fetchall()
    assert len(messages) == sum(len(log.get("messages") or []) for log in here.fake.truth()["action_logs"])


def test_the_pages_extras_are_there() -> None:
    """Every extra that the page names can be installed."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.findall(r"'\.\[(\w+)\]'", PAGE)
    assert set(named) == {"postgres", "ducklake", "sqlite"}
    assert set(named) <= extras.keys()


# -- one log in two places -------------------------------------------------------------------------


@pytest.mark.sweep
def test_duckdb_and_postgres_hold_the_same(world: Begin, server: Server) -> None:
    """Value by value: every table and column of all four sources, JSON as what it says."""
    url = server.database()
    for name in SOURCES:
        here = world(seeded(name)).set(DESTINATION__POSTGRES__CREDENTIALS=url)
        for destination in ("duckdb", "postgres"):
            Land(here, destination).complete()
        with here._open() as one, closing(psycopg2.connect(url)) as other:
            one.execute("set timezone = 'UTC'")
            for table in contract(name):
                left, right = _values(one, name, table, json.loads), _values(other.cursor(), name, table)
                assert left == right, f"{name}.{table}"
                assert left or table in ("dead_letters",), f"{name}.{table} is empty"


def _values(db: Any, name: str, table: str, read_json: Callable[[str], Any] | None = None) -> list[dict[str, Any]]:
    db.execute(f"select * from {name}.{table}")
    columns = [column[0] for column in db.description]
    kinds = contract(name)[table]
    own = OWN if table == "runs" else {"_dlt_load_id", "last_checked_at", "seen_at", "listed_at"}
    own |= {"_dlt_id"} if "seen_at" in columns else set()  # a digest of the time, too
    rows = [
        {
            c: _plain(value, read_json if kinds.get(c) == "JSON" or c == "_extra" else None)
            for c, value in zip(columns, row, strict=True)
            if c not in own
        }
        for row in db.fetchall()
    ]
    return sorted(rows, key=lambda row: json.dumps(row, default=str, sort_keys=True))


def _plain(value: Any, read: Callable[[str], Any] | None) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return read(value) if read and value is not None else value
