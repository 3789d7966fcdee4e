"""What dlt must know of our tables before the first row: columns, keys, parents, and whose they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import dlt
from dlt.sources import DltResource

from gapless.sources._dlt.internals import forget_references
from gapless.sources._dlt.tables import LIST_INDEX, LOAD_ID, LOADS, PARENT_ID, ROOT_ID, ROW_ID
from gapless.sources._schema.arrow import Table
from gapless.sources._schema.columns import TableSchema

SOURCE_HINT = "x-gapless-source"
"""The hint of a root table that names the source whose rows it holds."""
DLT_COLUMNS: dict[str, dict[str, Any]] = {
    ROW_ID: {"row_key": True, "unique": True},
    PARENT_ID: {"parent_key": True},
    ROOT_ID: {"root_key": True},
}
"""What dlt must know of the columns that it would make itself for rows."""
DESCRIPTIONS = {
    ROW_ID: "Id of the row, made from its key: it stays the same when the row is loaded again.",
    PARENT_ID: f"`{ROW_ID}` of the row of the parent table.",
    ROOT_ID: f"`{ROW_ID}` of the row of the root table.",
    LIST_INDEX: "Position in the vendor's list, from 0.",
    LOAD_ID: f"The load that wrote the row; `{LOADS}` lists the completed ones.",
}
"""What those columns are, and the two that dlt needs no hint for."""
Columns = dict[str, Any]
"""dlt's hints by column."""
TYPES = {"string": "text", "int64": "bigint"}
"""dlt's type by Arrow's, of the key columns."""


def shapes(tables: Sequence[Table]) -> list[TableSchema]:
    """Returns every table of these trees: each root table and the tables below it."""
    return [shape for table in tables for shape in table.schema.tree()]


def columns(shape: TableSchema, primary_key: Iterable[str] = ()) -> Columns:
    """Returns the hints of a table's columns, dlt's own included."""
    found: Columns = {}
    for column in shape.columns:
        found[column.name] = {"name": column.name, "data_type": column.data_type, "nullable": column.nullable}
        if column.description:
            found[column.name]["description"] = column.description
    own = {name: str(shape.arrow_schema.field(name).type) for name in shape.arrow_schema.names if name not in found}
    for name, arrow_type in {**own, LOAD_ID: "string"}.items():
        dlt_type = {"data_type": TYPES[arrow_type], "nullable": False, "description": DESCRIPTIONS[name]}
        found[name] = {"name": name, **dlt_type, **DLT_COLUMNS.get(name, {})}
    for name in primary_key:
        found[name] |= {"nullable": False, "primary_key": True}
    return found


def declare(
    schema: dlt.Schema,
    table: Table,
    resource: str,
    source: str,
    *,
    disposition: str = "merge",
    file_format: str | None = None,
) -> None:
    """Adds a root table and the tables below it to a schema, as they will be loaded."""
    for shape in table.schema.tree():
        own = columns(shape, () if shape.parent else table.key)
        declared: dict[str, Any] = {"name": shape.name, "columns": own | _unnamed(schema, shape.name, own)}
        if shape.description:
            declared["description"] = shape.description
        if file_format:
            declared["file_format"] = file_format
        if shape.parent:
            declared["parent"] = shape.parent
        else:
            declared |= {"resource": resource, "write_disposition": disposition, SOURCE_HINT: source}
        schema.update_table(declared)  # type: ignore[arg-type]  # dlt's TypedDict has no keys that begin with x-


def _unnamed(schema: dlt.Schema, table: str, own: Columns) -> Columns:
    """Returns the columns that an earlier model required and this one does not name: new rows have null there."""
    known: Columns = dict(schema.tables.get(table, {}).get("columns", {}))
    return {
        name: {**hint, "nullable": True}
        for name, hint in known.items()
        if name not in own and not hint.get("nullable", True)
    }


def name_variant(
    resource: DltResource, shape: TableSchema, table: Table, disposition: Any, *, own_format: bool
) -> None:
    """Prepares a resource to yield Arrow rows of another table than its own.

    The schema knows the columns by `declare`; only those that Arrow takes for text are given again. Hints of a
    variant begin as a copy of the resource's, so they are emptied first. With `own_format` also the format of its
    files: a user may have set it for the resource; without it, it is that of the run.
    """
    root = shape.parent is None
    emptied: dict[str, Any] = {
        "columns": (),
        "primary_key": table.key if root else (),
        "additional_table_hints": {},
    }
    if shape.name != resource.table_name:
        # An empty text takes a hint back; None would leave it as it is.
        emptied["table_format"] = ""
    if own_format:
        emptied["file_format"] = ""
    if shape.parent:
        emptied["parent_table_name"] = shape.parent
    if root or disposition == "append":
        emptied["write_disposition"] = disposition
    resource.apply_hints(table_name=shape.name, create_table_variant=True, **emptied)
    forget_references(resource, shape.name)
    every = columns(shape, table.key if root else ())
    # dlt looks at each hinted column for each item: with all of them a page cost 2.5 ms, with these 0.9 ms.
    again = {name: hint for name, hint in every.items() if hint["data_type"] == "json" or name in DLT_COLUMNS}
    resource.apply_hints(table_name=shape.name, columns=again, create_table_variant=True)
