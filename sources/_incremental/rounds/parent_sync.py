"""The sync of a ParentFeed: reads the parents of a round side by side, each in one answer or page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from gapless.sources._http.client import Client
from gapless.sources._http.errors import BadRequest, NotFound, Rejected, Retryable, VendorError
from gapless.sources._incremental.concurrency import ParentPage, grouped, map_concurrently
from gapless.sources._incremental.context import SyncContext
from gapless.sources._incremental.listing import Parents, RawPage, Stored
from gapless.sources._incremental.listing_end import ListingEnd
from gapless.sources._incremental.parent_listing import named_parent, proven_pages
from gapless.sources._incremental.rounds.parent_answers import (
    History,
    Span,
    memory_of,
    served_ids,
    size_of,
    text_of,
)
from gapless.sources._ledger.ledger import is_reset
from gapless.sources._ledger.per_parent import Listing
from gapless.sources._ledger.record_owners import RecordOwners
from gapless.sources._ledger.session import Failure, LoadItem, weight_of
from gapless.sources._ledger.walk_state import Page
from gapless.sources._ledger.window import earlier
from gapless.sources._schema.arrow import Batch, Table, digest
from gapless.sources._schema.parse import parse
from gapless.sources._schema.record import Record, record_id, record_time


class ByParent(Protocol):
    """What a ParentFeed declares, as far as its sync uses it."""

    @property
    def table(self) -> Table:
        """Returns the table of the records."""

    @property
    def parents(self) -> Parents:
        """Returns what the records are read by."""

    @property
    def pages(self) -> Callable[[Client, Any], Iterator[RawPage]]:
        """Returns what reads the pages of a parent."""

    @property
    def column(self) -> str:
        """Returns the column of `table` with the id of a record's parent."""

    @property
    def given(self) -> Callable[[Any], Mapping[str, Any]]:
        """Returns what fills in the fields that a parent's records do not carry."""

    @property
    def ping(self) -> Callable[[Client], None]:
        """Returns what sends one cheap request."""

    @property
    def whole(self) -> bool:
        """Returns whether a parent's one answer holds all of its records."""

    @property
    def only(self) -> str | None:
        """Returns the setting that names parents to read."""

    @property
    def keeps(self) -> timedelta | None:
        """Returns how long the vendor keeps records, if it deletes them."""

    def batches(self, records: Sequence[Any], now: datetime, stored: Stored) -> list[Batch]:
        """Returns the rows of records, and those of the derived tables."""


