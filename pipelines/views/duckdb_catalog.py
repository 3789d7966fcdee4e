"""Finds tables and views in a DuckDB file, and creates views there."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from gapless.pipelines.destinations.reader import Rows
from gapless.pipelines.views.catalog import SCHEMA, table_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class DuckdbCatalog:
    """The catalog of an open DuckDB file."""

    dialect = "duckdb"

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection

    def existing(self, wanted: Collection[str]) -> set[str]:
        """Returns which of these tables and views exist."""
        names = (
            "select schema_name, table_name from duckdb_tables()"
            " union all select schema_name, view_name from duckdb_views() where not internal"
        )
        return {f"{schema}.{name}" for schema, name in self._connection.execute(names).fetchall()} & set(wanted)

    def columns(self, tables: Collection[str]) -> set[str]:
        """Returns the columns of those of these tables that exist."""
        query = (
            "select schema_name || '.' || table_name, column_name from duckdb_columns()"
            " where database_name = current_database()"
        )
        found = self._connection.execute(query).fetchall()
        return {f"{table}.{column}" for table, column in found if table in tables}

    def value(self, view: str, what: str) -> object:
        """Returns the one cell of `select what from view`."""
        row = self._connection.execute(f"select {what} from {SCHEMA}.{view}").fetchone()
        return row[0] if row else None

    def create(self, views: Mapping[str, str], missing: Collection[str]) -> None:
        """Creates views in one transaction."""
        import duckdb

        plain = {name: _duckdb_query(name, query, frozenset(missing)) for name, query in views.items()}
        alone: dict[str, str] = {}
        for name, query in plain.items():
            alone[name] = inlined(query, alone)
        try:
            self._create(alone)
        except (duckdb.ParserException, duckdb.BinderException):
            # A view of a user's source may name another one in a way that only holds while it is a view.
            self._create(plain)

    def _create(self, queries: Mapping[str, str]) -> None:
        statements = [f"create or replace view {SCHEMA}.{name} as\n{query}" for name, query in queries.items()]
        self.run([f"create schema if not exists {SCHEMA}", *statements])

    def schema(self, dataset: str) -> str:
        """Returns the dataset's name."""
        return dataset

    def rows(self, query: str) -> Rows:
        """Returns the rows of a query."""
        return self._connection.execute(query).fetchall()

    def run(self, statements: Sequence[str]) -> None:
        """Runs statements in one transaction."""
        # Readers see all old views or all new ones, and a view that fails leaves the others as they were.
        self._connection.execute("begin")
        try:
            for statement in statements:
                self._connection.execute(statement)
        except Exception:
            self._connection.execute("rollback")
            raise
        self._connection.execute("commit")


def _reads(query: str, missing: str) -> bool:
    """Returns whether a query reads a missing table, or seems to read a missing column."""
    column = missing.removeprefix(table_of(missing)).removeprefix(".")
    return all(re.search(rf"\b{name}\b", query) for name in (table_of(missing), column))


@cache  # sqlglot takes longer for a view than DuckDB
def _duckdb_query(name: str, query: str, missing: frozenset[str]) -> str:
    """Returns the view's query; one for DuckDB stays as it is if all its tables exist."""
    # As it is written, so that sqlglot, which takes long to import, is not needed after most syncs.
    lacking = frozenset(name for name in missing if _reads(query, name))
    if not lacking:
        return query
    from gapless.pipelines.views.dialect import create_view

    made = create_view(name, query, "duckdb", lacking, lambda dataset, table: [dataset, table])
    return made.partition(" AS ")[2]


READS = re.compile(
    rf"""--.*$|'[^']*'|\b(?P<word>from|join)\s+"?{SCHEMA}"?\."?(?P<view>\w+)"?(?P<alias>\s+as\b)?""",
    re.IGNORECASE | re.MULTILINE,
)
"""A comment, a text, or a view of ours that a query reads."""


def inlined(query: str, views: Mapping[str, str]) -> str:
    """Returns the query with each view that it reads in the place of its name.

    So views read tables alone: DuckDB's `EXPORT DATABASE` writes views by their names, and `IMPORT DATABASE` makes
    them in that order.
    """

    def body(found: re.Match[str]) -> str:
        view = found["view"]
        if view not in views:
            return found[0]
        text = re.sub(r"^--.*\n", "", views[view], flags=re.MULTILINE)
        return f"{found['word']} (\n{text.rstrip()}\n){found['alias'] or f' as {view}'}"

    return READS.sub(body, query)
