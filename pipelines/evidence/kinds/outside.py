"""Finds what no table of a source can say: a dataset that is gone, a table in whose place something else stands, and
a sync that could not be written, of which this machine alone knows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime

from gapless.pipelines.config import unwritten
from gapless.pipelines.destinations._catalogs.obstacle import Obstacle
from gapless.pipelines.destinations.reader import Reader
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError
from gapless.pipelines.evidence.gap import Commands, Failed, Gap
from gapless.pipelines.evidence.known import Known
from gapless.pipelines.evidence.proofs import as_utc
from gapless.pipelines.evidence.rounds import read_rounds, was_followed
from gapless.pipelines.evidence.structure import damages


def gone(commands: Commands, *, before: bool) -> Gap:
    """Returns the gap of a source of which nothing is here; `before`: something was, when the views were made."""
    why = "all its tables are gone" if before else "not synced yet"
    fill = commands.typed(commands.sync())
    return Gap(commands.source.name, "never synced", "", "", None, None, why, fill)


def replaced(reader: Reader, found: Collection[Obstacle], commands: Commands) -> Iterator[Gap]:
    """Yields a gap for each table in whose place something else stands, as a view, or that lost its files.

    Of a table that lacks something, also for what keeps a sync from making it again.
    """
    source = commands.source
    lacking = {
        f"the table {source.name}.{one.table}": one.table for one in (damages(reader, source) if found else ())
    }
    for one in found:
        if table := one.of or lacking.get(one.table):
            yield Gap(source.name, "damaged", table, "", None, None, str(one), commands.typed(commands.sync()))


def not_written(target: Target, reader: Reader, commands: Commands, now: datetime | None = None) -> Iterator[Gap]:
    """Yields a gap when the last sync of a source could not be written, so that the database knows nothing of it.

    Of a split source the last one of each shard counts.
    """
    name, reader = commands.source.name, Known(reader, commands.source)
    try:
        notes = target.note_files(name)
    except GaplessError:  # there is no folder for working files, and so no note
        return
    rounds = read_rounds(reader, name, now or datetime.now(UTC)) if notes else []
    for path, shard in notes.items():
        last = unwritten.noted(path)
        if last is None or was_followed(rounds, shard, last.at):
            continue
        at = last.at.isoformat(timespec="seconds")
        reason = last.how
        why = f"the sync that {'began' if last.begun else 'ended'} at {at} {reason}"
        how = Failed(f"it {reason}", "", last.times, last.first_at or at)
        checked = reader.rows(name, "select max(last_checked_at) from {0}", "coverage")
        since = as_utc(checked[0][0]) if checked else None
        fill = commands.typed(commands.sync(shard=shard))
        yield Gap(name, "not asked", "", "", since.isoformat() if since else None, None, why, fill, failed=how)
