"""One sync of one source, over as many load packages as it takes: what to read, how far it got, what failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Literal

from gapless.sources._http.client import Client
from gapless.sources._ledger.package import Package
from gapless.sources._ledger.shard import Shard
from gapless.sources._ledger.window import Window
from gapless.sources._schema.arrow import Batch
from gapless.sources._schema.destination_limits import StorageCheck, no_limits


@dataclass
class Counters:
    """What was read so far; the client counts the requests."""

    pages: int = 0
    records: int = 0
    """Read from the vendor, before the window and de-duplication."""
    parents: int = 0
    parents_total: int | None = None
    part: float | None = None
    """Of a backfill, how much is done: 0 to 1."""
    part_before: float = 0.0
    """How much was when this session began."""


FailureKind = Literal["record", "nameless", "parent", "other"]
"""As in the table dead_letters; `other` has no row there."""


@dataclass(frozen=True)
class Failure:
    """What a sync could not read; `str()` is one line for a person, without a record's text."""

    reason: str
    stream: str = ""
    """The table it belongs to; empty when the whole source is meant."""
    kind: FailureKind = "other"
    key: str = ""
    """The record's or the parent's id, or a nameless record's digest."""

    def __str__(self) -> str:
        return f"{self.stream}: {self.kind} {self.key}: {self.reason}" if self.stream else self.reason


@dataclass
class LoadItem:
    """What one page (or the end of a parent) brings: columns to load, and the state once they are loaded."""

    batches: list[Batch] = field(default_factory=list)
    state: dict[str, Any] | None = None


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Session:
    """`max_records` and `max_seconds` bound one load package; without them one package holds the whole sync."""

    max_records: int | None = None
    max_seconds: float | None = None
    window: Window = field(default_factory=Window)
    """Read just this span, now; coverage and watermarks stay as they are."""
    backfill: bool = False
    """The window's progress is kept, so that the next session goes on with it."""
    ids: tuple[str, ...] = ()
    """Read just these records again."""
    shard: Shard = field(default_factory=Shard)
    """Read just these parents; the rate budget is shared alike."""
    now: Callable[[], datetime] = _now
    refuse: StorageCheck = no_limits
    """What the destination cannot store; set when extraction begins."""
    client: Client | None = None
    """Set by the source when it is built."""
    counters: Counters = field(default_factory=Counters)
    failures: list[Failure] = field(default_factory=list)
    """What failed and was recorded."""
    warnings: list[str] = field(default_factory=list)
    done: bool = False
    _steps: Iterator[LoadItem] | None = None
    _error: Exception | None = None

    def next_package(self, start: Callable[[], Iterator[LoadItem]], state: dict[str, Any]) -> Package:
        """The next chunk of the sync; `start` begins it, `state` is brought to where the chunk ends.

        In a session of many packages an error waits until what was read before it is committed.
        """
        if self._error:
            error, self._error, self._steps = self._error, None, None
            raise error
        if self._steps is None or self.done:
            self._steps, self.done = start(), False
        chunk, began, read = Package(), monotonic(), self.counters.records
        try:
            for step in self._steps:
                for batch in step.batches:
                    chunk.add(batch)
                if step.state is not None:
                    state.clear()
                    state.update(step.state)
                if self._is_full(chunk, monotonic() - began, self.counters.records - read):
                    return chunk
        except Exception as failed:
            if self.max_records is None or not chunk.records:
                self._steps = None
                raise
            self._error = failed
            return chunk
        self.done = True
        return chunk

    def _is_full(self, chunk: Package, seconds: float, read: int) -> bool:
        """Of a backfill, what was read and belongs not to its window is progress, too."""
        records = max(chunk.records, read) if self.backfill else chunk.records
        too_many = self.max_records is not None and records >= self.max_records
        too_long = self.max_seconds is not None and seconds >= self.max_seconds and records > 0
        return too_many or too_long
