"""How often a catalog is asked for tables and columns: once of a file that nobody can change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from gapless.pipelines.destinations.reader import DuckdbReader


def test_columns_are_looked_up_again_only_where_they_can_change(tmp_path: Path) -> None:
    """A file that is open for reading only is nobody's to write; any other one may have got a table meanwhile."""
    file = str(tmp_path / "some.duckdb")
    with duckdb.connect(file) as connection:
        connection.execute("create schema vendor; create table vendor.one (id integer)")
        reader = DuckdbReader(connection)
        assert reader.columns("vendor", ["one", "two"]) == {"one": {"id"}}
        connection.execute("create table vendor.two (id integer)")
        assert reader.columns("vendor", ["one", "two"]) == {"one": {"id"}, "two": {"id"}}
    with duckdb.connect(file, read_only=True) as connection:
        questions = list[str]()

        class Counted:
            def execute(self, query: str) -> Any:
                questions.append(query)
                return connection.execute(query)

        reader = DuckdbReader(Counted())  # type: ignore[arg-type]  # all of it that is called
        for table in ("one", "two", "three"):
            assert reader.columns("vendor", [table]) == ({table: {"id"}} if table != "three" else {})
        assert sum("duckdb_columns" in question for question in questions) == 1
