"""Stories of vendors that nobody can ask for a while."""

from __future__ import annotations

from collections.abc import Iterator

from tests.lab.scenarios.histories.common import (
    History,
    Play,
)
from tests.lab.scenarios.stage import Stage


def _outage(status: int, after: int, *, more: bool) -> Play:
    def play(here: Stage) -> None:
        if more:
            here.fake.advance(120)
        for _ in range(2):
            here.fail_after(after, status)
            here.sync()

    return play


def _small_packages(after: int) -> Play:
    """Each package is committed by itself, and then nobody answers."""

    def play(here: Stage) -> None:
        here.packages(4)
        here.fail_after(after)
        here.sync()
        here.fake.advance(60)
        here.fail_after(after + 2)
        here.sync()
        here.whole()
        here.sync()

    return play


def outages() -> Iterator[History]:
    for status in (401, 503):
        for after in (0, 1, 2, 4):
            yield f"{status} after {after} requests, twice, first", _outage(status, after, more=False), False, None
            yield f"{status} after {after} requests, twice, later", _outage(status, after, more=True), True, None
    for after in (1, 3, 5):
        yield f"packages of four, 401 after {after} requests", _small_packages(after), False, None
