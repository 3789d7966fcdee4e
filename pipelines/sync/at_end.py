"""Says what a sync leaves open when it ends: rows that are lost, and what is not proven."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gapless.pipelines.destinations.reader import PipelineReader
from gapless.pipelines.destinations.resolve import backend_of
from gapless.pipelines.evidence.completeness import lacks_rows, left_open
from gapless.pipelines.evidence.gap import Commands, Gap
from gapless.pipelines.evidence.rows.counts import RowCounts
from gapless.pipelines.sync.lost_rows import (
    Before,
    count_at_end,
    describe_foreign_rows,
    describe_lost_rows,
    note_all_here,
)
from gapless.pipelines.sync.mending.losses import settle_notes
from gapless.sources._ledger.session import Failure, Session

if TYPE_CHECKING:
    import dlt


def assess_end(pipeline: dlt.Pipeline, commands: Commands, session: Session, before: Before) -> list[Gap]:
    """Counts the rows that the sync has left, and returns what it leaves open."""
    source = commands.source
    with PipelineReader(pipeline, backend_of(pipeline).appends).connected() as reader:
        ended = before.ended = count_at_end(pipeline, reader, source, session.shard, before)
        gaps = _left_open(reader, commands, session, ended.rows)
        settle_notes(pipeline, reader, source, whole=session.scope is None)
        whole = session.shard.whole and before.below_at_end.settled and before.below.settled
        if whole and not (session.scope or any(map(lacks_rows, gaps))):
            note_all_here(pipeline, reader, source, ended)
    return gaps


def _left_open(reader: PipelineReader, commands: Commands, session: Session, rows: RowCounts) -> list[Gap]:
    """Returns what the ledger leaves open after a sync; of a window or single ids only what could not be read."""
    partly = session.scope is not None
    if partly and not session.failures:
        return []
    failed = {(failure.stream, failure.key) for failure in session.failures}
    doubtful = session.doubtful if session.rows_known else None
    gaps = left_open(reader, commands, session.shard.contains, rows, doubtful)
    return [gap for gap in gaps if not partly or (gap.stream, gap.failed.key or gap.parent) in failed]


def not_reported(gaps: list[Gap], session: Session) -> list[Failure]:
    """Returns the gaps as failures that the sync itself did not report."""
    reported = {failure.key for failure in session.failures}
    return [Failure(f"{gap.kind}: {gap.why}") for gap in gaps if not reported & {gap.parent, gap.failed.key}]


def note_differences(session: Session, commands: Commands, lost: RowCounts, more: RowCounts | None = None) -> None:
    """Notes rows that are lost, and rows that no record was loaded with, as failures of a sync of everything."""
    if not session.ids:  # the ids may be what is lost; `gaps` reports the rest
        session.failures += map(Failure, describe_lost_rows(commands, lost))
        session.failures += map(Failure, describe_foreign_rows(commands, more or {}))
