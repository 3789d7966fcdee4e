"""Feed: a stream that is one listing, newest records first, paged by cursors. A vendor declares it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from json import dumps
from typing import Any

from gapless.sources._http.client import Client
from gapless.sources._http.errors import BadRequest, NotFound, Rejected, Retryable, VendorError
from gapless.sources._incremental.concurrency import prefetch
from gapless.sources._incremental.context import SyncContext
from gapless.sources._incremental.listing import (
    CursorPage,
    ListedPage,
    ListedParent,
    Parents,
    PlainPage,
    Stored,
    each_once,
    listed_page,
)
from gapless.sources._incremental.newest_first import newest_first
from gapless.sources._incremental.single_record import read_record
from gapless.sources._ledger.backfill_state import Backfill
from gapless.sources._ledger.dead_letters import DeadLetters
from gapless.sources._ledger.ledger import COVERAGE, Coverage, is_reset
from gapless.sources._ledger.markers import NOT_KEPT
from gapless.sources._ledger.session import Failure, LoadItem, weight_of
from gapless.sources._ledger.walk_state import EVERYWHERE, Page, WalkState
from gapless.sources._ledger.window import EVERYTHING, Window
from gapless.sources._schema.arrow import Batch, Table
from gapless.sources._schema.parse import Parsed, parse
from gapless.sources._schema.record import Record, record_id

ACCOUNT_CHANGED = (
    "{stream}: not one of the newest records of the last sync is there any more, so all were read again. If the"
    " keys are another account's, give it a database of its own (DESTINATION__DUCKDB__CREDENTIALS)"
)
UNPROVEN = (
    "{stream}: its listing is not proven to be read to the end: {why}. What came is loaded, and the next sync reads"
    " it again"
)
UNREADABLE = (
    "could not be read before, and the vendor has no endpoint for one record:"
    " `gapless gaps` says how to read it again"
)


@dataclass(frozen=True)
class Feed:
    """A listing that serves its newest records first.

    `pages(client, after)` reads on from a cursor. With `by_time` it is `pages(client, after, since, until)`, and the
    vendor itself leaves out what was not created in [since, until); either may be None. A cursor that is read on from
    carries its filter. The filter may let more through (whole days, say), never less.
    """

    table: Table
    pages: Callable[..., Iterator[CursorPage]]
    record: Callable[[Client, str], bytes] | None = None
    """Reads one record by its id, as JSON."""
    by_time: bool = False
    oldest: Callable[[Client], list[Any]] | None = None
    """Reads the oldest record that is served, or none; for the estimates of `plan`."""
    per_page: int | None = None
    """Most records of a page."""

    # What `Stream` asks of every feed, and what is the same for all of this kind.
    one_by_one: bool = False
    parents: Parents | None = None
    column: str | None = None
    only: str | None = None
    walks: bool = True

    @property
    def tables(self) -> tuple[Table, ...]:
        """Returns the one root table."""
        return (self.table,)

    @property
    def by_id(self) -> str | None:
        """Returns what `--id` reads: "record", or None if the vendor has no such endpoint."""
        return "record" if self.record else None

    def named(self, table: Table, parents: Parents | None) -> Feed:
        """Returns the stream with its tables under other names."""
        return replace(self, table=table)

    def steps(self, sync: SyncContext) -> Iterator[LoadItem]:
        """Yields what each page brings, in the order in which it must be loaded."""
        letters = DeadLetters(self.table.name, sync.ledger, sync.session)
        if sync.reads_ids:
            yield from self._by_id(sync, sync.record_ids(self.table), letters)
        elif sync.window:
            yield from self._window(sync, letters)
        else:
            absent: dict[str, VendorError] = {}
            if self.record:
                # Failed records may be older than the look-back, where the walk would not meet them.
                yield from self._by_id(sync, [letter.key for letter in letters.records()], letters, absent)
            yield from self._newest(sync, letters, absent)
            if not self.record:
                for letter in letters.unmet():
                    sync.session.failures.append(Failure(UNREADABLE, self.table.name, "record", letter.key))

    def _newest(self, sync: SyncContext, letters: DeadLetters, absent: dict[str, VendorError]) -> Iterator[LoadItem]:
        """Yields what is new since the last sync, then what an interrupted sync did not reach.

        `absent` are records with a letter that the vendor does not serve by id; the walk goes down to their places.
        """
        session, initial = sync.session, sync.initial
        proof = sync.ledger.coverage(self.table.name).get("")
        # Without a proof, or with one that was set back, nothing shows that what the state says was read is here.
        proven = proof is not None and not is_reset(proof.covered_to) and not proof.in_doubt
        progress = WalkState.from_json(sync.state)
        progress = (progress if proven else WalkState(lost=progress.lost_by(proof))).back_to(initial)
        resumed = sync.pass_began is not None and progress.can_resume(session.now())
        places = [letters.place(self.table.model, key) for key in absent]
        # A record whose JSON has no time may be anywhere: then the walk goes to the end.
        down_to = EVERYWHERE if not places else None if None in places else min(filter(None, places))
        least: int | None = None  # of the pages' totals: what comes while pages are read is the next sync's
        for page in self._walk(sync, progress, sync.lag, None, down_to, resume=resumed):
            batches = self._loaded(page, Window(since=initial), letters)
            least = min((one for one in (least, page.total) if one is not None), default=None)
            coverage = self._coverage(progress, least, initial, session.now())
            yield LoadItem([*batches, Batch(COVERAGE, [coverage])], progress.to_json())
        if progress.listing_changed and not progress.unproven:
            session.failures.append(Failure(ACCOUNT_CHANGED.format(stream=self.table.name)))
        # Not found by its id, and not in the listing that was read down to its place: then it is gone.
        # A walk that was only resumed began before they were looked for: it may have passed their places.
        unmet = [key for key in absent if letters.is_open("record", key) and not resumed]
        if progress.unproven:
            yield LoadItem([letters.failed("record", key, absent[key]) for key in unmet])
        else:
            passed = letters.resolve_passed(progress.passed_since)
            yield LoadItem([letters.resolve_gone(unmet), passed, letters.resolve_parents()])

    def _window(self, sync: SyncContext, letters: DeadLetters) -> Iterator[LoadItem]:
        """Yields the records of a window, which proves nothing about those outside of it."""
        session, window = sync.session, sync.window
        backfill = Backfill(window, session.counters) if session.backfill else None
        walk = backfill.walk() if backfill else WalkState(initial_value=window.since)
        # Without a look-back, as the window says how far down to go.
        for page in self._walk(sync, walk, timedelta(0), window.until):
            if backfill:
                backfill.save_walk(walk)
            yield LoadItem(self._loaded(page, window, letters))
        if backfill and not walk.unproven:
            backfill.finish()

    def _walk(
        self,
        sync: SyncContext,
        progress: WalkState,
        lag: timedelta,
        until: datetime | None,
        down_to: datetime | None = EVERYWHERE,
        *,
        resume: bool = False,
    ) -> Iterator[Page[Record]]:
        """Yields the pages of a walk; an end that is not proven is a failure of the sync."""
        pages = partial(self._pages, sync, until)
        yield from newest_first(
            pages,
            progress,
            lag=lag,
            now=sync.session.now(),
            filtered=self.by_time,
            down_to=down_to,
            per_page=self.per_page,
            resume=resume,
        )
        if progress.unproven:
            sync.session.failures.append(Failure(UNPROVEN.format(stream=self.table.name, why=progress.unproven)))

    def _pages(
        self, sync: SyncContext, until: datetime | None, after: str | None, floor: datetime | None
    ) -> Iterator[Page[Record]]:
        session, span = sync.session, (floor, until) if self.by_time else ()
        pages = self.pages(sync.client, after, *span)
        # Down to a floor the walk may end at any page, and a page that was requested ahead would be wasted.
        for page in pages if floor else prefetch(pages, lambda page: weight_of(page.records)[0]):
            session.counters.pages += 1
            session.counters.records += len(page.records)
            session.counters.weigh(page.records)
            found = parse(self.table.model, page.records, refuse=session.refuse)
            shown = self._page(found, page.after, page.total)
            if session.erased.names:
                erased = session.erased.ids(found.records, [bad.key for bad in found.unreadable])
                shown = replace(shown, erased=erased)
            yield shown

    def _page(self, found: Parsed[Record], after: str | None = None, total: int | None = None) -> Page[Record]:
        records, unreadable = found.records, found.unreadable
        return Page(records, unreadable, after, total, id=self.table.id_column, time=self.table.time_column or "")

    def _loaded(self, page: Page[Record], window: Window, letters: DeadLetters) -> list[Batch]:
        records = [r for r, at in zip(page.records, page.times, strict=True) if window.contains(at)]
        return [
            Batch(self.table, records),
            letters.unreadable(page.unreadable),
            # Only of what is loaded: a record outside of the window was met, and is not here.
            letters.resolve("record", [record_id(record) for record in records]),
        ]

    def _coverage(self, progress: WalkState, total: int | None, initial: datetime | None, now: datetime) -> Coverage:
        return Coverage(
            stream=self.table.name,
            parent="",
            covered_from=initial,
            covered_to=progress.newest,
            missing=dumps([*progress.missing(), *progress.lost]) if progress.walks or progress.lost else None,
            error=NOT_KEPT if progress.lost else None,
            # The total of a filtered listing counts what the filter let through.
            records=None if self.by_time else total,
            last_checked_at=now,
        )

    def _by_id(
        self,
        sync: SyncContext,
        ids: Iterable[str],
        letters: DeadLetters,
        absent: dict[str, VendorError] | None = None,
    ) -> Iterator[LoadItem]:
        """Yields single records: the requested ones, or those that failed before.

        Puts those of which the listing is to show whether they are gone into `absent`. If a request fails, the others
        wait for the next sync, because each may cost a whole retry budget.
        """
        assert self.record is not None, "--id is refused for a source without it"
        for key in ids:
            if sync.session.erased.hides_record(key):
                continue
            try:
                raw = read_record(self.record, sync.client, self.table, key)
                found = parse(self.table.model, [raw], refuse=sync.session.refuse)
            except (Rejected, Retryable) as error:
                # Not every vendor answers 404 for what is deleted, and a listing has whole records anyway.
                if absent is not None and (isinstance(error, NotFound) or letters.is_doubtful("record", key)):
                    absent[key] = error
                # An id without a letter was named by a user: it is mistyped rather than lost, so it is only reported.
                elif isinstance(error, NotFound | BadRequest) and not letters.is_open("record", key):
                    sync.session.failures.append(Failure(sync.unknown_id_message(self.only, key, error)))
                else:
                    yield LoadItem([letters.failed("record", key, error)])
                if isinstance(error, Retryable):
                    return
            else:
                sync.session.counters.weigh([raw])
                yield LoadItem(self._loaded(self._page(found), Window(), letters))

    def batches(self, records: Sequence[Any], now: datetime, stored: Stored) -> list[Batch]:
        """Returns the rows of records; nothing is made from them."""
        return [Batch(self.table, records)]

    def listed_parents(self, client: Client) -> Iterator[list[ListedParent]]:
        """Yields the one parent that stands for the whole listing; sends no request."""
        yield [ListedParent("")]

    def listed_pages(self, client: Client, parent: ListedParent, window: Window = EVERYTHING) -> Iterator[ListedPage]:
        """Yields every page of the listing, newest first, with its ids and times; `by_time` those of the window."""
        span = (window.since, window.until) if self.by_time else ()

        def read() -> Iterator[ListedPage]:
            return (listed_page(self.table, page) for page in self.pages(client, None, *span))

        return each_once(read, self.table.name)

    def named_parents(self, ids: Sequence[str]) -> list[ListedParent]:
        """Returns none: a listing has no parents."""
        return []

    def listed_record(self, client: Client, key: str) -> None:
        """Returns none: pages hold whole records."""

    def oldest_record(self, client: Client) -> ListedPage | None:
        """Returns the oldest record that is served, if the vendor can be asked for it."""
        return listed_page(self.table, PlainPage(self.oldest(client))) if self.oldest else None
