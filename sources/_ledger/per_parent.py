"""A round over many parents: each one's outcome is noted, and one failure never stops the rest.

Who failed is asked first next time, then who was never asked, then who was asked longest ago: so an interrupted
round goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar

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
    """What of a listing of parents this shard reads and writes; of one without a readable id its text decides."""
    return Parsed(
        [parent for parent in listed.records if shard.contains(key(parent))],
        [bad for bad in listed.unreadable if shard.contains(bad.key or digest(bad.raw))],
    )


class ParentSync:
    """The ledger's side of a round over the parents of one stream: whom to ask first, what each outcome says.

    In a window nothing is proven, so no coverage is written.
    """

    def __init__(
        self, stream: str, ledger: Ledger, session: Session, window: Window, initial: datetime | None
    ) -> None:
        self.session, self.window, self.now = session, window, session.now()
        self.kept = window or Window(initial)
        """What to load of that which is read."""
        self.letters = DeadLetters(stream, ledger, session)
        self.coverage = ledger.coverage(stream)
        self.backfill = Backfill(window, session.counters) if session.backfill and window else None
        self._stream = stream
        self._holding_letters = self.letters.parents()

    def order(self, parents: Iterable[P], key: Callable[[P], str]) -> list[P]:
        """Who failed, then who was never asked, then who was asked longest ago."""

        def rank(parent: P) -> tuple[int, str]:
            known = self.coverage.get(key(parent))
            if known is None:
                return 1, ""
            checked = known.last_checked_at
            return 0 if known.failures else 2, checked.isoformat() if checked else ""

        return sorted(parents, key=rank)

    def todo(self, parents: Iterable[P], key: Callable[[P], str]) -> list[P]:
        """All of them in that order; of a backfill those that are left."""
        if self.backfill is None:
            return self.order(parents, key)
        by_key = {key(parent): parent for parent in parents}
        return [by_key[left] for left in self.backfill.left(by_key)]

    def known(self, parent: str) -> Coverage | None:
        """What is proven about a parent; nothing when it must be read whole."""
        known = self.coverage.get(parent)
        if known is None or self.window or parent in self._holding_letters:
            return None
        return None if _before(self.kept.since, known.covered_from) else known

    def newest(self, parent: str, instants: Iterable[datetime | None]) -> datetime | None:
        """The parent's watermark once records created at `instants` are loaded; the future moves it not."""
        before = self.coverage.get(parent)
        past = [i for i in (*instants, before.covered_to if before else None) if i and i <= self.now]
        return max(past, default=None)

    def read(self, parent: str, **facts: Any) -> list[Batch]:
        """The parent was read to its end."""
        self._counted(parent)
        row = Coverage(
            stream=self._stream,
            parent=parent,
            covered_from=self.kept.since,
            last_checked_at=self.now,
            **facts,
        )
        return [self.letters.resolve("parent", [parent]), *self._written(row)]

    def failed(self, parent: str, error: VendorError) -> list[Batch]:
        """It was not: what was proven before stays. One that is gone at the vendor is noted, and no failure."""
        self._counted(parent, error)
        before = self.coverage.get(parent) or Coverage(stream=self._stream, parent=parent)
        if isinstance(error, NotFound):
            gone = {"error": "gone: the vendor does not have it (any more)", "failures": 0}
            row = before.model_copy(update={**gone, "last_checked_at": self.now})
            return [self.letters.resolve("parent", [parent]), *self._written(row)]
        failures = {"error": str(error), "failures": before.failures + 1, "last_checked_at": self.now}
        row = before.model_copy(update=failures)
        return [self.letters.failed("parent", parent, error), *self._written(row)]

    def finish(self) -> None:
        """All parents were asked."""
        if self.backfill:
            self.backfill.finish()

    def _counted(self, parent: str, error: VendorError | None = None) -> None:
        self.session.counters.parents += 1
        if self.backfill and error and not isinstance(error, NotFound):
            self.backfill.failed(parent)
        elif self.backfill:
            self.backfill.done(parent)

    def close_vanished(self, asked: Iterable[str]) -> list[Batch]:
        """Who failed, or was set back, and is not asked any more: the vendor lists it no longer, or without records.

        Its proof stays: should it be listed again, it is read from there on.
        """
        if self.window:
            return []
        left = (self.coverage.keys() | self._holding_letters) - set(asked)
        rows = [row for row in map(self.coverage.get, left) if row and (row.failures or not row.last_checked_at)]
        gone = {"error": "gone: the vendor serves nothing of it (any more)", "failures": 0}
        rows = [row.model_copy(update={**gone, "last_checked_at": self.now}) for row in rows]
        return [self.letters.resolve("parent", left), Batch(COVERAGE, rows)]

    def _written(self, row: Coverage) -> list[Batch]:
        return [] if self.window else [Batch(COVERAGE, [row])]


def _before(asked_from: datetime | None, covered_from: datetime | None) -> bool:
    """Whether older records are asked for than were; none: from the beginning."""
    return covered_from is not None and (asked_from is None or asked_from < covered_from)
