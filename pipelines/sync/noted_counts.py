"""Notes in `runs.held` how many rows each table has, and which are known to be lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gapless.pipelines.destinations.backend import Sign
from gapless.pipelines.destinations.reader import PipelineReader, Reader
from gapless.pipelines.destinations.resolve import backend_of
from gapless.pipelines.evidence.rows.below import fill_below, find_below, says_below, torn
from gapless.pipelines.evidence.rows.counts import (
    Checksums,
    Held,
    RowCounts,
    count_rows,
    counted_tables,
    of_roots,
    read_held,
    read_missed,
    sum_rows,
)
from gapless.sources import Source
from gapless.sources._ledger.shard import Shard

if TYPE_CHECKING:
    import dlt

    from gapless.sources._dlt.types import SqlClient


def update_held(pipeline: dlt.Pipeline, source: Source, change: Callable[[Held, RowCounts], None]) -> None:
    """Changes what the newest run says was counted; `change` gets that and the rows that are here now.

    Does nothing where no run is noted, or where a row of it cannot be updated.
    """
    if not backend_of(pipeline).updates_rows:
        return
    reader = PipelineReader(pipeline)
    newest = reader.rows(source.name, 'select run_id from {0} order by "finished_at" desc limit 1', "runs")
    if not newest:
        return
    signs, at = signs_of(pipeline, reader, source, Shard()), datetime.now(UTC)
    now, sums = counted(reader, source, signs)
    held = read_held(reader, source) or Held(of_roots(source, now))
    # Before the sums are forgotten, by which it is known.
    for table, rows in held.exchanged(now, sums).items():
        held.lost[table] = held.lost.get(table, 0) + rows
    change(held, now)
    # Where not all is as it was counted here, or as records say of the rows below them, the next sync counts.
    known = bool(signs) and held.rows == now and find_below(reader, source, None, now).settled
    held.signs, held.counted_at, held.checksums = (signs, at, sums) if known else ({}, None, {})
    held.proofs = None
    # Together: without any count the next sync would take rows for lost.
    with pipeline.sql_client() as client, client.begin_transaction():
        runs = client.make_qualified_table_name("runs")
        client.execute_sql(f"update {runs} set held = null where held is not null")
        client.execute_sql(f"update {runs} set held = %s where run_id = %s", held.to_json(), newest[0][0])


def note_row_counts(pipeline: dlt.Pipeline, source: Source, lost: RowCounts, file: Reader) -> RowCounts:
    """Notes how many rows a copy has now, and returns how many it lacks of those that it, or the `file`, is to have.

    A loss that is known in the file stays one in its copy, unless the rows were copied before they were lost there.
    `lost` is what was known of the copy itself.
    """
    held, stands, missed = read_missed(file, source)
    missed = find_below(file, source, held, stands).without_known(
        missed
    )  # what records say, they say in the copy, too
    known = {table: lost.get(table, 0) + missed.get(table, 0) for table in {**lost, **missed}}
    lacking: RowCounts = {}

    def change(held: Held, now: RowCounts) -> None:
        for table, rows in known.items():
            there = stands.get(table, 0) + missed.get(table, 0) - now.get(table, 0)
            lacking[table] = max(0, min(rows, there))
        held.rows, held.lost = now, dict(lacking)
        # Records say this themselves, so it is not noted.
        lacking.update(find_below(PipelineReader(pipeline), source, None, now).lost)

    update_held(pipeline, source, change)
    return {table: rows for table, rows in lacking.items() if rows}


def forget_row_counts(pipeline: dlt.Pipeline, source: Source) -> None:
    """Deletes the stored row counts: after a reset the next sync reads all again, so no row counts as lost.

    What records say of the rows below them is made what is there; those that are served say it anew.
    """
    if backend_of(pipeline).appends:
        return
    with PipelineReader(pipeline).connected() as reader:
        differs = any(torn(reader, source, table) for table in says_below(reader, source))
    with pipeline.sql_client() as client:
        runs = client.make_qualified_table_name("runs")
        client.execute_sql(f"update {runs} set held = null where held is not null")
        if differs:
            fill_below(client, source, again=True)


def note_roots(client: SqlClient, source: Source, held: Held) -> None:
    """Notes the counts of root tables alone, and what is lost."""
    counts = Held(of_roots(source, held.rows), held.lost).to_json()
    runs = client.make_qualified_table_name("runs")
    client.execute_sql(f"update {runs} set held = %s where held is not null", counts)


def keep_newest(client: SqlClient, runs: str) -> None:
    """Removes all counts but the newest: each shard adds one, and they would pile up without a whole sync."""
    newest = f'select run_id from {runs} where held is not null order by "finished_at" desc limit 1'
    client.execute_sql(f"update {runs} set held = null where held is not null and run_id not in ({newest})")


def counted(reader: PipelineReader, source: Source, known: Mapping[str, object]) -> tuple[RowCounts, Checksums]:
    """Returns the rows by table, and the sums of their ids where signs or such sums are `known`."""
    return sum_rows(reader, source) if known else (count_rows(reader, source), {})


def signs_of(pipeline: dlt.Pipeline, reader: PipelineReader, source: Source, shard: Shard) -> dict[str, Sign]:
    """Returns the signs of a source's tables; none for a shard, as others write beside it."""
    return backend_of(pipeline).signs(reader, source.name, counted_tables(source)) if shard.whole else {}
