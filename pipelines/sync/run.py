"""Runs a sync: one source after the other, each a loop of small load packages that commit rows and state together."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gapless.pipelines.config import unwritten
from gapless.pipelines.destinations._layouts.layout import Layout, read_layout
from gapless.pipelines.destinations.reader import PipelineReader
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.erasure import unfinished
from gapless.pipelines.erasure.met import note_met
from gapless.pipelines.erasure.noted import require_known
from gapless.pipelines.errors import Locked, WrongSettings, explain, interrupted, root_cause
from gapless.pipelines.evidence.completeness import exists
from gapless.pipelines.evidence.gap import Commands
from gapless.pipelines.evidence.stored_state import erased_here
from gapless.pipelines.layout.upgrade import mark_layout, upgrade
from gapless.pipelines.outcome import LEDGER_TABLES, Outcome, is_root, own_version
from gapless.pipelines.sync.account import require_account
from gapless.pipelines.sync.at_end import assess_end, not_reported, note_differences
from gapless.pipelines.sync.build import build, check_settings
from gapless.pipelines.sync.history import note_streak, write_run
from gapless.pipelines.sync.lost_rows import (
    Before,
    find_lost_rows,
)
from gapless.pipelines.sync.mending.strays import tidy_ledger
from gapless.pipelines.sync.mending.tables import mend_tables, require_writable
from gapless.pipelines.sync.request import SyncRequest, Watch
from gapless.pipelines.sync.unchanged import note_unchanged
from gapless.sources import SOURCES, Source
from gapless.sources._dlt.tables import PREFIX
from gapless.sources._ledger.session import Failure, Session
from gapless.sources._ledger.shard import Shard

if TYPE_CHECKING:
    import dlt

    from gapless.sources._dlt.row_changes import RowChanges

SETTLED = 16
"""Sources after which is written out what they left in memory: measured, 2.3 MB each in DuckDB."""

COLLECTED = 8
"""Load packages after which all reference cycles are looked for, which takes a tenth of a second."""


def sync(
    names: list[str], target: Target, request: SyncRequest, watch: Watch = lambda name, session: None
) -> Iterator[Outcome]:
    """Syncs `names` in turn and yields each outcome. Raises Locked or WrongSettings before any request.

    `watch` is called with the name and the session of each source when its sync begins. If a source cannot be split,
    the first shard reads all of it and the other shards skip it.
    """
    from gapless.pipelines.destinations import publish

    names = [name for name in names if SOURCES[name].split_by or target.shard.number == 1]
    publish.require_usable(target)
    for name in names:
        check_settings(SOURCES[name], _shard_of(SOURCES[name], target))
    if not names:
        return
    ended = set[str]()
    try:
        for outcome in _sync_each(names, target, request, watch):
            ended.add(outcome.source)
            yield outcome
    except (Locked, WrongSettings):
        raise
    except Exception as error:  # it cannot be opened, or not be written
        for name in names if not ended else ():
            unwritten.note(target.note_file(name, _shard_of(SOURCES[name], target)), explain(error))
        raise


def _sync_each(names: list[str], target: Target, request: SyncRequest, watch: Watch) -> Iterator[Outcome]:
    with target.locked(*names) as folder:
        written = False
        for number, name in enumerate(names):
            # Every table of hundreds of accounts would take memory until the end, and DuckDB has a limit.
            if number and number % SETTLED == 0:
                target.settle()
            outcome = _sync_source(SOURCES[name], target, folder, request, watch)
            written = written or outcome.error is None
            yield outcome
        # Where nothing was written, views would be in the way of whoever mends the tables below them.
        if written and target.shard.number == 1:
            from gapless.pipelines.destinations import publish
            from gapless.pipelines.views import refresh

            # Views and the published copy show the whole sync, so they are made once, at its end.
            refresh.refresh(target, folder)
            publish.refresh(target)


def _sync_source(source: Source, target: Target, folder: Path, request: SyncRequest, watch: Watch) -> Outcome:
    session = _session(request, source, target)
    outcome = Outcome(source.name, started_at=_now(), destination=target.destination)
    pipeline = target.pipeline(source.name, folder)
    before: Before | None
    built, before = build(source, session), None
    outcome.scope = session.scope
    watch(source.name, session)

    def packed(size: int, largest: int) -> None:
        # DuckDB's memory follows the bytes of each load package.
        target.make_room(size, largest)
        note_met(pipeline, session.erased)

    session.packed = packed
    try:
        commands = Commands.at(source, target)
        layout = _make_ready(pipeline, commands, session, target, outcome)
        if session.keep and session.erased.kept_from and session.shard.number == 1 and target.backend.updates_rows:
            from gapless.pipelines.erasure.keep import apply_keep  # of those who have it alone

            apply_keep(pipeline, source, session.erased.kept_from)
        before = find_lost_rows(pipeline, source, session.shard)
        session.failures += map(Failure, before.doubled)
        note_differences(session, commands, before.lost)
        session.rows_known = before.unchanged
        note_unchanged(pipeline, source, session)
        while not session.done:
            # Another writer may have taken over a lock that was lost, as after a restart of the database.
            target.check()
            pipeline.run(built, loader_file_format=target.file_format)
            count(outcome, pipeline)
            if layout is None and outcome.packages == 1:
                # A first sync that breaks off later has made tables of this layout.
                mark_layout(pipeline, source, own_version())
            if not session.done:
                release_memory(outcome.packages)
        note_met(pipeline, session.erased)
        outcome.gaps = assess_end(pipeline, commands, session, before)
        note_differences(session, commands, before.lost_meanwhile, before.below_at_end.more)
        session.failures += not_reported(outcome.gaps, session)
    except BaseException as error:
        _fail(outcome, error)
    finally:
        # First, because the row of `runs` holds when it ended and how much was requested.
        _close(outcome, session)
        # Also after an error: a run that failed must be in the table, unless that is another account's.
        if not outcome.refused:
            _write_run(pipeline, source, outcome, before, session, target)
            note_streak(pipeline, source, outcome, session.shard)
        _end(pipeline)
    return outcome


def _make_ready(
    pipeline: dlt.Pipeline, commands: Commands, session: Session, target: Target, outcome: Outcome
) -> Layout | None:
    """Checks that the tables may be written to, and mends and upgrades them; returns their layout, None if new."""
    source = commands.source
    # First, because what is closed to this role cannot be read either.
    require_writable(pipeline, source)
    with PipelineReader(pipeline, target.appends).connected() as reader:
        # First of all: what a newer version wrote may be read wrongly.
        layout = None if target.appends else read_layout(reader, source.name)
        # Before any request: without the key of the tombstones, the forgotten would come back.
        session.erased = erased_here(reader, source, session.keep)
        require_known(target, source.name, reader)
        outcome.note = _begin(reader, source, session, target)
        erasures = unfinished.notes_of(reader, [source.name])
    # Before rows are counted, because it forgets the counts of what is made again and read again.
    _mend(pipeline, commands, session)
    notes = [unfinished.sentence(name, target.destination) for name in erasures]
    notes += upgrade(pipeline, source, layout, own_version())
    outcome.note = "; ".join(filter(None, (outcome.note, *notes))) or None
    return layout


def _begin(reader: PipelineReader, source: Source, session: Session, target: Target) -> str | None:
    """Returns what is to be said of the account. Raises GaplessError for another one's rows.

    Notes a first sync: killed before its first load, it leaves no table that shows that it was ever wanted.
    """
    note = require_account(reader, source, session, target)
    if not exists(reader, source):
        unwritten.begin(target.note_file(source.name, session.shard))
    return note


def _end(pipeline: dlt.Pipeline) -> None:
    if pipeline.is_active:  # a reader of another dataset may have ended in between
        pipeline.deactivate()


def _write_run(
    pipeline: dlt.Pipeline,
    source: Source,
    outcome: Outcome,
    before: Before | None,
    session: Session,
    target: Target,
) -> None:
    """Writes the row of `runs`; where the database takes none, it is noted elsewhere, for `gaps` and `status`."""
    file = target.note_file(source.name, session.shard)
    listed = outcome.error is None and session.shard.whole and not session.ids
    try:
        written = write_run(pipeline, source, outcome, before, session.shard, listed=listed)
    except Exception as error:
        unwritten.note(file, explain(error))
        raise
    if not written:
        unwritten.note(file, outcome.error or "")
        return
    for answered in target.note_files(source.name, session.shard):
        last = unwritten.noted(answered)
        # A part is not what another sync would have read; but that it began is told by its own row now.
        if outcome.scope is None or (answered == file and last and last.begun):
            unwritten.clear(answered)


def _mend(pipeline: dlt.Pipeline, commands: Commands, session: Session) -> None:
    """Makes again what somebody took away of the tables, by a load, also where there is nothing new."""
    if mended := [*mend_tables(pipeline, commands), *tidy_ledger(pipeline, commands.source)]:
        session.failures += map(Failure, mended)
        session.look = None


def release_memory(packages: int) -> None:
    """Gives back to the system what a load package leaves behind, so that memory does not grow with their number.

    Python frees reference cycles only now and then, and the C library keeps what many threads have freed.
    """
    import pyarrow as pa

    gc.collect(1 if packages % COLLECTED else 2)
    pa.system_memory_pool().release_unused()


def _session(request: SyncRequest, source: Source, target: Target) -> Session:
    """Returns a session that reads what is requested."""
    return Session(
        max_records=request.package_records,
        max_seconds=request.package_seconds,
        max_bytes=request.package_bytes or target.backend.package_bytes,
        window=request.window,
        ids=request.ids,
        backfill=request.backfill,
        shard=_shard_of(source, target),
    )


def _fail(outcome: Outcome, error: BaseException) -> None:
    """Adds the error to the outcome. Raises it again if it must end the process."""
    outcome.error = "interrupted" if interrupted(error) else explain(error)
    outcome.error_kind = type(root_cause(error)).__name__
    if interrupted(error):  # dlt wraps Ctrl-C in an error of its own while it loads
        raise KeyboardInterrupt from None
    if not isinstance(error, Exception):  # a scheduler ends its tasks by SystemExit
        raise error


def _shard_of(source: Source, target: Target) -> Shard:
    """Returns the shard to read; a source that cannot be split is read whole."""
    return target.shard if source.split_by else Shard()


def count(outcome: Outcome, pipeline: dlt.Pipeline) -> None:
    """Adds the rows of the pipeline's last load package to the outcome, the ledger's apart."""
    outcome.packages += 1
    trace = pipeline.last_trace
    found = trace.last_normalize_info.row_counts.items() if trace and trace.last_normalize_info else ()
    written = {table: rows for table, rows in found if rows and not table.startswith(PREFIX)}
    for table, rows in written.items():
        counts = outcome.ledger_rows if table in LEDGER_TABLES else outcome.rows
        counts[table] = counts.get(table, 0) + rows
    changes: RowChanges | None = getattr(pipeline.destination, "row_changes", None)
    outcome.add_known({table for table in written if is_root(table)}, changes.take() if changes else {})


def _close(outcome: Outcome, session: Session) -> None:
    """Completes the outcome with the session's counters, and closes the client."""
    outcome.finished_at, outcome.failures = _now(), session.failures
    if session.client:
        stats = session.client.stats
        outcome.requests, outcome.retries, outcome.seconds_waited = stats.requests, stats.retries, stats.waited
        session.client.close()
    if outcome.error is None:
        outcome.outcome = "partial" if session.failures else "complete"


def _now() -> datetime:
    return datetime.now(UTC)
