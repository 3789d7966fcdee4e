"""The floor: each page saved as one line of NDJSON, then DuckDB reads, unnests and merges by id. No dlt, no state,
no check of anything: what moving these bytes into these tables costs at the least.

https://duckdb.org/docs/stable/data/json/loading_json (read_ndjson_objects) and .../json_functions (from_json with the
shape given: of lines as long as a page, read_json with columns took four times the CPU)
https://duckdb.org/docs/stable/sql/query_syntax/unnest and .../statements/merge_into
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import duckdb
import pages

FILE, LINES = "loaded.duckdb", Path("pages.ndjson")
THING = dict.fromkeys(("id", "entityType", "entityId"), "VARCHAR")
ITEM = {
    **dict.fromkeys(("id", "activityLogId", "verb", "name", "summary", "reason"), "VARCHAR"),
    "metadata": "JSON",
    "activityLogActor": THING | {"email": "VARCHAR"},
    "activityLogObject": THING,
    "activityLogTarget": THING,
}
LOG = {
    **dict.fromkeys(("id", "sequenceAccountId", "activityType", "apiVersion", "origin", "traceId"), "VARCHAR"),
    "createdAt": "TIMESTAMPTZ",
    "activityLogItems": [ITEM],
}
DOCUMENT = {**dict.fromkeys(("id", "filename", "mimeType"), "VARCHAR"), "size": "BIGINT"}
MESSAGE = {
    **dict.fromkeys(("id", "channel", "direction", "subject", "body"), "VARCHAR"),
    "documents": [DOCUMENT],
}
ACTION = {
    **dict.fromkeys(("id", "type", "status", "summary", "error", "parentActionId"), "VARCHAR"),
    **dict.fromkeys(("scheduledAt", "createdAt", "completedAt"), "TIMESTAMPTZ"),
    "input": "JSON",
    "output": "JSON",
    "tool": dict.fromkeys(("id", "name", "description"), "VARCHAR"),
    "messages": [MESSAGE],
}


def lines(shape: dict[str, Any]) -> str:
    """The saved lines as structs of this shape, called `line`."""
    return f"(select from_json(json, '{json.dumps(shape)}') as line from read_ndjson_objects('{LINES}'))"


SEQUENCE = {
    "staged": f"select unnest(line.items) as log from {lines({'items': [LOG]})}",
    "logs": """select log.id as id, log.sequenceAccountId as account_id, log.activityType as activity_type,
        log.apiVersion as api_version, log.origin as origin, log.traceId as trace_id, log.createdAt as created_at
        from staged""",
    "items": """with each as (select log.id as log_id, unnest(log.activityLogItems) as item,
            generate_subscripts(log.activityLogItems, 1) as list_idx from staged)
        select log_id, list_idx, item.id as id, item.activityLogId as item_log_id, item.verb as verb,
        item.name as name, item.summary as summary, item.reason as reason, item.metadata as metadata,
        item.activityLogActor.id as actor_id, item.activityLogActor.entityType as actor_type,
        item.activityLogActor.entityId as actor_entity_id, item.activityLogActor.email as actor_email,
        item.activityLogObject.id as object_id, item.activityLogObject.entityType as object_type,
        item.activityLogObject.entityId as object_entity_id, item.activityLogTarget.id as target_id,
        item.activityLogTarget.entityType as target_type, item.activityLogTarget.entityId as target_entity_id
        from each""",
}
OMNI = {
    "staged": f"select line.lead, unnest(line.logs) as log from {lines({'lead': 'VARCHAR', 'logs': [ACTION]})}",
    "logs": """select lead as lead_id, log.id as id, log.type as type, log.status as status, log.summary as summary,
        log.input as input, log.output as output, log.error as error, log.parentActionId as parent_action_id,
        log.scheduledAt as scheduled_at, log.createdAt as created_at, log.completedAt as completed_at,
        log.tool.id as tool_id, log.tool.name as tool_name, log.tool.description as tool_description from staged""",
    "messages": """with each as (select log.id as log_id, unnest(log.messages) as message from staged)
        select log_id, message.id as id, message.channel as channel, message.direction as direction,
        message.subject as subject, message.body as body from each""",
    "documents": """with messages as (select log.id as log_id, unnest(log.messages) as message from staged),
        each as (select log_id, message.id as message_id, unnest(message.documents) as document from messages)
        select log_id, message_id, document.id as id, document.filename as filename,
        document.mimeType as mime_type, document.size as size from each""",
}


def main() -> None:
    shape = os.environ["BENCH_SHAPE"]
    with duckdb.connect(FILE) as connection:
        download(connection, shape)
        merge(connection, SEQUENCE if shape == "sequence" else OMNI)
    LINES.unlink()


def download(connection: duckdb.DuckDBPyConnection, shape: str) -> None:
    with LINES.open("wb") as file:
        if shape == "omni":
            for lead, logs in pages.omni():
                file.write(b'{"lead":"%s","logs":%s}\n' % (lead.encode(), logs))
            return
        held = connection.sql("select 1 from duckdb_tables() where table_name = 'logs'").fetchone()
        watermark = connection.sql("select max(created_at) from logs").fetchone()[0] if held else None
        for page in pages.sequence(watermark):
            file.write(page + b"\n")


def merge(connection: duckdb.DuckDBPyConnection, queries: dict[str, str]) -> None:
    """Each log once, whichever page brought it last; its nested rows go with it."""
    staged, logs, *nested = queries
    once = "qualify row_number() over (partition by log.id) = 1"
    connection.execute(f"create temp table {staged} as select * from ({queries[staged]}) {once}")
    connection.execute("begin")
    connection.execute(f"create table if not exists {logs} as {queries[logs]} limit 0")
    connection.execute(
        f"merge into {logs} as held using ({queries[logs]}) as new on held.id = new.id"
        " when matched then update when not matched then insert"
    )
    for table in nested:
        connection.execute(f"create table if not exists {table} as {queries[table]} limit 0")
        connection.execute(f"delete from {table} where log_id in (select log.id from staged)")
        connection.execute(f"insert into {table} {queries[table]}")
    connection.execute("commit")


if __name__ == "__main__":
    main()
