"""Lists the gaps of a destination: what is not proven complete, each with the command that fills it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from gapless.pipelines.destinations.reader import reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.evidence.completeness import assess, exists
from gapless.pipelines.evidence.gap import Commands, Gap
from gapless.pipelines.evidence.seen import once_synced, take_in_left
from gapless.sources import SOURCES


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
            commands = Commands(source, target.destination, target.appends)
            if exists(reader, source):
                yield from assess(reader, source, commands, now, max_age).gaps
            # Nobody may ever have wanted the other sources.
            elif names or source.name in before:
                why = "all its tables are gone" if source.name in before else "not synced yet"
                fill = commands.typed(commands.sync())
                yield Gap(source.name, "never synced", "", "", None, None, why, fill)
