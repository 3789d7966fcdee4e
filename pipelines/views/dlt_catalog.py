"""Opens the catalog of a destination: of a DuckDB file its own, of any other one that of dlt's client."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import copy
from pathlib import Path
from typing import Any

from gapless.pipelines.destinations.reader import Rows
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.views.catalog import SCHEMA, Catalog
from gapless.pipelines.views.duckdb_catalog import DuckdbCatalog


@contextmanager
def opened(target: Target, folder: Path) -> Iterator[Catalog]:
    """Opens the catalog of a locked target. Raises WrongSettings if views cannot read every dataset there."""
    if target.file:
        with target.connection as connection:
            yield DuckdbCatalog(connection)
    else:
        client = _client(target, folder)
        _check(target, client)
        with client.sql_client:
            yield _DltCatalog(client)


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
        # Two syncs that replace a view at once would fail with "tuple concurrently updated".
        turn = getattr(self._client, "turn", nullcontext)
        with turn(), self._sql.begin_transaction() if whole else nullcontext():
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
