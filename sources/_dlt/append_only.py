"""Says which row of a key counts in an append-only destination (parquet files in a bucket or a folder).

The newest row of a completed load counts, with the child rows that were loaded together with it.
"""

from __future__ import annotations

from gapless.sources._dlt.tables import LOAD_ID, LOADS, PREFIX, ROOT_ID, ROW_ID, is_completed, root_table
from gapless.sources._dlt.types import Capabilities, SqlClient


def appends(capabilities: Capabilities) -> bool:
    """Returns whether a destination with these capabilities can only append rows, never replace one."""
    return "delete-insert" not in (capabilities.supported_merge_strategies or ())


def newest(client: SqlClient, table: str) -> str:
    """Returns a subquery with the rows of a table that count, in DuckDB's SQL, because DuckDB reads files for dlt."""
    own, loads = client.make_qualified_table_name(table), client.make_qualified_table_name(LOADS)
    # dlt itself only ever adds to its own tables, so each of their rows counts.
    if table.startswith(PREFIX):
        return str(own)
    # A load that was killed leaves its files behind; only the table of loads says which ones count.
    completed = f"where {is_completed(loads)}"
    root = root_table(table)
    if root == table:
        one = f"qualify row_number() over (partition by {ROW_ID} order by {LOAD_ID} desc) = 1"
        return f"(select * from {own} {completed} {one})"
    # Child rows have no key of their own, so they count or not together with the root row they were loaded with.
    roots = f"select {ROW_ID}, max({LOAD_ID}) from {client.make_qualified_table_name(root)} {completed} group by 1"
    return f"(select * from {own} where ({ROOT_ID}, {LOAD_ID}) in ({roots}))"
