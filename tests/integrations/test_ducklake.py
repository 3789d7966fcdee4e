"""DuckLake; needs the extra `ducklake`, whose wheels ask for one version of DuckDB."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations import ducklake
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError, Locked, WrongSettings
from gapless.sources import SOURCES
from gapless.sources._ledger.shard import Shard
from tests.contract.commands import document
from tests.support.destinations import Begin, killed, seeded, snippets
from tests.support.lakes import assert_kept_up
from tests.support.oracle import contract
from tests.support.postgres import Server
from tests.support.world import World, some

CLIENT = "gapless.pipelines.destinations._dlt.ducklake_client:SessionSqlClient"
CATALOG = "DESTINATION__DUCKLAKE__CREDENTIALS__CATALOG"
FILES = "DESTINATION__DUCKLAKE__CREDENTIALS__STORAGE__BUCKET_URL"


@pytest.fixture
def destination() -> str:
    """Where `world` has its data."""
    return "ducklake"


@pytest.fixture
def land(world: Begin) -> Callable[[str], World]:
    """A vendor and no lake."""
    return lambda name: world(seeded(name))


def command(*args: str) -> tuple[int, Any]:
    result = CliRunner().invoke(app, [*args, "--json"])
    return result.exit_code, json.loads(result.stdout)


@pytest.mark.parametrize("name", SOURCES)
def test_a_lake_with_its_catalog_in_sqlite(name: str, land: Callable[[str], World]) -> None:
    """First, idle and changed: exact, with the contract's types; nothing is staged, each row is written once."""
    here = land(name)
    here.complete(package_records=12)
    here.assert_exact()
    here.complete()
    here.assert_exact()
    here.fake.advance(45)
    here.complete()
    here.assert_exact()
    for table, columns in contract(name).items():
        query = f"select column_name, data_type from information_schema.columns where table_name = '{table}'"
        held = dict(here.sql(f"{query} and table_schema = '{name}'"))
        assert {column: held.get(column) for column in columns} == columns, table
    assert here.sql("select outcome from runs") == [("complete",)] * 3
    assert here.sql("select schema_name from duckdb_schemas() where schema_name like '%staging%'") == []


