"""Reads from a destination without changing it, and never asks a vendor: rows of one dataset at a time."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from gapless.pipelines.config.folders import temporary_folder
from gapless.pipelines.destinations._layouts.layout import KnownLayouts
from gapless.pipelines.destinations.target import Target
from gapless.sources import SOURCES
from gapless.sources._dlt.literals import character_function

if TYPE_CHECKING:
    import dlt
    from duckdb import DuckDBPyConnection


Rows = list[tuple[Any, ...]]
"""Any, as a cell has the type of its column, which the query decides."""


DUCKDB_COLUMNS = (
    "select table_name, column_name from duckdb_columns()"
    " where schema_name = '{}' and database_name = current_database()"
)
POSTGRES_COLUMNS = (
    "select c.relname, a.attname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
    " join pg_catalog.pg_attribute a on a.attrelid = c.oid where n.nspname = '{}' and c.relkind in ('r', 'p', 'v',"
    " 'm', 'f') and a.attnum > 0 and not a.attisdropped"
)
"""Also of a table that this login may not read: `information_schema` hides it, and it would pass for missing."""
CATALOGS = {"duckdb": DUCKDB_COLUMNS, "postgres": POSTGRES_COLUMNS}
"""Queries for tables and their columns of a dataset, at a fraction of what dlt's way costs."""


def by_table(columns: Rows, tables: Sequence[str]) -> dict[str, set[str]]:
    """Returns the columns of those of `tables` that there are, given rows of table and column."""
    found: dict[str, set[str]] = {}
    for table, column in columns:
        if table in tables:
            found.setdefault(table, set()).add(column)
    return found


class Reader(Protocol):
    """Asks one destination."""

    @property
    def appends(self) -> bool:
        """Returns whether nothing is replaced there, so that the newest row of a key counts."""

    def rows(self, dataset: str, select: str, *tables: str) -> Rows | None:
        """Returns the rows of `select`, in which `{0}`, `{1}`, … stand for the tables; None: a table is missing.

        A table's or column's name in double quotes is quoted as the engine does it; `{chr}` stands for the function
        that makes a character of its number.
        """

    def columns(self, dataset: str, tables: Sequence[str]) -> dict[str, set[str]]:
        """Returns the columns of those of `tables` that exist."""


@contextmanager
def reading(target: Target) -> Iterator[Reader]:
    """Yields a reader. Raises Locked while a sync writes to the DuckDB file, GaplessError when it cannot be read.

    The reader raises NewerLayout for a dataset that a newer gapless wrote.
    """
    if not target.backend.exists():
        yield _EmptyReader()
        return
    with target.queried() as connection:
        if connection:
            yield KnownLayouts(DuckdbReader(connection), target.known_layouts)
            return
        with _working_folder() as folder:
            yield KnownLayouts(_DltReader(target, folder), target.known_layouts)


def require_known_layouts(target: Target) -> None:
    """Raises NewerLayout if a newer gapless wrote any dataset, and what `reading` raises."""
    with reading(target) as reader:
        for name in SOURCES:
            reader.columns(name, ())


@contextmanager
def _working_folder() -> Iterator[str]:
    """Yields a folder of this reader alone: a sync may be at work in the target's own."""
    folder = tempfile.mkdtemp(prefix=f"gapless-read-{os.getpid()}-", dir=temporary_folder())
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _EmptyReader:
    """Reads a destination that nothing was synced to."""

    appends = False

    def rows(self, dataset: str, select: str, *tables: str) -> Rows | None:
        return None

    def columns(self, dataset: str, tables: Sequence[str]) -> dict[str, set[str]]:
        return {}


