"""Merges the rows of a load package into a root table and those below it, within one transaction.

Records that are not stored yet are copied straight into their tables. Those that are stored are staged in temporary
tables, which are not logged, and merged from there by statements that are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
from psycopg2.errors import UniqueViolation

from gapless.pipelines.destinations._postgres.checksums import CHECKSUM, checksum
from gapless.pipelines.destinations._postgres.copying import copy_rows, read_files, rows_of
from gapless.sources._dlt.tables import ROOT_ID, ROW_ID

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

BY_INDEX = "set local enable_seqscan = off; set local enable_mergejoin = off"
"""Looks rows up by their indexes: what a package costs must not follow from how many rows are stored already."""
KEYS, ROWS = "pg_temp.gapless_keys", "pg_temp.gapless_rows"


class Growth(NamedTuple):
    """What a merge adds to a table, less what it takes away."""

    rows: int
    checksum: int
    """Sum of the rows' ids."""


class Merged(NamedTuple):
    """What a merge did."""

    known: int
    """Records of the package that were stored before."""
    growth: dict[str, Growth]
    """By a table's plain name; none: not known."""


@dataclass(frozen=True)
class PackageTable:
    """The rows of a load package for one table."""

    name: str
    """Its plain name."""
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

    def run(self, cursor: Cursor, merge: Callable[[], None]) -> Merged:
        """Merges the package and returns what that changed.

        `merge` is called when those are staged: it replaces what is stored by them. Raises psycopg2.Error.
        """
        cursor.execute(BY_INDEX)
        cursor.execute("savepoint merged")
        try:
            return self._merged(cursor, merge)
        except UniqueViolation:  # rows that somebody has changed by hand, or left without the record above them
            cursor.execute("rollback to savepoint merged")
            self._delete_by_row_id(cursor)
            return Merged(self._merged(cursor, merge).known, {})

    def _merged(self, cursor: Cursor, merge: Callable[[], None]) -> Merged:
        stored, replaced = self._stored(cursor), dict[str, Growth]()
        if len(stored):
            for table in self.tables:
                # With what fills a column of somebody else's, else a row without a value for it is refused here.
                like = f"like {table.stored} including defaults including identity"
                cursor.execute(f"create temp table {table.staged} ({like}) on commit drop")
                copy_rows(cursor, table.staged, table.rows(stored, wanted=True), self.quoted)
            replaced = {table.name: self._replaced(cursor, table) for table in self.tables}
            merge()
        for table in self.tables:
            rows = table.rows(stored if len(stored) else None, wanted=False)
            copy_rows(cursor, table.stored, rows, self.quoted)
        return Merged(len(stored), {table.name: _growth(table, replaced.get(table.name)) for table in self.tables})

    def _replaced(self, cursor: Cursor, table: PackageTable) -> Growth:
        """Returns the stored rows that the staged ones will replace."""
        root = self.tables[0]
        known = f"exists (select 1 from {root.staged} as s where {self._same})"
        if not table.is_root:
            known = (
                f"{self.quoted(ROOT_ID)} in (select d.{self.quoted(ROW_ID)} from {root.stored} as d where {known})"
            )
        cursor.execute(f"select count(*), {CHECKSUM} from {table.stored} as d where {known}")
        return Growth(*map(int, cursor.fetchone()))

    @property
    def _same(self) -> str:
        """Returns the condition that a record `d` has the key of one called `s`."""
        return " and ".join(f"d.{name} = s.{name}" for name in map(self.quoted, self.key))

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
        found = f"exists (select 1 from {root.stored} as d where {self._same})"
        cursor.execute(f"select s.{row} from {KEYS} as s where {found}")
        return pa.array([row for (row,) in cursor.fetchall()], pa.string())


def _growth(table: PackageTable, replaced: Growth | None) -> Growth:
    ids = [batch.column(ROW_ID).to_pylist() for batch in read_files(table.files, [ROW_ID])]
    rows, total = sum(map(len, ids)), sum(map(checksum, ids))
    return Growth(rows - replaced.rows, total - replaced.checksum) if replaced else Growth(rows, total)
