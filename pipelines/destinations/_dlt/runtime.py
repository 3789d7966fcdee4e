"""What dlt keeps of a pipeline and says while it runs: stored state, traces, errors of databases."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dlt.common.versioned_state import compress_state, generate_state_version_hash
from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation
from dlt.pipeline import trace

from gapless.sources._dlt.internals import pipeline_state
from gapless.sources._dlt.stored import parsed_schema
from gapless.sources._dlt.types import State

Hints = Mapping[str, Any]
"""What dlt knows of a column: `data_type`, `nullable`, `unique`, `primary_key`, …"""
__all__ = [
    "DatabaseException",
    "DatabaseUndefinedRelation",
    "changed_source_state",
    "stored_source_state",
    "stored_tables",
    "tracked",
]
"""DatabaseUndefinedRelation: a table or a dataset that is not there (yet), on every engine. DatabaseException: the
engine refused a statement. `sql_client()` is documented, what it raises is not. Replaced by: `dataset()` with a
documented way to ask whether a table exists."""


UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, zlib.error)
"""What comes of a text that dlt did not write: no base64, not compressed, no JSON, or other JSON."""


def stored_source_state(state: str, source: str) -> State | None:
    """Returns one source's part of a pipeline's state, given the text that dlt stores in its state table.

    None: it cannot be read.
    """
    try:
        found: State = pipeline_state(state).get("sources", {}).get(source, {})
    except UNREADABLE:
        return None
    return found


def changed_source_state(state: str, source: str, change: Callable[[State], None]) -> tuple[str, str]:
    """Returns the text of a pipeline's state, and its hash, after `change` has changed one source's part of it.

    Why: rows and what the state says of them are changed in one transaction, and dlt writes states only with a load
    package. Replaced by: a documented way to write a state by SQL.
    """
    whole: Any = pipeline_state(state)
    change(whole.setdefault("sources", {}).setdefault(source, {}))
    whole["_version_hash"] = generate_state_version_hash(whole, exclude_attrs=["_local"])
    return compress_state(whole), whole["_version_hash"]


def stored_tables(schema: str | dict[str, Any]) -> dict[str, dict[str, Hints]] | None:
    """Returns the columns by table that a stored schema has, given the cell of dlt's table of schemas.

    None: it cannot be read.

    Why: a column or a table that somebody dropped is found by comparing what is there with what was made, and dlt
    compares them only when a schema is new. Replaced by: a documented check of a dataset against its schema.
    """
    try:
        tables: dict[str, dict[str, Any]] = parsed_schema(schema)["tables"]
        return {
            name: {column: hints for column, hints in table["columns"].items() if hints.get("data_type")}
            for name, table in tables.items()
        }
    except UNREADABLE:
        return None


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
