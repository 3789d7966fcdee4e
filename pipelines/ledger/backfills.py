"""Backfills: a window of creation times is read again; a stopped backfill resumes where it was, on any machine.

Most vendors do not filter by time, so smaller windows would request the same pages again. Instead the work is split
by pages of a walk, by parents or by records. The progress is stored in the destination (`backfill_state.py`);
watermarks stay unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gapless.pipelines.destinations.reader import reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.evidence.stored_state import backfills
from gapless.pipelines.sync.request import SyncRequest
from gapless.sources import SOURCES
from gapless.sources._dlt.types import State
from gapless.sources._ledger.backfill_state import window_key
from gapless.sources._ledger.window import Window


@dataclass(frozen=True)
class BackfillState:
    """The progress of a backfill in the destination."""

    done_at: datetime | None = None
    part: float | None = None
    """Share that is done, 0 to 1; None: it never began."""
    failed: int = 0
    """Parents or records to try again."""

    @classmethod
    def of(cls, progress: State) -> BackfillState:
        """Reads the progress of one window as `backfill_state.Backfill` saved it."""
        done = progress.get("done")
        failed = len(progress.get("failed", ()))
        return cls(datetime.fromisoformat(done) if done else None, progress.get("part"), failed)

    def resume_message(self, name: str) -> str | None:
        """Returns a line about where it resumes; None if it starts from the beginning."""
        if self.done_at or self.part is None:
            return None
        failed = f", and {self.failed:,} that failed are tried again" if self.failed else ""
        return f"{name}: goes on at {self.part:.0%}{failed}"


def sync_request(since: datetime, until: datetime) -> SyncRequest:
    """Returns the request for a backfill. Raises WrongSettings unless `since` is before `until`."""
    if since >= until:
        raise WrongSettings(
            f"--since {since.isoformat()} is not before --until {until.isoformat()}; nothing can lie between them."
        )
    return SyncRequest(window=Window(since, until), backfill=True)


def saved_progress(target: Target, name: str, window: Window) -> BackfillState:
    """Returns the saved progress of a window. Raises Locked while a sync writes to the DuckDB file."""
    with reading(target) as reader:
        return BackfillState.of(backfills(reader, SOURCES[name]).get(window_key(window), {}))
