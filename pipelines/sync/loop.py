"""A sync again and again in one process, for people without a scheduler. Nothing stays open between two rounds."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from gapless.pipelines.errors import GaplessError, WrongSettings, explain


def repeat(
    once: Callable[[], int],
    span: float,
    say: Callable[[str], None],
    warn: Callable[[str], None] | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = datetime.now,
) -> None:
    """`once` every `span` seconds, from start to start, until Ctrl-C. Only wrong settings end it before."""
    while True:
        began = clock()
        try:
            once()
        except WrongSettings:
            raise
        except Exception as error:
            (warn or say)(f"this round failed: {str(error) if isinstance(error, GaplessError) else explain(error)}")
        wait = max(0.0, span - (clock() - began))
        say(f"next round at {now() + timedelta(seconds=wait):%H:%M:%S}; Ctrl-C ends it")
        sleep(wait)
