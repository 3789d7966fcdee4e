"""Collects what one load package will hold, as columns. Each key is in it once; the last record wins.

dlt's merge keeps both parents, or doubles the children, when a key comes twice in one package.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from gapless.sources._dlt.tables import ROOT_ID, ROW_ID
from gapless.sources._schema.arrow import ArrowRows, Batch, Table, to_arrow
from gapless.sources._schema.columns import TableSchema

BATCH_ROWS = 2_000
"""Records converted to columns at once, because an Arrow array costs nearly the same for few values as for many."""


@dataclass
class Package:
    """The rows of one load package, by root table."""

    records: int = 0
    """Root records added so far."""
    _waiting: dict[str, list[object]] = field(default_factory=dict)
    _columns: dict[str, list[ArrowRows]] = field(default_factory=dict)

    def add(self, batch: Batch) -> None:
        """Adds records; converts them to columns when BATCH_ROWS are waiting."""
        if batch.records:
            waiting = self._waiting.setdefault(batch.table.name, [])
            waiting += batch.records
            self.records += len(batch.records)
            if len(waiting) >= BATCH_ROWS:
                self._convert_waiting(batch.table)

    def tables(self, table: Table) -> Iterator[tuple[TableSchema, pa.Table]]:
        """Yields the root table, then every table below it, parents first; also tables without a row."""
        self._convert_waiting(table)
        batches = _each_key_once(table.name, self._columns.get(table.name, []))
        for shape in table.schema.tree():
            yield shape, pa.Table.from_batches([rows[shape.name] for rows in batches], schema=shape.arrow_schema)

    def _convert_waiting(self, table: Table) -> None:
        if waiting := self._waiting.pop(table.name, None):
            self._columns.setdefault(table.name, []).append(to_arrow(table, waiting))


def _each_key_once(root: str, columns: list[ArrowRows]) -> list[dict[str, pa.RecordBatch]]:
    seen: set[str] = set()
    batches = []
    for rows in reversed(columns):  # the newest first, so that an older row of the same key is dropped
        stale = seen.intersection(rows.ids)
        seen.update(rows.ids)
        batches.append(_without(root, rows, stale) if stale else rows.rows)
    return batches[::-1]


def _without(root: str, columns: ArrowRows, stale: set[str]) -> dict[str, pa.RecordBatch]:
    # Child rows are found by the digest of their root row, which is the same in every load.
    ids = pa.array(sorted(stale))

    def fresh(name: str, rows: pa.RecordBatch) -> pa.RecordBatch:
        owner = rows.column(ROW_ID if name == root else ROOT_ID)
        return rows.filter(pc.invert(pc.is_in(owner, value_set=ids)))

    return {name: fresh(name, rows) for name, rows in columns.rows.items()}
