"""Model -> shape of its tables: columns, child tables, Arrow schema. Derived once, from the model alone.

The schema never comes from the data: every table and column exists from the first load on, and a value that
does not fit is a dead letter instead of a bent column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from operator import attrgetter
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import pyarrow as pa
from pydantic.fields import FieldInfo

from gapless.sources._schema.record import JsonColumn, Record

type_name = Literal["text", "bigint", "double", "bool", "timestamp", "json"]

ARROW: dict[type_name, pa.DataType] = {
    "text": pa.string(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "json": pa.string(),
}
SCALARS: dict[type, type_name] = {
    str: "text", int: "bigint", float: "double", bool: "bool", datetime: "timestamp",
}  # fmt: skip
NULLS = ("null", b"null")
ROOT_KEYS = {"_dlt_id": pa.string()}
CHILD_KEYS = {
    "_dlt_id": pa.string(), "_dlt_parent_id": pa.string(), "_dlt_root_id": pa.string(),
    "_dlt_list_idx": pa.int64(),
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    name: str
    data_type: type_name
    nullable: bool
    path: tuple[str, ...]
    """Of attributes, through flattened objects that may be null; none: the item itself."""

    def cells(self, rows: list[Any]) -> list[Any]:
        """One of each row. Mostly no object is missing, and then all of it runs in C."""
        if not self.path:
            return rows
        try:
            values = list(map(attrgetter(".".join(self.path)), rows))
        except AttributeError:
            values = [_through(row, self.path) for row in rows]
        return _texts(values) if self.data_type == "json" else values


@dataclass(frozen=True)
class TableShape:
    """One table of a record's tree; `items` reads its rows, or None, from a row of the parent table."""

    name: str
    parent: str | None
    columns: tuple[Column, ...]
    children: tuple[TableShape, ...]
    items: Callable[[Any], list[Any] | None]

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        fields = [pa.field(c.name, ARROW[c.data_type], nullable=c.nullable) for c in self.columns]
        keys = CHILD_KEYS if self.parent else ROOT_KEYS
        return pa.schema(fields + [pa.field(name, kind, nullable=False) for name, kind in keys.items()])

    def tree(self) -> Iterator[TableShape]:
        """This table, then all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.tree()


@dataclass(frozen=True)
class Kind:
    """What an annotation means: a scalar column, a flattened object or a child table."""

    scalar: type_name | None = None
    model: type[Record] | None = None
    many: bool = False
    nullable: bool = False


def kind_of(field: FieldInfo) -> Kind:
    return _kind(field.annotation, tuple(field.metadata))


def _kind(annotation: Any, metadata: tuple[Any, ...] = ()) -> Kind:
    origin, args = get_origin(annotation), get_args(annotation)
    if any(isinstance(m, JsonColumn) for m in metadata):
        return Kind(scalar="json")
    if origin is Annotated:
        return _kind(args[0], args[1:])
    if origin in (Union, UnionType):
        (inner,) = [a for a in args if a is not NoneType]
        kind = _kind(inner)
        return Kind(kind.scalar, kind.model, kind.many, nullable=True)
    if origin is list:
        kind = _kind(args[0])
        return Kind(kind.scalar, kind.model, many=True)
    if issubclass(annotation, Record):
        return Kind(model=annotation)
    return Kind(scalar=SCALARS[annotation])


def _through(row: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if row is None:
            return None
        row = getattr(row, name)
    return row


def _texts(values: list[Any]) -> list[Any]:
    """JSON cells: text, or the fast road's bytes, which Arrow takes for text; there null is a literal."""
    try:
        cells: list[Any] = list(map(bytes, values))
    except TypeError:  # text or None among them
        cells = [str(value, "utf-8") if isinstance(value, msgspec.Raw) else value for value in values]
    return [None if cell in NULLS else cell for cell in cells] if any(null in cells for null in NULLS) else cells


@cache
def shape_of(model: type[Record], name: str, parent: str | None = None, attribute: str = "") -> TableShape:
    """The tables of `model`, the root called `name`; a nested list is `name__<field>`."""
    items: Callable[[Any], list[Any] | None] = attrgetter(attribute) if attribute else lambda record: [record]
    columns = tuple(_columns(model, (), ""))
    return TableShape(name, parent, columns, tuple(_children(model, name)), items)


def _columns(model: type[Record], path: tuple[str, ...], prefix: str) -> Iterator[Column]:
    own = [(n, f) for n, f in model.model_fields.items() if n != "extra"]
    for name, field in own:
        kind, here = kind_of(field), (*path, name)
        if kind.many:
            continue
        if kind.model:
            yield from _columns(kind.model, here, f"{prefix}{name}__")
        elif kind.scalar:
            yield Column(f"{prefix}{name}", kind.scalar, kind.nullable or bool(path), here)
    if not path:  # what a flattened object does not know is kept in its row's `_extra`
        yield Column("_extra", "json", True, ("extra",))


def _children(model: type[Record], table: str) -> Iterator[TableShape]:
    for name, field in model.model_fields.items():
        kind = kind_of(field)
        if not kind.many:
            continue
        if kind.model:
            yield shape_of(kind.model, f"{table}__{name}", table, name)
        elif kind.scalar:
            value = Column("value", kind.scalar, False, ())
            yield TableShape(f"{table}__{name}", table, (value,), (), attrgetter(name))
