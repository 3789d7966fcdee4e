"""Changes the rows of one dataset to what today's privacy policy makes of them, in the transaction of a caller.

A row knows by its load under which policy it was written, so that nothing is hashed twice and no hash that a vendor
sent is taken for one of ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gapless.sources._dlt.tables import LOAD_ID, ROW_ID
from gapless.sources._dlt.types import SqlClient, State
from gapless.sources._http.errors import VENDOR_SAYS, without_vendor_words
from gapless.sources._schema.columns import Column, TableSchema
from gapless.sources._schema.policy_history import Written, weakened, written_under
from gapless.sources._schema.privacy import Privacy

PAGE_ROWS, PAGE_JSON = 10_000, 2_000
"""Rows that are read and changed at once, and rows with JSON, which is long; SQLite takes 32,766 parameters."""
LOST = "__lost_"
"""What stands in the name of a table that was set aside when a column of it was gone (sync/mending)."""
Changes = dict[str, dict[str, str | None]]
"""New cells by column and row id."""


@dataclass
class PrivateRows:
    """Applies a policy to the tables of a dataset; `history` is what its state says of earlier policies."""

    client: SqlClient
    policy: Privacy
    history: Sequence[State]
    columns: Mapping[str, set[str]]
    """The columns that are there, by table."""
    json_type: str
    """What the engine calls the type of JSON columns."""
    cells: dict[str, int] = field(default_factory=dict)
    """How many cells were changed, by `table.column`."""

    def apply(self, schema: TableSchema) -> None:
        """Changes the cells that a rule drops or hashes, in a table and in what was set aside of it."""
        for table in sorted(self.columns):
            if table == schema.name:
                self._apply(schema)
            elif table.startswith(f"{schema.name}{LOST}"):
                # Nobody syncs it any more, and its rows may lack what tells them apart.
                for column in self.policy.columns(schema):
                    if column.name in self.columns[table]:
                        self._drop(table, column.name)

    def _apply(self, schema: TableSchema) -> None:
        here = [one for one in self.policy.columns(schema) if one.name in self.columns[schema.name]]
        dropped = [one for one in here if self.policy.of_column((schema.name, one.name))[0] == "drop"]
        for column in dropped:
            self._drop(schema.name, column.name)
        hashed = [one for one in here if one not in dropped]
        for rows in self._pages(schema.name, hashed) if hashed else ():
            changes: Changes = {}
            for row_id, load_id, *values in rows:
                under = written_under(self.history, load_id)
                for column, value in zip(hashed, values, strict=True):
                    if (cell := self._cell(schema.name, column, value, under)) != value:
                        changes.setdefault(column.name, {})[row_id] = cell
            self._write(schema.name, changes, {one.name for one in hashed if one.data_type == "json"})

    def clean_errors(self, table: str, column: str) -> None:
        """Takes vendors' words from a column with texts of errors."""
        if column not in self.columns.get(table, ()):
            return
        name, quoted = self._names(table, column, ROW_ID)
        found = self.client.execute_sql(
            f"select {quoted[1]}, {quoted[0]} from {name} where {quoted[0]} like %s", f"%{VENDOR_SAYS}%"
        )
        self._write(table, {column: {row: without_vendor_words(text) for row, text in found or ()}}, set())

    def drop_quoting(self, table: str, column: str) -> None:
        """Empties the cells of a JSON column that hold vendors' words about errors."""
        if column in self.columns.get(table, ()):
            name, (quoted,) = self._names(table, column)
            self.client.execute_sql(
                f"update {name} set {quoted} = null where cast({quoted} as varchar) like %s", f"%{VENDOR_SAYS}%"
            )

    def not_here(self) -> list[str]:
        """Returns the columns, as `table.column`, of which some rows lack what the policy wants in clear."""
        found = {}
        for where, since, end in weakened(self.policy, self.history):
            table, _, column = where.rpartition(".")
            if where not in found and column in self.columns.get(table, ()) and self._has_rows(table, since, end):
                found[where] = True
        return sorted(found)

    def _has_rows(self, table: str, since: str, end: str | None) -> bool:
        name, (load,) = self._names(table, LOAD_ID)
        # Load ids are times in seconds, with as many digits before the point for centuries.
        before, given = (f" and {load} < %s", (since, end)) if end else ("", (since,))
        return bool(self.client.execute_sql(f"select 1 from {name} where {load} >= %s{before} limit 1", *given))

    def _drop(self, table: str, column: str) -> None:
        name, (quoted,) = self._names(table, column)
        ((count,),) = self.client.execute_sql(f"select count({quoted}) from {name}") or [(0,)]
        if count:
            self.client.execute_sql(f"update {name} set {quoted} = null where {quoted} is not null")
            self.cells[f"{table}.{column}"] = int(count)

    def _cell(self, table: str, column: Column, value: str | None, under: Written) -> str | None:
        today, then = (_of(rules, table, column.name) for rules in (self.policy.rules, under.rules or ()))
        hashes = any(rule.endswith("=hash") for rule in then)
        if under.rules is not None and today == then and (not hashes or under.key == self.policy.key_mark):
            return value
        return self.policy.cell(table, column, value, keep_hashes=hashes or under.rules is None)

    def _pages(self, table: str, columns: Sequence[Column]) -> Iterator[Sequence[tuple[Any, ...]]]:
        """Yields the row id, the load and the cells as texts of all rows, in the order of the row ids."""
        name, (row_id, load, *names) = self._names(table, ROW_ID, LOAD_ID, *(one.name for one in columns))
        # As text, because drivers that decode JSON lose digits of numbers.
        cells = ", ".join(f"cast({one} as varchar)" for one in names)
        most = PAGE_JSON if any(one.data_type == "json" for one in columns) else PAGE_ROWS
        last = ""
        while True:
            query = f"select {row_id}, {load}, {cells} from {name} where {row_id} > %s order by {row_id}"
            rows = self.client.execute_sql(f"{query} limit {most}", last) or ()
            if not rows:
                return
            yield [tuple(row) for row in rows]
            last = rows[-1][0]

    def _write(self, table: str, changes: Changes, json_columns: set[str]) -> None:
        for column, cells in changes.items():
            if not cells:
                continue
            name, (quoted, row_id) = self._names(table, column, ROW_ID)
            new = f"cast(changed.new as {self.json_type})" if column in json_columns else "changed.new"
            select, given = self._pairs(cells)
            # With the names in front, as engines name the columns of values in different ways.
            self.client.execute_sql(
                f"with changed(row_id, new) as ({select}) update {name} set {quoted} = {new} from changed"
                f" where {row_id} = changed.row_id",
                *given,
            )
            at = f"{table}.{column}"
            self.cells[at] = self.cells.get(at, 0) + len(cells)

    def _pairs(self, cells: dict[str, str | None]) -> tuple[str, list[str | None]]:
        """Returns a query of the row ids and the new cells, and its parameters."""
        if self.client.capabilities.sqlglot_dialect == "duckdb":
            # Its driver takes a quarter of a millisecond for each parameter: it looks for modules that are not there.
            texts = "unnest(from_json(%s, '[\"varchar\"]'))"
            return f"select {texts}, {texts}", [json.dumps([*cells]), json.dumps([*cells.values()])]
        values = ", ".join(["(%s, %s)"] * len(cells))
        return f"values {values}", [part for row, cell in cells.items() for part in (row, cell)]

    def _names(self, table: str, *columns: str) -> tuple[str, list[str]]:
        escape = self.client.escape_column_name
        return str(self.client.make_qualified_table_name(table)), [escape(column) for column in columns]


def _of(rules: Sequence[str] | frozenset[str], table: str, column: str) -> set[str]:
    """Returns the rules about a column, and about values inside of it."""
    return {one for one in rules if one.startswith((f"{table}.{column}=", f"{table}.{column}.["))}
