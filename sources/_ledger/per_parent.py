"""Records the outcome of each parent in a sync over many parents; one failure never stops the others.

Failed parents are read first next time, then new ones, then the ones checked longest ago: so an interrupted sync
resumes where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from json import dumps, loads
from typing import Any, TypeVar

from gapless.sources._dlt.tables import ROW_ID
from gapless.sources._http.errors import VendorError
from gapless.sources._ledger.backfill_state import Backfill
from gapless.sources._ledger.dead_letters import DeadLetters
from gapless.sources._ledger.ledger import COVERAGE, Coverage, is_reset
from gapless.sources._ledger.markers import GONE, LOST, NOT_KEPT, is_closed
from gapless.sources._ledger.session import Failure, Session
from gapless.sources._ledger.shard import Shard
from gapless.sources._ledger.stored.cells import instant
from gapless.sources._ledger.stored.reader import Ledger
from gapless.sources._ledger.window import Window
from gapless.sources._schema.arrow import Batch, Table, digest
from gapless.sources._schema.parse import Parsed
from gapless.sources._schema.record import Record

MOST_IDS = 1_000
"""Ids in one question to the destination."""
MOST_NEW = 10_000
"""New records of a parent whose ids are held in memory; of one with more the rows are counted."""
Listing = tuple[Table, str]
"""The table of the records, and its column with a parent's id."""
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
        self._ledger = ledger
        self.backfill = Backfill(window, session.counters) if session.backfill and window else None
        self._stream = stream
        self._parents_with_dead_letters = self.dead_letters.parents()
        self._disbelieved: dict[str, datetime | None] = {}
        """The newest record here of parents whose watermark is later."""

    def stored(
        self, parent: str, table: Table, columns: Sequence[str], ids: Iterable[str]
    ) -> Iterator[tuple[Any, ...]]:
        """Yields the rows of completed loads whose first column is one of `ids`, records of `parent`.

        Yields none for a parent that was not read before.
        """
        if parent not in self.coverage:
            return
        wanted = list(ids)
        for begin in range(0, len(wanted), MOST_IDS):
            some = wanted[begin : begin + MOST_IDS]
            for *cells, completed in self._ledger.select(table.name, columns, (columns[0], some)):
                if completed:
                    yield tuple(cells)

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
        # It was written while our clock was wrong, so it proves nothing.
        if known.covered_to and known.covered_to > self.now:
            return None
        # It was gone and is back, so its records may be, too.
        if (known.error or "").startswith(GONE):
            return None
        return None if _before(self.to_load.since, known.covered_from) else known

    def is_checked(self, parent: str, since: datetime | None) -> bool:
        """Returns whether a parent was read, or failed, at `since` or later; False if it must be read whole."""
        known = self.coverage.get(parent)
        if since is None or known is None or known.last_checked_at is None or self.window:
            return False
        # One that failed waits for the next pass, or a pass of many limited runs would not end.
        return known.last_checked_at >= since and (known.failures > 0 or self.proof(parent) is not None)

    def disbelieve(self, parent: str, newest: datetime | None) -> None:
        """Notes that a parent's watermark is later than its `newest` record here, so it is made anew."""
        self._disbelieved[parent] = newest

    def watermark(self, parent: str, instants: Iterable[datetime | None]) -> datetime | None:
        """Returns a parent's watermark once records created at `instants` are loaded; times after now are ignored."""
        known = self.coverage.get(parent)
        before = self._disbelieved.get(parent, known.covered_to if known else None)
        # A record with a future time would hide all that is created until then.
        past = [i for i in (*instants, before) if i and i <= self.now]
        return max(past, default=None)

    def complete(self, parent: str, **facts: object) -> list[Batch]:
        """Returns the batches for a parent that was read to its end; `facts` are further fields of its coverage."""
        self._count(parent)
        before = self.coverage.get(parent)
        if self.window:
            # A window proves nothing about the rest, for which the parent may be waiting.
            return [] if before and before.failures else [self.dead_letters.resolve("parent", [parent])]
        # A failure in between has replaced the error, and not the intervals.
        why = before.error if before and (before.error or "").startswith(LOST) else NOT_KEPT
        missing = self._missing(before)
        kept = {"missing": dumps(missing), "error": why} if missing else {}
        # The last step counts filtered records anew only where rows came; an unchanged answer brings none.
        filtered = before.filtered if before else None
        always = {"covered_from": self.to_load.since, "last_checked_at": self.now, "filtered": filtered}
        # `facts` last: they may add a lost interval to those that are kept.
        fields = {**always, **kept, **facts}
        row = Coverage.model_validate({"stream": self._stream, "parent": parent, **fields})
        self._note_doubt(parent, before, row.records or 0)
        return [self.dead_letters.resolve("parent", [parent]), Batch(COVERAGE, [row])]

    def note_new(self, parent: str, records: Iterable[str]) -> None:
        """Notes records, by id, that are loaded now and were not here under this parent."""
        if self.session.rows_known and parent not in self.session.doubtful:
            known = self.session.new_rows.setdefault(parent, set())
            known.update(records)
            # What is erased is not loaded, and few ids cost less than counting.
            if known and (self.session.erased or len(known) > MOST_NEW):
                self.note_doubtful(parent)

    def note_doubtful(self, parent: str) -> None:
        """Notes that a parent's rows must be counted when the sync ends."""
        self.session.doubtful.add(parent)
        self.session.new_rows.pop(parent, None)

    def _note_doubt(self, parent: str, before: Coverage | None, total: int) -> None:
        """Notes a parent that has more records at the vendor than its rows, or whose rows are not proven."""
        proven = (
            before is not None
            and parent not in self._parents_with_dead_letters
            and not (before.failures or before.missing or before.covered_from or before.filtered)
            and not (before.last_checked_at is None or is_reset(before.covered_to) or is_closed(before.error, 0))
        )
        here = (before.records or 0) if before else 0
        if not proven or total > here + len(self.session.new_rows.get(parent, ())):
            self.note_doubtful(parent)

    def fail(self, parent: str, error: VendorError) -> list[Batch]:
        """Returns the batches for a parent that failed: earlier proof stays, and it is read first next time."""
        self._count(parent, failed=True)
        before = self.coverage.get(parent) or Coverage(stream=self._stream, parent=parent)
        failures = {"error": str(error), "failures": before.failures + 1, "last_checked_at": self.now}
        row = before.model_copy(update=failures)
        return [self.dead_letters.failed("parent", parent, error), *self._coverage_batch(row)]

    def is_unknown(self, parent: str) -> bool:
        """Returns whether nothing was ever read of a parent: then its id may be mistyped."""
        return parent not in self.coverage and parent not in self._parents_with_dead_letters

    def is_open(self, parent: str) -> bool:
        """Returns whether something of a parent failed, so that it is read even if it has no records."""
        known = self.coverage.get(parent)
        return parent in self._parents_with_dead_letters or bool(known and known.failures)

    def unlisted(self, listed: Iterable[str], stored: Iterable[str]) -> list[str]:
        """Returns known parents that the vendor does not list any more and that are not gone.

        `stored` are the parents in the destination, of which some may never have been read.
        """
        if self.window:
            return []
        # The empty id stands for letters of records that name no parent.
        known = {*self.coverage, *self._parents_with_dead_letters, *stored} - {*listed, ""}
        return sorted(parent for parent in known if not self._is_gone(parent))

    def _is_gone(self, parent: str) -> bool:
        row = self.coverage.get(parent)
        gone = row is not None and row.last_checked_at is not None and (row.error or "").startswith(GONE)
        return gone and parent not in self._parents_with_dead_letters

    def close(self, parent: str) -> list[Batch]:
        """Returns the batches for a parent that is not listed any more, and not found.

        Its proof stays: if it is listed again, it is read from there on.
        """
        why = f"{GONE}not listed any more since {self.now:%Y-%m-%d %H:%M} UTC, and not found"
        before = self.coverage.get(parent) or Coverage(stream=self._stream, parent=parent)
        row = before.model_copy(update={"error": why, "failures": 0, "last_checked_at": self.now})
        letters = [self.dead_letters.resolve("parent", [parent]), self.dead_letters.resolve_rest(parent)]
        return [*letters, Batch(COVERAGE, [row])]

    def mark_unserved(self, listing: Listing, parent: str, served: Collection[str], since: datetime | None) -> None:
        """Marks the records of a parent that its whole listing lacks as gone, and takes back what it has.

        `served` are `_dlt_id`; `since`: older ones say nothing, as they were not listed or the vendor deletes them by
        their age.
        """
        table, column = listing
        time = [table.time_column] if table.time_column else []
        if self.window or parent not in self.coverage:
            return
        rows = self._ledger.stored(table.name, [ROW_ID, *time], column, [parent])
        gone = [row for row, *at in rows if row not in served and (since is None or _at(at) >= since)]
        self._ledger.mark_gone(table.name, gone, self.now)

    def mark_records(self, table: Table, gone: Collection[str], served: Collection[str]) -> None:
        """Marks the records with the ids `gone`, and takes back what is marked and `served`."""
        self._ledger.mark_gone(table.name, {digest(key) for key in gone}, self.now)
        rows = {digest(key) for key in served}
        self._ledger.mark_gone(table.name, self._ledger.marked(table.name, rows) & rows, None)

    def mark_parent(self, parents: Table, listing: Listing, parent: str) -> None:
        """Marks a parent, and all of its records, as gone: it is neither listed nor found any more."""
        table, column = listing
        self._ledger.mark_gone(parents.name, [digest(parent)], self.now)
        rows = self._ledger.stored(table.name, [ROW_ID], column, [parent])
        self._ledger.mark_gone(table.name, [row for (row,) in rows], self.now)

    def empty(self, listing: Listing, parent: str, keeps: timedelta | None, lag: timedelta) -> list[Batch]:
        """Returns the batches for a parent without records, by the vendor's count: it was checked by that count.

        The rest is as in `lost`; without `keeps` the vendor deletes nothing by its age.
        """
        before = self.coverage.get(parent)
        # Of what is deleted by its age only the check tells how long nobody looked.
        if self.window or (before is None and keeps is None):
            return []
        row = before or Coverage(stream=self._stream, parent=parent, covered_from=self.to_load.since)
        # A loss is reported until a user acknowledges it.
        kept = {} if row.missing else {"error": None}
        lost = self.lost(listing, parent, None, keeps, lag) if keeps else {}
        facts = {"records": 0, "last_checked_at": self.now, **kept, **lost}
        return [Batch(COVERAGE, [row.model_copy(update=facts)])]

    def lost(
        self, listing: Listing, parent: str, oldest: datetime | None, keeps: timedelta, lag: timedelta
    ) -> dict[str, object]:
        """Returns the fields of a parent's coverage about what the vendor deleted before it was read; mostly none.

        `oldest` is the creation time of the oldest record served; None: none is. What was covered before is not
        served any more if it is older; then what came next may be gone as well, unless the pause was shorter than
        records are kept: `keeps` by default, and surely as long as the newest record had lasted when it was last
        seen. A record may come late by the look-back, `lag`.
        """
        before = self.coverage.get(parent)
        if self.window or before is None:
            return {}
        oldest = oldest or self.now
        checked = before.last_checked_at
        # One that had no record yet was covered up to its check.
        covered = before.covered_to or (None if before.failures else checked)
        dated = before.records and before.covered_to and not before.failures
        if checked and before.records and not before.covered_to and not before.failures:
            # All of its records were of the future to our clock, which was wrong: it was read after the newest one.
            covered = checked = max(checked, self._newest_past(listing, parent) or checked)
        # Nobody misses what is older than is kept, or than was ever to be read.
        begins = max(filter(None, (covered, self.to_load.since)), default=None)
        if begins is None or covered is None or checked is None or is_reset(covered) or oldest <= begins:
            return {}
        # A time to come was written while our clock was wrong, so it proves nothing.
        if max(covered, checked) > self.now:
            return {}
        # A check that failed saw no record, so nothing is known from `covered` on.
        checked = covered if before.failures else checked
        lasts = checked - covered if dated else keeps
        if oldest > checked - lag and self.now - checked <= lasts:
            return {}
        known = self._missing(before)
        interval = [covered.isoformat(), oldest.isoformat()]
        why = f"{LOST}the vendor may have deleted records from {covered:%Y-%m-%d %H:%M} on before they were read"
        self.session.failures.append(Failure(why, self._stream, "other", parent))
        return {"missing": dumps([*known, interval]), "error": why}

    def _newest_past(self, listing: Listing, parent: str) -> datetime | None:
        """Returns the creation time of the newest record of a parent that is here; not of one yet to come."""
        table, column = listing
        rows = self._ledger.stored(table.name, [table.time_column], column, [parent]) if table.time_column else []
        return max((at for (cell,) in rows if (at := instant(cell)) and at <= self.now), default=None)

    def _missing(self, before: Coverage | None) -> list[list[str | None]]:
        """Returns the missing intervals of a proof, without those that end before anything is to be read."""
        known: list[list[str | None]] = loads(before.missing) if before and before.missing else []
        since = self.to_load.since
        return [one for one in known if not (since and one[1] and datetime.fromisoformat(one[1]) <= since)]

    def finish(self) -> None:
        """Ends the sync after the last parent."""
        if self.backfill:
            self.backfill.finish()

    def _count(self, parent: str, *, failed: bool = False) -> None:
        self.session.counters.parents += 1
        if self.backfill and failed:
            self.backfill.failed(parent)
        elif self.backfill:
            self.backfill.done(parent)

    def _coverage_batch(self, row: Coverage) -> list[Batch]:
        return [] if self.window else [Batch(COVERAGE, [row])]


def _at(time: Sequence[object]) -> datetime:
    """Returns a creation time; a row without one is younger than all."""
    found = instant(time[0]) if time else None  # type: ignore[arg-type]  # a cell of a column of times
    return found or datetime.max.replace(tzinfo=UTC)


def _before(initial: datetime | None, covered_from: datetime | None) -> bool:
    """Returns whether the sync reaches further back than the proof; None is the beginning of history."""
    return covered_from is not None and (initial is None or initial < covered_from)
