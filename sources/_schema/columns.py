"""Derives the tables of a model: their columns, child tables and Arrow schemas.

The schema never comes from the data. Every table and column exists from the first load on, and a record with a
value of another type becomes a dead letter instead of changing a column's type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property, partial
from inspect import cleandoc
from operator import attrgetter
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import pyarrow as pa
from pydantic.fields import FieldInfo

from gapless.sources._schema.docstrings import field_docstrings
from gapless.sources._schema.record import GONE_AT, ROWS_BELOW, JsonColumn, Record

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
GONE_DESCRIPTION = (
    "When a whole listing first lacked it, as the vendor does not serve it any more; null: it may be served."
)
BELOW_DESCRIPTION = "How many rows it was loaded with in the tables below this one; null: an older version wrote it."
NULLS = ("null", b"null")
ROOT_KEYS = {"_dlt_id": pa.string()}
CHILD_KEYS = {
    "_dlt_id": pa.string(), "_dlt_parent_id": pa.string(), "_dlt_root_id": pa.string(),
    "_dlt_list_idx": pa.int64(),
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A column of one table, and how its cells are read from the rows' objects."""

    name: str
    data_type: type_name
    nullable: bool
    path: tuple[str, ...]
    """Attributes from the row to the cell, through flattened objects that may be null; empty for the row itself."""
    description: str = ""
    """What `described` says of the field, after what it says of the objects around it."""

    def cells(self, rows: list[object]) -> Sequence[object]:
        """Returns one cell for each row."""
        if not self.path:
            return rows
        try:  # an object is rarely missing, and then the loop runs in C
            values = list(map(attrgetter(".".join(self.path)), rows))
        except AttributeError:
            values = [_cell(row, self.path) for row in rows]
        return self.as_cells(values)

    def as_cells(self, values: Sequence[object]) -> Sequence[object]:
        """Returns the cells of attributes that were read from rows."""
        return _json_cells(values) if self.data_type == "json" else values


@dataclass(frozen=True)
class TableSchema:
    """A table and its child tables; `items` returns its rows, or None, from a row of the parent table."""

    name: str
    parent: str | None
    columns: tuple[Column, ...]
    children: tuple[TableSchema, ...]
    items: Callable[[object], list[object] | None]
    keys: frozenset[str] = frozenset()
    """Columns by which rows are identified or joined, apart from dlt's own."""
    description: str = ""
    """What `described` says of the field that holds the rows; of a root table, the first line of the model."""
    model: type[Record] | None = None
    """Of the rows; None: they are plain values."""

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """Returns the columns, then dlt's key columns, as Arrow fields."""
        fields = [pa.field(c.name, ARROW[c.data_type], nullable=c.nullable) for c in self.columns]
        keys = CHILD_KEYS if self.parent else ROOT_KEYS
        return pa.schema(fields + [pa.field(name, type_, nullable=False) for name, type_ in keys.items()])

    def cells(self, rows: list[object]) -> list[Sequence[object]]:
        """Returns the cells of each column, in the columns' order."""
        read: dict[Column, tuple[object, ...]] = {}
        if len(self._attributes) > 1:
            # All columns of a row at once take half the time, if no object is missing on the way to one.
            with suppress(AttributeError):
                all_at_once = attrgetter(*(".".join(column.path) for column in self._attributes))
                read = dict(zip(self._attributes, zip(*map(all_at_once, rows), strict=True), strict=False))
        return [c.as_cells(read[c]) if c in read else c.cells(rows) for c in self.columns]

    @cached_property
    def _attributes(self) -> list[Column]:
        """Returns the columns whose cells are attributes of a row, or of an object in it."""
        return [column for column in self.columns if type(column) is Column and column.path]

    def tree(self) -> Iterator[TableSchema]:
        """Yields this table, then all tables below it, parents first."""
        yield self
        for child in self.children:
            yield from child.tree()


@dataclass(frozen=True)
class CountColumn(Column):
    """The number of rows that a record has in all tables below it; it is loaded together with them."""

    children: tuple[TableSchema, ...] = ()

    def cells(self, rows: list[object]) -> list[object]:
        """Returns one number for each row."""
        return [_count_below(self.children, row) for row in rows]


def _count_below(children: tuple[TableSchema, ...], row: object) -> int:
    found = 0
    for child in children:
        items = child.items(row) or ()
        found += len(items)
        if child.children:
            found += sum(_count_below(child.children, item) for item in items)
    return found


@dataclass(frozen=True)
class FieldType:
    """What a field becomes: a scalar column, columns of a flattened object, or a child table (`many`)."""

    scalar: type_name | None = None
    """None for an object."""
    model: type[Record] | None = None
    """The object's model; None for a scalar."""
    many: bool = False
    nullable: bool = False


def field_type(field: FieldInfo) -> FieldType:
    """Returns what a model's field becomes; raises KeyError or ValueError for an annotation without a column type."""
    return _type(field.annotation, tuple(field.metadata))


