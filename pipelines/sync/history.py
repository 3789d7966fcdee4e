"""Writes and reads the table `runs`: how each sync ended, and how many rows the tables had then."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from gapless.pipelines.destinations.reader import PipelineReader, Reader, Rows
from gapless.pipelines.destinations.resolve import backend_of
from gapless.pipelines.evidence.gap import chosen_ids
from gapless.pipelines.evidence.known import Known
from gapless.pipelines.evidence.proofs import as_utc
from gapless.pipelines.evidence.rounds import of_all
from gapless.pipelines.evidence.rows.counts import Held, RowCounts, counted_tables, of_roots, read_held
from gapless.pipelines.outcome import LEDGER_TABLES, own_version
from gapless.pipelines.sync.lost_rows import Before, count_at_end
from gapless.pipelines.sync.mending.tables import require_writable
from gapless.sources import Source
from gapless.sources._dlt.tables import (
    LOAD_ID,
    LOADS,
    PREFIX,
    ROW_ID,
    is_completed,
)
from gapless.sources._ledger.dead_letters import NOT_SERVED
from gapless.sources._ledger.ledger import is_reset
from gapless.sources._ledger.shard import Shard

if TYPE_CHECKING:
    import dlt
    from dlt.sources import DltResource

    from gapless.pipelines.outcome import Outcome
    from gapless.sources._dlt.types import SqlClient


def write_run(
    pipeline: dlt.Pipeline,
    source: Source,
    outcome: Outcome,
    before: Before | None,
    shard: Shard,
    *,
    listed: bool = False,
) -> bool:
    """Writes the row of `runs` after the last load package, and deletes resolved dead letters.

    Returns False where that failed for a sync that has failed itself.

    A dead letter is deleted only after the load that resolved it was completed, so that no crash loses its record.
    Lost rows stay noted; but a sync that `listed` the parents has all of them. Shards count root tables alone, as
    others write rows meanwhile. Without `before` nothing was counted, so the counts of the run before it stay. Raises
    the database's error, except when the sync itself failed: before a first load there is no table yet.
    """
    if backend_of(pipeline).appends:
        _load_row(pipeline, source, {**_run_row(outcome, shard), "held": None})
        return True
    try:
        with PipelineReader(pipeline).connected() as reader:
            there = reader.columns(source.name, ["runs", *counted_tables(source)])
            columns = there.pop("runs", set())
            ended = count_at_end(pipeline, reader, source, shard, before) if before else Held()
            # What another shard has noted since this one began stays noted.
            others = Held() if shard.whole or "held" not in columns else read_held(reader, source) or Held()
        if not there:  # a first sync that failed must leave a trace, or nobody knows that it was tried
            require_writable(pipeline, source)  # but none among the tables of somebody else
            _load_row(pipeline, source, {**_run_row(outcome, shard), "held": None})
            return True
        alone, held = bool(before and before.alone) and backend_of(pipeline).updates_rows, None
        if before:
            outcome.new = outcome.counted_new
            if outcome.new is None and shard.whole:
                outcome.new = _grown(source, outcome, before, ended.rows)
            lost = _still_lost(source, before, ended.rows, listed)
            lost = {table: max(lost.get(table, 0), others.lost.get(table, 0)) for table in {**lost, **others.lost}}
            ended.lost = {table: ended.lost.get(table, 0) + lost.get(table, 0) for table in {**ended.lost, **lost}}
            ended.rows = ended.rows if alone else of_roots(source, ended.rows)
            held = ended.to_json()
        row = {**_run_row(outcome, shard), "held": held}
        # A database of an older version lacks columns that a load of dlt's adds.
        plain = backend_of(pipeline).updates_rows and columns >= row.keys()
        if not plain:
            if before is None:  # nor are columns added to tables of somebody else
                require_writable(pipeline, source)
            _load_row(pipeline, source, row)
        with pipeline.sql_client() as client:
            # Of shards that end at once each keeps its counts, and the largest ones count.
            _add_row(client, row if plain else None, only_count=outcome.run_id if alone and held else None)
            letters, loads = map(client.make_qualified_table_name, ("dead_letters", LOADS))
            # What is no longer served is nowhere else.
            healed = f"healed_at is not null and substr(reason, 1, {len(NOT_SERVED)}) <> '{NOT_SERVED}'"
            client.execute_sql(f"delete from {letters} where {healed} and {is_completed(loads)}")
    except Exception:
        if outcome.error is None:
            raise
        return False
    return True


def _grown(source: Source, outcome: Outcome, before: Before, now: RowCounts) -> dict[str, int] | None:
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
    with suppress(Exception), PipelineReader(pipeline, backend_of(pipeline).appends).connected() as reader:
        if outcome.scope is None:
            runs = not_complete(reader, source.name, shard)
            same = [*takewhile(lambda run: run[0] == "failed", runs)] if outcome.outcome == "failed" else runs
            outcome.rounds, outcome.since = len(same), as_utc(same[-1][1]) if same else None
        if outcome.outcome == "failed":
            select = f"select max(covered_to) from {{0}} where stream = '{source.main.name}'"
            newest = as_utc((reader.rows(source.name, select, "coverage") or [(None,)])[0][0])
            outcome.newest_covered_to = None if is_reset(newest) else newest


def not_complete(reader: Reader, dataset: str, shard: Shard, but: str = "", *, with_message: bool = False) -> Rows:
    """Returns the rounds of a source, or of one shard of it, since its last complete one, newest first.

    Of each its outcome, when it began, and `with_message` what was sent to the webhook, of syncs of a part as
    well. The run `but` is left out.
    """
    same = ("shard is null" if shard.whole else f"shard = '{shard}'") + f" and run_id <> '{but}'"
    of_round = of_all(reader, dataset)
    last = f"(select max(\"finished_at\") from {{0}} where outcome = 'complete' and {same} and {of_round})"
    columns = f'outcome, "started_at", {"told" if with_message else "null"}'
    which = f"({of_round}{' or told is not null' if with_message else ''})"
    select = f'select {columns} from {{0}} where {same} and {which} and ({last} is null or "finished_at" > {last})'
    return reader.rows(dataset, f'{select} order by "finished_at" desc', "runs") or []


def failed_without_settings(reader: Reader, source: Source, missing: Sequence[str]) -> Outcome | None:
    """Returns how a source stands that lacks settings: failed, if its last sync did; else None."""
    from gapless.pipelines.outcome import Outcome

    reader = Known(reader, source)
    rounds = [*takewhile(lambda run: run[0] == "failed", not_complete(reader, source.name, Shard()))]
    if not rounds:
        return None
    of_round = of_all(reader, source.name)
    select = f"select error from {{0}} where outcome = 'failed' and {of_round} order by \"finished_at\" desc limit 1"
    ((why,),) = reader.rows(source.name, select, "runs") or [("",)]
    since, now = as_utc(rounds[-1][1]), datetime.now(UTC)
    error = f"{', '.join(missing)} not set, and its last sync failed: {why}"
    return Outcome(source.name, now, finished_at=now, error=error, rounds=len(rounds), since=since)


def _still_lost(source: Source, before: Before, now: RowCounts, listed: bool) -> RowCounts:
    """Returns what is lost still after a sync; whether all records are here, only `verify` knows."""
    parents, lost = source.stream.parents, dict(before.held.lost) if before.held else {}
    # Of the parents that a setting names nothing is listed.
    if listed and parents and not chosen_ids(source):
        lost.pop(parents.table.name, None)
    for table in lost.keys() & source.side_nouns.keys() if listed else ():
        # A listing beside the records may be left out, and then brings nothing back.
        if now.get(table, 0) >= (before.now or {}).get(table, 0) + lost[table]:
            del lost[table]
    return lost


def _add_row(client: SqlClient, row: dict[str, Any] | None, *, only_count: str | None) -> None:
    """Inserts a row of `runs`, None: it is there already; the counts of all runs but `only_count` are deleted.

    Without `only_count` all stay. It is one transaction: without any count the next sync would take rows for lost.
    """
    runs = client.make_qualified_table_name("runs")
    with client.begin_transaction():
        if only_count:
            others = "held is not null and run_id <> %s"
            client.execute_sql(f"update {runs} set held = null where {others}", only_count)
        if row:
            _insert_row(client, runs, row)


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
        # dlt adds its own columns to a row that it loads.
        run = Run.model_validate({name: value for name, value in row.items() if not name.startswith(PREFIX)})
        items = [LoadItem([Batch(RUNS, [run])])]
        return tree_resource(source.tables, lambda ledger, state: iter(items), source.name)

    pipeline.run(dlt.source(resource, name=source.name)(), loader_file_format=backend_of(pipeline).file_format)


def _run_row(outcome: Outcome, shard: Shard) -> dict[str, Any]:
    """Returns the row of `runs` by column, without row counts."""
    return {
        "run_id": outcome.run_id,
        "started_at": outcome.started_at,
        "finished_at": outcome.finished_at,
        "outcome": outcome.outcome,
        "rows": outcome.rows_written,
        "new_rows": outcome.rows_new,
        "changed_rows": outcome.rows_changed,
        "unchanged_rows": outcome.rows_unchanged,
        "packages": outcome.packages,
        "requests": outcome.requests,
        "retries": outcome.retries,
        "seconds_waited": round(outcome.seconds_waited, 3),
        "failures": len(outcome.failures),
        "error": outcome.error,
        "shard": None if shard.whole else str(shard),
        "scope": outcome.scope,
        "version": own_version(),
        ROW_ID: outcome.run_id,
        # No load wrote it, and no reader of `runs` asks for one.
        LOAD_ID: "",
    }
