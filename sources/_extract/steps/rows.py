"""The plain form of records: nested rows, which dlt itself normalizes to the tables that the Arrow form fills.

They are made of the same columns, so both forms hold the same values, and the privacy policy holds for both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from gapless.sources._dlt.tables import LIST_INDEX, LOAD_ID, PARENT_ID, PREFIX, ROOT_ID, ROW_ID
from gapless.sources._schema.arrow import ArrowRows, Table, digest
from gapless.sources._schema.columns import Column, TableSchema
from gapless.sources._schema.record import ROWS_BELOW

Row = dict[str, Any]
"""A record: objects are dictionaries, lists are lists, times are datetimes in UTC."""


def nested_rows(schema: TableSchema, rows: ArrowRows) -> list[Row]:
    """Returns one nested row for each root row, in order, without dlt's own columns."""
    return [row for _, row in _with_children(schema, rows.rows)]


def _with_children(schema: TableSchema, batches: dict[str, pa.RecordBatch]) -> list[tuple[Row, Row]]:
    """Returns the rows of a table as pairs: dlt's own columns, and the row with all that is below it."""
    made = [_split(flat, schema) for flat in batches[schema.name].to_pylist()]
    by_id = {own[ROW_ID]: row for own, row in made}
    for child in schema.children:
        path = _way(child, schema)
        for row in by_id.values():
            _put(row, path, [])
        for own, row in _with_children(child, batches):
            _get(by_id[own[PARENT_ID]], path).append(row)
    return made


def _split(flat: Row, schema: TableSchema) -> tuple[Row, Row]:
    row: Row = {}
    for column in schema.columns:
        cell = flat[column.name]
        value = _parsed(cell) if column.data_type == "json" and cell is not None else cell
        _put(row, _path(column), value)
    return {name: cell for name, cell in flat.items() if name.startswith(PREFIX)}, row


def _path(column: Column) -> list[str]:
    """Returns the names that lead from the row to a cell."""
    # A field's own name may hold two underscores, too.
    return column.name.split("__") if len(column.path) > 1 else [column.name]


def _put(row: Row, path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        row = row.setdefault(name, {})
    row[path[-1]] = value


def _get(row: Row, path: Sequence[str]) -> Any:
    for name in path:
        row = row[name]
    return row


def cell(row: Row, column: Column | None) -> Any:
    """Returns a row's cell of a column; empty without a column, or where a user's step removed it."""
    found: Any = row
    for name in _path(column) if column else ():
        found = found.get(name) if isinstance(found, dict) else None
    return "" if column is None or found is None else found


def _is_missing(row: Row, column: Column) -> bool:
    found: Any = row
    for name in _path(column):
        found = found.get(name) if isinstance(found, dict) else None
    return found is None


class JsonText(str):
    """JSON that stays a text, because a number in it would change."""


def _parsed(text: str) -> Any:
    """Returns JSON as Python values, or as JsonText if a number in it would change."""
    try:
        return json.loads(text, parse_float=_exact)
    except ValueError:
        return JsonText(text)


def _json_cell(value: Any) -> Any:
    """Returns a JSON value in the form that dlt stores unchanged; a text or a number becomes JSON text, twice.

    dlt parses a text for a JSON column once and writes the result unchanged; a bare number goes into another column.
    """
    if value is None or isinstance(value, dict | list):
        return value
    return json.dumps(value if isinstance(value, JsonText) else json.dumps(value))


def _exact(digits: str) -> float:
    number = float(digits)
    if Decimal(digits) != Decimal(repr(number)):
        raise ValueError(f"{digits} is no double")
    return number


def _inside(row: Row, path: Sequence[str]) -> Row:
    """Returns the object at `path`, a copy that takes its place: a user may hold on to the row."""
    for name in path:
        row[name] = dict(row.get(name) or {})
        row = row[name]
    return row


def with_keys(rows: Iterable[Row], table: Table, load_id: str, written: set[str]) -> list[Row]:
    """Returns the rows with the keys that dlt's normalizer keeps, so that both forms give a row the same ids.

    Each key is taken once per package, the last row of it; `written` holds the keys of earlier rows and is updated.
    A user's step may have changed the rows: only the columns of the primary key must be there.
    """
    last = {digest(*(row[name] for name in table.key)): row for row in rows}
    new = {key: row for key, row in last.items() if key not in written}
    written.update(new)
    return [
        _counted(_keyed(row, table.schema, {ROW_ID: key}, key, load_id), table.schema) for key, row in new.items()
    ]


def _counted(keyed: Row, schema: TableSchema) -> Row:
    """Returns a row with the number of those below it, of which a user's step may have removed some."""
    return {**keyed, ROWS_BELOW: _rows_below(keyed, schema)} if schema.children else keyed


def _rows_below(keyed: Row, schema: TableSchema) -> int:
    lists = ((child, _get(keyed, _way(child, schema))) for child in schema.children)
    return sum(1 + _rows_below(item, child) for child, items in lists for item in items)


def _way(child: TableSchema, schema: TableSchema) -> list[str]:
    """Returns the names that lead from a row to the list that a child table holds."""
    return child.name.removeprefix(f"{schema.name}__").split("__")


def _keyed(row: Row, schema: TableSchema, own: Row, root: str, load_id: str) -> Row:
    """Returns a row with its keys, and with those of all rows below it; dlt leaves a row alone that has an id."""
    keyed, key = {**row, **own}, own[ROW_ID]
    for column in schema.columns:
        if not column.nullable and _is_missing(row, column):
            raise ValueError(
                f"{schema.name}: a step removed {column.name!r}, which is never null in this table; keep it or set it"
            )
        if column.data_type == "json":
            *path, name = _path(column)
            holder = _inside(keyed, path)
            if name in holder:
                holder[name] = _json_cell(holder[name])
    for child in schema.children:
        *path, name = _way(child, schema)
        holder = _inside(keyed, path)
        items = [item if isinstance(item, dict) else {"value": item} for item in holder.get(name) or []]
        common = {PARENT_ID: key, ROOT_ID: root, LOAD_ID: load_id}
        # The ids of the Arrow form (_schema/arrow.py): a row that came in one form is replaced by the other.
        keys = ({ROW_ID: f"{key}/{position}", LIST_INDEX: position, **common} for position in range(len(items)))
        holder[name] = [_keyed(item, child, each, root, load_id) for item, each in zip(items, keys, strict=True)]
    return keyed
