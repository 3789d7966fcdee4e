"""Turns typed records into one Arrow batch per table, with the keys that dlt gives nested tables.

The `_dlt_id` of a root row is a digest of its key, that of a child row its parent's `_dlt_id` and its index. So a
record has the same ids in every load, and merging it again replaces its rows. No column name of a vendor may enter.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import chain
from typing import Any, TypeVar

import pyarrow as pa

from gapless.sources._schema.columns import ARROW, TableSchema, table_schema
from gapless.sources._schema.record import Record

CACHED_ROWS = 500
"""Rows whose columns are read at once: the processor's cache holds them, and more take up to 1.6 times as long."""
Rows = TypeVar("Rows", pa.Table, pa.RecordBatch)


@dataclass(frozen=True)
class Table:
    """A root table: its model, its primary key (attributes of the model) and dlt's write disposition."""

    name: str
    model: type[Record]
    key: tuple[str, ...]
    write_disposition: Any  # a type of dlt, which this folder does not import

    @property
    def id_column(self) -> str:
        """Returns the name of the column with the record's id at the vendor (the model's `id_field`)."""
        return self.model.id_field

    @property
    def time_column(self) -> str | None:
        """Returns the name of the column with the time of creation (the model's `time_field`); None without one."""
        return self.model.time_field if self.model.time_field in self.model.model_fields else None

    @property
    def schema(self) -> TableSchema:
        """Returns the columns of this table and of all tables below it."""
        return table_schema(self.model, self.name)


@dataclass(frozen=True)
class Batch:
    """Records for one root table: instances of its model, or of the msgspec struct made from it."""

    table: Table
    records: Sequence[object]


@dataclass(frozen=True)
class ArrowRows:
    """Records as Arrow: `rows` by table name, parents first; `ids` are the `_dlt_id` of the root rows."""

    ids: list[str]
    rows: dict[str, pa.RecordBatch]


def digest(*parts: object) -> str:
    """Returns 96 bits of BLAKE2 of the parts' texts, as 16 characters that are safe in a URL."""
    # Most keys are one text. Between several a separator, so that ("a", "bc") and ("ab", "c") differ.
    text = parts[0] if len(parts) == 1 and type(parts[0]) is str else "\x1f".join(map(_text, parts))
    # 96 bits: among a billion rows the odds of two equal ids are about 6 in 10^12.
    return urlsafe_b64encode(blake2b(text.encode(), digest_size=12).digest()).decode()


def _text(part: object) -> str:
    # The same instant has another text in another time zone.
    return str(part.astimezone(UTC) if isinstance(part, datetime) else part)


def to_arrow(table: Table, records: Sequence[object]) -> ArrowRows:
    """Returns `records` as Arrow rows; of two records with the same key the last one."""
    # One package must not hold a key twice: dlt would keep both parents, or the children of both.
    by_id = {digest(*(getattr(r, k) for k in table.key)): r for r in records}
    level = _Level(list(by_id.values()), list(by_id), list(by_id), [], [])
    return ArrowRows(level.ids, dict(_tables(table.schema, level)))


def with_ids(rows: Rows, column: str, ids: Iterable[str], *, wanted: bool = True) -> Rows:
    """Returns the rows whose cell of `column` is one of `ids`; of not `wanted` ids, all other rows."""
    import pyarrow.compute as pc  # noqa: PLC0415 - it takes long, and an idle sync filters nothing

    found = pc.is_in(rows.column(column), value_set=pa.array(sorted(ids), pa.string()))
    chosen: Rows = rows.filter(found if wanted else pc.invert(found))
    return chosen


@dataclass
class _Level:
    """Rows of one table with their keys, position by position."""

    rows: list[object]
    ids: list[str]
    roots: list[str]
    """The `_dlt_id` of the root record of each row."""
    parents: list[str]
    index: list[int]
    """Each row's position in its parent's list."""


def _tables(schema: TableSchema, level: _Level) -> Iterator[tuple[str, pa.RecordBatch]]:
    arrow = schema.arrow_schema
    arrays = _arrays(schema, level.rows)
    keys = [level.ids, level.parents, level.roots, level.index] if schema.parent else [level.ids]
    # With their types: of an empty column Arrow would make one of type null.
    arrays += [pa.array(values, arrow.field(len(schema.columns) + i).type) for i, values in enumerate(keys)]
    yield schema.name, pa.record_batch(arrays, schema=arrow)
    for child in schema.children:
        yield from _tables(child, _child_level(child, level))


def _arrays(schema: TableSchema, rows: list[object]) -> list[pa.Array]:
    """Returns the cells of each column as an Arrow array."""
    parts = []
    for at in range(0, len(rows) or 1, CACHED_ROWS):
        cells = schema.cells(rows[at : at + CACHED_ROWS])
        parts.append([pa.array(own, ARROW[c.data_type]) for c, own in zip(schema.columns, cells, strict=True)])
    return parts[0] if len(parts) == 1 else [pa.concat_arrays(own) for own in zip(*parts, strict=True)]


def child_rows(
    child: TableSchema, many: Sequence[Sequence[object]], ids: Sequence[str], roots: Sequence[str]
) -> dict[str, pa.RecordBatch]:
    """Returns the rows of a child table, and of those below it, for the lists of some rows of its parent table.

    `ids` and `roots` are the `_dlt_id` of those rows and of their root rows.
    """
    return dict(_tables(child, _level_of(many, ids, roots)))


def _child_level(child: TableSchema, level: _Level) -> _Level:
    return _level_of([child.items(row) or () for row in level.rows], level.ids, level.roots)


def _level_of(many: Sequence[Sequence[object]], owners: Sequence[str], owners_roots: Sequence[str]) -> _Level:
    parents = [row_id for row_id, items in zip(owners, many, strict=True) for _ in items]
    roots = [root for root, items in zip(owners_roots, many, strict=True) for _ in items]
    index = [position for items in many for position in range(len(items))]
    ids = [f"{parent}/{position}" for parent, position in zip(parents, index, strict=True)]
    return _Level(list(chain.from_iterable(many)), ids, roots, parents, index)
