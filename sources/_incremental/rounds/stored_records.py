"""Reads which records of a DetailFeed are in the destination: all, or only those that a sync must know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Protocol

from gapless.sources._dlt.tables import ROW_ID
from gapless.sources._incremental.rounds.detail_parent import DetailParent, Stored
from gapless.sources._ledger.stored.cells import instant
from gapless.sources._ledger.stored.reader import LOOKED_UP, Ledger
from gapless.sources._ledger.window import earlier
from gapless.sources._schema.arrow import Table, digest

Row = tuple[Any, ...]
"""Parent, id and, if the table has one, time. Any, as a cell has the type of its column."""
Span = tuple[datetime, datetime | None]


class Rows(Protocol):
    """What a DetailFeed declares of its records' table."""

    @property
    def table(self) -> Table:
        """Returns the table of the records."""

    @property
    def column(self) -> str:
        """Returns the column of `table` with the id of a record's parent."""


def add(stored: Stored, rows: Iterable[Row]) -> None:
    """Adds rows to what is known."""
    for parent, key, *time in rows:
        stored.parents[str(key)], stored.times[str(key)] = str(parent), instant(time[0]) if time else None


def all_rows(ledger: Ledger, feed: Rows) -> Iterator[Row]:
    """Yields the rows of all records; a broken load may have left half of a record, which is then read again."""
    return (cells[:-1] for cells in ledger.select(feed.table.name, _columns(feed)) if cells[-1])


def known(ledger: Ledger, feed: Rows, parents: Sequence[DetailParent], lag: timedelta) -> Iterator[Row] | None:
    """Yields the rows that a sync must know when nobody but syncs has changed any; None: all of them.

    Of a parent that was listed they are all of its own, and those that it lists and that stand elsewhere. Of another
    one they are those within the look-back, `lag` before its watermark.
    """
    time = feed.table.time_column
    unlisted = [parent for parent in parents if parent.listed is None]
    # Without a time in its proof nobody knows which of its records are recent.
    undated = [parent for parent in unlisted if time is None or not (parent.before and parent.before.covered_to)]
    whole = [parent.id for parent in (*(one for one in parents if one.listed is not None), *undated)]
    own = _of(ledger, feed, feed.column, whole)
    met = {str(row[1]) for row in own}
    others = [digest(key) for parent in parents for key in parent.listed or () if key not in met]
    if len(others) > LOOKED_UP:
        return None
    spans = _merged(span for one in unlisted if one not in undated for span in _spans(one, lag))
    recent = ledger.created_in(feed.table.name, _columns(feed), time, spans) if time else []
    return chain(own, _of(ledger, feed, ROW_ID, others), recent)


def _spans(parent: DetailParent, lag: timedelta) -> Iterator[Span]:
    """Yields when what is recent of a parent was created: in the look-back, or after it was checked."""
    proof = parent.before
    assert proof
    assert proof.covered_to
    yield earlier(proof.covered_to, lag), proof.covered_to
    # A time that was to come then moved no watermark. Between the two there was nothing.
    yield max(filter(None, (proof.covered_to, proof.last_checked_at))), None


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Returns the spans in order, each time in one of them."""
    merged: list[Span] = []
    for since, until in sorted(spans, key=lambda span: span[0]):
        if merged and (merged[-1][1] is None or since <= merged[-1][1]):
            before, end = merged[-1]
            merged[-1] = before, None if end is None or until is None else max(end, until)
        else:
            merged.append((since, until))
    return merged


def _of(ledger: Ledger, feed: Rows, column: str, ids: Sequence[str]) -> list[Row]:
    return ledger.stored(feed.table.name, _columns(feed), column, ids)


def _columns(feed: Rows) -> list[str]:
    time = feed.table.time_column
    return [feed.column, feed.table.id_column, *([time] if time else [])]
