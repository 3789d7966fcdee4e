"""The tables of one dataset as they are there, with the statements that find and delete rows in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gapless.sources._dlt.tables import ROOT_ID, ROW_ID

if TYPE_CHECKING:
    import dlt

    from gapless.sources._dlt.types import SqlClient

IN_LIST = 500
"""Values in one statement."""
COLUMNS = (
    "select c.table_schema, c.table_name, c.column_name from information_schema.columns c"
    " join information_schema.tables t on t.table_catalog = c.table_catalog and t.table_schema = c.table_schema"
    " and t.table_name = c.table_name"
    " where c.table_catalog = current_database() and t.table_type = 'BASE TABLE'"
)
IN_SQLITE = (
    "select '{0}', m.name, c.name from {0}.sqlite_master m, pragma_table_xinfo(m.name, '{0}') c"
    " where m.type = 'table'"
)
Found = tuple[str, list[Any]]
"""An SQL condition and its parameters. Any, as a parameter has the type of its column."""


class Tables:
    """The tables of a pipeline's dataset, by an open client: all that are there, not only those of a list."""

    def __init__(self, pipeline: dlt.Pipeline, client: SqlClient) -> None:
        self.client, self.dataset = client, str(pipeline.dataset_name)
        self.is_sqlite = pipeline.destination.destination_type.endswith("sqlalchemy")
        self.plain_order = ' collate "C"' if pipeline.destination.destination_type.endswith("postgres") else ""
        """Follows a text of which ASCII letters are compared: in some languages the small letter of I is no i."""
        self._aware = bool(client.capabilities.supports_tz_aware_datetime)
        self.columns: dict[str, set[str]] = {}
        """Columns by table."""
        self.staged: list[tuple[str, str]] = []
        """Schema and table of what loads have left in staging datasets."""
        for schema, table, column in self.query(IN_SQLITE.format(self.dataset) if self.is_sqlite else COLUMNS):
            if schema == self.dataset:
                self.columns.setdefault(str(table), set()).add(str(column))
            elif str(schema).startswith(f"{self.dataset}_staging"):
                self.staged.append((str(schema), str(table)))

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Returns the rows of a query."""
        return [tuple(row) for row in self.client.execute_sql(statement, *map(self.value, values)) or ()]

    def run(self, statement: str, *values: Any) -> None:
        """Runs a statement that returns nothing."""
        self.client.execute_sql(statement, *map(self.value, values))

    def value(self, value: Any) -> Any:
        """Returns a parameter as the engine takes it: SQLite stores times as texts."""
        if isinstance(value, datetime) and not self._aware:
            return f"{value:%Y-%m-%d %H:%M:%S.%f}"
        return value

    def name(self, table: str) -> str:
        """Returns a table's name as it stands in a statement."""
        return str(self.client.make_qualified_table_name(table))

    def column(self, name: str) -> str:
        """Returns a column's name as it stands in a statement."""
        return str(self.client.escape_column_name(name))

    def has(self, table: str, *columns: str) -> bool:
        """Returns whether a table is there with these columns."""
        return table in self.columns and self.columns[table].issuperset(columns)

    def of_root(self, root: str) -> list[str]:
        """Returns the tables that hold rows of a root table, children first, with those that were set aside."""
        found = [one for one in self.columns if one == root or one.startswith(f"{root}__")]
        return sorted(found, key=lambda one: (ROOT_ID not in self.columns[one], one))

    def among(self, column: str, values: Iterable[str]) -> Iterator[Found]:
        """Yields conditions for the rows whose column, as a text, is one of these; each of a part of the values."""
        every = sorted(values)
        for start in range(0, len(every), IN_LIST):
            some = every[start : start + IN_LIST]
            yield f"cast({self.column(column)} as varchar) in ({', '.join(['%s'] * len(some))})", list(some)

    def count(self, table: str, where: Found) -> int:
        """Returns how many rows a condition finds."""
        ((rows,),) = self.query(f"select count(*) from {self.name(table)} where {where[0]}", *where[1])
        return int(rows)

    def delete(self, table: str, where: Found) -> int:
        """Deletes the rows that a condition finds, and returns how many these were."""
        rows = self.count(table, where)
        if rows:
            self.run(f"delete from {self.name(table)} where {where[0]}", *where[1])
        return rows

    def row_ids(self, table: str, where: Found, columns: Sequence[str]) -> list[tuple[Any, ...]]:
        """Returns `_dlt_id` and other columns of the rows that a condition finds."""
        names = ", ".join(map(self.column, (ROW_ID, *columns)))
        return self.query(f"select {names} from {self.name(table)} where {where[0]}", *where[1])

    def empty_staging(self) -> None:
        """Deletes what loads have left in staging datasets: copies of rows that are merged."""
        for schema, table in self.staged:
            self.run(f"delete from {self.column(schema)}.{self.column(table)} where 1 = 1")
