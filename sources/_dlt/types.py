"""Types of dlt's objects, as far as they are used: dlt documents their methods, but not where their classes live."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

State = dict[str, Any]
"""A JSON object that dlt stores with a load and restores before the next one: of a resource, or of a source."""

Rows = Sequence[Sequence[Any]]
"""Any, as a cell has the type of its column, which the query decides."""


class Cursor(Protocol):
    """The answer to a query, by the DB-API of Python (PEP 249)."""

    def fetchall(self) -> Rows:
        """Returns all rows that are left."""

    def fetchmany(self, size: int, /) -> Rows:
        """Returns the next rows, at most `size`; none at the end."""


class Capabilities(Protocol):
    """What a destination can do."""

    @property
    def supported_merge_strategies(self) -> Sequence[str] | None:
        """Returns dlt's names of the ways to merge; none where rows can only be appended."""

    @property
    def supports_tz_aware_datetime(self) -> bool:
        """Returns whether a time can be a parameter of a statement."""

    @property
    def supports_transactions(self) -> bool | None:
        """Returns whether statements can be rolled back; None where dlt does not say."""

    @property
    def supports_ddl_transactions(self) -> bool:
        """Returns whether that holds for `create` and `drop`, too."""

    @property
    def sqlglot_dialect(self) -> str | None:
        """Returns the name of its SQL dialect."""


class SqlClient(Protocol):
    """An open connection to a dataset, as `pipeline.sql_client()` returns it."""

    @property
    def capabilities(self) -> Capabilities:
        """Returns what the destination can do."""

    def make_qualified_table_name(self, table_name: str, /) -> str:
        """Returns the table's name with dataset and quotes, as the destination's SQL needs it."""

    def escape_column_name(self, column_name: str, /) -> str:
        """Returns the column's name in the destination's quotes."""

    def execute_sql(self, sql: str, /, *args: object) -> Rows | None:
        """Runs a statement; returns its rows, or None if it returns none."""

    def has_dataset(self) -> bool:
        """Returns whether the dataset is there."""

    def create_dataset(self) -> None:
        """Makes the dataset."""

    def begin_transaction(self) -> AbstractContextManager[object]:
        """Begins a transaction: committed at its end, rolled back when an error leaves it."""

    def execute_query(self, query: str, /) -> AbstractContextManager[Cursor]:
        """Runs a query; yields a DB-API cursor."""

    def __enter__(self) -> SqlClient:
        """Opens the connection."""

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any, /) -> None:
        """Closes the connection."""
