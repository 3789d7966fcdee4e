"""The table `runs`: how each sync ended, and what the tables held then, to see later what is gone."""

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
    from gapless.pipelines.outcome import Outcome


def record(
    pipeline: Any, source: Source, outcome: Outcome, lost: dict[str, int], shard: Shard, *, by_id: bool = False
) -> None:
    """After the last package and outside of any: the row of `runs` tells the end, and healed letters go.

    A letter goes only when the load that healed it was completed, so that no crash loses the record it speaks of.
    What was `lost` counts as held, so that it is missed again until it is read again; `by_id` some of it just was. Of
    shards the first alone tells what is held, of the roots: while it counts, others write.
    """
    if _backend(pipeline).appends:
        return _load(pipeline, source, {**_row(outcome, shard), "held": None})
    try:
        with pipeline.sql_client() as client:
            runs, letters, loads = map(client.make_qualified_table_name, ("runs", "dead_letters", LOADS))
            row = {**_row(outcome, shard), "held": None}
            if shard.number == 1:
                held = _row_counts(client, source)
                if by_id:
                    before = _told(client) or {}
                    held |= {table: max(rows, held.get(table, 0)) for table, rows in before.items()}
                else:
                    held |= {table: held.get(table, 0) + rows for table, rows in lost.items()}
                in_place = shard.whole and _backend(pipeline).updates_rows
                row["held"] = json.dumps(held if in_place else _roots(held))
            _add(pipeline, source, client, runs, row)
            client.execute_sql(f"delete from {letters} where healed_at is not null and {is_completed(loads)}")
    except Exception:
        if outcome.error is None:  # without a first load there is no table yet, and the error is told anyway
            raise


def _backend(pipeline: Any) -> type[Backend]:
    return backend_class(pipeline.destination.destination_type)


def _add(pipeline: Any, source: Source, client: Any, runs: str, row: dict[str, Any]) -> None:
    if not _backend(pipeline).updates_rows:
        return _load(pipeline, source, row)
    if row["held"] is not None:
        client.execute_sql(f"update {runs} set held = null where held is not null")
    if not client.capabilities.supports_tz_aware_datetime:
        row |= {name: row[name].strftime("%Y-%m-%d %H:%M:%S.%f") for name in ("started_at", "finished_at")}
    columns = ", ".join(map(client.escape_column_name, row))
    marks = ", ".join(["%s"] * len(row))
    client.execute_sql(f"insert into {runs} ({columns}) values ({marks})", *row.values())


def _load(pipeline: Any, source: Source, row: dict[str, Any]) -> None:
    """A package of one row: dlt knows how JSON and times get there."""
    import dlt

    from gapless.sources._extract.resource import tree_resource
    from gapless.sources._ledger.ledger import RUNS, Run
    from gapless.sources._ledger.session import LoadItem, Session
    from gapless.sources._schema.arrow import Batch

    def resource() -> Any:
        told = Run.model_validate({name: value for name, value in row.items() if not name.startswith(PREFIX)})
        steps = [LoadItem([Batch(RUNS, [told])])]
        return tree_resource(source.tables, lambda ledger, state: iter(steps), Session())

    pipeline.run(dlt.source(resource, name=source.name)(), loader_file_format=_backend(pipeline).file_format)


def find_lost_rows(pipeline: Any, source: Source) -> dict[str, int]:
    """Rows by table that somebody deleted since the last sync. A missing table is made anew, orphans go.

    A sync never leaves fewer root rows than it tells, so whatever is fewer now was taken by others. Rows below a
    record that changed may be fewer, also when that sync is killed before it can tell: they are not counted on then.
    Where rows are only appended nobody counts them.
    """
    if _backend(pipeline).appends:
        return {}
    with pipeline.sql_client() as client:
        before = _told(client)
        if before is None:
            return {}
        now = _row_counts(client, source)
        if before.keys() - now.keys():  # dlt looks for missing tables only when it does not know the schema
            client.execute_sql(forget_schemas(client.make_qualified_table_name(SCHEMAS)))
        lost = {table: rows - now.get(table, 0) for table, rows in before.items() if rows > now.get(table, 0)}
        if lost or not before:
            _without_orphans(client, source, now)
        if _backend(pipeline).updates_rows:
            runs = client.make_qualified_table_name("runs")
            client.execute_sql(f"update {runs} set held = %s where held is not null", json.dumps(_roots(before)))
    return lost


def _roots(held: dict[str, int]) -> dict[str, int]:
    return {table: rows for table, rows in held.items() if "__" not in table}


def describe_lost_rows(source: Source, lost: dict[str, int]) -> list[str]:
    """What is gone, each with what brings it back."""
    return [
        f"{source.name}.{table}: {rows:,} rows that were there after the last sync are gone;"
        f" `gapless state reset {source.name}` makes the next sync read all again"
        for table, rows in lost.items()
    ]


def _told(client: Any) -> dict[str, int] | None:
    """What the tables held when the last sync ended; None before the first one."""
    from gapless.pipelines.destinations._dlt.runtime import DatabaseUndefinedRelation

    runs = client.make_qualified_table_name("runs")
    try:
        told = client.execute_sql(f"select held from {runs} where held is not null order by finished_at desc limit 1")
    except DatabaseUndefinedRelation:
        return None
    held = told[0][0] if told else {}
    before: dict[str, int] = json.loads(held) if isinstance(held, str) else held
    return before


def _without_orphans(client: Any, source: Source, held: dict[str, int]) -> None:
    """Deletes rows below a root that is not there: a merge would not find them and put its own beside them."""
    for table in source.tables:
        root = client.make_qualified_table_name(table.name)
        for shape in table.schema.tree():
            if shape.parent and shape.name in held:
                rooted = f"{ROOT_ID} not in (select {ROW_ID} from {root})" if table.name in held else "1 = 1"
                client.execute_sql(f"delete from {client.make_qualified_table_name(shape.name)} where {rooted}")


def forget(pipeline: Any) -> None:
    """What the tables held: nothing is missed that the next sync is told to read again anyway."""
    if _backend(pipeline).appends:
        return
    with pipeline.sql_client() as client:
        runs = client.make_qualified_table_name("runs")
        client.execute_sql(f"update {runs} set held = null where held is not null")


def _row_counts(client: Any, source: Source) -> dict[str, int]:
    """Rows by table of the vendor's own tables; a missing table is missing here too."""
    from gapless.pipelines.destinations._dlt.runtime import DatabaseUndefinedRelation
    from gapless.sources._extract.resource import shapes

    held: dict[str, int] = {}
    for shape in shapes(source.tables):
        try:
            name = client.make_qualified_table_name(shape.name)
            held[shape.name] = client.execute_sql(f"select count(*) from {name}")[0][0]
        except DatabaseUndefinedRelation:
            continue
    return held


def _row(outcome: Outcome, shard: Shard) -> dict[str, Any]:
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
