"""Reads what all pipelines have stored in a dataset, not only the one that runs: its tables, and their states."""

from __future__ import annotations

import json
import zlib
from base64 import b64decode
from typing import Any

from gapless.sources._dlt.internals import DestinationUndefinedEntity, pipeline_state
from gapless.sources._dlt.tables import LOADS, SCHEMAS, STATES, newest_schemas, newest_states
from gapless.sources._dlt.types import SqlClient, State

Schema = dict[str, Any]
"""dlt's schema of a source, as JSON values."""


def parsed_schema(cell: str | Schema) -> Schema:
    """Returns a stored schema, given the cell of dlt's table of schemas: JSON, compressed where it is long."""
    if isinstance(cell, str):
        cell = json.loads(cell if cell.lstrip().startswith("{") else zlib.decompress(b64decode(cell)))
    assert isinstance(cell, dict)
    return cell


def schemas(client: SqlClient) -> dict[str, Schema]:
    """Returns the newest schema of each source that a dataset holds, by its name; none before the first load."""
    query = newest_schemas(client.make_qualified_table_name(SCHEMAS))
    return {name: parsed_schema(cell) for name, cell in rows_or_none(client, query) or ()}


def states(client: SqlClient) -> list[State]:
    """Returns the newest state of each pipeline that loaded into a dataset; none before the first load."""
    query = newest_states(client.make_qualified_table_name(STATES), client.make_qualified_table_name(LOADS))
    return [pipeline_state(text) for (text,) in rows_or_none(client, query) or ()]


def rows_or_none(client: SqlClient, query: str) -> list[tuple[Any, ...]] | None:
    """Returns the rows of a query; None: a table is missing, as before the first load."""
    try:
        with client.execute_query(query) as cursor:
            return [tuple(row) for row in cursor.fetchall()]
    except DestinationUndefinedEntity:
        return None
