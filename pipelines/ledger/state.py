"""What a source remembers, and how to make it forget: no row of data is touched.

A change is a load like any other, with a coverage ledger and a state and no records, so that every later sync
restores it from the destination.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gapless.pipelines.destinations.reader import Reader, reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError, explain, interrupted
from gapless.pipelines.ledger.status import BEGINNING, Coverage, coverage
from gapless.pipelines.sync.history import forget
from gapless.sources import SOURCES, Source
from gapless.sources._dlt.tables import LOADS, STATES, newest_state
from gapless.sources._extract.resource import tree_resource
from gapless.sources._ledger.backfill_state import STATE
from gapless.sources._ledger.ledger import COVERAGE, Ledger
from gapless.sources._ledger.session import LoadItem, Session
from gapless.sources._ledger.walk_state import WalkState
from gapless.sources._schema.arrow import Batch


@dataclass
class SourceState:
    """What one source keeps: the walk's state (empty for sources with parents) and its coverage by stream."""

    source: str
    state: dict[str, Any] = field(default_factory=dict)
    coverage: dict[str, Coverage] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"state": self.state, "coverage": {name: stream.to_json() for name, stream in self.coverage.items()}}


def kept(target: Target) -> Iterator[SourceState]:
    """Of every source that has been synced to `place`. Raises Locked while a sync writes."""
    with reading(target) as reader:
        for source in SOURCES.values():
            state = restored(reader, source)
            if state is not None:
                yield SourceState(source.name, _without_cursors(state), coverage(reader, source.name))


def restored(reader: Reader, source: Source) -> dict[str, Any] | None:
    """The state of the source's one resource as the next sync will restore it; None before the first load."""
    found = of_source(reader, source)
    if found is None:
        return None
    state: dict[str, Any] = found.get("resources", {}).get(source.main.name, {})
    return state


def backfills(reader: Reader, source: Source) -> dict[str, dict[str, Any]]:
    """Progress by window, as `backfill_state.mark` writes it; a finished one has `done`."""
    found: dict[str, dict[str, Any]] = (of_source(reader, source) or {}).get(STATE, {})
    return found


def of_source(reader: Reader, source: Source) -> dict[str, Any] | None:
    from gapless.pipelines.destinations._dlt.runtime import stored_source_state

    found = reader.rows(source.name, newest_state("{0}", "{1}", source.name), STATES, LOADS)
    if not found:
        return None
    ((state,),) = found
    return stored_source_state(state, source.name)


def _without_cursors(state: dict[str, Any]) -> dict[str, Any]:
    walks = [{**walk, "after": _short(walk.get("after"))} for walk in state.get("walks", ())]
    return {**state, "walks": walks} if state else {}


def _short(cursor: str | None) -> str | None:
    return f"{cursor[:8]}…" if cursor and len(cursor) > 8 else cursor


def rewind(target: Target, name: str, to: datetime) -> int | None:
    """What is newer than `to`, less the look-back, is read again by the next sync.

    Returns how many proofs were changed; None when nothing was synced yet. Raises Locked.
    """

    def back(state: dict[str, Any]) -> dict[str, Any]:
        before = WalkState.from_json(state)
        watermark = min(before.watermark, to) if before.watermark else None
        return WalkState(watermark, initial_value=before.initial_value).to_json()

    return _change(target, SOURCES[name], to, back)


def reset(target: Target, name: str) -> int | None:
    """Everything is read again by the next sync, backfills are forgotten. Returns and raises as `rewind`."""
    return _change(target, SOURCES[name], BEGINNING, lambda state: WalkState().to_json())


def mark_unproven(target: Target, name: str, parents: Collection[str]) -> int | None:
    """The next sync reads just these parents again, whole. Returns and raises as `rewind`."""
    return _change(target, SOURCES[name], BEGINNING, lambda state: state, parents)


Walk = Callable[[dict[str, Any]], dict[str, Any]]


def _change(
    target: Target, source: Source, to: datetime, walk: Walk, only: Collection[str] | None = None
) -> int | None:
    import dlt

    changed = 0

    def steps(ledger: Ledger, state: dict[str, Any]) -> Iterator[LoadItem]:
        nonlocal changed
        if only is None and to == BEGINNING:
            dlt.current.source_state().pop(STATE, None)
        for stream in {table.name for table in source.tables}:
            proofs = ledger.coverage(stream).values()
            rows = [_earlier(row, to) for row in proofs if only is None or row.parent in only]
            changed += len(rows)
            yield LoadItem([Batch(COVERAGE, rows)], walk(state) if state else None)

    def resource() -> Any:
        return tree_resource(source.tables, steps, Session())

    with target.locked() as folder:
        if all(one.source != source.name for one in kept(target)):
            return None
        pipeline = dlt.pipeline(
            source.name,
            pipelines_dir=str(folder),
            destination=target.dlt_destination,
            dataset_name=source.name,
        )
        try:
            pipeline.run(dlt.source(resource, name=source.name)(), loader_file_format=target.file_format)
            forget(pipeline)
        except Exception as error:
            if interrupted(error):
                raise KeyboardInterrupt from None
            raise GaplessError(f"the state of {source.name} could not be changed: {explain(error)}") from error
        finally:
            pipeline.deactivate()
    return changed


def _earlier(row: Any, to: datetime) -> Any:
    """The proof of one parent, up to `to` at most; without a digest it is asked again whatever it answers.

    That nobody has checked it since is what `gapless gaps` tells it by.
    """
    covered = min(row.covered_to, to) if row.covered_to else None
    set_back = {"covered_to": covered, "digest": None, "missing": None, "last_checked_at": None}
    return row.model_copy(update=set_back)
