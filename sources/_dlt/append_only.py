"""Where rows are only appended (plain parquet in a bucket or a folder): which of the rows with one key counts.

The newest one of a completed load, and below a root row just what was loaded together with it.
"""

from __future__ import annotations

from typing import Any

from gapless.sources._dlt.tables import LOAD_ID, LOADS, PREFIX, ROOT_ID, ROW_ID, is_completed


def appends(capabilities: Any) -> bool:
    """Whether a destination of these capabilities, as dlt knows them, can replace nothing."""
    return "delete-insert" not in (capabilities.supported_merge_strategies or ())


def newest(client: Any, table: str) -> str:
    """What counts of a table, as a subquery in the SQL of DuckDB, which reads files for dlt."""
    own, loads = client.make_qualified_table_name(table), client.make_qualified_table_name(LOADS)
    if table.startswith(PREFIX):
        return str(own)
    completed = f"where {is_completed(loads)}"
    root, _, below = table.partition("__")
    if not below:
        one = f"qualify row_number() over (partition by {ROW_ID} order by {LOAD_ID} desc) = 1"
        return f"(select * from {own} {completed} {one})"
    roots = f"select {ROW_ID}, max({LOAD_ID}) from {client.make_qualified_table_name(root)} {completed} group by 1"
    return f"(select * from {own} where ({ROOT_ID}, {LOAD_ID}) in ({roots}))"
