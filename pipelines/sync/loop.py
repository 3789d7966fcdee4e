"""Repeats a sync in one process, for people without a scheduler. Nothing stays open between two syncs."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import chain, cycle

from gapless.pipelines.errors import GaplessError, WrongSettings, explain


def repeat(
    first: Callable[[], object],
    later: Callable[[], object],
    interval: float,
    report: Callable[[str], None],
    warn: Callable[[str], None] | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Calls `first`, and then `later` every `interval` seconds, from start to start, until Ctrl-C.

    An error is reported through `warn` and the next round goes on. Raises WrongSettings of the first round alone: a
    later one reads the settings again, and a person may be about to change them.
    """
    for once, is_first in chain([(first, True)], cycle([(later, False)])):
        started = clock()
        try:
            once()
        except Exception as error:
            if is_first and isinstance(error, WrongSettings):
                raise
            (warn or report)(
                f"this round failed: {' '.join(error.lines) if isinstance(error, GaplessError) else explain(error)}"
            )
        wait = max(0.0, interval - (clock() - started))
        report(f"next sync at {now() + timedelta(seconds=wait):%H:%M:%S} UTC; press Ctrl-C to stop")
        sleep(wait)
