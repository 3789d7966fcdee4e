"""The floor of Postgres: pages to columns, `COPY` as CSV into unlogged tables, a merge by hand with the same keys.

No dlt, no state, no check of anything. BENCH_POSTGRES is the database. The tables have the keys that a merge looks
rows up by, as every contender's have.
https://www.postgresql.org/docs/current/sql-copy.html and .../sql-createtable.html#SQL-CREATETABLE-UNLOGGED
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import orjson
import pages
import psycopg2
import pyarrow as pa
from arrow import as_batches
from pyarrow import csv

TOGETHER = 40
"""Pages that are text at once."""
TABLES = {
    "logs": (
        "id text primary key, account_id text, activity_type text, api_version text, origin text, trace_id text,"
        " created_at timestamptz",
        "id in (select id from logs_staged)",
    ),
    "items": (
        "id text, item_log_id text, verb text, name text, summary text, reason text, actor_id text, actor_type text,"
        " actor_entity_id text, object_id text, object_type text, object_entity_id text, target_id text,"
        " target_type text, target_entity_id text, actor_email text, metadata jsonb, log_id text, list_idx bigint,"
        " primary key (log_id, list_idx)",
        "log_id in (select id from logs_staged)",
    ),
}


def main() -> None:
    with psycopg2.connect(os.environ["BENCH_POSTGRES"]) as connection, connection.cursor() as cursor:
        for table, (columns, _) in TABLES.items():
            cursor.execute(f"create table if not exists {table} ({columns})")
            cursor.execute(f"create unlogged table {table}_staged (like {table})")
        cursor.execute("select max(created_at) from logs")
        read = pages.sequence(cursor.fetchone()[0])
        for some in chunks(read):
            stage(cursor, some)
        for table, (_, staged) in TABLES.items():
            cursor.execute(f"delete from {table} where {staged}")
            cursor.execute(f"insert into {table} select * from {table}_staged")
        for table in TABLES:
            cursor.execute(f"drop table {table}_staged")
    connection.close()


def chunks(read: Iterator[bytes]) -> Iterator[list[bytes]]:
    some: list[bytes] = []
    for page in read:
        some.append(page)
        if len(some) == TOGETHER:
            yield some
            some = []
    if some:
        yield some


def stage(cursor: Any, some: list[bytes]) -> None:
    logs, items = as_batches([log for page in some for log in orjson.loads(page)["items"]])
    for table, rows in {"logs": logs, "items": items}.items():
        text = pa.BufferOutputStream()
        csv.write_csv(rows, text, csv.WriteOptions(include_header=False))
        names = ", ".join(rows.schema.names)
        cursor.copy_expert(f"copy {table}_staged ({names}) from stdin csv", pa.BufferReader(text.getvalue()), 2**18)


if __name__ == "__main__":
    main()
