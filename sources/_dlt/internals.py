"""The door to dlt's insides for sources/: all that is imported from below dlt's documented surface.

Documented are `dlt`, `dlt.sources` and `dlt.destinations`. Each entry says what it does, why it is needed and what
would replace it. tests/unit/test_dlt_canaries.py has one canary for each; test_dlt_door.py beside it keeps such
imports out of all other files. The door of pipelines/ is pipelines/destinations/_dlt.
"""

from __future__ import annotations

from typing import Any

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.schema.typing import TTableSchema

__all__ = ["DestinationUndefinedEntity", "column_names", "name_root_resources"]
"""DestinationUndefinedEntity: raised by `sql_client()` for a table or a dataset that is not there yet, which before
the first load is no error. Replaced by: a documented way to ask whether a table exists."""


class _RootResource(dlt.Schema):
    """A schema whose nested tables name their root's resource."""

    def get_table(self, table_name: str) -> TTableSchema:
        """Returns dlt's table; a nested one has the resource of its root."""
        table = super().get_table(table_name)
        parent = table.get("parent")
        return {**table, "resource": self.get_table(parent)["resource"]} if parent else table


def name_root_resources() -> None:
    """Lets the resource that is being extracted yield Arrow tables for nested tables.

    Why: `Extract._compute_metrics` reads `get_table(name)["resource"]` for every table that got a file, and a nested
    table has none (KeyError). dlt clones a schema given to `@dlt.source`, so the class of the current one is changed.
    Replaced by: nested tables for Arrow data in dlt.
    """
    dlt.current.source_schema().__class__ = _RootResource


def column_names(cursor: Any) -> list[str]:
    """Returns the names of a query's columns in lower case, given the cursor of `execute_query`.

    Why: `description` is not there for every engine. Replaced by: `cursor.description` for all of them.
    """
    return [name.lower() for name in cursor._get_columns()]
