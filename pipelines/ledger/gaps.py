"""Lists the gaps of a destination: what is not proven complete, each with the command that fills it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from gapless.pipelines.destinations.reader import reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.evidence.completeness import verdicts
from gapless.pipelines.evidence.gap import Gap
from gapless.pipelines.evidence.seen import take_in_left


def gaps(
    target: Target, names: list[str], now: datetime | None = None, max_age: timedelta | None = None
) -> Iterator[Gap]:
    """Yields the gaps of `names`, or of every source synced to `target`. Raises Locked while a sync writes.

    A source whose last check is older than `max_age` has a gap, too.
    """
    with reading(target) as reader:
        take_in_left(reader, target)
        for found in verdicts(reader, target, names, now, max_age):
            yield from found.gaps