class ParentRound:
    """One sync of a ParentFeed."""

    def __init__(self, feed: ByParent, sync: SyncContext) -> None:
        self._feed, self._sync, self._session = feed, sync, sync.session
        self._per = sync.parent_sync(feed.table.name)
        self._unlisted = set[str]()
        """Parents that the vendor does not list any more, and may still serve."""

    def steps(self) -> Iterator[LoadItem]:
        """Yields what each page brings, in the order in which it must be loaded."""
        feed, sync, per = self._feed, self._sync, self._per
        named = sync.parent_ids(feed.table.name)
        parents = [feed.parents.named(key) for key in named if not self._session.erased.hides_parent(key)]
        if not sync.reads_ids:
            listing = sync.listing(feed.parents)
            listed, unlisted = listing.found(), listing.unlisted(per)
            self._unlisted = set(map(feed.parents.id, unlisted))
            read = [one for one in listed if feed.parents.is_read(one) or per.is_open(feed.parents.id(one))]
            parents = [*read, *unlisted]
            yield from self._empty(listed)
        # Without those that an earlier limited run of this pass has read.
        parents = [one for one in parents if not per.is_checked(feed.parents.id(one), sync.pass_began)]
        todo = per.todo(parents, key=feed.parents.id)
        sync.session.counters.parents_total = len(todo)
        yield from self._read(todo)
        per.finish()

    def _read(self, todo: Sequence[Record]) -> Iterator[LoadItem]:
        """Yields what each page of these parents brings, and what each parent's end does."""
        feed, sync, spans = self._feed, self._sync, dict[str, Span]()
        read: Callable[[Record], Iterator[Any]] = self._answer if feed.whole else partial(self._pages, self._newest())
        owners = RecordOwners(feed.table, feed.column, sync.ledger, sync.session, self._served)
        answers = map_concurrently(todo, read, sync.workers, partial(feed.ping, sync.client), memory_of)
        for some in grouped(answers, size_of, sync.session.max_records):
            # One query for the group: one for each page would cost more than the page.
            owners.look_up(record for answer in some if answer.page for record in answer.page.records)
            for answer in some:
                batches = self._batches(answer, spans, owners)
                if batches is not None:
                    yield LoadItem(batches)

    def _batches(
        self, answer: ParentPage[Record, Any], spans: dict[str, Span], owners: RecordOwners
    ) -> list[Batch] | None:
        """Returns the batches for a page, an end or an error; None for the end of an answer that held all."""
        key = self._feed.parents.id(answer.parent)
        if answer.error:
            return self._failed(key, answer.error)
        if answer.page is None:
            return None if self._feed.whole else self._end(answer.parent, spans.pop(key, Span()))
        if self._feed.whole:
            return self._history(key, answer.page, owners)
        return self._loaded(key, answer.page, spans.setdefault(key, Span()), owners)

    def _served(self, parent: str) -> set[str] | None:
        """Returns the ids of a parent's records at the vendor; None if it does not answer. Raises Stop."""
        named = named_parent(self._feed.parents, parent)
        try:
            pages = self._feed.pages(self._sync.client, named) if named else iter(())
            # All pages, because the record may be on any of them; `RecordOwners` asks once for each parent.
            parsed = [parse(self._feed.table.model, page.records, self._feed.given(named)) for page in pages]
        except NotFound:
            return set()
        except (Rejected, Retryable):
            return None
        return {record_id(record) for one in parsed for record in one.records}

    @property
    def _listing(self) -> Listing:
        return self._feed.table, self._feed.column

    def _empty(self, listed: Sequence[Record]) -> Iterator[LoadItem]:
        ids = [self._feed.parents.id(parent) for parent in listed if not self._feed.parents.is_read(parent)]
        closed, how = [key for key in ids if not self._per.is_open(key)], (self._feed.keeps, self._sync.lag)
        yield LoadItem([batch for key in closed for batch in self._per.empty(self._listing, key, *how)])

    def _failed(self, key: str, error: VendorError) -> list[Batch]:
        """Returns the batches for a parent that failed; one that was named and never read may be mistyped.

        One that is neither listed nor found is gone.
        """
        if key in self._unlisted and isinstance(error, NotFound):
            self._per.mark_parent(self._feed.parents.table, self._listing, key)
            return self._per.close(key)
        if self._sync.reads_ids and isinstance(error, NotFound | BadRequest) and self._per.is_unknown(key):
            self._session.failures.append(Failure(self._sync.unknown_id_message(self._feed.only, key, error)))
            return []
        return self._per.fail(key, error)

    def _answer(self, parent: Record) -> Iterator[History]:
        """Yields a parent's one answer; it is requested twice if it has fewer records than before."""
        key = self._feed.parents.id(parent)
        # `--id` reads again in any case: rows may be missing here although the answer is the same.
        known, trusts_digest = self._per.coverage.get(key), not self._session.ids
        for page in self._feed.pages(self._sync.client, parent):
            # An answer may be cut short once, and its digest would then stand for all of it.
            fewer = known is not None and known.records is not None and len(page.records) < known.records
            read = next(iter(self._feed.pages(self._sync.client, parent)), page) if fewer else page
            raws = [*map(bytes, read.records)]
            # Not of the first time to load: an earlier one leaves no proof, and a later one moves with a retention.
            answer, proof = digest(None, *raws), self._per.proof(key)
            if proof and proof.digest == answer and trusts_digest:
                yield History(answer, len(raws))
            else:
                found = parse(self._feed.table.model, raws, self._feed.given(parent), refuse=self._session.refuse)
                yield History(answer, len(raws), found, raws)

    def _newest(self) -> dict[str, datetime | None] | None:
        """Returns the creation time of each parent's newest record in the destination; none in a window.

        None: it is the one that is proven, as nobody has changed rows or proofs. All rows would be read for it.
        """
        time = self._feed.table.time_column
        if self._session.rows_known:
            return None
        return (
            self._sync.ledger.newest(self._feed.table.name, self._feed.column, time)
            if time and not self._sync.window
            else {}
        )

    def _pages(self, newest: Mapping[str, datetime | None] | None, parent: Record) -> Iterator[Page[Record]]:
        known, key = self._per.proof(self._feed.parents.id(parent)), self._feed.parents.id(parent)
        watermark = known.covered_to if known else None
        if newest is not None and watermark and known and not known.filtered and not self._session.erased.count(key):
            # Rows were deleted, or the watermark was set by hand, if it is later than all rows here: what lies
            # between is read again. Not where a user's own step removes rows, or some were erased on purpose.
            here = newest.get(key)
            if here is None or here < watermark:
                self._per.disbelieve(key, here)
                watermark = here
        floor = earlier(watermark, self._sync.lag) if watermark else self._per.to_load.since

        def counted(end: ListingEnd) -> int | None:
            # The listing of parents is older than these pages, so their own total counts, if they have one.
            count = getattr(parent, self._feed.parents.count) if self._feed.parents.count else None
            return count if end.total is None or not end.met else None

        return proven_pages(
            f"{self._feed.parents.noun}/{key}/{self._feed.table.name}",
            partial(self._feed.pages, self._sync.client, parent),
            partial(self._typed, parent),
            floor=floor,
            counted=counted,
        )

    def _typed(self, parent: Record, page: RawPage) -> Page[Record]:
        found = parse(self._feed.table.model, page.records, self._feed.given(parent), refuse=self._session.refuse)
        id_, time = self._feed.table.id_column, self._feed.table.time_column or ""
        return Page(
            found.records, found.unreadable, total=page.total, weight=weight_of(page.records), id=id_, time=time
        )

    def _history(self, key: str, page: History, owners: RecordOwners) -> list[Batch]:
        """Returns the batches of a parent's one answer: all its records, or none if the digest is unchanged."""
        self._session.counters.pages += 1
        self._session.counters.records += page.count
        known = self._per.proof(key)
        if page.found is None and known:
            return self._per.complete(key, digest=page.answer, covered_to=known.covered_to, records=known.records)
        self._session.counters.weigh(page.raws)
        to_load = [record for record in page.records if self._per.to_load.contains(record_time(record))]
        covered_to = self._per.watermark(key, (record_time(record) for record in to_load))
        self._mark_lacking(key, page, owners)
        # An id may come twice in one answer, and `gaps` compares this number with the rows.
        distinct = len({*map(record_id, page.records)}) + len(page.unreadable) if page.found else page.count
        return [
            *self._rows(key, to_load, owners, page.raws),
            self._per.dead_letters.unreadable(page.unreadable, parent=key),
            # A window leaves records out, so their letters stay open.
            *([] if self._per.window else [self._per.dead_letters.resolve_rest(key)]),
            *self._per.complete(key, covered_to=covered_to, digest=page.answer, records=distinct),
        ]

    def _mark_lacking(self, key: str, page: History, owners: RecordOwners) -> None:
        """Marks what is here of a parent and not in its one answer."""
        before, served = self._per.coverage.get(key), served_ids(page.records, page.unreadable)
        # Where as many are here as the last answer had, none has gone since, and nothing needs to be looked up.
        lacks = before is not None and owners.held(page.records, key) < (before.records or page.count)
        if lacks and served is not None:
            self._per.mark_unserved(self._listing, key, served, self._per.to_load.since)

    def _loaded(self, key: str, page: Any, span: Span, owners: RecordOwners) -> list[Batch]:
        """Returns the batches of one page of a parent that goes on; `span` notes its newest and oldest records."""
        self._session.counters.pages += 1
        self._session.counters.records += len(page.records) + len(page.unreadable)
        self._session.counters.add_weight(page.weight)
        to_load = [
            record for record, at in zip(page.records, page.times, strict=True) if self._per.to_load.contains(at)
        ]
        span.least_total = min((one for one in (span.least_total, page.total) if one is not None), default=None)
        span.newest = self._per.watermark(key, [span.newest, *map(record_time, to_load)])
        # Read whole, though rows are here: what it lacks is gone.
        if key in self._per.coverage and self._reads_whole(key):
            served = served_ids(page.records, page.unreadable)
            span.nameless = span.nameless or served is None
            span.served |= served or set()
        span.records += page.count
        span.oldest = min([*page.times, *([span.oldest] if span.oldest else [])], default=None)
        return [
            *self._rows(key, to_load, owners),
            self._per.dead_letters.unreadable(page.unreadable, parent=key),
        ]

    def _rows(self, key: str, records: list[Any], owners: RecordOwners, raws: Sequence[bytes] = ()) -> list[Batch]:
        """Returns the batches of a parent's records; one that another parent serves as well is a dead letter."""
        others = owners.elsewhere(records, key)
        own = [record for record in records if record_id(record) not in others]
        texts = {one: text_of(self._feed.table, raws, one) for one in others}
        if self._session.rows_known:
            new, before = owners.new(own, key)
            self._per.note_new(key, new)
            for other in before:
                self._per.note_doubtful(other)
        return [
            *self._feed.batches(own, self._per.now, partial(self._per.stored, key)),
            self._per.dead_letters.elsewhere(key, others, texts),
            self._per.dead_letters.resolve("record", [record_id(record) for record in own]),
        ]

    def _reads_whole(self, key: str) -> bool:
        """Returns whether all pages of a parent are read, back to the initial value, and not only the look-back."""
        known = self._per.proof(key)
        return not self._per.window and (known is None or known.covered_to is None or is_reset(known.covered_to))

    def _mark_end(self, key: str, span: Span) -> None:
        """Marks what is here of a parent and on none of its pages, if all of them were read."""
        if self._reads_whole(key) and not span.nameless and (span.oldest or not self._feed.keeps):
            # What is older than the oldest one served may be deleted for its age alone.
            since = span.oldest if self._feed.keeps else self._per.to_load.since
            self._per.mark_unserved(self._listing, key, span.served, since)

    def _end(self, parent: Record, span: Span) -> list[Batch]:
        """Returns the batches after the last page of a parent."""
        key = self._feed.parents.id(parent)
        # With a proof only the look-back was read, so older letters were not passed.
        rest = [] if self._per.proof(key) or self._per.window else [self._per.dead_letters.resolve_rest(key)]
        self._mark_end(key, span)
        listed = getattr(parent, self._feed.parents.count) if self._feed.parents.count else None
        # Pages are newer than the listing of parents.
        records = listed if span.least_total is None else span.least_total
        # Where records came and none has a readable time, nobody knows which is the oldest.
        known = span.oldest or not span.records
        keeps = self._feed.keeps if known else None
        lost = self._per.lost(self._listing, key, span.oldest, keeps, self._sync.lag) if keeps else {}
        return [
            *rest,
            *self._per.complete(key, covered_to=self._per.watermark(key, [span.newest]), records=records, **lost),
        ]
