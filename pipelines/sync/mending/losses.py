"""Writes the notes of what somebody took away: before it is made again, so that a kill in between loses none."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gapless.pipelines.destinations.reader import PipelineReader, Reader
from gapless.pipelines.evidence.emptied import (
    ASIDE,
    COLUMN,
    NOTE_COLUMNS,
    OURS,
    PLACES,
    TABLE,
    WATERMARKS,
    Note,
    read_emptied,
    read_notes,
    stream_of,
)
from gapless.pipelines.evidence.known import Known
from gapless.pipelines.evidence.proofs import as_utc, read_proofs
from gapless.pipelines.evidence.rows.counts import counted_tables, read_held
from gapless.pipelines.evidence.structure import Damage
from gapless.sources import Source
from gapless.sources._dlt.tables import LOAD_ID, ROW_ID
from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, LOSSES, RESET
from gapless.sources._schema.arrow import Table

if TYPE_CHECKING:
    import dlt

    from gapless.sources._dlt.types import SqlClient

TIME = "timestamp with time zone"
MAKE = f"stream varchar not null, kind varchar not null, key varchar not null, first_seen_at {TIME} not null,\
 last_seen_at {TIME} not null"
"""The columns of the table of losses. dlt does not know it: no load of its own changes it."""


def aside_name(damage: Damage) -> str:
    """Returns what is added to the name of a table that lacks columns. Its rows are kept under that name."""
    return f"{ASIDE}{damage.columns[0].strip('_')}"


def losses(reader: Reader, source: Source, found: Collection[Damage], aside: Collection[Damage]) -> list[Note]:
    """Returns a note for each column that is missing, and for each root table that may lack rows once all is read.

    The tables of `aside` will be set aside. Call it before the row counts are forgotten.
    """
    at, roots = datetime.now(UTC), {table.name for table in source.tables}
    columns = [
        Note(stream_of(damage.table, column), COLUMN, column, at, at)
        for damage in found
        for column in damage.columns
        if damage.table in counted_tables(source) and damage not in aside and column not in OURS
    ]
    kept = []
    for damage in aside:
        if damage.table in roots:
            rows = reader.rows(source.name, "select count(*) from {0}", damage.table) or [(0,)]
            kept.append(Note(stream_of(damage.table, aside_name(damage)), TABLE, str(rows[0][0]), at, at))
    dropped = {damage.table for damage in found if not damage.columns}
    return [*columns, *kept, *_of_tables(Known(reader, source), source, dropped, at)]


def _of_tables(reader: Reader, source: Source, dropped: Collection[str], at: datetime) -> Iterator[Note]:
    held = read_held(reader, source)
    before = {one.table: one for one in read_emptied(reader, source) if one.stream == stream_of(one.table)}
    for table in source.tables:
        found = reader.rows(source.name, "select count(*) from {0}", table.name)
        here = int(found[0][0]) if found else 0
        known = held.rows.get(table.name) if held else None
        had: int | None = None
        if known is not None and held:
            had = max(known + held.lost.get(table.name, 0), here)
        earlier = before.get(table.name)
        if had is not None and earlier:
            had += earlier.rows  # what was lost before is not in the counts
        if had is None and (earlier or table.name not in dropped):
            continue
        if had is None or had > (0 if table.name in dropped else here):
            until = _newest(reader, source, table) or at
            yield Note(stream_of(table.name), TABLE, "" if had is None else str(had), at, until)


def _newest(reader: Reader, source: Source, table: Table) -> datetime | None:
    """Returns when the newest record of a table was created, by its proofs and by its rows."""
    time = table.time_column
    times = [proof.proven_to for proof in read_proofs(reader, source.name, table.name) or []]
    found = reader.rows(source.name, f'select max("{time}") from {{0}}', table.name) if time else None
    return max(filter(None, [*times, as_utc(found[0][0]) if found else None]), default=None)


def write_notes(client: SqlClient, notes: Iterable[Note], there: Mapping[str, Collection[str]]) -> None:
    """Writes notes in place of older ones, in each of the two tables that is whole; `there` are their columns."""
    notes = [*notes]
    if not notes:
        return
    own = client.make_qualified_table_name(LOSSES)
    if there.get(LOSSES) and not set(NOTE_COLUMNS) <= {*there[LOSSES]}:
        client.execute_sql(f"drop table {own}")
    client.execute_sql(f"create table if not exists {own} ({MAKE})")
    for note in notes:
        row: dict[str, object] = dict(
            zip(NOTE_COLUMNS, (*note[:3], _time(client, note.at), _time(client, note.until)), strict=True)
        )
        _replace(client, LOSSES, row)
        what = f"the column {note.key} was taken away" if note.kind == COLUMN else "the table was taken away"
        row |= {"reason": what, "attempts": 1, LOAD_ID: "", ROW_ID: f"{note.kind} {note.stream}"}
        if row.keys() <= {*there.get(DEAD_LETTERS.name, ())}:
            _replace(client, DEAD_LETTERS.name, row)


def keep_watermarks(
    client: SqlClient, source: Source, notes: Iterable[Note], there: Mapping[str, Collection[str]]
) -> None:
    """Keeps how far each parent is proven, before its proof is set back, where a note counts records by it."""
    counts = any(note.stream == stream_of(source.main.name) and note.key for note in notes)
    known = {"stream", "parent", "covered_to"} <= {*there.get(COVERAGE.name, ())}
    if not (counts and source.stream.column and known):
        return
    kept, coverage = map(client.make_qualified_table_name, (WATERMARKS, COVERAGE.name))
    client.execute_sql(f"drop table if exists {kept}")
    # One that was set back says nothing.
    until = f"case when covered_to > '{RESET:%Y-%m-%d %H:%M:%S}+00' then covered_to end as covered_to"
    where = f"where stream = '{source.main.name}'"
    client.execute_sql(f"create table {kept} as select parent, {until} from {coverage} {where}")


def _replace(client: SqlClient, table: str, row: Mapping[str, object]) -> None:
    name, columns = client.make_qualified_table_name(table), ", ".join(map(client.escape_column_name, row))
    client.execute_sql(f"delete from {name} where stream = %s and kind = %s", row["stream"], row["kind"])
    client.execute_sql(f"insert into {name} ({columns}) values ({', '.join(['%s'] * len(row))})", *row.values())


def _time(client: SqlClient, at: datetime) -> object:
    # SQLite stores times as texts, in UTC and without an offset, as dlt does.
    return at if client.capabilities.supports_tz_aware_datetime else f"{at:%Y-%m-%d %H:%M:%S.%f}"


def forget_emptied(pipeline: dlt.Pipeline, streams: Iterable[str]) -> None:
    """Deletes the notes of what was made again, by their streams."""
    streams = [*streams]
    if not streams:
        return
    with PipelineReader(pipeline).connected() as reader:
        there = reader.columns(str(pipeline.dataset_name), PLACES)
    with pipeline.sql_client() as client:
        for stream in streams:
            for place in PLACES:
                if there.get(place, set()) >= {"stream", "kind"}:
                    name = client.make_qualified_table_name(place)
                    where = f"stream = %s and kind in ('{COLUMN}', '{TABLE}')"
                    client.execute_sql(f"delete from {name} where {where}", stream)


def settle_notes(pipeline: dlt.Pipeline, reader: Reader, source: Source, *, whole: bool) -> None:
    """Writes each note again where one of the two tables lacks it, and after a `whole` sync forgets what is here."""
    held = read_notes(reader, source)
    notes = {stream: note for place in held.values() for stream, note in place.items()}
    if not notes:
        return
    here = {one.stream for one in read_emptied(reader, source) if not one.rows} if whole else set()
    forget_emptied(pipeline, here)
    left = [note for stream, note in notes.items() if stream not in here]
    if any(note.stream not in held.get(place, {}) for note in left for place in PLACES):
        there = reader.columns(source.name, PLACES)
        with pipeline.sql_client() as client:
            write_notes(client, left, there)
