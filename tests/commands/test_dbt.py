"""`gapless dbt PATH`: dbt's file of sources says of every table, column and view what the database says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from typer.testing import CliRunner, Result

from gapless.pipelines.cli.app import app
from gapless.pipelines.dictionary import dbt
from gapless.sources import SOURCES
from gapless.sources.facts import Facts

TABLE, SOURCE = {"name", "description", "columns", "config"}, {"name", "schema", "description", "loader", "tables"}
"""What dbt knows as properties of a table and of a source, as far as they are written."""
NAME = next(iter(SOURCES))


def gapless(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["dbt", *arguments])


@pytest.fixture
def synced() -> None:
    """A database of one source, as far as that matters here."""
    with duckdb.connect("gapless.duckdb") as db:
        db.execute(f"create schema {NAME}; create table {NAME}.coverage as select 1 as x")


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found


def test_every_table_and_column_is_described(synced: None) -> None:
    """Of the sources that the database holds, and of the views; in the properties that dbt knows."""
    assert gapless("models/new").exit_code == 0
    found = read(Path("models/new/sources.yml"))
    assert (found["version"], [one["name"] for one in found["sources"]]) == (2, [NAME, "activity"])
    for source in found["sources"]:
        assert source.keys() == SOURCE
        for table in source["tables"]:
            assert table.keys() <= TABLE
            silent = [column["name"] for column in table["columns"] if not column["description"]]
            assert (silent, bool(table["description"]), bool(table["columns"])) == ([], True, True), table["name"]


def test_the_ledger_says_when_data_is_late(synced: None) -> None:
    """By when the vendor was last asked; how old that may be is a fact of the source. No other table is watched."""
    gapless(".")
    (source, _) = read(Path("sources.yml"))["sources"]
    watched = {table["name"]: table["config"] for table in source["tables"] if "config" in table}
    facts = SOURCES[NAME].facts
    assert watched == {
        "coverage": {
            "loaded_at_field": "last_checked_at",
            "freshness": {
                "warn_after": {"count": facts.warn_after_hours, "period": "hour"},
                "error_after": {"count": facts.fail_after_hours, "period": "hour"},
            },
        }
    }


def test_parts_of_an_hour_are_minutes() -> None:
    """dbt takes whole numbers."""
    assert dbt.freshness(Facts(warn_after_hours=1.5, fail_after_hours=0.001)) == {
        "warn_after": {"count": 90, "period": "minute"},
        "error_after": {"count": 1, "period": "minute"},
    }


def test_a_file_that_is_there_stays(synced: None) -> None:
    """It may be somebody's own; `--force` replaces it."""
    file = Path("mine.yaml")
    file.write_text("# mine")
    refused = gapless(str(file))
    assert (refused.exit_code, file.read_text()) == (2, "# mine")
    assert "mine.yaml is there already. Give --force" in refused.stderr
    assert gapless(str(file), "--force").exit_code == 0
    assert read(file)["sources"]


def test_what_cannot_be_written_is_one_sentence(synced: None) -> None:
    """The path leads through a file."""
    Path("file").write_text("")
    assert "cannot be written" in (refused := gapless("file/models")).stderr
    assert (refused.exit_code, "Traceback" in refused.stderr) == (1, False)


def test_before_the_first_sync_nothing_is_written() -> None:
    """A file of tables that are not there would fail in dbt."""
    found = gapless("models")
    assert (found.exit_code, Path("models").exists()) == (0, False)
    assert "nothing synced yet" in found.stderr
