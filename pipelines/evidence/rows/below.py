"""Counts the rows below records: a record says how many there are (`rows_below`), as it was loaded in one package
with them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from gapless.pipelines.destinations.reader import Reader
from gapless.pipelines.evidence.rows.counts import Held, RowCounts
from gapless.sources import Source
from gapless.sources._dlt.tables import LOADS, ROOT_ID, ROW_ID, is_completed
from gapless.sources._schema.arrow import Table
from gapless.sources._schema.record import ROWS_BELOW

if TYPE_CHECKING:
    from gapless.sources._dlt.types import SqlClient


class Torn(NamedTuple):
    """A record with another number of rows below it than it was loaded with."""

    row: str
    """Its `_dlt_id`."""
    said: int
    """The number that it was loaded with."""
    here: int


@dataclass
class Below:
    """How the rows below records differ from what the records say."""

    lost: RowCounts = field(default_factory=dict)
    """Rows that are missing, by table."""
    more: RowCounts = field(default_factory=dict)
    """Rows that no record was loaded with, by table."""
    silent: RowCounts = field(default_factory=dict)
    """Records that do not say how many rows are below them, by table."""
    explained: RowCounts = field(default_factory=dict)
    """Rows by child table that went since the last sync, and of which records say that they lack them."""

    @property
    def settled(self) -> bool:
        """Returns whether nothing differs and every record says how many rows are below it."""
        return self.clean and not self.silent

    @property
    def clean(self) -> bool:
        """Returns whether nothing differs."""
        return not (self.lost or self.more)

    def without_known(self, lost: RowCounts) -> RowCounts:
        """Returns `lost` without the rows that went and that records themselves say they lack.

        Where rows went and no record says so, somebody changed both: only a sync makes the rows below records fewer.
        """
        left = {table: rows - self.explained.get(table, 0) for table, rows in lost.items()}
        return {table: rows for table, rows in left.items() if rows > 0}


def find_below(reader: Reader, source: Source, held: Held | None, now: RowCounts) -> Below:
    """Returns how the rows below records differ from what the records say; `now` are the row counts.

    It costs one sum. Only where that differs, each record is looked at, and only those of completed loads count.
    """
    found, gone = Below(), held.gone(now) if held else {}
    for table in says_below(reader, source):
        names = [shape.name for shape in table.schema.tree() if shape.parent]
        select = f"select count(*) - count({ROWS_BELOW}), sum({ROWS_BELOW}) from {{0}}"
        ((silent, said),) = reader.rows(source.name, select, table.name) or [(1, 0)]
        if not now.keys() >= {table.name, *names}:
            continue
        if silent:
            found.silent[table.name] = int(silent)
        # Of some that are silent the sum tells nothing; of all, as in a dataset of an older version, no record does.
        if silent < now[table.name] and (silent or int(said or 0) != sum(now[name] for name in names)):
            records = torn(reader, source, table)
            lost = sum(max(0, one.said - one.here) for one in records)
            more = sum(max(0, one.here - one.said) for one in records) + count_orphans(reader, source, table)
            left = lost
            for name in names:
                found.explained[name] = min(left, gone.get(name, 0))
                left -= found.explained[name]
            found.lost |= _by_table(table, names, {name: gone[name] for name in names if name in gone}, lost)
            found.more |= _by_table(table, names, {}, more)
    return found


def _by_table(table: Table, names: list[str], noted: RowCounts, rows: int) -> RowCounts:
    """Returns rows by child table, as the last sync's counts say; one of several where these say nothing is `__*`."""
    if not rows or sum(noted.values()) == rows:
        return noted if rows else {}
    return {names[0] if len(names) == 1 else f"{table.name}__*": rows}


def says_below(reader: Reader, source: Source) -> list[Table]:
    """Returns the root tables with tables below them whose records can say how many rows these have."""
    tables = [table for table in source.tables if table.schema.children]
    if not tables or reader.appends:
        return []
    columns = reader.columns(source.name, [table.name for table in tables])
    return [table for table in tables if ROWS_BELOW in columns.get(table.name, ())]


def torn(reader: Reader, source: Source, table: Table) -> list[Torn]:
    """Returns the records of completed loads with another number of rows below them than they say."""
    names = [shape.name for shape in table.schema.tree() if shape.parent]
    below = " union all ".join(f"select {ROOT_ID} from {{{at}}}" for at in range(2, len(names) + 2))
    select = (
        f"select r.{ROW_ID}, r.{ROWS_BELOW}, coalesce(c.number, 0) from (select * from {{0}} where"
        f" {is_completed('{1}')}) as r left join (select {ROOT_ID} as root, count(*) as number from ({below}) as b"
        f" group by {ROOT_ID}) as c on c.root = r.{ROW_ID} where r.{ROWS_BELOW} <> coalesce(c.number, 0)"
    )
    found = reader.rows(source.name, select, table.name, LOADS, *names) or []
    return [Torn(str(row), int(said), int(here)) for row, said, here in found]


def count_orphans(reader: Reader, source: Source, table: Table) -> int:
    """Returns the number of rows below a root table whose root row is not there; reads each table whole."""
    found = 0
    for shape in table.schema.tree():
        if shape.parent:
            select = f"select count(*) from {{0}} where {ROOT_ID} not in (select {ROW_ID} from {{1}})"
            rows = reader.rows(source.name, select, shape.name, table.name)
            found += int(rows[0][0]) if rows else 0
    return found


def fill_below(
    client: SqlClient, source: Source, *, again: bool = False, only: Collection[str] | None = None
) -> None:
    """Counts what is below each record that does not say it, as of an older version; `again` all of them.

    `only` names the root tables; None: every one.
    """
    for table in source.tables if only is None else [one for one in source.tables if one.name in only]:
        names = [client.make_qualified_table_name(s.name) for s in table.schema.tree() if s.parent]
        if not names:
            continue
        own, column = client.make_qualified_table_name(table.name), client.escape_column_name(ROWS_BELOW)
        if again:
            client.execute_sql(f"update {own} set {column} = null where {column} is not null")
        below = " union all ".join(f"select {ROOT_ID} from {name}" for name in names)
        counted = f"select {ROOT_ID} as root, count(*) as number from ({below}) as b group by {ROOT_ID}"
        client.execute_sql(
            f"update {own} set {column} = counted.number from ({counted}) as counted"
            f" where {own}.{ROW_ID} = counted.root and {own}.{column} is null"
        )
        client.execute_sql(f"update {own} set {column} = 0 where {column} is null")
