"""The state of one sync of one source in memory: what to read, how far it got, what failed.

A sync is a loop over load packages; `Session.next_package` fills the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Literal

from gapless.sources._dlt.types import State
from gapless.sources._http.client import Client
from gapless.sources._ledger.package import Package
from gapless.sources._ledger.shard import Shard
from gapless.sources._ledger.window import Window
from gapless.sources._schema.arrow import Batch
from gapless.sources._schema.destination_limits import StorageCheck, no_limits


@dataclass
class Counters:
    """Counts what was read so far; the client counts the requests."""

    pages: int = 0
    records: int = 0
    """Records received from the vendor, before the window and deduplication."""
    parents: int = 0
    parents_total: int | None = None
    part: float | None = None
    """Share of a backfill that is done, 0 to 1; None without a backfill."""
    part_before: float = 0.0
    """Share that was done when this session began."""


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
    """What one page, or the end of a parent, adds to a load package."""

    batches: list[Batch] = field(default_factory=list)
    state: State | None = None
    """The resource's state once the batches are loaded; None: unchanged."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Session:
    """One sync. `max_records` and `max_seconds` limit a load package; without them one package holds the sync."""

    max_records: int | None = None
    max_seconds: float | None = None
    window: Window = field(default_factory=Window)
    """Reads only this time span; coverage and watermarks stay unchanged."""
    backfill: bool = False
    """Saves the window's progress, so that the next session resumes it."""
    ids: tuple[str, ...] = ()
    """Reads only these records again."""
    shard: Shard = field(default_factory=Shard)
    """Reads only the parents of this shard, with its part of the rate budget."""
    now: Callable[[], datetime] = _now
    refuse: StorageCheck = no_limits
    """Checks what the destination cannot store; set when extraction begins."""
    client: Client | None = None
    """Set by the source when it is built."""
    counters: Counters = field(default_factory=Counters)
    failures: list[Failure] = field(default_factory=list)
    """What failed and was recorded."""
    done: bool = False
    """Whether the last package was returned."""
    _steps: Iterator[LoadItem] | None = None
    _error: Exception | None = None

    def next_package(self, start: Callable[[], Iterator[LoadItem]], state: State) -> Package:
        """Returns the next load package; `start` begins the sync, `state` is updated to the end of the package.

        If `max_records` is set, an error is raised by the next call, so that what was read before it is committed
        first. Raises what stops the source.
        """
        # dlt commits a package only after its extraction ended, so an error must wait for the next call.
        if self._error:
            error, self._error, self._steps = self._error, None, None
            raise error
        if self._steps is None or self.done:
            self._steps, self.done = start(), False
        package, began, read = Package(), monotonic(), self.counters.records
        try:
            for step in self._steps:
                for batch in step.batches:
                    package.add(batch)
                # dlt keeps a reference to this dictionary, so it is changed in place.
                if step.state is not None:
                    state.clear()
                    state.update(step.state)
                if self._is_full(package, monotonic() - began, self.counters.records - read):
                    return package
        except Exception as failed:
            # Without a record there is nothing to save, and a sync in one package is all or nothing.
            if self.max_records is None or not package.records:
                self._steps = None
                raise
            self._error = failed
            return package
        self.done = True
        return package

    def _is_full(self, package: Package, seconds: float, read: int) -> bool:
        # A backfill also counts records outside of its window: reading them is progress that must be committed.
        records = max(package.records, read) if self.backfill else package.records
        too_many = self.max_records is not None and records >= self.max_records
        # A slow vendor must not end a package without a record: an empty load would only cost time.
        too_long = self.max_seconds is not None and seconds >= self.max_seconds and records > 0
        return too_many or too_long
