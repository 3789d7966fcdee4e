"""Queries of the page: one read-only connection to the DuckDB file, or its published copy, for each view.

The connection is closed after the view, so a sync never waits long, and a view shows one state. No HTML may enter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from gapless.pipelines.destinations.reader import DuckdbReader

Rows = list[tuple[Any, ...]]
"""Any, as a cell has the type of its column, which the query decides."""
LOCK_TIMEOUT = 2.0
"""Seconds to wait for a sync to end; a sync that finds nothing new mostly takes less."""
SCHEMA = "activity"
"""Of the views."""
BUSY = (
    "A sync is writing, and DuckDB allows no readers meanwhile.",
    "gapless publish makes a copy that can always be read; this page uses it if GAPLESS_PUBLISH names it.",
)


class QueryUnavailable(Exception):
    """A query cannot be answered; the arguments are a message and, optionally, the next step."""


@dataclass(frozen=True)
class UiTarget:
    """The files that the page reads."""

    file: Path
    copy: Path | None = None
    """The published copy, if one is configured; it is read as soon as it exists."""

    @property
    def readable(self) -> Path:
        """Returns the copy if it exists, else the file."""
        return self.copy if self.copy and self.copy.exists() else self.file


_current: list[UiTarget] = []
"""At most one. Global, as marimo runs the notebook without arguments of ours."""


def select(ui_target: UiTarget) -> None:
    """Sets the files that the page of this process reads."""
    _current[:] = [ui_target]


def current() -> UiTarget:
    """Returns the files that were selected; under `marimo edit`, where none are, those of the configuration."""
    if not _current:
        from gapless.pipelines.destinations.publish import configured
        from gapless.pipelines.destinations.target import Target

        target = Target.find("duckdb")
        select(UiTarget(target.file or Path(), configured()))
    return _current[0]


class Database:
    """Runs the queries of one view."""

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection

    def rows(self, query: str, *values: object) -> Rows:
        """Returns all rows. Raises duckdb.Error."""
        return self._connection.execute(query, list(values)).fetchall()

    @property
    def reader(self) -> DuckdbReader:
        """Returns what the verdict on completeness reads with."""
        from gapless.pipelines.destinations.reader import DuckdbReader

        return DuckdbReader(self._connection)

    def rows_if_exists(self, query: str, *values: object) -> Rows:
        """Returns no rows if a table or a column is missing: its source was never synced, or privacy dropped it."""
        import duckdb

        try:
            return self.rows(query, *values)
        except (duckdb.CatalogException, duckdb.BinderException):
            return []


@contextmanager
def connected(ui_target: UiTarget | None = None) -> Iterator[Database]:
    """Yields the database. Raises QueryUnavailable while a sync writes, and when nothing was synced yet."""
    file = (ui_target or current()).readable
    if not file.exists():
        raise QueryUnavailable("Nothing synced yet.", _first_steps(file))
    with _open(file) as connection:
        # Else DuckDB prints times in the zone of the machine.
        connection.execute("set timezone = 'UTC'")
        views = "select count(*) from duckdb_views() where schema_name = ? and view_name = 'timeline'"
        if connection.execute(views, [SCHEMA]).fetchone() == (0,):
            raise QueryUnavailable(f"Nothing synced yet into {file}, or its views are missing.", _first_steps(file))
        yield Database(connection)


def _first_steps(file: Path) -> str:
    """Returns the commands that fill a file."""
    return f"gapless sync loads data into {file.name}; gapless demo needs no keys; gapless views creates the views."


def _open(file: Path) -> DuckDBPyConnection:
    """Waits up to LOCK_TIMEOUT seconds for a sync to end."""
    import duckdb

    from gapless.pipelines.destinations.duckdb_file import FileInUse, connect

    try:
        return connect(file, read_only=True, patience=LOCK_TIMEOUT)
    except FileInUse:
        raise QueryUnavailable(*BUSY) from None
    except duckdb.IOException as error:
        raise QueryUnavailable(f"{file} cannot be read: {str(error).splitlines()[0]}", "gapless doctor") from None
