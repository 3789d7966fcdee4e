"""Counts which records of a load package are new, changed or unchanged, by a comparison just before their merge.

A merge writes all of them alike. Compared are the package's rows and the stored ones with the same keys, so that it
costs what the package does; a record with a row below it that differs, is new or is gone is changed, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gapless.sources._dlt.tables import PREFIX, ROOT_ID, ROW_ID
from gapless.sources._dlt.types import SqlClient

Names = Callable[[str], tuple[str, str]]
"""Returns the qualified names of a table, and of what holds the package's rows of it."""


class Comparison(NamedTuple):
    """Two queries about the rows of a load package."""

    known: str
    """Returns one row: the records that are stored already; a first load has none, and need not be compared."""
    counts: str
    """Returns one row: the records that are stored already, and how many of them differ."""


class Known(NamedTuple):
    """How many records of a package were here before it."""

    records: int
    changed: int
    """Those of them that differ from what was here."""


@dataclass
class RowChanges:
    """What the merges of one load package change, by root table; empty where nothing is compared."""

    comparisons: dict[str, Comparison] = field(default_factory=dict)
    """Those to make before the merges."""
    _found: dict[str, Known] = field(default_factory=dict)

    def compare(self, table: str, client: SqlClient) -> None:
        """Makes the comparison of a root table, if there is one. Raises the database's error."""
        # A merge that is tried again may find its own rows.
        if table in self.comparisons and table not in self._found:
            known, counts = self.comparisons[table]
            ((records,),) = client.execute_sql(known) or [(0,)]
            rows = client.execute_sql(counts) if records else None
            self._found[table] = Known(*map(int, rows[0])) if rows else Known(0, 0)

    def note_new(self, table: str) -> None:
        """Notes that no record of a root table was stored before, so that there is nothing to compare."""
        if table in self.comparisons:
            self._found.setdefault(table, Known(0, 0))

    def take(self) -> dict[str, Known]:
        """Returns what was found, and begins anew."""
        found, self._found = self._found, {}
        self.comparisons.clear()
        return found


def comparison(
    tables: Sequence[Mapping[str, Any]], names: Names, quoted: Callable[[str], str], row: str = ""
) -> Comparison:
    """Returns the comparison of a root table and those below it, given as dlt's schema has them.

    `row` names the column with a row's place, in an engine that finds rows by it: there only keys are read whole.
    """
    root, *nested = tables
    stored, staged = names(root["name"])
    key = [quoted(name) for name, column in root["columns"].items() if column.get("primary_key")]
    same = " and ".join(f"s.{name} = d.{name}" for name in key)
    found = f"from {stored} as d where exists (select 1 from {staged} as s where {same})"
    place = f"d.{row}" if row else "0"
    of_known = f"{stored} as d where {place} in (select place from known)" if row else f"{stored} as d"
    differing = [
        f"select d.{ROW_ID} as id from {staged} as s join (select d.* from {of_known}) as d on {same}"
        f" where {_differs(root, quoted)}",
        *(_below(table, names, quoted, row) for table in nested),
    ]
    return Comparison(
        f"select count(*) {found}",  # Postgres would plan for a `limit 1` as if the first row were near
        # Materialized, as it is read in several places; a record may differ in several tables and counts once.
        f"with known as materialized (select {place} as place, d.{ROW_ID} as id {found}),"
        f" changed as ({' union all '.join(differing)})"
        " select (select count(distinct id) from known), (select count(distinct id) from changed)",
    )


def _below(table: Mapping[str, Any], names: Names, quoted: Callable[[str], str], row: str) -> str:
    """Returns a query of the ids of stored records whose rows in a nested table differ."""
    stored, staged = names(table["name"])
    of_known = f"{ROOT_ID} in (select id from known)"
    # Two steps, so that the wide columns are read only where rows are known.
    where = f"{row} in (select {row} from {stored} where {of_known})" if row else of_known
    return (
        f"select coalesce(s.{ROOT_ID}, d.{ROOT_ID}) as id from (select * from {staged} where {of_known}) as s"
        f" full join (select * from {stored} where {where}) as d on s.{ROW_ID} = d.{ROW_ID}"
        f" where s.{ROW_ID} is null or d.{ROW_ID} is null or {_differs(table, quoted)}"
    )


def _differs(table: Mapping[str, Any], quoted: Callable[[str], str]) -> str:
    """Returns a condition: any column but dlt's own differs."""
    columns = [
        quoted(name)
        for name, column in table["columns"].items()
        # dlt has columns of which no value was seen yet without a type, and makes none in the table.
        if column.get("data_type") and not name.startswith(PREFIX) and not column.get("primary_key")
    ]
    # A table with nothing but keys cannot differ.
    return f"({' or '.join(f's.{name} is distinct from d.{name}' for name in columns) or '1 = 0'})"


@dataclass
class WrittenRows:
    """Rows that the merges of a sync have inserted and deleted, by table, where a destination counts them."""

    by_table: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Inserted and deleted."""
    checksums: dict[str, int | None] = field(default_factory=dict)
    """Sum of the ids of the inserted rows, less that of the deleted ones; None: not known."""
    doubtful: bool = False
    """Whether a transaction may have been committed or not: then they are a guess."""

    def add(self, changes: Mapping[str, tuple[int, int]], checksums: Mapping[str, int]) -> None:
        """Adds those of a transaction that was committed; a table without a checksum has none any more."""
        for table, (inserted, deleted) in changes.items():
            before = self.of(table)
            self.by_table[table] = before[0] + inserted, before[1] + deleted
            known = self.checksums.get(table, 0)
            self.checksums[table] = known + checksums[table] if known is not None and table in checksums else None

    def checksum_after(self, table: str, before: int | None) -> int | None:
        """Returns the sum of the ids of a table's rows, which was `before`; None where it is not known."""
        grown = self.checksums.get(table, 0)
        return None if before is None or grown is None else before + grown

    def of(self, table: str) -> tuple[int, int]:
        """Returns those of a table."""
        return self.by_table.get(table, (0, 0))
