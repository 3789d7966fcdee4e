"""Repeats a sync in one process, for people without a scheduler. Nothing stays open between two syncs."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from gapless.pipelines.errors import GaplessError, WrongSettings, explain


def repeat(
    once: Callable[[], int],
    interval: float,
    report: Callable[[str], None],
    warn: Callable[[str], None] | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Calls `once` every `interval` seconds, from start to start, until Ctrl-C.

    An error is reported through `warn` and the next round goes on. Raises WrongSettings, which no repetition repairs.
    """
    while True:
        started = clock()
        try:
            once()
        except WrongSettings:
            raise
        except Exception as error:
            (warn or report)(
                f"this round failed: {str(error) if isinstance(error, GaplessError) else explain(error)}"
            )
        wait = max(0.0, interval - (clock() - started))
        report(f"next sync at {now() + timedelta(seconds=wait):%H:%M:%S} UTC; press Ctrl-C to stop")
        sleep(wait)
