"""Shows and sets back the state of a source; no record is changed.

A change is a load package with coverage and state and without records, so that every later sync restores it from the
destination.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gapless.pipelines.destinations.reader import Reader, reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError, explain, interrupted
from gapless.pipelines.ledger.status import Coverage, coverage
from gapless.pipelines.sync.history import forget_row_counts
from gapless.sources import SOURCES, Source
from gapless.sources._dlt.tables import LOADS, STATES, newest_state
from gapless.sources._dlt.types import State
from gapless.sources._extract.extraction import ACCOUNTS
from gapless.sources._extract.resource import tree_resource
from gapless.sources._ledger.backfill_state import STATE
from gapless.sources._ledger.ledger import COVERAGE, RESET, Ledger, is_reset
from gapless.sources._ledger.ledger import Coverage as ProofRow
from gapless.sources._ledger.session import LoadItem
from gapless.sources._ledger.walk_state import WalkState
from gapless.sources._schema.arrow import Batch

if TYPE_CHECKING:
    from dlt.sources import DltResource


@dataclass
class SourceState:
    """The state of one source: of its walk (empty for sources with parents), and its coverage by stream."""

    source: str
    state: State = field(default_factory=dict)
    coverage: dict[str, Coverage] = field(default_factory=dict)

    def to_json(self) -> State:
        """Returns state and coverage as values; times stay times."""
        return {"state": self.state, "coverage": {name: stream.to_json() for name, stream in self.coverage.items()}}


def source_states(target: Target) -> Iterator[SourceState]:
    """Yields the state of every source that was synced to `target`. Raises Locked while a sync writes."""
    with reading(target) as reader:
        for source in SOURCES.values():
            state = resource_state(reader, source)
            if state is not None:
                yield SourceState(source.name, _without_cursors(state), coverage(reader, source.name))


def resource_state(reader: Reader, source: Source) -> State | None:
    """Returns the state of the records' resource as the next sync restores it; None before the first load."""
    found = source_state(reader, source)
    if found is None:
        return None
    state: State = found.get("resources", {}).get(source.main.name, {})
    return state


def backfills(reader: Reader, source: Source) -> dict[str, State]:
    """Returns the progress of backfills by window key; a finished one has `done`."""
    progress: dict[str, State] = (source_state(reader, source) or {}).get(STATE, {})
    return progress


def source_state(reader: Reader, source: Source) -> State | None:
    """Returns the whole state of a source as the next sync restores it; None before the first load."""
    from gapless.pipelines.destinations._dlt.runtime import stored_source_state

    found = reader.rows(source.name, newest_state("{0}", "{1}", source.name), STATES, LOADS)
    if not found:
        return None
    ((state,),) = found
    return stored_source_state(state, source.name)


def _without_cursors(state: State) -> State:
    walks = [{**walk, "after": _short(walk.get("after"))} for walk in state.get("walks", ())]
    return {**state, "walks": walks} if state else {}


def _short(cursor: str | None) -> str | None:
    return f"{cursor[:8]}…" if cursor and len(cursor) > 8 else cursor


def rewind(target: Target, name: str, to: datetime) -> int | None:
    """Makes the next sync read again what was created after `to`, less the look-back.

    Returns how many proofs were changed; None if nothing was synced yet. Raises Locked, GaplessError.
    """

    def back(state: State) -> State:
        before = WalkState.from_json(state)
        watermark = min(before.watermark, to) if before.watermark else None
        return WalkState(watermark, initial_value=before.initial_value).to_json()

    return _change(target, SOURCES[name], to, back)


def reset(target: Target, name: str) -> int | None:
    """Makes the next sync read everything again, and deletes backfills' progress. Returns and raises as `rewind`."""
    return _change(target, SOURCES[name], RESET, lambda state: WalkState().to_json())


def mark_unproven(target: Target, name: str, parents: Collection[str]) -> int | None:
    """Makes the next sync read these parents again, whole. Returns and raises as `rewind`."""
    return _change(target, SOURCES[name], RESET, lambda state: state, parents)


Walk = Callable[[State], State]
"""Returns the changed state of a walk."""


def _change(
    target: Target, source: Source, to: datetime, walk: Walk, only: Collection[str] | None = None
) -> int | None:
    import dlt

    changed = 0

    def steps(ledger: Ledger, state: State) -> Iterator[LoadItem]:
        nonlocal changed
        if only is None and is_reset(to):
            for key in (STATE, ACCOUNTS):
                dlt.current.source_state().pop(key, None)
        for stream in {table.name for table in source.tables}:
            proofs = ledger.coverage(stream).values()
            # Only proofs of completed loads are changed; the others do not count anyway.
            rows = [_set_back(row, to) for row in proofs if only is None or row.parent in only]
            changed += len(rows)
            yield LoadItem([Batch(COVERAGE, rows)], walk(state) if state else None)

    def resource() -> DltResource:
        return tree_resource(source.tables, steps, source.name)

    with target.locked() as folder:
        # Without a first load there is no schema to load into.
        if all(one.source != source.name for one in source_states(target)):
            return None
        _load(target, source, folder, resource)
    return changed


def _load(target: Target, source: Source, folder: Path, resource: Callable[[], DltResource]) -> None:
    """Loads one package of proofs and state. Raises GaplessError."""
    import dlt

    pipeline = dlt.pipeline(
        source.name,
        pipelines_dir=str(folder),
        destination=target.dlt_destination,
        dataset_name=source.name,
    )
    try:
        pipeline.run(dlt.source(resource, name=source.name)(), loader_file_format=target.file_format)
        forget_row_counts(pipeline)
    except Exception as error:
        if interrupted(error):
            raise KeyboardInterrupt from None
        raise GaplessError(f"the state of {source.name} could not be changed: {explain(error)}") from error
    finally:
        pipeline.deactivate()


def _set_back(row: ProofRow, to: datetime) -> ProofRow:
    """Returns a proof that ends at `to` at the latest.

    It has no digest, so that the parent is read even if its answer is unchanged, and no time of a check, by which
    `gapless gaps` finds it.
    """
    covered = min(row.covered_to, to) if row.covered_to else None
    set_back = {"covered_to": covered, "digest": None, "missing": None, "last_checked_at": None}
    return row.model_copy(update=set_back)
