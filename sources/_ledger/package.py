"""Collects rows as columns until they are written. Each key goes into a load package once.

dlt's merge keeps both parents, or doubles the children, when a key comes twice in one package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from gapless.sources._dlt.tables import ROOT_ID, ROW_ID
from gapless.sources._schema.arrow import ArrowRows, Batch, Table, to_arrow, with_ids
from gapless.sources._schema.columns import TableSchema

BATCH_ROWS = 200
"""Records converted to columns at once: few enough that the processor's cache holds them (measured: 2,000 cost half
as much again), and not each alone, as an Arrow array costs nearly the same for one value as for fifty."""
ToArrow = Callable[[Table, Sequence[object]], ArrowRows]


@dataclass
class Package:
    """The rows of one load package that are not written yet, by root table."""

    to_arrow: ToArrow = to_arrow
    _waiting: dict[str, list[object]] = field(default_factory=dict)
    _columns: dict[str, list[ArrowRows]] = field(default_factory=dict)
    _written: dict[str, set[str]] = field(default_factory=dict)
    """`_dlt_id` of the root rows that were taken, by root table."""

    def add(self, batch: Batch) -> None:
        """Adds records; converts them to columns when BATCH_ROWS are waiting."""
        if batch.records:
            waiting = self._waiting.setdefault(batch.table.name, [])
            waiting += batch.records
            if len(waiting) >= BATCH_ROWS:
                self._convert_waiting(batch.table)

    def add_columns(self, table: Table, rows: ArrowRows) -> None:
        """Adds records that are columns already."""
        if rows.ids:
            self._columns.setdefault(table.name, []).append(rows)

    def waiting(self, table: Table) -> int:
        """Returns the number of root rows that wait to be written."""
        columns = self._columns.get(table.name, ())
        return len(self._waiting.get(table.name, ())) + sum(len(rows.ids) for rows in columns)

    def tables(self, table: Table) -> Iterator[tuple[TableSchema, pa.Table]]:
        """Takes what waits: yields the root table, then every table below it, parents first; also without a row.

        Of two rows with one key the last one counts; a key that was taken before is left out.
        """
        self._convert_waiting(table)
        written = self._written.setdefault(table.name, set())
        batches = _each_key_once(table.name, self._columns.pop(table.name, []), written)
        for shape in table.schema.tree():
            rows = [own for tree in batches if (own := tree[shape.name]).num_rows]
            # The user's own steps may have changed the columns.
            yield shape, _one_table(rows) if rows else shape.arrow_schema.empty_table()

    def taken(self, table: Table) -> set[str]:
        """Returns `_dlt_id` of the root rows that were taken."""
        return self._written.get(table.name, set())

    def _convert_waiting(self, table: Table) -> None:
        if waiting := self._waiting.pop(table.name, None):
            self._columns.setdefault(table.name, []).append(self.to_arrow(table, waiting))


def _one_table(batches: list[pa.RecordBatch]) -> pa.Table:
    """Returns one table of batches; a column that a user's step added may have another type in each."""
    if len({batch.schema for batch in batches}) == 1:
        return pa.Table.from_batches(batches)
    tables = [pa.Table.from_batches([batch]) for batch in batches]
    return pa.concat_tables(tables, promote_options="permissive")


def _each_key_once(root: str, columns: list[ArrowRows], written: set[str]) -> list[dict[str, pa.RecordBatch]]:
    """Returns the rows without those in `written`, and adds their keys to it."""
    seen: set[str] = set()
    batches = []
    for rows in reversed(columns):  # the newest first, so that an older row of the same key is dropped
        stale = {one for one in rows.ids if one in seen or one in written}
        seen.update(rows.ids)
        batches.append(without(root, rows, stale) if stale else rows.rows)
    written |= seen
    return batches[::-1]


def without(root: str, columns: ArrowRows, stale: set[str]) -> dict[str, pa.RecordBatch]:
    """Returns the rows of all tables without those of the root rows in `stale`."""
    # Child rows are found by the digest of their root row, which is the same in every load.
    return {
        name: with_ids(rows, ROW_ID if name == root else ROOT_ID, stale, wanted=False)
        for name, rows in columns.rows.items()
    }
