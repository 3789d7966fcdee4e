"""What tables and views a destination has, and the making of views there: the DuckDB file, or anything else by dlt.

Knows no view by name; what they say stands in pipelines/views/sql, how an engine spells it in dialect.py.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from copy import copy
from pathlib import Path
from typing import Any, Protocol

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import WrongSettings
from gapless.sources import SOURCES

SCHEMA = "activity"


class Catalog(Protocol):
    dialect: str
    """As sqlglot calls it."""

    def there(self, wanted: Collection[str]) -> set[str]:
        """Which of these tables and views (`dataset.name`) exist."""

    def value(self, view: str, what: str) -> Any:
        """`select what from view`, one row."""

    def make(self, views: Mapping[str, str], missing: Collection[str]) -> None:
        """Makes the views (name -> query), each after those that it needs; all or none where the engine can."""


@contextmanager
def opened(target: Target, folder: Path) -> Iterator[Catalog]:
    """Of a place that is locked. Raises WrongSettings when there a view cannot see every dataset."""
    if target.file:
        with target.connection as connection:
            yield _DuckdbCatalog(connection)
    else:
        client = _client(target, folder)
        _check(target, client)
        with client.sql_client:
            yield _DltCatalog(client)


class _DuckdbCatalog:
    dialect = "duckdb"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def there(self, wanted: Collection[str]) -> set[str]:
        names = (
            "select schema_name, table_name from duckdb_tables()"
            " union all select schema_name, view_name from duckdb_views() where not internal"
        )
        return {f"{schema}.{name}" for schema, name in self._connection.execute(names).fetchall()} & set(wanted)

    def value(self, view: str, what: str) -> Any:
        return self._connection.execute(f"select {what} from {SCHEMA}.{view}").fetchone()[0]

    def make(self, views: Mapping[str, str], missing: Collection[str]) -> None:
        statements = [_duckdb_ddl(name, query, missing) for name, query in views.items()]
        self._connection.execute("begin")
        try:
            for statement in (f"create schema if not exists {SCHEMA}", *statements):
                self._connection.execute(statement)
        except Exception:
            self._connection.execute("rollback")
            raise
        self._connection.execute("commit")


def _duckdb_ddl(name: str, query: str, missing: Collection[str]) -> str:
    """Nothing is to be changed in a query for DuckDB when all its tables are there."""
    if not any(re.search(rf"\b{table}\b", query) for table in missing):
        return f"create or replace view {SCHEMA}.{name} as\n{query}"
    from gapless.pipelines.views.dialect import created

    return created(name, query, "duckdb", missing, lambda dataset, table: [dataset, table])


class _DltCatalog:
    """By dlt's client for the dataset of the views, which is connected."""

    def __init__(self, client: Any) -> None:
        self._client, self._sql = client, client.sql_client
        self._called = {dataset: _called(client, dataset) for dataset in (*SOURCES, SCHEMA)}
        self.dialect: str = self._sql.capabilities.sqlglot_dialect

    def there(self, wanted: Collection[str]) -> set[str]:
        found = set()
        for dataset in self._called:
            names = [name.partition(".")[2] for name in wanted if name.startswith(f"{dataset}.")]
            found |= {f"{dataset}.{name}" for name in self._those(dataset, names)}
        return found

    def _those(self, dataset: str, names: list[str]) -> list[str]:
        from gapless.pipelines.destinations._dlt.runtime import DatabaseUndefinedRelation

        with self._sql.with_alternative_dataset_name(self._called[dataset]):
            try:
                tables = self._client.get_storage_tables(names)
                return [name for name, columns in tables if columns]
            except DatabaseUndefinedRelation:  # no such dataset, say some
                return []

    def value(self, view: str, what: str) -> Any:
        return self._sql.execute_sql(f"select {what} from {self._sql.make_qualified_table_name(view)}")[0][0]

    def make(self, views: Mapping[str, str], missing: Collection[str]) -> None:
        from gapless.pipelines.destinations._dlt.runtime import DatabaseException
        from gapless.pipelines.views.dialect import created

        if not self._sql.has_dataset():
            self._sql.create_dataset()
        fold = self._sql.capabilities.casefold_identifier
        made = [created(name, query, self.dialect, missing, self._path, fold) for name, query in views.items()]
        try:
            self._run(made)
        except DatabaseException:  # Postgres replaces a view only by one that has the same columns
            names = map(self._sql.make_qualified_table_name, reversed([*views]))
            dropped = [f"drop view if exists {name}" for name in names]
            self._run([*dropped, *made])

    def _path(self, dataset: str, table: str) -> list[str]:
        path: list[str] = self._sql.make_qualified_table_name_path(
            table, quote=False, dataset_name=self._called[dataset]
        )
        return path

    def _run(self, statements: list[str]) -> None:
        whole = self._sql.capabilities.supports_ddl_transactions
        with self._sql.begin_transaction() if whole else nullcontext():
            if self.dialect == "postgres":
                from gapless.pipelines.destinations.advisory_lock import TABLES

                self._sql.execute_sql("select pg_advisory_xact_lock(%s)", TABLES)
            for statement in statements:
                self._sql.execute_sql(statement)


def _client(target: Target, folder: Path) -> Any:
    import dlt

    pipeline = dlt.pipeline(
        "gapless_views", pipelines_dir=str(folder), destination=target.dlt_destination, dataset_name=SCHEMA
    )
    try:
        return pipeline.destination_client()
    finally:
        pipeline.deactivate()


def _called(client: Any, dataset: str) -> str:
    """The dataset's name there, which dlt's configuration may change."""
    config = copy(client.config)
    config.dataset_name = dataset
    return str(config.normalize_dataset_name(client.schema))


def _check(target: Target, client: Any) -> None:
    if target.appends or not hasattr(client, "sql_client"):
        raise WrongSettings(f"destination {target.destination!r} is no database, so it cannot have views")
    if client.capabilities.sqlglot_dialect == "sqlite":
        raise WrongSettings(
            f"destination {target.destination!r} is SQLite, where each dataset is a file and a view cannot look into"
            " another file, so there are no views"
        )
