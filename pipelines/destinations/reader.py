"""Reads from a destination without changing it, and never asks a vendor: rows of one dataset at a time."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from gapless.pipelines.destinations.target import Target

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from gapless.sources._dlt.types import SqlClient

Rows = list[tuple[Any, ...]]
"""Any, as a cell has the type of its column, which the query decides."""


class Reader(Protocol):
    """Asks one destination."""

    def rows(self, dataset: str, select: str, *tables: str) -> Rows | None:
        """Returns the rows of `select`, in which `{0}`, `{1}`, … stand for the tables; None: a table is missing.

        A table's or column's name in double quotes is quoted as the engine does it.
        """


@contextmanager
def reading(target: Target) -> Iterator[Reader]:
    """Yields a reader. Raises Locked while a sync writes to the DuckDB file, GaplessError when it cannot be read."""
    if not target.backend.exists():
        yield _EmptyReader()
        return
    with target.queried() as connection:
        if connection:
            yield DuckdbReader(connection)
            return
        with _working_folder() as folder:
            yield _DltReader(target, folder)


@contextmanager
def _working_folder() -> Iterator[str]:
    """Yields a folder of this reader alone: a sync may be at work in the target's own."""
    folder = tempfile.mkdtemp(prefix=f"gapless-read-{os.getpid()}-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _EmptyReader:
    """Of a destination that nothing was synced to."""

    def rows(self, dataset: str, select: str, *tables: str) -> Rows | None:
        return None


class DuckdbReader:
    """Of a DuckDB file or a DuckLake, by a connection of DuckDB's."""

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection

    def rows(self, dataset: str, select: str, *tables: str) -> Rows | None:
        """Returns what `Reader.rows` says."""
        import duckdb

        names = [f'"{dataset}"."{table}"' for table in tables]
        try:
            found: Rows = self._connection.execute(select.format(*names)).fetchall()
        # A table that is not there yet is no error: its source was never synced.
        except duckdb.CatalogException:
            return None
        return found


class _DltReader:
    """Of any other destination, through dlt."""

    def __init__(self, target: Target, folder: str) -> None:
        self._target, self._folder = target, folder

    def rows(self, dataset: str, select: str, *tables: str) -> Rows | None:
        import dlt

        from gapless.sources._dlt.internals import DestinationUndefinedEntity

        pipeline = dlt.pipeline(
            dataset,
            pipelines_dir=self._folder,
            destination=self._target.dlt_destination,
            dataset_name=dataset,
        )
        try:
            if self._target.appends and not pipeline.schemas:  # without one dlt finds no table in a folder
                pipeline.sync_destination()
            with pipeline.sql_client() as client:
                # Names are quoted in DuckDB's way in our SQL, and each engine has its own.
                names = [self._name(client, table) for table in tables]
                query = re.sub('"([a-z_]+)"', lambda name: client.escape_column_name(name[1]), select).format(*names)
                with client.execute_query(query) as cursor:
                    return list(cursor.fetchall())
        except DestinationUndefinedEntity:
            return None
        finally:
            # dlt keeps the pipeline that was made last as the active one, for every later call in this process.
            pipeline.deactivate()

    def _name(self, client: SqlClient, table: str) -> str:
        from gapless.sources._dlt.append_only import newest

        return newest(client, table) if self._target.appends else str(client.make_qualified_table_name(table))
