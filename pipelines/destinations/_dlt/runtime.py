"""What dlt keeps of a pipeline and says while it runs: stored state, traces, errors of databases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dlt.common.versioned_state import decompress_state
from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation
from dlt.pipeline import trace

from gapless.sources._dlt.types import State

__all__ = ["DatabaseException", "DatabaseUndefinedRelation", "stored_source_state", "tracked"]
"""DatabaseUndefinedRelation: a table or a dataset that is not there (yet), on every engine. DatabaseException: the
engine refused a statement. `sql_client()` is documented, what it raises is not. Replaced by: `dataset()` with a
documented way to ask whether a table exists."""


def stored_source_state(state: str, source: str) -> State:
    """Returns one source's part of a pipeline's state, given the text that dlt stores in its state table.

    Why: `state show`, `gaps` and `backfill` read what the next sync will restore, without a pipeline that changes the
    destination. Replaced by: a documented read-only way to load a pipeline's state.
    """
    found: State = decompress_state(state).get("sources", {}).get(source, {})
    return found


@contextmanager
def tracked(watcher: Any) -> Iterator[None]:
    """Has dlt call `watcher` at the start and the end of each step of each pipeline while the block runs.

    Why: spans of dlt's extract, normalize and load belong into gapless' traces. dlt keeps this list for its own
    telemetry. Replaced by: a documented `dlt.pipeline(trackers=…)`.
    """
    trace.TRACKING_MODULES.append(watcher)
    try:
        yield
    finally:
        trace.TRACKING_MODULES.remove(watcher)
