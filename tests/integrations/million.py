"""A demo's database grown to a given size by SQL: every record again and again, earlier and under another id."""

from __future__ import annotations

from pathlib import Path

import duckdb

ROOTS = {
    "omni": "action_logs",
    "sequence": "activity_logs",
    "kizen": "logged_activities",
    "tines": "action_logs",
}
KEYS = ("_dlt_id", "_dlt_parent_id", "_dlt_root_id", "activity_log_id")
TIMES = ("created_at", "logged_at", "completed_at", "scheduled_at")


def grow(file: Path, records: int) -> tuple[int, int]:
    """A quarter of the records of each source; how many records and events there are then."""
    with duckdb.connect(str(file)) as db:
        db.execute("set timezone = 'UTC'")
        for dataset, root in ROOTS.items():
            (there,) = db.execute(f"select count(*) from {dataset}.{root}").fetchone() or (1,)
            tables = db.execute(
                "select table_name from duckdb_tables() where schema_name = ?"
                " and (table_name = ? or starts_with(table_name, ?))",
                [dataset, root, f"{root}__"],
            ).fetchall()
            for (table,) in tables:
                _multiply(db, dataset, table, table == root, -(-records // (4 * there)))
        count = "select count(*) filter (part = 0), count(*) from activity.timeline"
        found = db.execute(count).fetchone()
        assert found
        return found[0], found[1]


def _multiply(db: duckdb.DuckDBPyConnection, dataset: str, table: str, root: bool, times: int) -> None:
    columns = db.execute(
        "select column_name, data_type from duckdb_columns() where schema_name = ? and table_name = ?",
        [dataset, table],
    ).fetchall()
    changed = [f"{name} || '-' || n as {name}" for name, _ in columns if name in KEYS]
    changed += [f"{name} - n * interval 17 minute as {name}" for name, _ in columns if name in TIMES]
    if root:
        number = "INT" in dict(columns)["id"]
        changed.append("id + n * 10000000 as id" if number else "id || '-' || n as id")
    db.execute(
        f"insert into {dataset}.{table} by name select * exclude (n) replace ({', '.join(changed)})"
        f" from {dataset}.{table}, range(1, {times}) as again (n)"
    )
