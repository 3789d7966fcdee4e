"""Asking the destination, never a vendor, and changing nothing: rows of one table of one dataset at a time."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError, Locked

Rows = list[tuple[Any, ...]]


class Reader(Protocol):
    def rows(self, dataset: str, select: str, *tables: str) -> Rows | None:
        """`select` with each `{0}`, `{1}`, … put for the qualified name of a table; None: a table is not there."""


@contextmanager
def reading(target: Target) -> Iterator[Reader]:
    """Raises Locked while a sync writes to the DuckDB file."""
    if target.kind == "ducklake":
        with _lake(target) as reader:
            yield reader
    elif target.file is None:
        with _working_folder() as folder:
            yield _DltReader(target, folder)
    elif not target.file.exists():
        yield _EmptyReader()
    else:
        with connected(target) as connection:
            yield FileReader(connection)


@contextmanager
def _lake(target: Target) -> Iterator[Reader]:
    if target.beside and not target.beside.exists():
        yield _EmptyReader()
        return
    with target.opened() if target.connection is None else nullcontext():
        yield FileReader(target.connection)


@contextmanager
def connected(target: Target) -> Iterator[Any]:
    import duckdb

    try:
        connection = target.connection or duckdb.connect(str(target.file), read_only=True)
    except duckdb.IOException as error:
        gone = target.file and not target.file.exists()  # since we looked: `gapless doctor` takes its own away again
        if "lock" not in str(error).lower() and not gone:
            first = str(error).splitlines()[0].rstrip("!.")
            raise GaplessError(
                f"cannot read {target.file}: {first}. Choose another with DESTINATION__DUCKDB__CREDENTIALS=PATH."
            ) from None
        raise Locked(
            f"{target.file} is being written to, by a sync or another program; DuckDB admits no readers meanwhile."
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


class _EmptyReader:
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


class _DltReader:
    """Any other destination, through dlt."""

    def __init__(self, target: Target, folder: str) -> None:
        self._target, self._folder = target, folder

    def rows(self, dataset: str, select: str, *tables: str) -> Rows | None:
        import dlt
        from dlt.common.destination.exceptions import DestinationUndefinedEntity

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
                names = [self._name(client, table) for table in tables]
                asked = re.sub('"([a-z_]+)"', lambda name: client.escape_column_name(name[1]), select).format(*names)
                with client.execute_query(asked) as cursor:
                    return list(cursor.fetchall())
        except DestinationUndefinedEntity:
            return None
        finally:
            pipeline.deactivate()

    def _name(self, client: Any, table: str) -> str:
        from gapless.sources._incremental.append_only import newest

        return newest(client, table) if self._target.appends else str(client.make_qualified_table_name(table))
