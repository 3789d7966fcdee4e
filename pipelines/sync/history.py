"""Writes the table `runs`: how each sync ended, and how many rows the tables had then, to detect lost rows later."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from gapless.pipelines.destinations.backend import Backend
from gapless.pipelines.destinations.reader import PipelineReader, Reader, Rows
from gapless.pipelines.destinations.resolve import backend_class
from gapless.pipelines.evidence.proofs import as_utc, lacks_newest, read_proofs
from gapless.pipelines.evidence.row_counts import Held, RowCounts, count_rows, of_roots, read_held
from gapless.pipelines.outcome import LEDGER_TABLES, own_version
from gapless.pipelines.sync.mending import remove_doubled, require_writable
from gapless.sources import Source
from gapless.sources._dlt.tables import (
    LOAD_ID,
    LOADS,
    PREFIX,
    ROOT_ID,
    ROW_ID,
    is_completed,
)
from gapless.sources._ledger.ledger import is_reset
from gapless.sources._ledger.shard import Shard

if TYPE_CHECKING:
    import dlt
    from dlt.sources import DltResource

    from gapless.pipelines.outcome import Outcome
    from gapless.sources._dlt.types import SqlClient

UNCOUNTED = 1
"""Rows noted as lost where nobody counted: at least one may be, and only a comparison with the vendor can tell."""


@dataclass
class Before:
    """How a sync found the rows of its source."""

    held: Held | None = None
    """The rows when this sync began, with what is known to be lost; None: nothing was counted, or cannot be."""
    now: RowCounts | None = None
    """Rows by table when this sync began; None: not counted."""
    doubled: list[str] = field(default_factory=list)
    """Messages about doubled rows, which were removed."""

    @property
    def lost(self) -> RowCounts:
        """Returns the lost rows by table."""
        return dict(self.held.lost) if self.held else {}


def write_run(
    pipeline: dlt.Pipeline,
    source: Source,
    outcome: Outcome,
    before: Before | None,
    shard: Shard,
    *,
    listed: bool = False,
) -> None:
    """Writes the row of `runs` after the last load package, and deletes resolved dead letters.

    A dead letter is deleted only after the load that resolved it was completed, so that no crash loses its record.
    Lost rows stay noted; but a sync that `listed` the parents has all of them. Shards count root tables alone, as
    others write rows meanwhile. Without `before` nothing was counted, so the counts of the run before it stay. Raises
    the database's error, except when the sync itself failed: before a first load there is no table yet.
    """
    if _backend(pipeline).appends:
        return _load_row(pipeline, source, {**_run_row(outcome, shard), "held": None})
    try:
        with PipelineReader(pipeline).connected() as reader:
            now = count_rows(reader, source)
            columns = reader.columns(source.name, ["runs"]).get("runs", set())
        if not now:  # a first sync that failed must leave a trace, or nobody knows that it was tried
            require_writable(pipeline, source)  # but none among the tables of somebody else
            return _load_row(pipeline, source, {**_run_row(outcome, shard), "held": None})
        whole, held = shard.whole and _backend(pipeline).updates_rows, None
        if before:
            outcome.new = _new_rows(source, outcome, before, now) if shard.whole else None
            held = Held(now if whole else of_roots(source, now), _still_lost(source, before, listed)).to_json()
        row = {**_run_row(outcome, shard), "held": held}
        with pipeline.sql_client() as client:
            runs, letters, loads = map(client.make_qualified_table_name, ("runs", "dead_letters", LOADS))
            if whole and held:  # of shards that end at once each keeps its counts, and the largest ones count
                client.execute_sql(f"update {runs} set held = null where held is not null")
            # A database of an older version lacks columns that a load of dlt's adds.
            if _backend(pipeline).updates_rows and columns >= row.keys():
                _insert_row(client, runs, row)
            else:
                if before is None:  # nor are columns added to tables of somebody else
                    require_writable(pipeline, source)
                _load_row(pipeline, source, row)
            client.execute_sql(f"delete from {letters} where healed_at is not null and {is_completed(loads)}")
    except Exception:
        if outcome.error is None:
            raise


def _new_rows(source: Source, outcome: Outcome, before: Before, now: RowCounts) -> dict[str, int] | None:
    """Returns the growth of each root table, whose rows a sync never removes; None where nobody counted before."""
    if before.now is None:
        return None
    grown = {table: max(0, rows - before.now.get(table, 0)) for table, rows in of_roots(source, now).items()}
    return {
        table: min(rows, outcome.rows.get(table, 0)) for table, rows in grown.items() if table not in LEDGER_TABLES
    }


def note_streak(pipeline: dlt.Pipeline, source: Source, outcome: Outcome, shard: Shard) -> None:
    """Notes in an outcome that is not complete how many rounds in a row ended so, and when the first one began.

    Of a source that failed also its newest watermark. It raises nothing: these facts only explain the outcome.
    """
    if outcome.outcome == "complete" or outcome.error == "interrupted":
        return
    with suppress(Exception), PipelineReader(pipeline, _backend(pipeline).appends).connected() as reader:
        runs = not_complete(reader, source.name, shard)
        same = [*takewhile(lambda run: run[0] == "failed", runs)] if outcome.outcome == "failed" else runs
        outcome.rounds, outcome.since = len(same), as_utc(same[-1][1]) if same else None
        if outcome.outcome == "failed":
            select = f"select max(covered_to) from {{0}} where stream = '{source.main.name}'"
            newest = as_utc((reader.rows(source.name, select, "coverage") or [(None,)])[0][0])
            outcome.newest_covered_to = None if is_reset(newest) else newest


def not_complete(reader: Reader, dataset: str, shard: Shard, but: str = "", *, told: bool = False) -> Rows:
    """Returns the runs of a source, or of one shard of it, since its last complete one, newest first.

    Of each its outcome, when it began, and with `told` what the webhook was told. The run `but` is left out.
    """
    same = ("shard is null" if shard.whole else f"shard = '{shard}'") + f" and run_id <> '{but}'"
    last = f"(select max(\"finished_at\") from {{0}} where outcome = 'complete' and {same})"
    columns = f'outcome, "started_at", {"told" if told else "null"}'
    select = f'select {columns} from {{0}} where {same} and ({last} is null or "finished_at" > {last})'
    return reader.rows(dataset, f'{select} order by "finished_at" desc', "runs") or []


def _still_lost(source: Source, before: Before, listed: bool) -> RowCounts:
    """Returns what is lost still after a sync; whether all records are here, only `verify` knows."""
    parents, lost = source.stream.parents, before.lost
    if listed and parents:
        lost.pop(parents.table.name, None)
    return lost


def _backend(pipeline: dlt.Pipeline) -> type[Backend]:
    return backend_class(pipeline.destination.destination_type)


def _insert_row(client: SqlClient, runs: str, row: dict[str, Any]) -> None:
    """Inserts a row of `runs` by plain SQL, at a fraction of what a load package costs."""
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


def find_lost_rows(
    pipeline: dlt.Pipeline, source: Source, shard: Shard | None = None, *, must_count: bool = True
) -> Before:
    """Returns how the rows stand: what is lost since the last sync, and what was doubled and is removed here.

    Where nobody counted the rows of proven records, one counts as lost, if somebody `must_count`.

    A sync never removes root rows, so somebody else deleted what is missing. Child rows of a changed record may
    become fewer, also if that sync is killed before it writes its counts: so their counts are removed here first.
    Returns nothing for append-only destinations.
    """
    if _backend(pipeline).appends:
        return Before()
    shard = shard or Shard()
    with PipelineReader(pipeline).connected() as reader:
        held = read_held(reader, source)
        now = count_rows(reader, source)
        uncounted = _uncounted(reader, source, now) if held is None and must_count else None
    if held is None:
        # A table that is made again is empty, and what was below its rows is not.
        with pipeline.sql_client() as client:
            delete_orphans(client, source, counts=now)
        return Before(uncounted, now)
    more = [table for table, rows in held.rows.items() if rows < now.get(table, 0)] if shard.whole else []
    doubled = remove_doubled(pipeline, source, more)
    now = count_rows(PipelineReader(pipeline), source) if doubled else now
    gone = held.gone(now)
    before = Before(Held(now, held.missed(now)), now, doubled)
    with pipeline.sql_client() as client:
        # Orphans are only possible where rows were deleted, and searching them costs a scan.
        if gone or not held.rows:
            delete_orphans(client, source, now)
        if _backend(pipeline).updates_rows:
            left = held if shard.number > 1 else before.held
            assert left
            counts = Held(of_roots(source, left.rows), left.lost).to_json()
            runs = client.make_qualified_table_name("runs")
            if not shard.whole and shard.number == 1:
                _keep_newest(client, runs)
            client.execute_sql(f"update {runs} set held = %s where held is not null", counts)
    return before


def _keep_newest(client: SqlClient, runs: str) -> None:
    """Removes all counts but the newest: each shard adds one, and they would pile up without a whole sync."""
    newest = f'select run_id from {runs} where held is not null order by "finished_at" desc limit 1'
    client.execute_sql(f"update {runs} set held = null where held is not null and run_id not in ({newest})")


def _uncounted(reader: PipelineReader, source: Source, now: RowCounts) -> Held | None:
    """Returns a note that rows may be lost, where records are proven and nobody counted them."""
    if not now:
        return None
    main = source.main
    killed = not reader.rows(source.name, "select 1 from {0} limit 1", "runs")
    if killed and not lacks_newest(reader, source.name, main.name, main.time_column):
        return Held(now)  # a first sync was killed before its end
    proofs = read_proofs(reader, source.name, main.name, "last_checked_at is not null") or []
    return Held(now, {main.name: UNCOUNTED}) if proofs else Held(now)


def describe_lost_rows(source: Source, lost: RowCounts) -> list[str]:
    """Returns a message for each table with lost rows: how many, and the command that brings them back."""
    return [
        f"{source.name}.{table}: {rows:,} rows that were there after the last sync are gone;"
        f" `gapless state reset {source.name}` makes the next sync read all again; gapless gaps names what is cheaper"
        for table, rows in lost.items()
    ]


def delete_orphans(client: SqlClient, source: Source, counts: RowCounts) -> None:
    """Deletes child rows whose root row is missing, otherwise a merge would insert duplicates of them."""
    for table in source.tables:
        root = client.make_qualified_table_name(table.name)
        for schema in table.schema.tree():
            if schema.parent and schema.name in counts:
                orphaned = f"{ROOT_ID} not in (select {ROW_ID} from {root})" if table.name in counts else "1 = 1"
                client.execute_sql(f"delete from {client.make_qualified_table_name(schema.name)} where {orphaned}")


def update_held(pipeline: dlt.Pipeline, source: Source, change: Callable[[Held, RowCounts], None]) -> None:
    """Changes what the newest run says was counted; `change` gets that and the rows that are here now.

    Does nothing where no run is noted, or where a row of it cannot be updated.
    """
    if not _backend(pipeline).updates_rows:
        return
    reader = PipelineReader(pipeline)
    newest = reader.rows(source.name, 'select run_id from {0} order by "finished_at" desc limit 1', "runs")
    if not newest:
        return
    now = count_rows(reader, source)
    held = read_held(reader, source) or Held(of_roots(source, now))
    change(held, now)
    with pipeline.sql_client() as client:
        runs = client.make_qualified_table_name("runs")
        client.execute_sql(f"update {runs} set held = null where held is not null")
        client.execute_sql(f"update {runs} set held = %s where run_id = %s", held.to_json(), newest[0][0])


def note_row_counts(pipeline: dlt.Pipeline, source: Source, before: Before) -> None:
    """Notes how many rows a copy has now, so that it is seen when some are lost there."""

    def change(held: Held, now: RowCounts) -> None:
        held.rows, held.lost = now, before.lost

    update_held(pipeline, source, change)


def forget_row_counts(pipeline: dlt.Pipeline) -> None:
    """Deletes the stored row counts: after a reset the next sync reads all again, so no row counts as lost."""
    if _backend(pipeline).appends:
        return
    with pipeline.sql_client() as client:
        runs = client.make_qualified_table_name("runs")
        client.execute_sql(f"update {runs} set held = null where held is not null")


def _run_row(outcome: Outcome, shard: Shard) -> dict[str, Any]:
    """Returns the row of `runs` by column, without row counts."""
    return {
        "run_id": outcome.run_id,
        "started_at": outcome.started_at,
        "finished_at": outcome.finished_at,
        "outcome": outcome.outcome,
        "rows": outcome.rows_written,
        "new_rows": outcome.rows_new,
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
