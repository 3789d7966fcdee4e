"""Reads the notes of what somebody took away and nobody may have any more: columns and tables that were made again.

A sync reads the records again, and with them rows and cells. Of a record that the vendor does not serve any more
nobody has them. `sync/mending` writes a note before anything is made again, and takes it back where nothing lacks.
Each note stands in two tables, so that whoever damages one of them takes no note away.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from gapless.pipelines.destinations.reader import Reader
from gapless.pipelines.evidence.proofs import as_utc
from gapless.sources import Source
from gapless.sources._dlt.tables import LOAD_ID, ROW_ID
from gapless.sources._ledger.ledger import DEAD_LETTERS, LOSSES
from gapless.sources._schema.arrow import Table
from gapless.sources._schema.record import GONE_AT, ROWS_BELOW

KINDS = COLUMN, TABLE = "column", "table"
"""The kinds of such a note. Its key is the column, or how many rows the table had; its stream both names."""
OURS = (GONE_AT, ROWS_BELOW)
"""Columns that no vendor sends: syncs fill them."""
NOTE_COLUMNS = ("stream", "kind", "key", "first_seen_at", "last_seen_at")
SELECT = f"select {', '.join(NOTE_COLUMNS)} from {{0}} where kind in {KINDS}"
WATERMARKS = f"{LOSSES}__watermarks"
"""The table of how far each parent was proven when a table was taken away; null: not known."""
ASIDE = "__lost_"
"""What is added to the name of a table that lacks a column. Its rows are kept under that name."""
PLACES = (LOSSES, DEAD_LETTERS.name)
"""The tables that hold the notes."""


class Note(NamedTuple):
    """What was taken away; the columns are those of `dead_letters`."""

    stream: str
    """See `stream_of`."""
    kind: str
    key: str
    """The column; of a table how many rows it had, empty: nobody knows."""
    at: datetime
    """When it was made again, in UTC."""
    until: datetime
    """Of a table when its newest row was created; later ones came since."""


class Emptied(NamedTuple):
    """What was made again, and what it lacks now."""

    stream: str
    table: str
    column: str
    """Empty: the whole table."""
    at: datetime
    """When it was made again, in UTC."""
    rows: int
    """Rows that were not read again since."""
    had: int | None = None
    """Rows that the table had; None: nobody knows, or it was a column."""


def stream_of(table: str, column: str = "") -> str:
    """Returns the stream of a note: that of no table, so that no sync of records closes it.

    Of a whole table there is no column, or the end of the name under which its rows are kept.
    """
    return f"{table}.{column}"


def read_notes(reader: Reader, source: Source) -> dict[str, dict[str, Note]]:
    """Returns the notes by the table that holds them, and by stream; without tables that are missing or damaged."""
    if reader.appends:
        return {}
    there = reader.columns(source.name, PLACES)
    found: dict[str, dict[str, Note]] = {}
    for place in PLACES:
        if there.get(place, set()).issuperset(NOTE_COLUMNS):
            rows = reader.rows(source.name, SELECT, place) or []
            notes = (Note(stream, kind, key, _time(at), _time(until)) for stream, kind, key, at, until in rows)
            found[place] = {note.stream: note for note in notes}
    return found


def read_emptied(reader: Reader, source: Source) -> Iterator[Emptied]:
    """Yields what was made again and what a sync has not been found to fill."""
    seen = set[str]()
    for place, notes in read_notes(reader, source).items():
        for note in notes.values():
            if note.stream not in seen:
                seen.add(note.stream)
                table, _, column = note.stream.partition(".")
                if note.kind == COLUMN:
                    yield Emptied(
                        note.stream, table, column, note.at, _not_read_since(reader, source, table, note.at)
                    )
                else:
                    yield _of_table(reader, source, note, place)


def _of_table(reader: Reader, source: Source, note: Note, place: str) -> Emptied:
    name, _, aside = note.stream.partition(".")
    if not note.key.isdigit():
        return Emptied(note.stream, name, "", note.at, 1)
    had, table = int(note.key), next((one for one in source.tables if one.name == name), None)
    kept = f"{name}{aside}"
    if aside and table and kept in reader.columns(source.name, [kept]):
        ids = (ROW_ID,) if not aside.endswith(f"_{ROW_ID.strip('_')}") else table.key
        same = " and ".join(f'a."{one}" = t."{one}"' for one in ids)
        select = f"select count(*) from {{0}} as a where not exists (select 1 from {{1}} as t where {same})"
        found = reader.rows(source.name, select, kept, name)
        return Emptied(note.stream, name, "", note.at, int(found[0][0]) if found else 0, had)
    here = _here_of(reader, source, note, table, place) if table else None
    # A table that is missing again is told as such.
    return Emptied(note.stream, name, "", note.at, 0 if here is None else max(0, had - here), had)


def _here_of(reader: Reader, source: Source, note: Note, table: Table, place: str) -> int | None:
    """Returns the rows of a table without those that came since; None: it is missing."""
    time, parent = table.time_column, source.stream.column if table.name == source.main.name else None
    marks = reader.columns(source.name, [WATERMARKS]).get(WATERMARKS, set())
    if time and parent and marks >= {"parent", "covered_to"}:
        # What was created later, or has a parent that was not there, would hide as many that are lost.
        join = f'select count(*) from {{0}} as t join {{1}} as w on cast(t."{parent}" as varchar) = w.parent'
        late = f'w.covered_to is null or t."{time}" is null or t."{time}" <= w.covered_to'
        found = reader.rows(source.name, f"{join} where {late}", table.name, WATERMARKS)
    else:
        until = f"(select max(last_seen_at) from {{1}} where stream = '{note.stream}')"
        since = f' where "{time}" is null or "{time}" <= {until}' if time else ""
        found = reader.rows(source.name, f"select count(*) from {{0}}{since}", table.name, place)
    return int(found[0][0]) if found else None


def _not_read_since(reader: Reader, source: Source, table: str, at: datetime) -> int:
    # The id of a load is the time at which it began, as seconds in a text.
    since = f"{LOAD_ID} < '{at.timestamp():.6f}'"
    found = reader.rows(source.name, f"select count(*) from {{0}} where {since}", table)
    return int(found[0][0]) if found else 0


def _time(cell: datetime | str | None) -> datetime:
    return as_utc(cell) or datetime.fromtimestamp(0, UTC)
