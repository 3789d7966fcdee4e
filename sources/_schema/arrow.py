"""Typed records -> one Arrow batch per table of their tree, keyed as dlt keys nested tables.

`_dlt_id` of a row is a digest of its key, of a child row its parent's `_dlt_id` and its index: the same record gets
the same ids in every load, whoever loads it.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import Any

import pyarrow as pa

from gapless.sources._schema.columns import ARROW, TableShape, shape_of
from gapless.sources._schema.record import Record


@dataclass(frozen=True)
class Table:
    """A root table and how its rows are kept: the model, the primary key, dlt's write disposition."""

    name: str
    model: type[Record]
    key: tuple[str, ...]
    write_disposition: Any

    @property
    def id_column(self) -> str:
        """Returns the name of the column with the record's id at the vendor (the model's `id_field`)."""
        return self.model.id_field

    @property
    def time_column(self) -> str | None:
        """Returns the name of the column with the time of creation (the model's `time_field`); None without one."""
        return self.model.time_field if self.model.time_field in self.model.model_fields else None

    @property
    def shape(self) -> TableShape:
        return shape_of(self.model, self.name)


@dataclass(frozen=True)
class Batch:
    """Some records for one root table."""

    table: Table
    records: Sequence[Any]


@dataclass(frozen=True)
class Columns:
    """Records as columns: `rows` by table name; `ids` are the root rows' `_dlt_id`."""

    ids: list[str]
    rows: dict[str, pa.RecordBatch]


def digest(*parts: object) -> str:
    """96 bits as 16 characters."""
    text = "\x1f".join(map(str, parts))
    return urlsafe_b64encode(blake2b(text.encode(), digest_size=12).digest()).decode()


def flatten(table: Table, records: Sequence[Any]) -> Columns:
    """`records` as columns; of two with one key the last stands."""
    by_id = {digest(*(getattr(r, k) for k in table.key)): r for r in records}
    level = _Level(list(by_id.values()), list(by_id), list(by_id), [], [])
    return Columns(level.ids, dict(_tables(table.shape, level)))


@dataclass
class _Level:
    """The rows of one table, in step with their ids."""

    rows: list[Any]
    ids: list[str]
    roots: list[str]
    parents: list[str]
    index: list[int]


def _tables(shape: TableShape, level: _Level) -> Iterator[tuple[str, pa.RecordBatch]]:
    arrays = [pa.array(c.cells(level.rows), ARROW[c.data_type]) for c in shape.columns]
    keys = [level.ids, level.parents, level.roots, level.index] if shape.parent else [level.ids]
    schema = shape.arrow_schema
    arrays += [pa.array(values, schema.field(len(shape.columns) + i).type) for i, values in enumerate(keys)]
    yield shape.name, pa.record_batch(arrays, schema=schema)
    for child in shape.children:
        yield from _tables(child, _below(child, level))


def _below(child: TableShape, level: _Level) -> _Level:
    many = [child.items(row) or () for row in level.rows]
    parents = [row_id for row_id, items in zip(level.ids, many, strict=True) for _ in items]
    roots = [root for root, items in zip(level.roots, many, strict=True) for _ in items]
    index = [position for items in many for position in range(len(items))]
    ids = [f"{parent}/{position}" for parent, position in zip(parents, index, strict=True)]
    return _Level(list(chain.from_iterable(many)), ids, roots, parents, index)
