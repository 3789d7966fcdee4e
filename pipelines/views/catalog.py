"""Finds tables and views in a destination and creates views there: in the DuckDB file, or by dlt's client.

No view may be named here: their SQL is in pipelines/views/sql, and dialect.py translates it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import copy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gapless.pipelines.destinations.reader import Rows
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import WrongSettings

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SCHEMA = "activity"


class Catalog(Protocol):
    """The tables and views of a destination."""

    dialect: str
    """The engine's name in sqlglot."""

    def existing(self, wanted: Collection[str]) -> set[str]:
        """Returns which of these tables and views (`dataset.name`) exist."""

    def columns(self, tables: Collection[str]) -> set[str]:
        """Returns the columns of those of these tables (`dataset.name`) that exist, as `dataset.name.column`."""

    def value(self, view: str, what: str) -> object:
        """Returns the one cell of `select what from view`."""

    def create(self, views: Mapping[str, str], missing: Collection[str]) -> None:
        """Creates views (name -> query) in this order; all or none if the engine has transactions for that.

        `missing` are tables (`dataset.name`) and columns (`dataset.name.column`) that are not there.
        """

    def schema(self, dataset: str) -> str:
        """Returns the dataset's name in the destination."""

    def rows(self, query: str) -> Rows:
        """Returns the rows of a query in the engine's own SQL."""

    def run(self, statements: Sequence[str]) -> None:
        """Runs statements; all or none if the engine has transactions for that."""