class DuckdbReader:
    """Reads a DuckDB file or a DuckLake, by a connection of DuckDB's."""

    appends = False

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection
        self._found: dict[str, Rows] = {}
        """Tables and columns by dataset, of a file that is open for reading only: nobody can change them."""

    def rows(self, dataset: str, select: str, *tables: str) -> Rows | None:
        """Returns what `Reader.rows` says."""
        import duckdb

        names = [f'"{dataset}"."{table}"' for table in tables]
        try:
            found: Rows = self._connection.execute(select.format(*names, chr="chr")).fetchall()
        # A table that is not there yet is no error: its source was never synced.
        except duckdb.CatalogException:
            return None
        return found

    def columns(self, dataset: str, tables: Sequence[str]) -> dict[str, set[str]]:
        """Returns what `Reader.columns` says."""
        found = self._found.get(dataset)
        if found is None:
            found = self._connection.execute(DUCKDB_COLUMNS.format(dataset)).fetchall()
            if self._is_fixed:
                self._found[dataset] = found
        return by_table(found, tables)

    @cached_property
    def _is_fixed(self) -> bool:
        ((mode,),) = self._connection.execute("select current_setting('access_mode')").fetchall()
        return str(mode).lower() == "read_only"


class PipelineReader:
    """Reads the dataset of one pipeline, through dlt; `appends` says that the newest row of a key counts."""

    def __init__(self, pipeline: dlt.Pipeline, appends: bool = False) -> None:
        self._pipeline, self.appends = pipeline, appends
        self._client: Any = None
        self._columns: Rows | None = None

    @contextmanager
    def connected(self) -> Iterator[PipelineReader]:
        """Yields itself, for queries between which no table changes: they share a connection and the columns."""
        with self._pipeline.sql_client() as client:
            self._client = client
            try:
                yield self
            finally:
                self._client = self._columns = None

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        if self._client:
            yield self._client
        else:
            with self._pipeline.sql_client() as client:
                yield client

    def rows(self, dataset: str, select: str, *tables: str) -> Rows | None:
        """Returns what `Reader.rows` says; `dataset` is the pipeline's."""
        from gapless.sources._dlt.internals import DestinationUndefinedEntity

        try:
            with self._opened() as client:
                names = [self._name(client, table) for table in tables]
                query = re.sub(
                    '"([a-z_][a-z0-9_]*)"', lambda name: client.escape_column_name(name[1]), select
                ).format(*names, chr=character_function(client.capabilities))
                with client.execute_query(query) as cursor:
                    return list(cursor.fetchall())
        except DestinationUndefinedEntity:
            return None

    def columns(self, dataset: str, tables: Sequence[str]) -> dict[str, set[str]]:
        """Returns what `Reader.columns` says."""
        from gapless.sources._dlt.internals import DestinationUndefinedEntity

        engine = self._pipeline.destination.destination_type.rpartition(".")[2]
        if engine in CATALOGS:
            found = self._columns or self.rows(dataset, CATALOGS[engine].format(self._pipeline.dataset_name)) or []
            self._columns = found if self._client else None
            return by_table(found, tables)
        try:
            with self._pipeline.destination_client() as client:
                found = client.get_storage_tables(list(tables))  # type: ignore[attr-defined]  # of SQL destinations
                return {str(name): set(columns) for name, columns in found if columns}
        except DestinationUndefinedEntity:
            return {}

    def _name(self, client: Any, table: str) -> str:
        from gapless.sources._dlt.append_only import newest

        return newest(client, table) if self.appends else str(client.make_qualified_table_name(table))


class _DltReader:
    """Reads any other destination, through dlt."""

    def __init__(self, target: Target, folder: str) -> None:
        self._target, self._folder, self.appends = target, folder, target.appends

    def rows(self, dataset: str, select: str, *tables: str) -> Rows | None:
        with self._opened(dataset) as reader:
            return reader.rows(dataset, select, *tables)

    def columns(self, dataset: str, tables: Sequence[str]) -> dict[str, set[str]]:
        if self.appends:  # its tables are folders of files, each with columns of its own
            return {}
        with self._opened(dataset) as reader:
            return reader.columns(dataset, tables)

    @contextmanager
    def _opened(self, dataset: str) -> Iterator[PipelineReader]:
        pipeline = self._target.pipeline(dataset, self._folder)
        try:
            if self.appends and not pipeline.schemas:  # without one dlt finds no table in a folder
                pipeline.sync_destination()
            yield PipelineReader(pipeline, self.appends)
        finally:
            # dlt keeps the pipeline that was made last as the active one, for every later call in this process.
            pipeline.deactivate()
