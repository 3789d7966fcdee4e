"""Asking the destination, never a vendor, and changing nothing: rows of one table of one dataset at a time."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
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
    if place.kind == "ducklake":
        with _lake(place) as reader:
            yield reader
    elif place.file is None:
        with _working_folder() as folder:
            yield _Elsewhere(place, folder)
    elif not place.file.exists():
        yield _Nothing()
    else:
        with connected(place) as connection:
            yield FileReader(connection)


@contextmanager
def _lake(place: Place) -> Iterator[Reader]:
    if place.beside and not place.beside.exists():
        yield _Nothing()
        return
    with place.opened() if place.connection is None else nullcontext():
        yield FileReader(place.connection)


@contextmanager
def connected(place: Place) -> Iterator[Any]:
    import duckdb

    try:
        connection = place.connection or duckdb.connect(str(place.file), read_only=True)
    except duckdb.IOException as error:
        gone = place.file and not place.file.exists()  # since we looked: `gapless doctor` takes its own away again
        if "lock" not in str(error).lower() and not gone:
            first = str(error).splitlines()[0].rstrip("!.")
            raise GaplessError(
                f"cannot read {place.file}: {first}. Choose another with DESTINATION__DUCKDB__CREDENTIALS=PATH."
            ) from None
        raise Locked(
            f"{place.file} is being written to, by a sync or another program; DuckDB admits no readers meanwhile."
            " Try again when it has ended, or keep a copy for readers: gapless publish PATH."
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


class FileReader:
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
        from dlt.common.destination.exceptions import DestinationUndefinedEntity

        pipeline = dlt.pipeline(
            dataset,
            pipelines_dir=self._folder,
            destination=self._place.dlt_destination,
            dataset_name=dataset,
        )
        try:
            if self._place.appends and not pipeline.schemas:  # without one dlt finds no table in a folder
                pipeline.sync_destination()
            with pipeline.sql_client() as client:
                names = [self._name(client, table) for table in tables]
                asked = re.sub('"([a-z_]+)"', lambda name: client.escape_column_name(name[1]), select).format(*names)
                with client.execute_query(asked) as cursor:
                    return list(cursor.fetchall())
        except DestinationUndefinedEntity:
            return None
        finally:
            pipeline.deactivate()

    def _name(self, client: Any, table: str) -> str:
        from sources._sync.newest import newest

        return newest(client, table) if self._place.appends else str(client.make_qualified_table_name(table))
