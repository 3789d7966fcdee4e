"""Types of dlt's objects, as far as they are used: dlt documents their methods, but not where their classes live."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

State = dict[str, Any]
"""A JSON object that dlt stores with a load and restores before the next one: of a resource, or of a source."""


class Capabilities(Protocol):
    """What a destination can do."""

    @property
    def supported_merge_strategies(self) -> Sequence[Any] | None:
        """Returns dlt's names of the ways to merge; none where rows can only be appended."""

    @property
    def supports_tz_aware_datetime(self) -> bool:
        """Returns whether a time can be a parameter of a statement."""


class SqlClient(Protocol):
    """An open connection to a dataset, as `pipeline.sql_client()` returns it."""

    @property
    def capabilities(self) -> Capabilities:
        """Returns what the destination can do."""

    def make_qualified_table_name(self, table_name: str, /) -> str:
        """Returns the table's name with dataset and quotes, as the destination's SQL needs it."""

    def escape_column_name(self, column_name: str, /) -> str:
        """Returns the column's name in the destination's quotes."""

    def execute_sql(self, sql: Any, /, *args: Any) -> Sequence[Sequence[Any]] | None:
        """Runs a statement; returns its rows, or None if it returns none."""

    def execute_query(self, query: Any, /) -> AbstractContextManager[Any]:
        """Runs a query; yields a DB-API cursor."""