def test_a_lake_with_its_catalog_in_postgres(
    land: Callable[[str], World], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same, with one writer from whatever machine, and no password in an error."""
    here, url = land("kizen"), server.database()
    here.set(**{CATALOG: url, FILES: str(tmp_path / "files")})
    assert_kept_up(here)
    ours = os.environ["XDG_STATE_HOME"]
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))  # another machine has other files
    with Target.find("ducklake").locked():
        monkeypatch.setenv("XDG_STATE_HOME", ours)
        with pytest.raises(Locked, match="another machine"):
            here.sync()
        assert here.asked() == 0
    here.set(**{CATALOG: url.replace(str(server.port), "1")})
    with pytest.raises(GaplessError) as failed:
        here.sync()
    assert "canary-password" not in str(failed.value)


@pytest.mark.parametrize("catalog", ["mysql://me@db.example.com/logs", "duckdb:///catalog.duckdb"])
def test_a_catalog_of_another_kind(catalog: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is refused with what it may be, for shards, too."""
    monkeypatch.setenv(CATALOG, catalog)
    for shard in (None, Shard(1, 2)):
        with pytest.raises(WrongSettings, match=r"may be sqlite:///… or postgresql://…"):
            Target.find("ducklake", shard)


def test_commands_on_a_lake(land: Callable[[str], World]) -> None:
    """Sync, status, state and doctor as on DuckDB; to look writes nothing; a letter outlives syncs until it heals."""
    here = land("sequence")
    for need in (need for source in SOURCES.values() if source.name != "sequence" for need in source.needs):
        here.monkeypatch.delenv(need.upper(), raising=False)
    assert command("status", "--destination", "ducklake")[1]["sources"] == {}
    assert list(here.folder.iterdir()) == []
    bad = here.fake.add_log(origin=[], brandNew=1)["id"]
    assert command("sync", "sequence", "--destination", "ducklake")[0] == 3
    told = command("status", "--destination", "ducklake")[1]["sources"]["sequence"]
    assert (told["rows"]["activity_logs"], told["dead_letters"]) == (20, {"record": 1})
    assert told["last_run"]["outcome"] == "partial"
    assert command("state", "show", "--destination", "ducklake")[1]["sequence"]["state"]["watermark"]
    assert command("state", "reset", "sequence", "--yes", "--destination", "ducklake")[0] == 0
    checks = {check["name"]: check["result"] for check in command("doctor", "--destination", "ducklake")[1]["checks"]}
    assert (checks["destination"], checks["lock"]) == ("ok", "ok")
    here.fake.change(bad, origin="fine")
    here.complete()
    assert here.sql("select * from dead_letters") == []
    here.assert_exact()


@pytest.mark.slow
@pytest.mark.parametrize("below", some([False, True], True))
def test_a_file_of_the_lake_that_is_lost(below: bool, land: Callable[[str], World]) -> None:
    """Rows are counted without it: `gaps`, `status`, `verify` and the doctor say so, a sync asks nothing, and what is
    said ends it: the file is back, or its table dropped.
    """
    here = land("sequence")
    here.complete()
    table = SOURCES["sequence"].main.schema.tree()
    name = [shape.name for shape in table][int(below)]
    file = next(here.folder.glob(f"ducklake.files/sequence/{name}/*.parquet"))
    file.rename(here.folder / "elsewhere")
    (gap,) = told(here, "gaps", code=3)["gaps"]
    assert (gap["kind"], gap["stream"]) == ("damaged", name)
    assert f"lacks 1 of its 1 file, the first {file}" in gap["why"]
    assert not told(here, "status", code=0)["sources"]["sequence"]["complete"]
    assert told(here, "doctor", code=1)
    assert told(here, "verify", "sequence", code=1)
    here.fake.requests.clear()
    assert told(here, "sync", "sequence", code=1)
    assert here.fake.requests == []
    (here.folder / "elsewhere").rename(file)
    here.complete()
    assert told(here, "gaps", code=0)["gaps"] == []
    file.unlink()
    here.database.change("sequence", f"drop table {name}")
    assert told(here, "sync", "sequence", code=3)  # says once that the table is made again
    assert told(here, "gaps", code=0)["gaps"] == []
    here.complete()
    here.assert_exact()


def told(here: World, *words: str, code: int) -> Any:
    """What a command says of the lake, and how it ends."""
    found = document(here, *words)
    assert found["exit_code"] == code, found
    return found


@pytest.mark.parametrize("statement", [30])
def test_a_lake_killed(statement: int, land: Callable[[str], World]) -> None:
    """kill -9 at a counted statement: the next sync ends exact, and no letter is lost."""
    here = land("sequence")
    here.fake.add_log(origin=[])
    assert here.sync().outcome == "partial"
    here.fake.advance(45)
    assert killed(here, CLIENT, statement)
    assert here.sync().outcome == "partial"
    assert len(here.mismatches()) == 1
    assert len(here.sql("select key from dead_letters")) == 1


def test_a_lake_without_extensions(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is said with what brings it; nothing is fetched from the net."""
    monkeypatch.setattr(ducklake, "find_spec", lambda name: None)
    with pytest.raises(WrongSettings, match=r"pip install -e '\.\[ducklake\]'"):
        Target.find("ducklake")


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        (CATALOG, "mysql://me:canary@host/db", "sqlite:///"),
        (CATALOG.replace("CATALOG", "DUCKLAKE_NAME"), "omni", "source"),
    ],
)
def test_a_lake_that_is_refused(setting: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalog of another kind, or a name that DuckDB would take for the dataset."""
    monkeypatch.setenv(setting, value)
    with pytest.raises(WrongSettings, match=said) as failed:
        Target.find("ducklake")
    assert "canary" not in str(failed.value)


def test_the_page(world: Begin, server: Server) -> None:
    """What DESTINATIONS.md shows works as shown, but for folders and hosts."""
    here = world(seeded("omni"))
    shown = [snippet for snippet in snippets() if snippet.destination == "ducklake"]
    assert len(shown) == 2
    for snippet in shown:
        snippet.run(here, server.database())


@pytest.mark.parametrize("by", ["sync", "copy"])
def test_wide_records(by: str, land: Callable[[str], World]) -> None:
    """1,200 records of 100 KB are more than DuckDB may hold at first; read from the vendor, or copied from a file."""
    here = land("tines")
    action = here.fake.truth()["actions"][0]["id"]
    for number in range(1_200):
        here.fake.add_log(action, message=f"{number} " + "x" * 100_000)
    if by == "sync":
        here.complete()
    else:
        assert command("sync", "tines")[0] == 0
        code, told = command("copy", "--to", "ducklake")
        assert code == 0, told
    here.assert_exact()