def _type(annotation: Any, metadata: tuple[object, ...] = ()) -> FieldType:
    origin, args = get_origin(annotation), get_args(annotation)
    # Before the annotation is looked at: a JSON column takes any value, whatever its type in Python.
    if any(isinstance(m, JsonColumn) for m in metadata):
        return FieldType(scalar="json")
    if origin is Annotated:
        return _type(args[0], args[1:])
    if origin in (Union, UnionType):
        (inner,) = [a for a in args if a is not NoneType]
        inner_type = _type(inner)
        return FieldType(inner_type.scalar, inner_type.model, inner_type.many, nullable=True)
    if origin is list:
        item = _type(args[0])
        return FieldType(item.scalar, item.model, many=True)
    if issubclass(annotation, Record):
        return FieldType(model=annotation)
    return FieldType(scalar=SCALARS[annotation])


def _cell(row: object, path: tuple[str, ...]) -> object:
    for name in path:
        if row is None:
            return None
        row = getattr(row, name)
    return row


def _json_cells(values: Sequence[object]) -> list[object]:
    """Returns JSON cells as text or bytes, which Arrow both takes for text; a JSON null becomes None.

    pydantic's records hold text, the fast decoder's hold bytes.
    """
    try:
        cells: list[object] = list(map(bytes, values))  # type: ignore[arg-type]  # text raises
    except TypeError:  # text or None among them
        cells = [str(value, "utf-8") if isinstance(value, msgspec.Raw) else value for value in values]
    # `in` runs in C, and most pages hold no null.
    return [None if cell in NULLS else cell for cell in cells] if any(null in cells for null in NULLS) else cells


@cache
def table_schema(
    model: type[Record], name: str, parent: str | None = None, path: tuple[str, ...] = (), description: str = ""
) -> TableSchema:
    """Returns the tables of `model`: the root with this `name`, and `name__<field>` for each nested list.

    A list in a flattened object is the table `name__<object>__<list>`. `path` leads from a row of the `parent` table
    to the rows of this one. Without a `description` the table has that of its model.
    """
    columns, children = tuple(_columns(model, (), "")), tuple(_children(model, name))
    # Of a record or a parent, which the vendor serves by its id; what is below it goes and comes with it.
    if parent is None and model.id_field in model.model_fields:
        columns = (*columns, Column(GONE_AT, "timestamp", True, (GONE_AT,), GONE_DESCRIPTION))
        if children:
            below = CountColumn(ROWS_BELOW, "bigint", True, (ROWS_BELOW,), BELOW_DESCRIPTION, children)
            columns = (*columns, below)
    keys = frozenset({model.id_field}) | model.parent_columns
    return TableSchema(name, parent, columns, children, _items(path), keys, description or first_line(model), model)


def first_line(model: type[Record]) -> str:
    """Returns the first line of a model's docstring; empty if it has none of its own."""
    return cleandoc(model.__dict__.get("__doc__") or "").partition("\n")[0]


def described(owner: type[Record], name: str, model: type[Record] | None) -> str:
    """Returns the first line of the docstring of a field of `owner`; without one, that of its objects' `model`."""
    text = owner.model_fields[name].description or field_docstrings(owner).get(name, "")
    return text.partition("\n")[0] or (first_line(model) if model else "")


def _items(path: tuple[str, ...]) -> Callable[[object], list[object] | None]:
    if not path:
        return lambda record: [record]
    reads: Callable[[object], Any] = attrgetter(path[0]) if len(path) == 1 else partial(_cell, path=path)
    return reads


def _columns(model: type[Record], path: tuple[str, ...], prefix: str, around: str = "") -> Iterator[Column]:
    """Yields the columns of a row, or of an object in it; `around` describes that object."""
    own = [(n, f) for n, f in model.model_fields.items() if n != "extra"]
    for name, field in own:
        type_, here = field_type(field), (*path, name)
        about = f"{around} {described(model, name, type_.model)}".strip()
        if type_.many:  # a child table, see _children
            continue
        if type_.model:
            yield from _columns(type_.model, here, f"{prefix}{name}__", about)
        elif type_.scalar:
            # An object that may be missing makes each of its columns nullable.
            yield Column(f"{prefix}{name}", type_.scalar, type_.nullable or bool(path), here, about)
    if not path:  # unknown fields of a flattened object go to the `_extra` of its row
        yield Column("_extra", "json", True, ("extra",), "Fields that the vendor sends and the model does not name.")


def _children(model: type[Record], table: str, path: tuple[str, ...] = (), prefix: str = "") -> Iterator[TableSchema]:
    for name, field in model.model_fields.items():
        type_, here = field_type(field), (*path, name)
        child, about = f"{table}__{prefix}{name}", described(model, name, type_.model)
        if type_.many and type_.model:
            yield table_schema(type_.model, child, table, here, about)
        elif type_.many and type_.scalar:
            value = Column("value", type_.scalar, False, (), about)
            yield TableSchema(child, table, (value,), (), _items(here), description=about)
        elif type_.model:
            yield from _children(type_.model, table, here, f"{prefix}{name}__")
