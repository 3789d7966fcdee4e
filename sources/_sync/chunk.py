"""What one load package will hold: batches of columns, each key once, the last seen wins.

dlt's merge keeps both parents, or doubles the children, when a key comes twice in one package; so it never does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from sources._records.flatten import Batch, Table
from sources._records.shape import TableShape


@dataclass
class Chunk:
    batches: dict[str, list[Batch]] = field(default_factory=dict)
    records: int = 0

    def add(self, batch: Batch) -> None:
        if batch.ids:
            self.batches.setdefault(batch.table.name, []).append(batch)
            self.records += len(batch.ids)

    def tables(self, table: Table) -> Iterator[tuple[TableShape, pa.Table]]:
        """The root table, then every table below it, parents first; also those without a row."""
        batches = _each_key_once(self.batches.get(table.name, []))
        for shape in table.shape.tree():
            rows = [batch[shape.name] for batch in batches]
            yield shape, pa.Table.from_batches(rows, schema=shape.arrow_schema)


def _each_key_once(batches: list[Batch]) -> list[dict[str, pa.RecordBatch]]:
    seen: set[str] = set()
    kept = []
    for batch in reversed(batches):
        stale = seen.intersection(batch.ids)
        seen.update(batch.ids)
        kept.append(_without(batch, stale) if stale else batch.rows)
    return kept[::-1]


def _without(batch: Batch, stale: set[str]) -> dict[str, pa.RecordBatch]:
    ids = pa.array(sorted(stale))

    def fresh(name: str, rows: pa.RecordBatch) -> pa.RecordBatch:
        root = rows.column("_dlt_id" if name == batch.table.name else "_dlt_root_id")
        return rows.filter(pc.invert(pc.is_in(root, value_set=ids)))

    return {name: fresh(name, rows) for name, rows in batch.rows.items()}
