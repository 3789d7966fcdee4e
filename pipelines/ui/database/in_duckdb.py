"""The page's questions to a DuckDB file, by one read-only connection a view: a sync never waits long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from gapless.pipelines.destinations.target import DEMO_FILE
from gapless.pipelines.ui.database.results import collect
from gapless.pipelines.ui.database.session import (
    RUNNING,
    TIMEOUT,
    VIEWS,
    Database,
    QueryUnavailable,
    Rows,
    TookTooLong,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection, Statement

    from gapless.pipelines.destinations.reader import Reader

LOCK_TIMEOUT = 2.0
"""Seconds to wait for a sync to end; a sync that finds nothing new mostly takes less."""
BATCH = 10_000
"""Rows."""
UNION = "UNION"
"""In DuckDB's plan: two parts of a result that is streamed can wait for each other for ever, and nothing interrupts
them (https://github.com/duckdb/duckdb/issues/22215)."""
BUSY = (
    "A sync is writing, and DuckDB allows no readers meanwhile.",
    "gapless publish makes a copy that can always be read; this page uses it if GAPLESS_PUBLISH names it.",
)


class DuckdbDatabase:
    """Of a DuckDB file."""

    def __init__(self, connection: DuckDBPyConnection, seconds: float = TIMEOUT) -> None:
        self._connection, self._seconds = connection, seconds
        self._until = monotonic() + seconds

    @property
    def reader(self) -> Reader:
        """Returns what `Database.reader` says."""
        from gapless.pipelines.destinations.reader import DuckdbReader

        return DuckdbReader(self._connection)

    def require_time(self) -> None:
        """Does what `Database.require_time` says."""
        if monotonic() >= self._until:
            raise TookTooLong(self._seconds)

    def rows(self, query: str, *values: object) -> Rows:
        """Returns what `Database.rows` says."""
        import duckdb

        try:
            # Not by `execute`, which would stream the rows: see UNION.
            return self._connection.sql(query, params=list(values)).fetchall()
        except duckdb.InterruptException:
            raise TookTooLong(self._seconds) from None

    def rows_if_exists(self, query: str, *values: object) -> Rows:
        """Returns what `Database.rows_if_exists` says."""
        import duckdb

        try:
            return self.rows(query, *values)
        # The first for a missing table, the second for a missing column.
        except (duckdb.CatalogException, duckdb.BinderException):
            return []

    def statement(self, sql: str, most: int) -> pa.Table:
        """Returns what `Database.statement` says."""
        import duckdb
        import pyarrow as pa

        try:
            statements = self._connection.extract_statements(sql)
            # DuckDB counts `from`, `describe` and `summarize` as SELECT.
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise QueryUnavailable("One query is run here: select, with, from, describe or summarize.")
            # What was checked is what runs.
            return collect(self._batches(statements[0], most), most, self.require_time)
        except duckdb.InterruptException:
            raise TookTooLong(self._seconds) from None
        # Of Arrow while rows are fetched: an OSError or an ArrowException with DuckDB's text.
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            self.require_time()
            raise QueryUnavailable(str(error) or "The query broke off while its rows were read.") from None

    def _batches(self, statement: Statement, most: int) -> pa.RecordBatchReader:
        """Returns the rows in batches, so that collect() can end it early, where they may be streamed."""
        relation = self._connection.sql(statement)
        if UNION in relation.explain():
            return relation.limit(most).to_arrow_table().to_reader(BATCH)
        return self._connection.execute(statement).to_arrow_reader(BATCH)


@contextmanager
def connected_file(file: Path, seconds: float | None = None) -> Iterator[Database]:
    """Yields the database of a DuckDB file, whose queries may take `seconds` together. Raises QueryUnavailable."""
    seconds = seconds or TIMEOUT
    if not file.exists():
        raise QueryUnavailable("Nothing synced yet.", _first_steps(file))
    with _open(file) as connection, RUNNING.guarded(connection, seconds):
        database = DuckdbDatabase(connection, seconds)
        if database.rows(VIEWS) == [(0,)]:
            raise QueryUnavailable(f"Nothing synced yet into {file}, or its views are missing.", _first_steps(file))
        yield database


def _first_steps(file: Path) -> str:
    """Returns the commands that fill a file."""
    if (file.parent / DEMO_FILE).exists() and file.name != DEMO_FILE:
        return f"The demo's data: DESTINATION__DUCKDB__CREDENTIALS={DEMO_FILE} gapless ui. gapless sync loads yours."
    return f"gapless sync loads data into {file.name}; gapless demo needs no keys; gapless views creates the views."


def _open(file: Path) -> DuckDBPyConnection:
    """Waits up to LOCK_TIMEOUT seconds for a sync to end."""
    import duckdb

    from gapless.pipelines.destinations.duckdb_connections import FileInUse, connect

    try:
        return connect(file, read_only=True, patience=LOCK_TIMEOUT)
    except FileInUse:
        raise QueryUnavailable(*BUSY) from None
    except duckdb.IOException as error:
        raise QueryUnavailable(f"{file} cannot be read: {str(error).splitlines()[0]}", "gapless doctor") from None
