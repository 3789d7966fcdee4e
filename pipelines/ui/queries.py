"""Asking the DuckDB file, or its published copy: a connection per view, read only, closed as soon as it has answered.

So no sync waits long for the page, and each answer is of one state. Knows no HTML.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Rows = list[tuple[Any, ...]]
PATIENCE = 2.0
"""Seconds for a sync to end: most of those that find nothing new take less."""
SCHEMA = "activity"
BUSY = (
    "A sync is writing, and DuckDB admits no readers meanwhile.",
    "gapless publish gives a copy that is always readable; with GAPLESS_PUBLISH set this page uses it.",
)


class QueryUnavailable(Exception):
    """What to tell instead of an answer; in its second argument the commands that mend it."""


@dataclass(frozen=True)
class UiTarget:
    """What the page is about."""

    file: Path
    copy: Path | None = None
    """Published by gapless, if configured: it is asked once it is there."""

    @property
    def asked(self) -> Path:
        return self.copy if self.copy and self.copy.exists() else self.file


_shown: list[UiTarget] = []


def show(shown: UiTarget) -> None:
    """From here on, of this process."""
    _shown[:] = [shown]


def shown() -> UiTarget:
    """Without `show`, as under `marimo edit`, what is configured."""
    if not _shown:
        from gapless.pipelines.destinations.publish import configured
        from gapless.pipelines.destinations.target import Target

        target = Target.find("duckdb")
        show(UiTarget(target.file or Path(), configured()))
    return _shown[0]


class Answers:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def rows(self, query: str, *values: Any) -> Rows:
        found: Rows = self._connection.execute(query, list(values)).fetchall()
        return found

    def rows_if_there(self, query: str, *values: Any) -> Rows:
        """None of a table or a column that is not there: its source was never synced, or its policy dropped it."""
        import duckdb

        try:
            return self.rows(query, *values)
        except (duckdb.CatalogException, duckdb.BinderException):
            return []


@contextmanager
def answers(of: UiTarget | None = None) -> Iterator[Answers]:
    """Raises Unanswered while a sync has the file, and when nothing was synced yet."""
    file = (of or shown()).asked
    if not file.exists():
        raise QueryUnavailable("Nothing synced yet.", _begin(file))
    with _opened(file) as connection:
        connection.execute("set timezone = 'UTC'")
        views = "select count(*) from duckdb_views() where schema_name = ? and view_name = 'timeline'"
        if connection.execute(views, [SCHEMA]).fetchone() == (0,):
            raise QueryUnavailable(f"Nothing synced yet into {file}, or its views are missing.", _begin(file))
        yield Answers(connection)


def _begin(file: Path) -> str:
    return f"gapless sync fills {file.name}; gapless demo shows it without keys; gapless views makes the views."


def _opened(file: Path) -> Any:
    import duckdb

    from gapless.pipelines.destinations.duckdb_file import FileInUse, connect

    try:
        return connect(file, read_only=True, patience=PATIENCE)
    except FileInUse:
        raise QueryUnavailable(*BUSY) from None
    except duckdb.IOException as error:
        raise QueryUnavailable(f"{file} cannot be read: {str(error).splitlines()[0]}", "gapless doctor") from None
