"""Shows and sets back the state of a source; no record is changed.

A change is a load package with coverage and state and without records, so that every later sync restores it from the
destination.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from gapless.pipelines.destinations._layouts.changing import changing
from gapless.pipelines.destinations.reader import reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.evidence.completeness import exists
from gapless.pipelines.evidence.emptied import read_emptied
from gapless.pipelines.evidence.gap import Commands
from gapless.pipelines.evidence.known import Known
from gapless.pipelines.evidence.seen import take_in_left
from gapless.pipelines.evidence.stored_state import resource_state
from gapless.pipelines.ledger.status import Coverage, coverage
from gapless.pipelines.sync.mending.losses import forget_emptied
from gapless.pipelines.sync.mending.strays import tidy_ledger
from gapless.pipelines.sync.mending.tables import mend_tables, require_writable
from gapless.pipelines.sync.noted_counts import forget_row_counts
from gapless.sources import SOURCES, Source
from gapless.sources._dlt.types import State
from gapless.sources._extract.resource import tree_resource
from gapless.sources._ledger.account.identity import ACCOUNTS, KEYS
from gapless.sources._ledger.backfill_state import STATE
from gapless.sources._ledger.ledger import COVERAGE, RESET, is_reset
from gapless.sources._ledger.ledger import Coverage as ProofRow
from gapless.sources._ledger.markers import LOST
from gapless.sources._ledger.session import LoadItem
from gapless.sources._ledger.stored.reader import Ledger
from gapless.sources._ledger.walk_state import WalkState
from gapless.sources._schema.arrow import Batch
from gapless.sources._schema.policy_history import POLICIES

if TYPE_CHECKING:
    import dlt
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
        take_in_left(reader, target)
        for source in [*SOURCES.values()]:
            state = resource_state(reader, source)
            if state is not None:
                yield SourceState(
                    source.name, _with_short_cursors(state), coverage(Known(reader, source), source.name)
                )


def _with_short_cursors(state: State) -> State:
    walks = [{**walk, "after": _short(walk.get("after"))} for walk in state.get("walks", ())]
    return {**state, "walks": walks} if state else {}


def _short(cursor: str | None) -> str | None:
    return f"{cursor[:8]}…" if cursor and len(cursor) > 8 else cursor


def rewind(target: Target, name: str, to: datetime) -> int | None:
    """Makes the next sync read again what was created after `to`, less the look-back.

    It acknowledges lost intervals that end by `to`, and lost cells of columns that were made again by then: they are
    not reported any more.

    Returns how many proofs were changed; None if nothing was synced yet. Raises Locked, GaplessError.
    """

    def back(state: State) -> State:
        before = WalkState.from_json(state)
        watermark = min(before.watermark, to) if before.watermark else None
        lost = [[start, end] for start, end in before.lost if _ends_after(end, to)]
        # With the initial value, by which a later sync sees that an earlier one reaches further back.
        return WalkState(watermark, initial_value=before.initial_value, lost=lost).to_json()

    changed = _change(target, SOURCES[name], to, back)
    with reading(target) as reader:
        lost = [one.stream for one in read_emptied(reader, SOURCES[name]) if one.at <= to]
    if lost:
        with changing_state(target, SOURCES[name]) as pipeline:
            forget_emptied(pipeline, lost)
    return changed


def reset(target: Target, name: str) -> int | None:
    """Makes the next sync read everything again, and deletes backfills' progress. Returns and raises as `rewind`.

    Lost intervals are still reported.
    """
    return _change(
        target, SOURCES[name], RESET, lambda state: WalkState(lost=WalkState.from_json(state).lost).to_json()
    )


def set_back(target: Target, name: str, absent: Mapping[str, Mapping[str, datetime | None]]) -> None:
    """Makes the next sync read again what misses these records (creation times by parent and id).

    That is their parents, or the listing from the oldest of them on. Raises Locked, GaplessError.
    """
    source = SOURCES[name]
    if not source.stream.walks:
        _change(target, source, RESET, lambda state: state, absent)
        return
    times = [at for ids in absent.values() for at in ids.values()]
    dated = [at for at in times if at]
    # A record without a time may be anywhere in the listing.
    if dated and len(dated) == len(times):
        rewind(target, name, min(dated))
    else:
        reset(target, name)


Walk = Callable[[State], State]
"""Returns the changed state of a walk."""
Steps = Callable[[Ledger, State], Iterator[LoadItem]]


def _change(
    target: Target, source: Source, to: datetime, walk: Walk, only: Collection[str] | None = None
) -> int | None:
    import dlt

    changed, whole = 0, only is None and is_reset(to)

    def steps(ledger: Ledger, state: State) -> Iterator[LoadItem]:
        nonlocal changed
        if whole:
            # After a reset another account, or policy, may be read into the dataset.
            for key in (STATE, ACCOUNTS, KEYS, POLICIES):
                dlt.current.source_state().pop(key, None)
        for stream in {table.name for table in source.tables}:
            stored = ledger.coverage(stream)
            proofs = stored.values()
            if state and source.stream.walks and (of_all := stored.get("")):
                state = {**state, "lost": WalkState.from_json(state).lost_by(of_all)}
            rows = [
                _set_back(row, to, lost=not source.stream.walks)
                for row in proofs
                if only is None or row.parent in only
            ]
            changed += len(rows)
            yield LoadItem([Batch(COVERAGE, rows)], walk(state) if state else None)

    # A note of loss goes only where everything is read again.
    return changed if write(target, source.name, steps, forget=whole) else None


def write(target: Target, name: str, steps: Steps, *, forget: bool = False) -> bool:
    """Loads one package of ledger rows and state; returns False where nothing was synced yet.

    `forget` deletes the row counts, too. Raises Locked, GaplessError.
    """
    import dlt

    source = SOURCES[name]

    def resource() -> DltResource:
        return tree_resource(source.tables, steps, source.name)

    with changing_state(target, source) as pipeline:
        with reading(target) as reader:
            # Without a first load there is no schema to load into.
            if not exists(reader, source):
                return False
        # A load into tables that are not as dlt noted them would fail.
        require_writable(pipeline, source)
        mend_tables(pipeline, Commands.at(source, target))
        tidy_ledger(pipeline, source)
        pipeline.run(dlt.source(resource, name=source.name)(), loader_file_format=target.file_format)
        if forget:
            forget_row_counts(pipeline, source)
    return True


def changing_state(target: Target, source: Source) -> AbstractContextManager[dlt.Pipeline]:
    """Yields a pipeline into the locked target. Raises Locked, NewerLayout, GaplessError for what fails within."""
    return changing(target, source.name, f"the state of {source.name} could not be changed")


def _set_back(row: ProofRow, to: datetime, *, lost: bool) -> ProofRow:
    """Returns a proof that ends at `to` at the latest.

    It has no digest, so that the parent is read even if its answer is unchanged, and no time of a check, by which
    `gapless gaps` finds it. `lost` says that its missing intervals are lost ones: those that end after `to` stay.
    """
    # Never later than it was, or a rewind would prove what nobody has read.
    covered = min(row.covered_to, to) if row.covered_to else None
    kept = [one for one in json.loads(row.missing or "[]") if lost and _ends_after(one[1], to)]
    set_back = {
        "covered_to": covered,
        "digest": None,
        "missing": json.dumps(kept) if kept else None,
        "last_checked_at": None,
        "error": None if not kept and (row.error or "").startswith(LOST) else row.error,
    }
    return row.model_copy(update=set_back)


def _ends_after(end: str | None, to: datetime) -> bool:
    return end is None or datetime.fromisoformat(end) > to
