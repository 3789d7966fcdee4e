"""By hand, without dlt: orjson parses a page, its rows become Arrow columns, DuckDB merges them by id at the end.

https://duckdb.org/docs/stable/guides/python/import_arrow (a table is scanned where it lies, nothing is copied)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
import orjson
import pages
import pyarrow as pa

Row = dict[str, Any]
LOGS = {
    "id": "id",
    "account_id": "sequenceAccountId",
    "activity_type": "activityType",
    "api_version": "apiVersion",
    "origin": "origin",
    "trace_id": "traceId",
    "created_at": "createdAt",
}
ITEMS = {
    "id": "id",
    "item_log_id": "activityLogId",
    "verb": "verb",
    "name": "name",
    "summary": "summary",
    "reason": "reason",
}
THINGS = {"actor": "activityLogActor", "object": "activityLogObject", "target": "activityLogTarget"}
THING = {"id": "id", "type": "entityType", "entity_id": "entityId"}
Column = Callable[[list[Row]], list[Any]]


def columns(names: dict[str, str]) -> dict[str, Column]:
    return {name: lambda rows, key=key: [row.get(key) for row in rows] for name, key in names.items()}


def within(thing: str, key: str) -> Column:
    return lambda items: [(item.get(thing) or {}).get(key) for item in items]


LOG_COLUMNS = columns(LOGS)
ITEM_COLUMNS = columns(ITEMS) | {
    f"{short}_{name}": within(thing, key) for short, thing in THINGS.items() for name, key in THING.items()
}
ITEM_COLUMNS["actor_email"] = within("activityLogActor", "email")
ITEM_COLUMNS["metadata"] = lambda items: [orjson.dumps(item.get("metadata")).decode() for item in items]


def main() -> None:
    with duckdb.connect("loaded.duckdb") as connection:
        held = connection.sql("select 1 from duckdb_tables() where table_name = 'logs'").fetchone()
        watermark = connection.sql("select max(created_at) from logs").fetchone()[0] if held else None
        batches = [as_batches(orjson.loads(page)["items"]) for page in pages.sequence(watermark)]
        logs, items = (pa.Table.from_batches(each) for each in zip(*batches, strict=True))
        merge(connection, logs, items)


def as_batches(logs: list[Row]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    items = [item for log in logs for item in log["activityLogItems"]]
    arrays = {name: pa.array(column(items), pa.string()) for name, column in ITEM_COLUMNS.items()}
    arrays["log_id"] = pa.array([log["id"] for log in logs for _ in log["activityLogItems"]], pa.string())
    arrays["list_idx"] = pa.array([index for log in logs for index, _ in enumerate(log["activityLogItems"])])
    own = {name: pa.array(column(logs), pa.string()) for name, column in LOG_COLUMNS.items()}
    return pa.RecordBatch.from_pydict(own), pa.RecordBatch.from_pydict(arrays)


def merge(connection: duckdb.DuckDBPyConnection, logs: pa.Table, items: pa.Table) -> None:
    """One transaction: DuckDB finds both tables by their names here."""
    new_logs = "select * replace (cast(created_at as timestamptz) as created_at) from logs_page"
    new_items = "select * replace (cast(metadata as json) as metadata) from items_page"
    connection.register("logs_page", logs)
    connection.register("items_page", items)
    connection.execute("begin")
    connection.execute(f"create table if not exists logs as {new_logs} limit 0")
    connection.execute(f"create table if not exists items as {new_items} limit 0")
    connection.execute(
        f"merge into logs as held using ({new_logs} qualify row_number() over (partition by id) = 1) as new"
        " on held.id = new.id when matched then update when not matched then insert"
    )
    connection.execute("delete from items where log_id in (select id from logs_page)")
    connection.execute(f"insert into items {new_items}")
    connection.execute("commit")


if __name__ == "__main__":
    main()
