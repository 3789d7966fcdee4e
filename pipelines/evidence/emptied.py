"""Reads the notes of columns that somebody took away and that were made again: which rows have no cell in them.

A sync reads the records again, and with them the cells. Of a record that the vendor does not serve any more nobody
has them. `sync/mending.py` writes a note before the column is made, and takes it back where no row lacks anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from gapless.pipelines.destinations.reader import Reader
from gapless.pipelines.evidence.proofs import as_utc
from gapless.sources import Source
from gapless.sources._dlt.tables import LOAD_ID
from gapless.sources._schema.record import GONE_AT, ROWS_BELOW

KIND = "column"
"""The kind of such a note in `dead_letters`; its key is the column, its stream the table and the column."""
OURS = (GONE_AT, ROWS_BELOW)
"""Columns that no vendor sends: syncs fill them."""


class Emptied(NamedTuple):
    """A column that was made again."""

    stream: str
    table: str
    column: str
    at: datetime
    """When it was made again, in UTC."""
    rows: int
    """Rows that were not read again since."""


def stream_of(table: str, column: str) -> str:
    """Returns the stream of a note: that of no table, so that no sync of records closes it."""
    return f"{table}.{column}"


def read_emptied(reader: Reader, source: Source) -> Iterator[Emptied]:
    """Yields the columns that were made again and that a sync has not been found to fill."""
    select = f"select stream, first_seen_at from {{0}} where kind = '{KIND}' and healed_at is null"
    for stream, at in [] if reader.appends else reader.rows(source.name, select, "dead_letters") or []:
        table, _, column = stream.partition(".")
        made = as_utc(at) or datetime.fromtimestamp(0, UTC)
        # The id of a load is the time at which it began, as seconds in a text.
        since = f"{LOAD_ID} < '{made.timestamp():.6f}'"
        found = reader.rows(source.name, f"select count(*) from {{0}} where {since}", table)
        yield Emptied(stream, table, column, made, int(found[0][0]) if found else 0)
