"""The state of one sync of one source in memory: what to read, how far it got, what failed.

A sync is a loop over load packages; `Session.load_items` says what goes into the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Literal

from gapless.sources._dlt.types import State
from gapless.sources._http.client import Client
from gapless.sources._ledger.account.identity import AccountCheck
from gapless.sources._ledger.erasure.tombstones import NOTHING_ERASED, Tombstones
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
    bytes: int = 0
    """Their size as JSON, without those of answers that did not change."""
    largest: int = 0
    """Bytes of the largest one."""
    parents: int = 0
    parents_total: int | None = None
    part: float | None = None
    """Share of a backfill that is done, 0 to 1; None without a backfill."""
    part_before: float = 0.0
    """Share that was done when this session began."""

    def weigh(self, raws: Iterable[Any]) -> None:
        """Adds the sizes of records as JSON."""
        self.add_weight(weight_of(raws))

    def add_weight(self, weight: tuple[int, int]) -> None:
        """Adds what `weight_of` returned."""
        self.bytes += weight[0]
        self.largest = max(self.largest, weight[1])


def weight_of(raws: Iterable[Any]) -> tuple[int, int]:
    """Returns the bytes of all records as JSON, and those of the largest one."""
    sizes = [memoryview(raw).nbytes for raw in raws]
    return sum(sizes), max(sizes, default=0)


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


@dataclass(frozen=True)
class Unchanged:
    """Parents of a stream that a sync asked for, and of which nothing changed but when that was."""

    stream: str
    parents: tuple[str, ...]
    times: tuple[tuple[str, datetime], ...]
    """Columns of `coverage` with what they are now, in UTC."""


@dataclass
class _PackageSize:
    """How much a load package holds so far."""

    load_id: str
    """Empty: the package has not begun, and what is read already belongs to it."""
    records: int = 0
    """Root records, the ledger's included."""
    read_before: int = 0
    """The session's `counters.records` when it began."""
    bytes_before: int = 0
    """The session's `counters.bytes` when it began."""
    began: float = field(default_factory=monotonic)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Session:
    """One sync. The first three limit a load package; without them one package holds the sync."""

    max_records: int | None = None
    max_seconds: float | None = None
    max_bytes: int | None = None
    window: Window = field(default_factory=Window)
    """Reads only this time span; coverage and watermarks stay unchanged. Settings and schedulers name one, too."""
    backfill: bool = False
    """Saves the window's progress, so that the next session resumes it."""
    ids: tuple[str, ...] = ()
    """Reads only these records again."""
    shard: Shard = field(default_factory=Shard)
    """Reads only the parents of this shard, with its part of the rate budget."""
    obeys_scheduler: bool = True
    """Whether an outer scheduler's interval is a window."""
    now: Callable[[], datetime] = _now
    refuse: StorageCheck = no_limits
    """Checks what the destination cannot store; set when extraction begins."""
    erased: Tombstones = NOTHING_ERASED
    """What was erased on purpose; set when extraction begins."""
    left_out: frozenset[str] = frozenset()
    """Nouns of listings beside the records that settings leave out. Set by the source when it is built."""
    keep: timedelta | None = None
    """How long records are kept, by the settings; None: for ever. Set by the source when it is built."""
    packed: Callable[[int, int], None] = lambda size, largest: None
    """Called with the bytes of a load package, and of its largest record, when it is about to be loaded."""
    client: Client | None = None
    """Set by the source when it is built."""
    account: AccountCheck | None = None
    """The check of the account; set by the source when it is built."""
    rows_known: bool = False
    """Whether nobody but syncs changed rows and proofs since all were read, less than a day ago, and none lacked."""
    doubtful: set[str] = field(default_factory=set)
    """Parents that may have fewer rows here than the vendor reports, with `rows_known`."""
    new_rows: dict[str, set[str]] = field(default_factory=dict)
    """Ids of the records that came to each parent, with `rows_known`."""
    look: Callable[[str, State], list[Unchanged] | None] | None = None
    """Set by the source when it is built: reads before there is a load package. See `_extract/first_look.py`."""
    counters: Counters = field(default_factory=Counters)
    failures: list[Failure] = field(default_factory=list)
    """What failed and was recorded."""
    _open: dict[str, Iterator[LoadItem]] = field(default_factory=dict)
    """What each resource reads, by its name; it goes on in the next load package."""
    _ended: set[str] = field(default_factory=set)
    _error: Exception | None = None
    _package: _PackageSize | None = None

    @property
    def done(self) -> bool:
        """Returns whether every resource was read to its end."""
        return bool(self._open) and self._ended.issuperset(self._open) and self._error is None

    @property
    def scope(self) -> str | None:
        """Returns which part it was asked for, without an id; None: all that is new."""
        if self.ids:
            return f"{len(self.ids):,} {'id' if len(self.ids) == 1 else 'ids'}"
        if not self.window:
            return None
        return f"{'backfill' if self.backfill else 'window'} {self.window}"

    @property
    def package(self) -> object:
        """Returns what is the same while one load package is made; None in a preview."""
        return self._package

    def begin_package(self, load_id: str = "") -> None:
        """Begins a load package, unless it has begun. A session that was read to its end begins anew.

        Without an id what is read until the next call belongs to the package that begins there.
        """
        # Each resource of the source calls it; the first one begins the package.
        if self._package and not self._package.load_id:
            self._package.load_id = load_id
        elif self._package is None or self._package.load_id != load_id:
            if self.done:
                self._forget()
            self._package = _PackageSize(load_id, 0, self.counters.records, self.counters.bytes)

    def load_items(self, resource: str, start: Callable[[], Iterator[LoadItem]]) -> Iterator[LoadItem]:
        """Yields what a resource adds to this load package; `start` begins its sync.

        If `max_records` is set, an error is raised by the next package, so that what was read before it is committed
        first. Raises what stops the source.
        """
        # dlt commits a package only after its extraction ended, so an error must wait for the next one.
        if self._error:
            error, self._error = self._error, None
            self._forget()
            raise error
        package = self._package or _PackageSize("")
        try:
            steps = self._open.get(resource) or self._open.setdefault(resource, start())
            while resource not in self._ended and not self._is_full(package):
                step = next(steps, None)
                if step is None:
                    self._ended.add(resource)
                else:
                    package.records += sum(len(batch.records) for batch in step.batches)
                    yield step
        except Exception as failed:
            # Without a record there is nothing to save, and a sync in one package is all or nothing.
            if self.max_records is None or not package.records:
                self._forget()
                raise
            self._error = failed
        self.packed(self.counters.bytes - package.bytes_before, self.counters.largest)

    @property
    def goes_on(self) -> bool:
        """Returns whether the next load package goes on where the last one stopped; after an error it begins anew."""
        return bool(self._open) and not self.done

    def keep_open(self, resource: str, steps: Iterator[LoadItem]) -> None:
        """Keeps what a resource reads for the next load package."""
        self._open[resource] = steps

    def end(self) -> None:
        """Marks every resource as read to its end."""
        self._ended.update(self._open)

    def _forget(self) -> None:
        self._open.clear()
        self._ended.clear()

    def close(self, resource: str) -> None:
        """Ends what a resource reads, and the threads that read for it."""
        steps = self._open.pop(resource, None)
        if isinstance(steps, Generator):
            steps.close()

    def _is_full(self, package: _PackageSize) -> bool:
        # A backfill also counts records outside of its window: reading them is progress that must be committed.
        read = self.counters.records - package.read_before
        records = max(package.records, read) if self.backfill else package.records
        too_many = self.max_records is not None and records >= self.max_records
        # A slow vendor must not end a package without a record: an empty load would only cost time.
        seconds = monotonic() - package.began
        too_long = self.max_seconds is not None and seconds >= self.max_seconds and records > 0
        size = self.counters.bytes - package.bytes_before
        too_big = self.max_bytes is not None and size >= self.max_bytes
        return too_many or too_long or too_big or self._error is not None
