"""Lists the gaps of a destination: what is not proven complete, each with the command that fills it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from gapless.pipelines.config import unwritten
from gapless.pipelines.destinations.reader import Reader, reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError
from gapless.pipelines.evidence.completeness import assess, exists
from gapless.pipelines.evidence.gap import Commands, Failed, Gap
from gapless.pipelines.evidence.known import Known
from gapless.pipelines.evidence.proofs import as_utc
from gapless.pipelines.evidence.rounds import read_rounds, was_followed
from gapless.pipelines.evidence.seen import once_synced, take_in_left
from gapless.pipelines.evidence.structure import obstacles
from gapless.sources import SOURCES, left_accounts


def gaps(
    target: Target, names: list[str], now: datetime | None = None, max_age: timedelta | None = None
) -> Iterator[Gap]:
    """Yields the gaps of `names`, or of every source synced to `target`. Raises Locked while a sync writes.

    A source whose last check is older than `max_age` has a gap, too.
    """
    with reading(target) as reader:
        before = once_synced(reader)
        take_in_left(reader, target)
        for source in [SOURCES[name] for name in names or SOURCES]:
            commands = Commands.at(source, target)
            yield from not_written(target, reader, commands, now)
            if exists(reader, source):
                yield from replaced(target, reader, commands)
                # No sync reads an account that left, however old its last check is.
                age = None if source.name in left_accounts() else max_age
                yield from assess(reader, source, commands, now, age).gaps
            # Nobody may ever have wanted the other sources.
            elif names or source.name in before:
                why = "all its tables are gone" if source.name in before else "not synced yet"
                fill = commands.typed(commands.sync())
                yield Gap(source.name, "never synced", "", "", None, None, why, fill)


def replaced(target: Target, reader: Reader, commands: Commands) -> Iterator[Gap]:
    """Yields a gap for each table in whose place something else stands, as a view: nothing shows what was loaded."""
    for one in obstacles(reader, commands.source, target.backend):
        if one.of:
            yield Gap(
                commands.source.name, "damaged", one.of, "", None, None, str(one), commands.typed(commands.sync())
            )


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
