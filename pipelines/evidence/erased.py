"""Reads what was erased on purpose from a destination: no alarm may come of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gapless.pipelines.destinations.reader import Reader
from gapless.sources import Source
from gapless.sources._extract.source import subjects_of
from gapless.sources._ledger.erasure.tombstones import ERASED, SELECT, Tombstones


def erased_here(reader: Reader, source: Source, keep: timedelta | None = None) -> Tombstones:
    """Returns what was erased of a source; `keep` is how long the settings keep records. Raises LostKey."""
    # Where rows are only added, nothing can be erased.
    rows = [] if reader.appends else reader.rows(source.name, SELECT, ERASED) or []
    horizon = datetime.now(UTC) - keep if keep else None
    return Tombstones(subjects_of(source.name, source.stream), rows, horizon)
