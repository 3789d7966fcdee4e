"""Asking the destination, never a vendor, and changing nothing: rows of one table of one dataset at a time."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from pipelines.errors import GaplessError, Locked
from pipelines.place import Place

Rows = list[tuple[Any, ...]]


class Reader(Protocol):
    def rows(self, dataset: str, select: str, *tables: str) -> Rows | None:
        """`select` with each `{0}`, `{1}`, … put for the qualified name of a table; None: a table is not there."""


@contextmanager
def reading(place: Place) -> Iterator[Reader]:
    """Raises Locked while a sync writes to the DuckDB file."""
    if place.file is None:
        with _working_folder() as folder:
            yield _Elsewhere(place, folder)
    elif not place.file.exists():
        yield _Nothing()
    else:
        with _opened(place) as connection:
            yield _DuckDB(connection)


@contextmanager
def _opened(place: Place) -> Iterator[Any]:
    import duckdb

    try:
        connection = place.connection or duckdb.connect(str(place.file), read_only=True)
    except duckdb.IOException as error:
        gone = place.file and not place.file.exists()  # since we looked: `gapless doctor` takes its own away again
        if "lock" not in str(error).lower() and not gone:
            raise GaplessError(f"cannot read {place.file}: {str(error).splitlines()[0]}") from None
        raise Locked(
            f"{place.file} is being written to, by a sync or another program; DuckDB admits no readers meanwhile."
            " Try again when it has ended."
        ) from None
    try:
        connection.execute("set timezone = 'UTC'")
        yield connection
    finally:
        connection.close()


@contextmanager
def _working_folder() -> Iterator[str]:
    """Of this reader alone: a sync may be at work in the place's own."""
    folder = tempfile.mkdtemp(prefix=f"gapless-read-{os.getpid()}-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Nothing:
    def rows(self, dataset: str, select: str, *tables: str) -> Rows | None:
        return None


class _DuckDB:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def rows(self, dataset: str, select: str, *tables: str) -> Rows | None:
        import duckdb

        names = [f'"{dataset}"."{table}"' for table in tables]
        try:
            found: Rows = self._connection.execute(select.format(*names)).fetchall()
        except duckdb.CatalogException:
            return None
        return found


class _Elsewhere:
    """Any other destination, through dlt."""

    def __init__(self, place: Place, folder: str) -> None:
        self._place, self._folder = place, folder

    def rows(self, dataset: str, select: str, *tables: str) -> Rows | None:
        import dlt
        from dlt.destinations.exceptions import DatabaseUndefinedRelation

        pipeline = dlt.pipeline(
            dataset,
            pipelines_dir=self._folder,
            destination=self._place.dlt_destination,
            dataset_name=dataset,
        )
        try:
            with pipeline.sql_client() as client:
                names = [client.make_qualified_table_name(table) for table in tables]
                with client.execute_query(select.format(*names)) as cursor:
                    return list(cursor.fetchall())
        except DatabaseUndefinedRelation:
            return None
        finally:
            pipeline.deactivate()
