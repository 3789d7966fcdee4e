"""What one load package will hold: batches of columns, each key once, the last seen wins.

dlt's merge keeps both parents, or doubles the children, when a key comes twice in one package; so it never does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gapless.sources._schema.arrow import ArrowRows, Batch, Table, to_arrow
from gapless.sources._schema.columns import TableSchema

TOGETHER = 2_000
"""Records that become columns at once: an Arrow array costs the same for few values as for many."""


@dataclass
class Package:
    records: int = 0
    _waiting: dict[str, list[Any]] = field(default_factory=dict)
    _columns: dict[str, list[ArrowRows]] = field(default_factory=dict)

    def add(self, batch: Batch) -> None:
        if batch.records:
            waiting = self._waiting.setdefault(batch.table.name, [])
            waiting += batch.records
            self.records += len(batch.records)
            if len(waiting) >= TOGETHER:
                self._settle(batch.table)

    def tables(self, table: Table) -> Iterator[tuple[TableSchema, pa.Table]]:
        """The root table, then every table below it, parents first; also those without a row."""
        self._settle(table)
        kept = _each_key_once(table.name, self._columns.get(table.name, []))
        for shape in table.schema.tree():
            yield shape, pa.Table.from_batches([rows[shape.name] for rows in kept], schema=shape.arrow_schema)

    def _settle(self, table: Table) -> None:
        if waiting := self._waiting.pop(table.name, None):
            self._columns.setdefault(table.name, []).append(to_arrow(table, waiting))


def _each_key_once(root: str, columns: list[ArrowRows]) -> list[dict[str, pa.RecordBatch]]:
    seen: set[str] = set()
    kept = []
    for some in reversed(columns):
        stale = seen.intersection(some.ids)
        seen.update(some.ids)
        kept.append(_without(root, some, stale) if stale else some.rows)
    return kept[::-1]


def _without(root: str, columns: ArrowRows, stale: set[str]) -> dict[str, pa.RecordBatch]:
    ids = pa.array(sorted(stale))

    def fresh(name: str, rows: pa.RecordBatch) -> pa.RecordBatch:
        owner = rows.column("_dlt_id" if name == root else "_dlt_root_id")
        return rows.filter(pc.invert(pc.is_in(owner, value_set=ids)))

    return {name: fresh(name, rows) for name, rows in columns.rows.items()}
