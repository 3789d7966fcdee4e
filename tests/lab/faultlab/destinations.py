"""Where a trial loads to: what the laboratory must be able to do with a destination, and DuckDB.

Postgres stands in postgres.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import duckdb

from tests.support.oracle import mismatches


class Destination(Protocol):
    name: str
    in_files: bool
    """Whether all that it holds lies in the trial's folder, and can be copied there."""

    def settings(self, folder: Path) -> dict[str, str]:
        """Environment of a run whose destination belongs to `folder`."""

    def save(self, folder: Path, kept: Path) -> None:
        """Keep what the destination of `folder` holds."""

    def restore(self, kept: Path | None, folder: Path) -> None:
        """Put it into the destination of `folder`; None: an empty one."""

    def drop(self, folder: Path) -> None:
        """The trial is over; whatever lies in `folder` goes with it."""

    def mismatches(self, folder: Path, source: str, truth: Any) -> list[str]:
        """As tests.support.oracle.mismatches."""

    def query(self, folder: Path, sql: str) -> list[tuple[Any, ...]]: ...

    def texts(self, folder: Path, source: str) -> Iterator[str]:
        """Every row of every table, as text."""


class Duckdb:
    name = "duckdb"
    in_files = True

    def settings(self, folder: Path) -> dict[str, str]:
        return {}

    def save(self, folder: Path, kept: Path) -> None:
        kept.mkdir(parents=True)
        shutil.copy(self._file(folder), kept)

    def restore(self, kept: Path | None, folder: Path) -> None:
        if kept:
            shutil.copy(kept / "gapless.duckdb", folder)

    def drop(self, folder: Path) -> None:
        pass

    def mismatches(self, folder: Path, source: str, truth: Any) -> list[str]:
        try:
            with self._open(folder) as db:
                return mismatches(db, source, truth)
        except duckdb.Error as error:
            return [f"not readable: {str(error).splitlines()[0]}"]

    def query(self, folder: Path, sql: str) -> list[tuple[Any, ...]]:
        with self._open(folder) as db:
            return db.execute(sql).fetchall()

    def texts(self, folder: Path, source: str) -> Iterator[str]:
        with self._open(folder) as db:
            names = db.execute("select table_name from duckdb_tables() where schema_name = ?", [source]).fetchall()
            for (name,) in names:
                yield from (str(row) for row in db.execute(f'select * from {source}."{name}"').fetchall())

    def _file(self, folder: Path) -> Path:
        return folder / "gapless.duckdb"

    def _open(self, folder: Path) -> duckdb.DuckDBPyConnection:
        return duckdb.connect(str(self._file(folder)), read_only=True)
