"""Merges the rows of a load package into a root table and those below it, within one transaction.

Records that are not stored yet are copied straight into their tables. Those that are stored are staged in temporary
tables, which are not logged, and merged from there by statements that are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from psycopg2.errors import UniqueViolation

from gapless.pipelines.destinations._postgres.copying import copy_rows, read_files, rows_of
from gapless.sources._dlt.tables import ROOT_ID, ROW_ID

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

BY_INDEX = "set local enable_seqscan = off; set local enable_mergejoin = off"
"""Looks rows up by their indexes: what a package costs must not follow from how many rows are stored already."""
KEYS, ROWS = "pg_temp.gapless_keys", "pg_temp.gapless_rows"


@dataclass(frozen=True)
class PackageTable:
    """The rows of a load package for one table."""

    stored: str
    """The table's name in SQL."""
    staged: str
    """The name of the temporary table for rows that are to be merged."""
    files: Sequence[Path]
    """Parquet files with the rows."""
    is_root: bool

    def rows(self, records: pa.Array | None, *, wanted: bool) -> Iterator[pa.RecordBatch]:
        """Yields the rows of these records, or those of all others; None: all rows."""
        rows = read_files(self.files)
        if records is None:
            return rows
        return rows_of(rows, ROW_ID if self.is_root else ROOT_ID, records, wanted=wanted)


@dataclass(frozen=True)
class PackageMerge:
    """The merge of one root table and those below it, the root first."""

    tables: Sequence[PackageTable]
    key: Sequence[str]
    """Columns of the root's key, by their plain names; none: rows are only added."""
    quoted: Callable[[str], str]
    """Returns a column's name in SQL."""

    def run(self, cursor: Cursor, merge: Callable[[], None]) -> int:
        """Merges the package and returns how many of its records were stored before.

        `merge` is called when those are staged: it replaces what is stored by them. Raises psycopg2.Error.
        """
        cursor.execute(BY_INDEX)
        cursor.execute("savepoint merged")
        try:
            return self._merged(cursor, merge)
        except UniqueViolation:  # rows that somebody has changed by hand, or left without the record above them
            cursor.execute("rollback to savepoint merged")
            self._delete_by_row_id(cursor)
            return self._merged(cursor, merge)

    def _merged(self, cursor: Cursor, merge: Callable[[], None]) -> int:
        stored = self._stored(cursor)
        if len(stored):
            for table in self.tables:
                cursor.execute(f"create temp table {table.staged} (like {table.stored}) on commit drop")
                copy_rows(cursor, table.staged, table.rows(stored, wanted=True), self.quoted)
            merge()
        for table in self.tables:
            rows = table.rows(stored if len(stored) else None, wanted=False)
            copy_rows(cursor, table.stored, rows, self.quoted)
        return len(stored)

    def _delete_by_row_id(self, cursor: Cursor) -> None:
        """Deletes the stored rows whose own `_dlt_id` is one of the package's, whatever else stands in them."""
        row = self.quoted(ROW_ID)
        for table in self.tables:
            cursor.execute(f"create temp table {ROWS} as select {row} from {table.stored} with no data")
            copy_rows(cursor, ROWS, read_files(table.files, [ROW_ID]), self.quoted)
            cursor.execute(f"delete from {table.stored} as d using {ROWS} as k where d.{row} = k.{row}")
            cursor.execute(f"drop table {ROWS}")

    def _stored(self, cursor: Cursor) -> pa.Array:
        """Returns `_dlt_id` of the package's records whose key is stored already."""
        root = self.tables[0]
        if not self.key or not root.files:
            return pa.array([], pa.string())
        names = [*dict.fromkeys((*self.key, ROW_ID))]
        columns, row = ", ".join(map(self.quoted, names)), self.quoted(ROW_ID)
        cursor.execute(f"create temp table {KEYS} on commit drop as select {columns} from {root.stored} with no data")
        copy_rows(cursor, KEYS, read_files(root.files, names), self.quoted)
        same = " and ".join(f"d.{name} = k.{name}" for name in map(self.quoted, self.key))
        found = f"exists (select 1 from {root.stored} as d where {same})"
        cursor.execute(f"select k.{row} from {KEYS} as k where {found}")
        return pa.array([row for (row,) in cursor.fetchall()], pa.string())
