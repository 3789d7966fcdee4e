"""Reads the state of a source as its next sync restores it: of its walk, and of its backfills."""

from __future__ import annotations

from gapless.pipelines.destinations.reader import Reader
from gapless.sources import Source
from gapless.sources._dlt.tables import LOADS, STATES, newest_state
from gapless.sources._dlt.types import State
from gapless.sources._ledger.backfill_state import STATE


def source_state(reader: Reader, source: Source) -> State | None:
    """Returns the whole state of a source as the next sync restores it; None before the first load."""
    from gapless.pipelines.destinations._dlt.runtime import stored_source_state

    found = reader.rows(source.name, newest_state("{0}", "{1}", source.name), STATES, LOADS)
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
