"""Copies which records are marked as gone: a mark changes a row whose load was copied before."""

from __future__ import annotations

from datetime import datetime

import duckdb

from gapless.pipelines.destinations.reader import DuckdbReader
from gapless.pipelines.evidence.proofs import as_utc
from gapless.sources import Source
from gapless.sources._dlt.tables import ROW_ID
from gapless.sources._ledger.stored.reader import Ledger
from gapless.sources._schema.record import GONE_AT


def copy_marks(db: duckdb.DuckDBPyConnection, source: Source) -> None:
    """Marks in the copy what is marked in the file, and nothing else; needs the copy's pipeline to be active."""
    reader, copied = DuckdbReader(db), Ledger()
    for table in source.tables:
        if GONE_AT not in reader.columns(source.name, [table.name]).get(table.name, ()):
            continue
        select = f'select {ROW_ID}, "{GONE_AT}" from {{0}} where "{GONE_AT}" is not null'
        theirs = {row: as_utc(at) for row, at in reader.rows(source.name, select, table.name) or []}
        there = copied.marked(table.name)
        by_time: dict[datetime | None, set[str]] = {}
        for row in theirs.keys() - there:
            by_time.setdefault(theirs[row], set()).add(row)
        copied.mark_gone(table.name, there - theirs.keys(), None)
        for at, rows in by_time.items():
            copied.mark_gone(table.name, rows, at)
