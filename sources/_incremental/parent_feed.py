"""ParentFeed: a stream whose records are read by parent, each parent's in one answer or page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

from gapless.sources._http.client import Client
from gapless.sources._http.errors import BadRequest, NotFound, Rejected, Retryable, VendorError
from gapless.sources._incremental.concurrency import map_concurrently, together
from gapless.sources._incremental.context import SyncContext
from gapless.sources._incremental.listing import (
    ListedPage,
    ListedParent,
    Parents,
    RawPage,
    Stored,
    each_once,
    listed_page,
)
from gapless.sources._incremental.listing_end import ListingEnd
from gapless.sources._incremental.parent_listing import listed_parents, named_parent, proven_pages
from gapless.sources._ledger.per_parent import ParentSync
from gapless.sources._ledger.record_owners import RecordOwners
from gapless.sources._ledger.session import Failure, LoadItem, weight_of
from gapless.sources._ledger.walk_state import Page
from gapless.sources._ledger.window import EVERYTHING, Window, earlier
from gapless.sources._schema.arrow import Batch, Table, digest
from gapless.sources._schema.parse import Parsed, Unreadable, parse
from gapless.sources._schema.record import Record, record_id, record_time

Derive = Callable[[Sequence[Any], datetime, Stored], list[Batch]]


WIDE = 8_192
"""Bytes of JSON that count for one record where records bound how much is held."""


@dataclass
class Span:
    """The newest (up to now) and the oldest creation time read of one parent, in UTC."""

    newest: datetime | None = None
    oldest: datetime | None = None
    told: int | None = None
    """The least total that its pages told: what comes while they are read is the next sync's."""


@dataclass(frozen=True)
class History:
    """A parent's one answer, with all of its records."""

    answer: str
    """Its digest."""
    count: int
    """Records in it."""
    found: Parsed[Record] | None = None
    """None: the digest is that of the last sync."""
    raws: Sequence[bytes] = ()
    """The records' JSON, if it is not."""

    @property
    def records(self) -> Sequence[Record]:
        """Returns the records to load."""
        return self.found.records if self.found else ()

    @property
    def unreadable(self) -> Sequence[Unreadable]:
        """Returns the records that do not fit their model."""
        return self.found.unreadable if self.found else ()