class StoredIn:
    """Answers queries about one dataset, by a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def rows(self, dataset: str, select: str, *tables: str) -> Rows:
        """Returns the rows of a select, in which `{0}`, `{1}`, … stand for tables that are there."""
        names = [f'"{self._catalog.schema(dataset)}"."{table}"' for table in tables]
        return self._catalog.rows(select.format(*names))

    def columns(self, dataset: str, tables: Sequence[str]) -> dict[str, set[str]]:
        """Returns the columns of those of `tables` that exist."""
        found: dict[str, set[str]] = {}
        for name in self._catalog.columns({f"{dataset}.{table}" for table in tables}):
            found.setdefault(name.split(".")[1], set()).add(name.split(".")[2])
        return found


@contextmanager
def opened(target: Target, folder: Path) -> Iterator[Catalog]:
    """Opens the catalog of a locked target. Raises WrongSettings if views cannot read every dataset there."""
    if target.file:
        with target.connection as connection:
            yield _DuckdbCatalog(connection)
    else:
        client = _client(target, folder)
        _check(target, client)
        with client.sql_client:
            yield _DltCatalog(client)


class _DuckdbCatalog:
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


def table_of(missing: str) -> str:
    """Returns the table of a missing table or column, as `dataset.name`."""
    return ".".join(missing.split(".")[:2])


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


class _DltCatalog:
    """The catalog of any other destination, by dlt's connected client for the dataset of the views."""

    def __init__(self, client: Any) -> None:
        self._client, self._sql = client, client.sql_client
        self._dataset_names: dict[str, str] = {}
        self.dialect: str = self._sql.capabilities.sqlglot_dialect

    def existing(self, wanted: Collection[str]) -> set[str]:
        """Returns which of these tables and views exist."""
        return {table for table, columns in self._stored(wanted) if columns}

    def columns(self, tables: Collection[str]) -> set[str]:
        """Returns the columns of those of these tables that exist."""
        return {f"{table}.{column}" for table, columns in self._stored(tables) for column in columns}

    def _stored(self, tables: Collection[str]) -> Iterator[tuple[str, Collection[str]]]:
        """Yields tables with their columns; one that is not there may come without any."""
        by_dataset: dict[str, list[str]] = {}
        for dataset, _, name in (table.partition(".") for table in sorted(tables)):
            by_dataset.setdefault(dataset, []).append(name)
        for dataset, names in by_dataset.items():
            yield from ((f"{dataset}.{name}", columns) for name, columns in self._stored_in(dataset, names))

    def _stored_in(self, dataset: str, names: list[str]) -> list[tuple[str, Collection[str]]]:
        from gapless.pipelines.destinations._dlt.runtime import DatabaseUndefinedRelation

        with self._sql.with_alternative_dataset_name(self.schema(dataset)):
            try:
                return [*self._client.get_storage_tables(names)]
            except DatabaseUndefinedRelation:  # some engines raise for a missing dataset
                return []

    def value(self, view: str, what: str) -> object:
        """Returns the one cell of `select what from view`."""
        cell: object = self._sql.execute_sql(f"select {what} from {self._sql.make_qualified_table_name(view)}")[0][0]
        return cell

    def create(self, views: Mapping[str, str], missing: Collection[str]) -> None:
        """Creates views, in one transaction if the engine has transactions for that."""
        from gapless.pipelines.destinations._dlt.runtime import DatabaseException
        from gapless.pipelines.views.dialect import create_view

        # No load ever writes to this dataset, so nothing else creates it.
        if not self._sql.has_dataset():
            self._sql.create_dataset()
        fold = self._sql.capabilities.casefold_identifier
        made = [create_view(name, query, self.dialect, missing, self._path, fold) for name, query in views.items()]
        try:
            self.run(made)
        except DatabaseException:  # Postgres replaces a view only by one with the same columns
            # From the last to the first: a view that others read cannot be dropped before them.
            names = map(self._sql.make_qualified_table_name, reversed([*views]))
            dropped = [f"drop view if exists {name}" for name in names]
            self.run([*dropped, *made])

    def _path(self, dataset: str, table: str) -> list[str]:
        path: list[str] = self._sql.make_qualified_table_name_path(
            table, quote=False, dataset_name=self.schema(dataset)
        )
        return path

    def schema(self, dataset: str) -> str:
        """Returns the dataset's name in the destination."""
        if dataset not in self._dataset_names:
            self._dataset_names[dataset] = _dataset_name(self._client, dataset)
        return self._dataset_names[dataset]

    def rows(self, query: str) -> Rows:
        """Returns the rows of a query in the engine's own SQL."""
        return [*map(tuple, self._sql.execute_sql(query) or ())]

    def run(self, statements: Sequence[str]) -> None:
        """Runs statements, together if the engine can."""
        whole = self._sql.capabilities.supports_ddl_transactions
        with self._sql.begin_transaction() if whole else nullcontext():
            # Two syncs that replace a view at once would fail with "tuple concurrently updated".
            if self.dialect == "postgres":
                from gapless.pipelines.destinations.advisory_lock import TABLES

                self._sql.execute_sql("select pg_advisory_xact_lock(%s)", TABLES)
            for statement in statements:
                self._sql.execute_sql(statement)


def _client(target: Target, folder: Path) -> Any:
    """Returns dlt's client for the dataset of the views."""
    import dlt

    pipeline = dlt.pipeline(
        "gapless_views", pipelines_dir=str(folder), destination=target.dlt_destination, dataset_name=SCHEMA
    )
    try:
        return pipeline.destination_client()
    finally:
        # dlt keeps the pipeline that was made last as the active one, for every later call in this process.
        pipeline.deactivate()


def _dataset_name(client: Any, dataset: str) -> str:
    """Returns the dataset's name in the destination, which dlt's configuration may change."""
    # A copy: the configuration belongs to the client, whose dataset is another one.
    config = copy(client.config)
    config.dataset_name = dataset
    return str(config.normalize_dataset_name(client.schema))


def _check(target: Target, client: Any) -> None:
    """Raises WrongSettings if views cannot read every dataset."""
    if target.appends or not hasattr(client, "sql_client"):
        raise WrongSettings(f"destination {target.destination!r} is no database, so it cannot have views")
    if client.capabilities.sqlglot_dialect == "sqlite":
        raise WrongSettings(
            f"destination {target.destination!r} is SQLite, where each dataset is a file and a view cannot look into"
            " another file, so there are no views"
        )
