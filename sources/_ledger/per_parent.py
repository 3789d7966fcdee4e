"""Records the outcome of each parent in a sync over many parents; one failure never stops the others.

Failed parents are read first next time, then new ones, then the ones checked longest ago: so an interrupted sync
resumes where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

from gapless.sources._http.errors import NotFound, VendorError
from gapless.sources._ledger.backfill_state import Backfill
from gapless.sources._ledger.dead_letters import DeadLetters
from gapless.sources._ledger.ledger import COVERAGE, Coverage, Ledger
from gapless.sources._ledger.session import Session
from gapless.sources._ledger.shard import Shard
from gapless.sources._ledger.window import Window
from gapless.sources._schema.arrow import Batch, digest
from gapless.sources._schema.parse import Parsed
from gapless.sources._schema.record import Record

P = TypeVar("P")
R = TypeVar("R", bound=Record)


def filter_shard(listed: Parsed[R], shard: Shard, key: Callable[[R], str]) -> Parsed[R]:
    """Returns the part of a listing of parents that belongs to a shard; without a readable id the text decides."""
    return Parsed(
        [parent for parent in listed.records if shard.contains(key(parent))],
        [bad for bad in listed.unreadable if shard.contains(bad.key or digest(bad.raw))],
    )


class ParentSync:
    """A sync over the parents of one stream: which parents to read first, and what each outcome proves.

    Reading a window proves nothing about the rest, so then no coverage is written.
    """

    def __init__(
        self, stream: str, ledger: Ledger, session: Session, window: Window, initial: datetime | None
    ) -> None:
        self.session, self.window, self.now = session, window, session.now()
        self.to_load = window or Window(initial)
        """Creation times of the records to load, among those that are read."""
        self.dead_letters = DeadLetters(stream, ledger, session)
        self.coverage = ledger.coverage(stream)
        self.backfill = Backfill(window, session.counters) if session.backfill and window else None
        self._stream = stream
        self._parents_with_dead_letters = self.dead_letters.parents()

    def order(self, parents: Iterable[P], key: Callable[[P], str]) -> list[P]:
        """Returns failed parents first, then new ones, then the others, checked longest ago first."""

        def rank(parent: P) -> tuple[int, str]:
            known = self.coverage.get(key(parent))
            if known is None:
                return 1, ""
            checked = known.last_checked_at
            return 0 if known.failures else 2, checked.isoformat() if checked else ""

        return sorted(parents, key=rank)

    def todo(self, parents: Iterable[P], key: Callable[[P], str]) -> list[P]:
        """Returns the parents to read, in that order; in a backfill only those not done yet."""
        if self.backfill is None:
            return self.order(parents, key)
        by_key = {key(parent): parent for parent in parents}
        return [by_key[one] for one in self.backfill.remaining(by_key)]

    def proof(self, parent: str) -> Coverage | None:
        """Returns the proof about a parent; None if it must be read whole."""
        # A parent with a dead letter is read whole, because only its record shows that it is valid now.
        known = self.coverage.get(parent)
        if known is None or self.window or parent in self._parents_with_dead_letters:
            return None
        return None if _before(self.to_load.since, known.covered_from) else known

    def watermark(self, parent: str, instants: Iterable[datetime | None]) -> datetime | None:
        """Returns a parent's watermark once records created at `instants` are loaded; times after now are ignored."""
        before = self.coverage.get(parent)
        # A record with a future time would hide all that is created until then.
        past = [i for i in (*instants, before.covered_to if before else None) if i and i <= self.now]
        return max(past, default=None)

    def complete(self, parent: str, **facts: object) -> list[Batch]:
        """Returns the batches for a parent that was read to its end; `facts` are further fields of its coverage."""
        self._count(parent)
        before = self.coverage.get(parent)
        filtered = before.filtered if before else None
        fields = {"covered_from": self.to_load.since, "last_checked_at": self.now, "filtered": filtered, **facts}
        row = Coverage.model_validate({"stream": self._stream, "parent": parent, **fields})
        return [self.dead_letters.resolve("parent", [parent]), *self._coverage_batch(row)]

    def fail(self, parent: str, error: VendorError) -> list[Batch]:
        """Returns the batches for a parent that failed: earlier proof stays. A 404 means deleted, not failed."""
        self._count(parent, error)
        before = self.coverage.get(parent) or Coverage(stream=self._stream, parent=parent)
        if isinstance(error, NotFound):
            # The digest stays, so that a parent that comes back unchanged costs no load.
            gone = {"error": "gone: the vendor does not have it (any more)", "failures": 0}
            row = before.model_copy(update={**gone, "last_checked_at": self.now})
            return [self.dead_letters.resolve("parent", [parent]), *self._coverage_batch(row)]
        failures = {"error": str(error), "failures": before.failures + 1, "last_checked_at": self.now}
        row = before.model_copy(update=failures)
        return [self.dead_letters.failed("parent", parent, error), *self._coverage_batch(row)]

    def finish(self) -> None:
        """Ends the sync after the last parent."""
        if self.backfill:
            self.backfill.finish()

    def _count(self, parent: str, error: VendorError | None = None) -> None:
        self.session.counters.parents += 1
        if self.backfill and error and not isinstance(error, NotFound):
            self.backfill.failed(parent)
        elif self.backfill:
            self.backfill.done(parent)

    def close_vanished(self, listed: Iterable[str]) -> list[Batch]:
        """Returns the batches for failed or reset parents that the vendor does not list any more, or without records.

        Their proof stays: if one is listed again, it is read from there on.
        """
        if self.window:
            return []
        # An open failure of a parent that is not listed any more could never be closed by reading it.
        vanished = (self.coverage.keys() | self._parents_with_dead_letters) - set(listed)
        rows = [row for row in map(self.coverage.get, vanished) if row and (row.failures or not row.last_checked_at)]
        gone = {"error": "gone: the vendor serves nothing of it (any more)", "failures": 0}
        rows = [row.model_copy(update={**gone, "last_checked_at": self.now}) for row in rows]
        return [self.dead_letters.resolve("parent", vanished), Batch(COVERAGE, rows)]

    def _coverage_batch(self, row: Coverage) -> list[Batch]:
        return [] if self.window else [Batch(COVERAGE, [row])]


def _before(initial: datetime | None, covered_from: datetime | None) -> bool:
    """Returns whether the sync reaches further back than the proof; None is the beginning of history."""
    return covered_from is not None and (initial is None or initial < covered_from)
