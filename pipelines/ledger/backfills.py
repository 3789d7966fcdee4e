"""A span of time read once more, however long that takes: stopped, it goes on where it was, on whatever machine.

No vendor filters by time, so to cut the span into smaller ones would ask for the same pages once for each. So
the work is cut: Sequence is one walk, newest first, down to `since`; of the others parents (of Kizen, records)
are read one by one. The progress stands in the destination (`backfill_state.py`); watermarks stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gapless.pipelines.destinations.reader import Reader, reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.ledger.state import backfills
from gapless.pipelines.sync.request import SyncRequest
from gapless.sources import SOURCES, Source
from gapless.sources._ledger.backfill_state import window_key
from gapless.sources._ledger.window import Window


@dataclass(frozen=True)
class BackfillState:
    """What the destination knows of a backfill."""

    done_at: datetime | None = None
    part: float | None = None
    """0 to 1; none: it never began."""
    failed: int = 0
    """Parents, or records, that are left to be tried again."""

    @classmethod
    def of(cls, progress: dict[str, Any]) -> BackfillState:
        done = progress.get("done")
        failed = len(progress.get("failed", ()))
        return cls(datetime.fromisoformat(done) if done else None, progress.get("part"), failed)

    def told(self, name: str) -> str | None:
        """Where it goes on."""
        if self.done_at or self.part is None:
            return None
        failed = f", and {self.failed:,} that failed are tried again" if self.failed else ""
        return f"{name}: goes on at {self.part:.0%}{failed}"


def job(since: datetime, until: datetime) -> SyncRequest:
    """Raises WrongSettings for a span that is none."""
    if since >= until:
        raise WrongSettings(
            f"--since {since.isoformat()} is not before --until {until.isoformat()}; nothing can lie between them."
        )
    return SyncRequest(window=Window(since, until), backfill=True)


def kept(target: Target, name: str, window: Window) -> BackfillState:
    """Raises Locked while a sync writes to the DuckDB file."""
    with reading(target) as reader:
        return BackfillState.of(backfills(reader, SOURCES[name]).get(window_key(window), {}))


def unfinished(reader: Reader, source: Source) -> Iterator[tuple[str, str, BackfillState]]:
    """The bounds of those that were begun and not finished."""
    for window, progress in backfills(reader, source).items():
        found = BackfillState.of(progress)
        if not found.done_at:
            since, _, until = window.partition("/")
            yield since, until, found
