"""Corrects what a comparison with the vendor found: doubled rows, cells, marks and notes of loss.

No request is made here, and what is to be read again the next sync reads.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from gapless.pipelines.destinations.reader import PipelineReader, reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.evidence.gap import DIFFERS, MISSING
from gapless.pipelines.evidence.rows.below import fill_below, find_below
from gapless.pipelines.evidence.rows.counts import (
    Held,
    RowCounts,
    count_rows,
    of_roots,
    once_tables,
    read_held,
    read_missed,
)
from gapless.pipelines.ledger.state import changing_state
from gapless.pipelines.sync.mending.tables import delete_orphans, remove_doubled
from gapless.pipelines.sync.noted_counts import update_held
from gapless.sources import SOURCES
from gapless.sources._dlt.tables import ROW_ID
from gapless.sources._ledger.stored.reader import Ledger
from gapless.sources._schema.record import ROWS_BELOW

Corrections = Mapping[str, Mapping[str, Mapping[str, object]]]
"""Cells by table, `_dlt_id` and column."""


def has_findings(target: Target, name: str) -> bool:
    """Returns whether a dead letter is open that `gapless verify` wrote."""
    begins = " or ".join(f"substr(reason, 1, {len(one)}) = '{one}'" for one in (MISSING, DIFFERS))
    with reading(target) as reader:
        found = reader.rows(name, f"select 1 from {{0}} where healed_at is null and ({begins})", "dead_letters")
    return bool(found)


def remove_doubled_rows(target: Target, name: str) -> None:
    """Removes all but one of the rows with the same `_dlt_id`. Raises Locked, GaplessError."""
    with changing_state(target, SOURCES[name]) as pipeline:
        remove_doubled(pipeline, SOURCES[name], once_tables(SOURCES[name]))


def mark_gone(target: Target, name: str, gone: Collection[str], back: Collection[str]) -> None:
    """Marks records, by `_dlt_id`, as gone at the vendor, and takes back the mark of others.

    Raises Locked, GaplessError.
    """
    source = SOURCES[name]

    with changing_state(target, source):
        ledger = Ledger()
        ledger.mark_gone(source.main.name, gone, datetime.now(UTC))
        ledger.mark_gone(source.main.name, back, None)


def prepare_replacing(target: Target, name: str, cells: Corrections) -> None:
    """Corrects cells by which a load finds the rows that it replaces, and deletes child rows that belong to none.

    A row without `cells` is deleted. Raises Locked, GaplessError.
    """
    with changing_state(target, SOURCES[name]) as pipeline:
        now = count_rows(PipelineReader(pipeline), SOURCES[name])
        with pipeline.sql_client() as client:
            for table, rows in cells.items():
                for row, values in rows.items():
                    qualified, where = client.make_qualified_table_name(table), f"where {ROW_ID} = '{row}'"
                    sets = ", ".join(f"{client.escape_column_name(column)} = %s" for column in values)
                    change = f"update {qualified} set {sets}" if values else f"delete from {qualified}"
                    client.execute_sql(f"{change} {where}", *values.values())
            delete_orphans(client, SOURCES[name], now)


def accept_below(target: Target, name: str, rows: Collection[str]) -> None:
    """Takes what is below these records, by `_dlt_id`, for all: nobody serves them. Raises Locked, GaplessError."""
    source = SOURCES[name]
    with changing_state(target, source) as pipeline, pipeline.sql_client() as client:
        table, column = client.make_qualified_table_name(source.main.name), client.escape_column_name(ROWS_BELOW)
        for row in rows:
            client.execute_sql(f"update {table} set {column} = null where {ROW_ID} = %s", row)
        fill_below(client, source)


def note_lost_rows(target: Target, name: str, rows: int) -> None:
    """Notes that so many records are lost, for `gaps` and later syncs. Raises Locked, GaplessError."""
    source = SOURCES[name]

    def change(held: Held, now: RowCounts) -> None:
        # `Held.missed` adds what went since the last sync, so that is not noted as well.
        gone = held.gone(now).get(source.main.name, 0)
        held.lost[source.main.name] = max(0, rows - gone)

    with changing_state(target, source) as pipeline:
        update_held(pipeline, source, change)


def bring_back(target: Target, name: str, rows: Mapping[str, int]) -> None:
    """Takes so many rows by table from what is noted as lost. Raises Locked, GaplessError."""
    source = SOURCES[name]
    # Mostly nothing is noted, and then no lock is taken.
    with reading(target) as reader:
        held = read_held(reader, source)
    if held is None or not any(rows.get(table) for table in held.lost):
        return

    def change(held: Held, now: RowCounts) -> None:
        held.lost = {table: max(0, lost - rows.get(table, 0)) for table, lost in held.lost.items()}

    with changing_state(target, source) as pipeline:
        update_held(pipeline, source, change)


def gone_since(target: Target, name: str) -> int:
    """Returns how many records fewer are here than when the last sync ended."""
    main = SOURCES[name].main.name
    with reading(target) as reader:
        held, now, _ = read_missed(reader, SOURCES[name])
    # Of those that were lost before, that sync may have brought some back; of others only their row ids differ.
    return max(0, held.rows.get(main, 0) - now.get(main, 0)) if held else 0


def noted_as_lost(target: Target, name: str) -> int:
    """Returns how many records an earlier command noted as lost; a sync may have brought some of them back since."""
    with reading(target) as reader:
        held = read_held(reader, SOURCES[name])
    return held.lost.get(SOURCES[name].main.name, 0) if held else 0


def confirm_row_counts(target: Target, name: str, *, below: bool, exact: bool = False) -> None:
    """Takes the records that are here now for all: a comparison with the vendor found none missing.

    What `gone_since` and `noted_as_lost` tell is no loss any more after it, so whoever calls it says how many nobody
    could bring back.
    `below` says that what was lost below them was read again with them; `exact` that all rows of all tables were
    compared. Changes nothing where the counts say so already. Raises Locked, GaplessError.
    """
    source = SOURCES[name]
    main = source.main.name
    with reading(target) as reader:
        held, now, missed = read_missed(reader, source)
        if held is not None and (not missed if exact else main not in missed):
            return
        settled = find_below(reader, source, None, now).settled

    def confirm(held: Held, now: RowCounts) -> None:
        if exact:
            held.lost.clear()
            held.rows = {**of_roots(source, now), **{table: now.get(table, 0) for table in held.rows}}
            return
        # Records that went took along what is below them; if each that is here has its rows, these came back, too.
        if held.lost.pop(main, 0) and (below or settled):
            for shape in source.main.schema.tree():
                held.lost.pop(shape.name, None)
        # The counts of other tables stay, as nobody compared these.
        held.rows = {**of_roots(source, now), **held.rows, main: now.get(main, 0)}

    with changing_state(target, source) as pipeline:
        update_held(pipeline, source, confirm)
