"""Writes the table `runs`: how each sync ended, and how many rows the tables had then, to detect lost rows later."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gapless.pipelines.destinations.backend import Backend
from gapless.pipelines.destinations.resolve import backend_class
from gapless.pipelines.outcome import own_version
from gapless.sources import Source
from gapless.sources._dlt.tables import (
    LOAD_ID,
    LOADS,
    PREFIX,
    ROOT_ID,
    ROW_ID,
    SCHEMAS,
    forget_schemas,
    is_completed,
)
from gapless.sources._ledger.shard import Shard

if TYPE_CHECKING:
    import dlt
    from dlt.sources import DltResource

    from gapless.pipelines.outcome import Outcome
    from gapless.sources._dlt.types import SqlClient

RowCounts = dict[str, int]
"""Rows by table."""


def write_run(
    pipeline: dlt.Pipeline, source: Source, outcome: Outcome, lost: RowCounts, shard: Shard, *, by_id: bool = False
) -> None:
    """Writes the row of `runs` after the last load package, and deletes resolved dead letters.

    A dead letter is deleted only after the load that resolved it was completed, so that no crash loses its record.
    Rows that are `lost` are counted as present, so that they are missed until they are read again; a sync `by_id` has
    read some of them. Of shards only the first writes counts, and only of root tables, because the others write rows
    while it counts. Raises the database's error, except when the sync itself failed: before a first load there is no
    table yet.
    """
    if _backend(pipeline).appends:
        return _load_row(pipeline, source, {**_run_row(outcome, shard), "held": None})
    try:
        with pipeline.sql_client() as client:
            runs, letters, loads = map(client.make_qualified_table_name, ("runs", "dead_letters", LOADS))
            row = {**_run_row(outcome, shard), "held": None}
            if shard.number == 1:
                counts = _row_counts(client, source)
                if by_id:
                    before = _counts_after_last_sync(client) or {}
                    counts |= {table: max(rows, counts.get(table, 0)) for table, rows in before.items()}
                else:
                    counts |= {table: counts.get(table, 0) + rows for table, rows in lost.items()}
                whole = shard.whole and _backend(pipeline).updates_rows
                row["held"] = json.dumps(counts if whole else _of_roots(source, counts))
            _insert_row(pipeline, source, client, runs, row)
            client.execute_sql(f"delete from {letters} where healed_at is not null and {is_completed(loads)}")
    except Exception:
        if outcome.error is None:
            raise


def _backend(pipeline: dlt.Pipeline) -> type[Backend]:
    return backend_class(pipeline.destination.destination_type)


def _insert_row(pipeline: dlt.Pipeline, source: Source, client: SqlClient, runs: str, row: dict[str, Any]) -> None:
    """Inserts a row of `runs` by plain SQL where the destination allows it, else by a load package."""
    if not _backend(pipeline).updates_rows:
        return _load_row(pipeline, source, row)
    if row["held"] is not None:  # only the newest run has counts
        client.execute_sql(f"update {runs} set held = null where held is not null")
    # SQLite stores times as texts, in UTC and without an offset, as dlt does.
    if not client.capabilities.supports_tz_aware_datetime:
        row |= {name: row[name].strftime("%Y-%m-%d %H:%M:%S.%f") for name in ("started_at", "finished_at")}
    columns = ", ".join(map(client.escape_column_name, row))
    marks = ", ".join(["%s"] * len(row))
    client.execute_sql(f"insert into {runs} ({columns}) values ({marks})", *row.values())


def _load_row(pipeline: dlt.Pipeline, source: Source, row: dict[str, Any]) -> None:
    """Loads one row of `runs` as a package, because dlt knows how each destination stores JSON and times."""
    import dlt

    from gapless.sources._extract.resource import tree_resource
    from gapless.sources._ledger.ledger import RUNS, Run
    from gapless.sources._ledger.session import LoadItem
    from gapless.sources._schema.arrow import Batch

    def resource() -> DltResource:
        run = Run.model_validate({name: value for name, value in row.items() if not name.startswith(PREFIX)})
        items = [LoadItem([Batch(RUNS, [run])])]
        return tree_resource(source.tables, lambda ledger, state: iter(items), source.name)

    pipeline.run(dlt.source(resource, name=source.name)(), loader_file_format=_backend(pipeline).file_format)


def find_lost_rows(pipeline: dlt.Pipeline, source: Source) -> RowCounts:
    """Returns rows by table that were deleted since the last sync; prepares the tables to be filled again.

    A sync never removes root rows, so somebody else deleted what is missing. Child rows of a changed record may
    become fewer, also if that sync is killed before it writes its counts: so their counts are removed here first.
    Returns nothing for append-only destinations.
    """
    if _backend(pipeline).appends:
        return {}
    with pipeline.sql_client() as client:
        before = _counts_after_last_sync(client)
        if before is None:
            return {}
        now = _row_counts(client, source)
        if before.keys() - now.keys():  # dlt looks for missing tables only when it does not know the schema
            client.execute_sql(forget_schemas(client.make_qualified_table_name(SCHEMAS)))
        lost = {table: rows - now.get(table, 0) for table, rows in before.items() if rows > now.get(table, 0)}
        # Orphans are only possible where rows were deleted, and searching them costs a scan.
        if lost or not before:
            _delete_orphans(client, source, now)
        if _backend(pipeline).updates_rows:
            runs, counts = client.make_qualified_table_name("runs"), json.dumps(_of_roots(source, before))
            client.execute_sql(f"update {runs} set held = %s where held is not null", counts)
    return lost


def _of_roots(source: Source, counts: RowCounts) -> RowCounts:
    """Returns the counts of root tables: a changed record may have fewer child rows, but it stays."""
    roots = {table.name for table in source.tables}
    return {table: rows for table, rows in counts.items() if table in roots}


def describe_lost_rows(source: Source, lost: RowCounts) -> list[str]:
    """Returns a message for each table with lost rows: how many, and the command that brings them back."""
    return [
        f"{source.name}.{table}: {rows:,} rows that were there after the last sync are gone;"
        f" `gapless state reset {source.name}` makes the next sync read all again"
        for table, rows in lost.items()
    ]


def _counts_after_last_sync(client: SqlClient) -> RowCounts | None:
    """Returns the row counts when the last sync ended; None before the first sync."""
    from gapless.pipelines.destinations._dlt.runtime import DatabaseUndefinedRelation

    runs = client.make_qualified_table_name("runs")
    newest = f"select held from {runs} where held is not null order by finished_at desc limit 1"
    try:
        rows = client.execute_sql(newest)
    except DatabaseUndefinedRelation:
        return None
    return row_counts(rows[0][0]) if rows else {}


def row_counts(cell: str | RowCounts) -> RowCounts:
    """Returns a cell of `runs.held` as row counts: some engines return JSON as text, others decoded."""
    counts: RowCounts = json.loads(cell) if isinstance(cell, str) else cell
    return counts


def _delete_orphans(client: SqlClient, source: Source, counts: RowCounts) -> None:
    """Deletes child rows whose root row is missing, otherwise a merge would insert duplicates of them."""
    for table in source.tables:
        root = client.make_qualified_table_name(table.name)
        for schema in table.schema.tree():
            if schema.parent and schema.name in counts:
                orphaned = f"{ROOT_ID} not in (select {ROW_ID} from {root})" if table.name in counts else "1 = 1"
                client.execute_sql(f"delete from {client.make_qualified_table_name(schema.name)} where {orphaned}")


def forget_row_counts(pipeline: dlt.Pipeline) -> None:
    """Deletes the stored row counts: after a reset the next sync reads all again, so no row counts as lost."""
    if _backend(pipeline).appends:
        return
    with pipeline.sql_client() as client:
        runs = client.make_qualified_table_name("runs")
        client.execute_sql(f"update {runs} set held = null where held is not null")


def _row_counts(client: SqlClient, source: Source) -> RowCounts:
    """Returns the row counts of the vendor's own tables, without tables that are missing."""
    from gapless.pipelines.destinations._dlt.runtime import DatabaseUndefinedRelation
    from gapless.sources._extract.resource import shapes

    counts: RowCounts = {}
    for schema in shapes(source.tables):
        name = client.make_qualified_table_name(schema.name)
        try:
            rows = client.execute_sql(f"select count(*) from {name}")
        except DatabaseUndefinedRelation:
            continue
        counts[schema.name] = int(rows[0][0]) if rows else 0
    return counts


def _run_row(outcome: Outcome, shard: Shard) -> dict[str, Any]:
    """Returns the row of `runs` by column, without row counts."""
    return {
        "run_id": outcome.run_id,
        "started_at": outcome.started_at,
        "finished_at": outcome.finished_at,
        "outcome": outcome.outcome,
        "rows": sum(outcome.rows.values()),
        "packages": outcome.packages,
        "requests": outcome.requests,
        "retries": outcome.retries,
        "seconds_waited": round(outcome.seconds_waited, 3),
        "failures": len(outcome.failures),
        "error": outcome.error,
        "shard": None if shard.whole else str(shard),
        "version": own_version(),
        ROW_ID: outcome.run_id,
        LOAD_ID: "",
    }
