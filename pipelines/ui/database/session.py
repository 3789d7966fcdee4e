"""What a view asks the database with: queries that only read, for a bounded time, in one state of the data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock, Timer
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from gapless.pipelines.destinations.reader import Reader

Rows = list[tuple[Any, ...]]
"""Any, as a cell has the type of its column, which the query decides."""
TIMEOUT = 20.0
"""Seconds for all queries of one view."""
SCHEMA = "activity"
"""Of the views."""
VIEWS = f"select count(*) from information_schema.tables where table_schema = '{SCHEMA}' and table_name = 'timeline'"


class QueryUnavailable(Exception):
    """A query cannot be answered; the arguments are a message and, optionally, the next step."""


def is_of_the_database(error: Exception) -> bool:
    """Returns whether an engine, its driver or dlt raised an error."""
    # By the name, so that no engine is imported for it; DuckDB's classes say that they are of `_duckdb`.
    return type(error).__module__.partition(".")[0].lstrip("_") in ("duckdb", "psycopg2", "dlt")


class TookTooLong(QueryUnavailable):
    """The time was over."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"This took longer than {seconds:g} seconds and was stopped.", "Choose a shorter period or one source."
        )


class Database(Protocol):
    """Runs the queries of one view. In a query `?` stands for a value; both engines must understand it."""

    @property
    def reader(self) -> Reader:
        """Returns what the verdict on completeness reads with."""

    def require_time(self) -> None:
        """Raises TookTooLong when the time of all queries is over: rows are made and written in it, too."""

    def rows(self, query: str, *values: object) -> Rows:
        """Returns all rows. Raises QueryUnavailable, and the engine's errors."""

    def rows_if_exists(self, query: str, *values: object) -> Rows:
        """Returns no rows if a table or a column is missing: its source was never synced, or privacy dropped it."""

    def statement(self, sql: str, most: int) -> pa.Table:
        """Returns the result of one statement of a person's, at most so many rows and 64 MB.

        Raises QueryUnavailable when it is more than one statement, no query, or wrong.
        """


@dataclass
class Running:
    """The connections that are open, which the end of the page stops."""

    connections: list[Any] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    @contextmanager
    def guarded(self, connection: Any, seconds: float) -> Iterator[None]:
        """Interrupts the connection's query after so many seconds, or when `stop` is called."""
        # DuckDB's name for it, else psycopg2's; both may be called from another thread.
        stop = getattr(connection, "interrupt", None) or connection.cancel
        timer = Timer(seconds, stop)
        # A process that ends must not wait for it.
        timer.daemon = True
        with self.lock:
            self.connections.append(stop)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with self.lock:
                # Under the lock, so that none is closed while `stop` is at it.
                self.connections.remove(stop)

    def stop(self) -> None:
        """Interrupts every query."""
        with self.lock:
            for stop in self.connections:
                stop()


RUNNING = Running()
"""Of this process."""
