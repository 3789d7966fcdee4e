"""Reads what a sync finds of the ones before it: the state of its walk, its backfills, and what was erased."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from gapless.pipelines.destinations.reader import Reader
from gapless.pipelines.errors import LostErasureKey
from gapless.pipelines.evidence.known import Known
from gapless.sources import Source
from gapless.sources._dlt.tables import LOADS, STATES, newest_state
from gapless.sources._dlt.types import State
from gapless.sources._extract.subjects import subjects_of
from gapless.sources._ledger.backfill_state import STATE
from gapless.sources._ledger.erasure.key import LostKey
from gapless.sources._ledger.erasure.tombstones import Row, Tombstones, stored_rows


@dataclass(frozen=True)
class OpenDataset:
    """The rows of one source, by a reader that is open."""

    reader: Reader
    source: Source

    def rows(self, select: str, *tables: str) -> list[tuple[Any, ...]] | None:
        """Returns the rows of a select; None: a table is missing."""
        return self.reader.rows(self.source.name, select, *tables)

    def columns(self, table: str) -> set[str]:
        """Returns the columns of a table; empty: unknown, or it is missing."""
        return self.reader.columns(self.source.name, [table]).get(table, set())


def source_state(reader: Reader, source: Source) -> State | None:
    """Returns the whole state of a source as the next sync restores it; None before the first load.

    It is None, too, where somebody dropped a column that it is read by: the next sync makes that again.
    """
    from gapless.pipelines.destinations._dlt.runtime import stored_source_state

    found = Known(reader, source).rows(source.name, newest_state("{0}", "{1}", source.name), STATES, LOADS)
    if not found:
        return None
    ((state,),) = found
    return stored_source_state(state, source.name)


def resource_state(reader: Reader, source: Source) -> State | None:
    """Returns the state of the source's one resource as the next sync restores it; None before the first load."""
    found = source_state(reader, source)
    if found is None:
        return None
    state: State = found.get("resources", {}).get(source.main.name, {})
    return state


def backfills(reader: Reader, source: Source) -> dict[str, State]:
    """Returns the progress of backfills by window key; a finished one has `done`."""
    progress: dict[str, State] = (source_state(reader, source) or {}).get(STATE, {})
    return progress


def erased_here(reader: Reader, source: Source, keep: timedelta | None = None) -> Tombstones:
    """Returns what was erased of a source; `keep` is how long the settings keep records. Raises LostErasureKey."""
    # Where rows are only added, nothing can be erased.
    try:
        rows = [] if reader.appends else stored_rows(partial(reader.rows, source.name), source.name)
    except LostKey as error:
        raise LostErasureKey(str(error)) from None
    return tombstones(source, rows, datetime.now(UTC) - keep if keep else None)


def tombstones(source: Source, rows: Sequence[Row], horizon: datetime | None = None) -> Tombstones:
    """Returns what was erased of a source, by the rows of its table. Raises LostErasureKey."""
    try:
        return Tombstones(subjects_of(source.name, source.stream), rows, horizon)
    except LostKey as error:
        raise LostErasureKey(str(error)) from None
