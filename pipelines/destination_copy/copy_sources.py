"""Copies the datasets of the DuckDB file to another destination: all of it once, then what is new.

A load of the file is the unit. Its rows are copied as columns, with the ledger's rows and, at the end, the source's
state, so that a sync into the copy continues where the file stands. The copy's state holds the last copied load and
is committed with its rows. Rows of incomplete loads are not copied: the next sync reads them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gapless.pipelines.destination_copy.account import require_same_account
from gapless.pipelines.destination_copy.dataset import FileDataset
from gapless.pipelines.destination_copy.erased import CANNOT_ERASE, carry_over, erased_rows, erasures_of
from gapless.pipelines.destination_copy.marks import copy_marks
from gapless.pipelines.destination_copy.unwritten_syncs import Notes, carry_notes, unwritten_syncs
from gapless.pipelines.destinations._catalogs import left
from gapless.pipelines.destinations._catalogs.other_vendor import require_vendor
from gapless.pipelines.destinations._layouts.layout import read_layout
from gapless.pipelines.destinations.reader import DuckdbReader, PipelineReader
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import EndedBy, WrongSettings, explain, interrupted, root_cause
from gapless.pipelines.evidence.gap import Commands
from gapless.pipelines.evidence.kinds.tables import TableGaps
from gapless.pipelines.evidence.policy import configured_policy
from gapless.pipelines.layout.upgrade import mark_layout, upgrade
from gapless.pipelines.outcome import Outcome, own_version
from gapless.pipelines.sync.lost_rows import describe_lost_rows, find_lost_rows
from gapless.pipelines.sync.mending.tables import require_writable
from gapless.pipelines.sync.noted_counts import note_row_counts
from gapless.pipelines.sync.run import count
from gapless.sources import SOURCES, Source
from gapless.sources._dlt.tables import LOADS
from gapless.sources._ledger.erasure.tombstones import NOTHING_ERASED, Tombstones
from gapless.sources._ledger.session import Failure

if TYPE_CHECKING:
    import dlt
    import duckdb


def copy(names: list[str], here: Target, there: Target, begin: Callable[[str], None]) -> Iterator[Outcome]:
    """Copies `names`, or all sources in the file, and yields each outcome; calls `begin` with each name first.

    Raises WrongSettings if `here` is no DuckDB file or the same as `there`, Locked while a sync writes to either.
    """
    if here.file is None:
        raise WrongSettings(f"gapless copy reads a DuckDB file, and {here.destination!r} is none.")
    if here.identity == there.identity:
        raise WrongSettings(f"{here.file} cannot be copied to itself; name another destination with --to.")
    if not here.file.exists():
        raise WrongSettings(f"there is no {here.file} to copy: gapless sync makes it.")
    # The file first: a sync that has begun would else change it while it is read.
    with here.lock(), here.queried() as db, there.locked() as folder:
        assert db is not None  # a DuckDB file is read by DuckDB itself
        left.take_in(left.datasets(DuckdbReader(db)), DuckdbReader(db))
        notes = {name: unwritten_syncs(here, DuckdbReader(db), SOURCES[name]) for name in names or SOURCES}
        for name in names or [name for name in SOURCES if _holds(db, name) or notes[name]]:
            begin(name)
            yield _copied(Commands.at(SOURCES[name], here), db, there, str(folder), notes[name])
        from gapless.pipelines.views import refresh

        refresh.refresh(there, folder)


def _holds(db: duckdb.DuckDBPyConnection, dataset: str) -> bool:
    """Returns whether a source was ever synced into the file."""
    found = "select 1 from duckdb_tables() where schema_name = ? and table_name = ?"
    return bool(db.execute(found, [dataset, LOADS]).fetchone())


def _require_synced(db: duckdb.DuckDBPyConnection, here: Commands, again: str) -> None:
    """Raises EndedBy for a source that was never synced into the file; `again` is the command that copies it."""
    name = here.source.name
    if not _holds(db, name):
        said = f"{name} was never synced into the file, so there is nothing to copy"
        raise EndedBy(said, f"{here.typed(f'sync {name}')} && {again}")


def _require_whole(file: DuckdbReader, commands: Commands, again: str) -> None:
    """Raises EndedBy, with what mends it, for a file in which tables or columns are missing, or rows doubled.

    Cells that are gone would be copied over those that are there still, and no merge takes a key twice.
    """
    tables = TableGaps(file, commands.source, commands)
    for gap in [*tables.damaged()] or [*tables.twice()]:
        where = f"{gap.source}.{gap.stream} in the file"
        raise EndedBy(f"{where}: {gap.why}", f"{gap.fill} && {again}")


def _erased(pipeline: dlt.Pipeline, source: Source, db: duckdb.DuckDBPyConnection, there: Target) -> Tombstones:
    """Returns what was erased in the file or in the copy; deletes in the copy what was erased in the file since."""
    if not there.backend.updates_rows:
        return NOTHING_ERASED
    with PipelineReader(pipeline).connected() as reader:
        copied = erased_rows(reader, source)
    file = DuckdbReader(db)
    return carry_over(pipeline, source, erased_rows(file, source), copied, erasures_of(file, source))


def _copied(here: Commands, db: duckdb.DuckDBPyConnection, there: Target, folder: str, notes: Notes) -> Outcome:
    """Copies one source; every error but Ctrl-C ends in its outcome. `here` are the commands for the file."""
    source, commands = here.source, Commands.at(here.source, there)
    outcome = Outcome(source.name, started_at=datetime.now(UTC), destination=there.destination)
    again = commands.typed(commands.copy)
    dataset = FileDataset(
        source, db, configured_policy(source), commands.typed(f"sync {source.name}"), there.make_room
    )
    pipeline = there.pipeline(source.name, folder)
    try:
        if notes and not _holds(db, source.name):
            carry_notes(there, source, notes)
        _require_synced(db, here, again)
        with PipelineReader(pipeline, there.appends).connected() as copied:
            require_vendor(DuckdbReader(db), source.name)
            _require_whole(DuckdbReader(db), here, again)
            of_file = read_layout(DuckdbReader(db), source.name)
            layout = None if there.appends else read_layout(copied, source.name)
            require_same_account(DuckdbReader(db), copied, source)
        require_writable(pipeline, source)
        dataset.erased = _erased(pipeline, source, db, there)
        upgrade(pipeline, source, layout, own_version())
        before = find_lost_rows(pipeline, source, must_count=False)
        # Package by package, so that a copy that breaks off continues after the last one.
        while not dataset.done:
            there.check()
            pipeline.run(dataset.dlt_source(), loader_file_format=there.file_format)
            count(outcome, pipeline)
        # The copy has the rows as the file has them, and a sync may not have upgraded that yet.
        upgrade(pipeline, source, of_file, own_version())
        mark_layout(pipeline, source, own_version())
        copy_marks(db, source)
        # After the rows: a letter may go only when its record is there.
        dataset.delete_resolved(pipeline)
        if erased_rows(DuckdbReader(db), source) and not there.backend.updates_rows:
            dataset.failures.append(Failure(CANNOT_ERASE))
        lost = note_row_counts(pipeline, source, before.held.lost if before.held else {}, DuckdbReader(db))
        outcome.failures = [
            *dataset.failures,
            *map(Failure, describe_lost_rows(commands, lost)),
            *map(Failure, carry_notes(there, source, notes)),
        ]
        outcome.outcome = "partial" if outcome.failures else "complete"
    except Exception as error:
        if interrupted(error):
            raise KeyboardInterrupt from None
        cause = root_cause(error)
        outcome.error, outcome.error_kind = explain(error), type(cause).__name__
        outcome.fill = cause.fill if isinstance(cause, EndedBy) else ""
    finally:
        outcome.finished_at = datetime.now(UTC)
        pipeline.deactivate()
    return outcome