@dataclass(frozen=True)
class ParentFeed:
    """Records that are read by parent, several parents in parallel.

    With `whole` a parent's one answer holds all of its records: the same digest means that nothing changed. Without
    it, pages are read down to the look-back if their order proves to be newest first, else to the end.
    """

    table: Table
    parents: Parents
    pages: Callable[[Client, Any], Iterator[RawPage]]
    """Called with the client and one of the parents."""
    column: str
    """The column of `table` with the id of a record's parent."""
    given: Callable[[Any], Mapping[str, Any]] = field(default=lambda parent: {}, kw_only=True)
    """Fields that a parent's records do not carry, by JSON name."""
    ping: Callable[[Client], None]
    """Sends one cheap request that needs the key, after many consecutive parents without an answer."""
    whole: bool = False
    only: str | None = None
    """The setting that names parents to read instead of all that are listed."""
    per_page: int | None = None
    """The most records of a page; None: all are in one answer."""
    derived: tuple[Table, ...] = ()
    """Further tables, made from the records by `derive`."""
    derive: Derive = field(default=lambda records, now, stored: [])
    keeps: timedelta | None = None
    """How long the vendor keeps records by default, if it deletes them."""
    alone: bool = False
    """Whether a parent can be read without the listing: then `--id` takes ids of parents."""

    walks: bool = False
    by_time: bool = False

    @property
    def tables(self) -> tuple[Table, ...]:
        """Returns the root tables: the records', the parents' and the derived ones."""
        return (self.table, self.parents.table, *self.derived)

    @property
    def by_id(self) -> str | None:
        """Returns what `--id` reads: "parent", or None if a parent cannot be read without the listing."""
        return "parent" if self.alone else None

    def named(self, table: Table, parents: Parents | None) -> ParentFeed:
        """Returns the stream with its tables under other names."""
        return replace(self, table=table, parents=parents or self.parents)

    def steps(self, sync: SyncContext) -> Iterator[LoadItem]:
        """Yields what each page brings, in the order in which it must be loaded."""
        per = sync.parent_sync(self.table.name)
        parents = [self.parents.named(key) for key in sync.ids]
        if not sync.reads_ids:
            listing = sync.listing(self.parents)
            listed = listing.found()
            yield from self._unlisted(sync, per, listing.unlisted(per))
            parents = [one for one in listed if self.parents.is_read(one) or per.is_open(self.parents.id(one))]
            yield from self._empty(per, listed)
        parents = [one for one in parents if not per.is_checked(self.parents.id(one), sync.pass_began)]
        todo = per.todo(parents, key=self.parents.id)
        sync.session.counters.parents_total = len(todo)
        read: Callable[[Record], Iterator[Any]] = (
            partial(self._answer, sync, per) if self.whole else partial(self._pages, sync, per, self._newest(sync))
        )
        owners = RecordOwners(self.table, self.column, sync.ledger, sync.session, partial(self._served, sync))
        span: dict[str, Span] = {}
        answers = map_concurrently(todo, read, sync.workers, partial(self.ping, sync.client))
        for some in together(answers, _size, sync.session.max_records):
            owners.look_up(record for answer in some if answer.page for record in answer.page.records)
            for answer in some:
                key = self.parents.id(answer.parent)
                if answer.error:
                    yield LoadItem(self._failed(sync, per, key, answer.error))
                elif answer.page is None and not self.whole:
                    yield LoadItem(self._end(answer.parent, per, span.pop(key, Span())))
                elif answer.page is not None and self.whole:
                    yield LoadItem(self._history(key, answer.page, per, owners))
                elif answer.page is not None:
                    yield LoadItem(self._loaded(key, answer.page, per, span.setdefault(key, Span()), owners))
        per.finish()

    def _served(self, sync: SyncContext, parent: str) -> set[str] | None:
        """Returns the ids of a parent's records at the vendor; None if it does not answer. Raises Stop."""
        named = named_parent(self.parents, parent)
        try:
            pages = self.pages(sync.client, named) if named else iter(())
            parsed = [parse(self.table.model, page.records, self.given(named)) for page in pages]
        except NotFound:
            return set()
        except (Rejected, Retryable):
            return None
        return {record_id(record) for one in parsed for record in one.records}

    def _unlisted(self, sync: SyncContext, per: ParentSync, parents: list[Record]) -> Iterator[LoadItem]:
        """Closes parents that are not listed any more: the first page of each tells whether it is gone."""

        def first_page(parent: Record) -> Iterator[RawPage]:
            return islice(self.pages(sync.client, parent), 1)

        for answer in map_concurrently(parents, first_page, sync.workers, partial(self.ping, sync.client)):
            if answer.page is None:
                yield LoadItem(per.close(self.parents.id(answer.parent), answer.error))

    def _empty(self, per: ParentSync, listed: Sequence[Record]) -> Iterator[LoadItem]:
        ids = [self.parents.id(parent) for parent in listed if not self.parents.is_read(parent)]
        yield LoadItem([batch for key in ids if not per.is_open(key) for batch in per.empty(key)])

    def _failed(self, sync: SyncContext, per: ParentSync, key: str, error: VendorError) -> list[Batch]:
        """Returns the batches for a parent that failed; one that was named and never read may be mistyped."""
        if sync.reads_ids and isinstance(error, NotFound | BadRequest) and per.is_unknown(key):
            sync.session.failures.append(Failure(sync.named_wrong(self.only, key, error)))
            return []
        return per.fail(key, error)

    def _answer(self, sync: SyncContext, per: ParentSync, parent: Record) -> Iterator[History]:
        """Yields a parent's one answer; it is requested twice if it has fewer records than before."""
        key = self.parents.id(parent)
        known, trusts_digest = per.coverage.get(key), not sync.session.ids
        for page in self.pages(sync.client, parent):
            fewer = known is not None and known.records is not None and len(page.records) < known.records
            read = next(iter(self.pages(sync.client, parent)), page) if fewer else page
            raws = [*map(bytes, read.records)]
            answer, proof = digest(per.to_load.since, *raws), per.proof(key)
            if proof and proof.digest == answer and trusts_digest:
                yield History(answer, len(raws))
            else:
                found = parse(self.table.model, raws, self.given(parent), refuse=per.session.refuse)
                yield History(answer, len(raws), found, raws)

    def _newest(self, sync: SyncContext) -> dict[str, datetime | None]:
        """Returns the newest record of each parent here: its watermark is not later, but for somebody's hand."""
        time = self.table.time_column
        return sync.ledger.newest(self.table.name, self.column, time) if time and not sync.window else {}

    def _pages(
        self, sync: SyncContext, per: ParentSync, newest: Mapping[str, datetime | None], parent: Record
    ) -> Iterator[Page[Record]]:
        known, key = per.proof(self.parents.id(parent)), self.parents.id(parent)
        watermark = known.covered_to if known else None
        if watermark and known and not known.filtered:
            here = newest.get(key)
            watermark = min(watermark, here) if here else None
        floor = earlier(watermark, sync.lag) if watermark else per.to_load.since

        def counted(end: ListingEnd) -> int | None:
            # The listing of parents is older than these pages, so their own total counts, if they tell one.
            count = getattr(parent, self.parents.count) if self.parents.count else None
            return count if end.total is None or not end.met else None

        return proven_pages(
            f"{self.parents.noun}/{key}/{self.table.name}",
            partial(self.pages, sync.client, parent),
            partial(self._typed, sync, parent),
            floor=floor,
            counted=counted,
        )

    def _typed(self, sync: SyncContext, parent: Record, page: RawPage) -> Page[Record]:
        found = parse(self.table.model, page.records, self.given(parent), refuse=sync.session.refuse)
        id_, time = self.table.id_column, self.table.time_column or ""
        return Page(
            found.records, found.unreadable, total=page.total, weight=weight_of(page.records), id=id_, time=time
        )

    def _history(self, key: str, page: History, per: ParentSync, owners: RecordOwners) -> list[Batch]:
        """Returns the batches of a parent's one answer: all its records, or none if the digest is unchanged."""
        per.session.counters.pages += 1
        per.session.counters.records += page.count
        known = per.proof(key)
        if page.found is None and known:
            return per.complete(key, digest=page.answer, covered_to=known.covered_to, records=known.records)
        per.session.counters.weigh(page.raws)
        to_load = [record for record in page.records if per.to_load.contains(record_time(record))]
        covered_to = per.watermark(key, (record_time(record) for record in to_load))
        distinct = len({*map(record_id, page.records)}) + len(page.unreadable) if page.found else page.count
        return [
            *self._rows(key, to_load, per, owners, page.raws),
            per.dead_letters.unreadable(page.unreadable, parent=key),
            *([] if per.window else [per.dead_letters.resolve_rest(key)]),
            *per.complete(key, covered_to=covered_to, digest=page.answer, records=distinct),
        ]

    def _loaded(self, key: str, page: Any, per: ParentSync, span: Span, owners: RecordOwners) -> list[Batch]:
        """Returns the batches of one page of a parent that goes on; `span` notes its newest and oldest records."""
        per.session.counters.pages += 1
        per.session.counters.records += len(page.records) + len(page.unreadable)
        per.session.counters.add_weight(page.weight)
        to_load = [record for record, at in zip(page.records, page.times, strict=True) if per.to_load.contains(at)]
        span.told = min((one for one in (span.told, page.total) if one is not None), default=None)
        span.newest = per.watermark(key, [span.newest, *map(record_time, to_load)])
        span.oldest = min([*page.times, *([span.oldest] if span.oldest else [])], default=None)
        return [
            *self._rows(key, to_load, per, owners),
            per.dead_letters.unreadable(page.unreadable, parent=key),
        ]

    def _rows(
        self, key: str, records: list[Any], per: ParentSync, owners: RecordOwners, raws: Sequence[bytes] = ()
    ) -> list[Batch]:
        """Returns the batches of a parent's records; one that another parent serves as well is a dead letter."""
        others = owners.elsewhere(records, key)
        own = [record for record in records if record_id(record) not in others]
        texts = {one: _text(self.table, raws, one) for one in others}
        return [
            *self.batches(own, per.now, partial(per.stored, key)),
            per.dead_letters.elsewhere(key, others, texts),
            per.dead_letters.resolve("record", [record_id(record) for record in own]),
        ]

    def _end(self, parent: Record, per: ParentSync, span: Span) -> list[Batch]:
        """Returns the batches after the last page of a parent."""
        key = self.parents.id(parent)
        rest = [] if per.proof(key) or per.window else [per.dead_letters.resolve_rest(key)]
        listed = getattr(parent, self.parents.count) if self.parents.count else None
        records = listed if span.told is None else span.told  # pages are newer than the listing of parents
        lost = per.lost(key, span.oldest, self.keeps) if self.keeps else {}
        return [*rest, *per.complete(key, covered_to=per.watermark(key, [span.newest]), records=records, **lost)]

    def batches(self, records: Sequence[Any], now: datetime, stored: Stored) -> list[Batch]:
        """Returns the rows of records, and those of the derived tables."""
        return [Batch(self.table, records), *self.derive(records, now, stored)]

    def listed_parents(self, client: Client) -> Iterator[list[ListedParent]]:
        """Yields the vendor's parents, page by page."""
        return listed_parents(self.parents, client, self.given)

    def named_parents(self, ids: Sequence[str]) -> list[ListedParent]:
        """Returns the parents with these ids; sends no request."""
        parents = [self.parents.named(key) for key in ids]
        return [
            ListedParent(self.parents.id(parent), None, self.given(parent), parent, whole=False) for parent in parents
        ]

    def listed_record(self, client: Client, key: str) -> None:
        """Returns none: pages hold whole records."""

    def oldest_record(self, client: Client) -> None:
        """Returns none: only whole parents can be requested."""

    def listed_pages(self, client: Client, parent: ListedParent, window: Window = EVERYTHING) -> Iterator[ListedPage]:
        """Yields every page of a parent's records with its ids and times."""

        def read() -> Iterator[ListedPage]:
            for page in self.pages(client, parent.record):
                found = listed_page(self.table, page, parent.given)
                yield replace(found, answer=digest(window.since, *found.raws)) if self.whole else found

        return each_once(read, f"{self.parents.noun}/{parent.id}/{self.table.name}")


def _size(page: Any) -> int:
    """Returns how many records a page has; a wide one counts for as many as its bytes are."""
    bytes_, _ = page.weight if isinstance(page, Page) else weight_of(page.raws)
    return max(len(page.records), bytes_ // WIDE)


def _text(table: Table, raws: Sequence[bytes], key: str) -> str | None:
    """Returns the JSON of the record with this id among those of an answer."""
    for raw in raws:
        found = parse(table.model, [raw])
        if key in [*map(record_id, found.records), *(one.key for one in found.unreadable)]:
            return raw.decode(errors="backslashreplace")
    return None
