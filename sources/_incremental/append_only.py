"""Where rows are only appended (plain parquet in a bucket or a folder): which of the rows with one key counts.

The newest one of a completed load, and below a root row just what was loaded together with it.
"""

from __future__ import annotations

from typing import Any


def appends(capabilities: Any) -> bool:
    """Whether a destination of these capabilities, as dlt knows them, can replace nothing."""
    return "delete-insert" not in (capabilities.supported_merge_strategies or ())


def newest(client: Any, table: str) -> str:
    """What counts of a table, as a subquery in the SQL of DuckDB, which reads files for dlt."""
    own, loads = client.make_qualified_table_name(table), client.make_qualified_table_name("_dlt_loads")
    if table.startswith("_dlt"):
        return str(own)
    completed = f"where _dlt_load_id in (select load_id from {loads} where status = 0)"
    root, _, below = table.partition("__")
    if not below:
        one = "qualify row_number() over (partition by _dlt_id order by _dlt_load_id desc) = 1"
        return f"(select * from {own} {completed} {one})"
    roots = f"select _dlt_id, max(_dlt_load_id) from {client.make_qualified_table_name(root)} {completed} group by 1"
    return f"(select * from {own} where (_dlt_root_id, _dlt_load_id) in ({roots}))"
