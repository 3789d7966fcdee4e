"""Moves fields that stand in `_extra` into the columns and child tables that today's model has for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from gapless.sources import Source
from gapless.sources._dlt.tables import LOAD_ID, ROOT_ID, ROW_ID
from gapless.sources._dlt.types import SqlClient
from gapless.sources._schema.arrow import child_rows
from gapless.sources._schema.columns import ARROW, TableSchema
from gapless.sources._schema.from_extra import Fields, known_fields
from gapless.sources._schema.privacy import Privacy

EXTRA = "_extra"
AT_ONCE = 2_000
"""Rows that are read at once."""
IN_STATEMENT = 200
"""Rows in one statement."""
POSTGRES = {
    "text": "varchar", "bigint": "bigint", "double": "double precision", "bool": "boolean",
    "timestamp": "timestamp with time zone", "json": "jsonb",
}  # fmt: skip
"""Casts of values in a statement, which Postgres would else take for texts."""


@dataclass(frozen=True)
class _Row:
    """A row with an `_extra` of which the model names something."""

    id: str
    root: str
    load: str
    fields: Fields


def move_fields(client: SqlClient, source: Source, privacy: Privacy, kind: str) -> Iterator[str]:
    """Moves what the model names by now out of every `_extra`, as the privacy policy allows; yields what was moved.

    A value that does not fit its column stays in `_extra`. `kind` is dlt's word for the destination.
    """
    for table in source.tables:
        # Parents first: a row that is moved into a child table is looked at there.
        for shape in table.schema.tree():
            if shape.model and any(column.name == EXTRA for column in shape.columns):
                yield from _Mover(client, shape, privacy, kind).move_all()


class _Mover:
    """Moves fields within one table, and from it into the tables below."""

    def __init__(self, client: SqlClient, shape: TableSchema, privacy: Privacy, kind: str) -> None:
        self._client, self._shape, self._privacy = client, shape, privacy
        self._casts = POSTGRES if kind.endswith("postgres") else {}
        self._moved = Counter[str]()

    def move_all(self) -> Iterator[str]:
        """Moves everything; yields a message for each column that rows were moved to."""
        last = ""
        while rows := self._read(last):
            last = rows[-1][0]
            self._move([*self._known(rows)])
        for column, rows_of in self._moved.items():
            yield f"{self._shape.name}: {rows_of:,} rows had {column} in {EXTRA}, and have it in its own place now"

    def _read(self, last: str) -> Sequence[Sequence[Any]]:
        names = [ROW_ID, ROOT_ID if self._shape.parent else ROW_ID, LOAD_ID, EXTRA]
        row_id, root, load, extra = map(self._client.escape_column_name, names)
        table = self._client.make_qualified_table_name(self._shape.name)
        # By key, because a query that is open while rows change would see some of them twice.
        return (
            self._client.execute_sql(
                f"select {row_id}, {root}, {load}, cast({extra} as varchar) from {table}"
                f" where {extra} is not null and {row_id} > %s order by {row_id} limit {AT_ONCE}",
                last,
            )
            or ()
        )

    def _known(self, rows: Sequence[Sequence[Any]]) -> Iterator[_Row]:
        assert self._shape.model
        for row_id, root, load, extra in rows:
            fields = known_fields(self._shape.model, str(extra))
            if fields.found or fields.rest is None:
                yield _Row(row_id, root, load, fields)

    def _move(self, rows: Sequence[_Row]) -> None:
        by_columns: dict[frozenset[str], list[_Row]] = {}
        for row in rows:
            names = {self._column_of(path) for path in row.fields.values}
            self._moved.update([*names, *("__".join(path) for path in row.fields.lists)])
            # A row is not touched in columns that its `_extra` says nothing of.
            by_columns.setdefault(frozenset(names), []).append(row)
        for touched, some in by_columns.items():
            self._update([*sorted(touched), EXTRA], some)
        for child in self._shape.children:
            path = tuple(child.name.removeprefix(f"{self._shape.name}__").split("__"))
            self._insert(child, [row for row in rows if row.fields.lists.get(path)], path)

    def _column_of(self, path: tuple[str, ...]) -> str:
        return next(column.name for column in self._shape.columns if column.path == path)

    def _update(self, names: Sequence[str], rows: Sequence[_Row]) -> None:
        paths = {column.path: column.name for column in self._shape.columns}
        cells: dict[str, list[object]] = {name: [None] * len(rows) for name in paths.values()}
        for at, row in enumerate(rows):
            cells[EXTRA][at] = row.fields.rest
            for path, value in row.fields.values.items():
                cells[paths[path]][at] = value
        schema = [pa.field(column.name, ARROW[column.data_type]) for column in self._shape.columns]
        table = pa.table([pa.array(cells[one.name], one.type) for one in schema], pa.schema(schema))
        made = self._privacy.apply(self._shape, table).select([*names]).to_pylist()
        changed = [{ROW_ID: row.id, **made_row} for row, made_row in zip(rows, made, strict=True)]
        own = self._client.make_qualified_table_name(self._shape.name)
        quote = self._client.escape_column_name
        sets = ", ".join(f"{quote(name)} = moved.{quote(name)}" for name in names)
        for some in _slices(changed):
            selects, values = self._as_selects([ROW_ID, *names], some, self._shape)
            where = f"where {own}.{quote(ROW_ID)} = moved.{quote(ROW_ID)}"
            self._client.execute_sql(f"update {own} set {sets} from ({selects}) as moved {where}", *values)

    def _insert(self, child: TableSchema, rows: Sequence[_Row], path: tuple[str, ...]) -> None:
        many = [row.fields.lists[path] for row in rows]
        made = child_rows(child, many, [row.id for row in rows], [row.root for row in rows]) if rows else {}
        loads = {row.root: row.load for row in rows}
        for shape in child.tree() if made else ():
            found = self._privacy.apply(shape, pa.Table.from_batches([made[shape.name]])).to_pylist()
            complete = [{**row, LOAD_ID: loads[row[ROOT_ID]]} for row in found]
            for some in _slices(complete):
                selects, values = self._as_selects([*some[0]], some, shape)
                names = ", ".join(map(self._client.escape_column_name, some[0]))
                table = self._client.make_qualified_table_name(shape.name)
                self._client.execute_sql(f"insert into {table} ({names}) {selects}", *values)

    def _as_selects(
        self, names: Sequence[str], rows: Sequence[Mapping[str, Any]], shape: TableSchema
    ) -> tuple[str, list[object]]:
        """Returns rows as a query, because not every engine can name the columns of `values`, and its values."""
        kinds: dict[str, str] = {column.name: column.data_type for column in shape.columns}
        casts = [self._casts.get(kinds.get(name, "")) for name in names]
        marks = [f"cast(%s as {cast})" if cast else "%s" for cast in casts]
        named = ", ".join(
            f"{mark} as {self._client.escape_column_name(name)}" for mark, name in zip(marks, names, strict=True)
        )
        query = " union all ".join([f"select {named}"] * len(rows))
        return query, [self._cell(row[name]) for row in rows for name in names]

    def _cell(self, value: object) -> object:
        # SQLite stores times as texts, in UTC and without an offset, as dlt does.
        if isinstance(value, datetime) and not self._client.capabilities.supports_tz_aware_datetime:
            return value.strftime("%Y-%m-%d %H:%M:%S.%f")
        return value


def _slices(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    return (rows[start : start + IN_STATEMENT] for start in range(0, len(rows), IN_STATEMENT))
