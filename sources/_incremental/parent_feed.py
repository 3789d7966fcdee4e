"""ParentFeed: a stream whose records are read by parent, each parent's in one answer or page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

from gapless.sources._http.client import Client
from gapless.sources._http.errors import BadRequest, NotFound, VendorError
from gapless.sources._incremental.concurrency import map_concurrently
from gapless.sources._incremental.context import SyncContext
from gapless.sources._incremental.listing import ListedPage, ListedParent, Parents, RawPage, each_once, listed_page
from gapless.sources._incremental.listing_end import ListingEnd
from gapless.sources._incremental.parent_listing import listed_parents, proven_pages
from gapless.sources._ledger.per_parent import ParentSync
from gapless.sources._ledger.session import Failure, LoadItem
from gapless.sources._ledger.walk_state import Page
from gapless.sources._ledger.window import EVERYTHING, Window, earlier
from gapless.sources._schema.arrow import Batch, Table, digest
from gapless.sources._schema.parse import parse
from gapless.sources._schema.record import Record, record_id, record_time

Stored = Callable[[Table, Sequence[str], Iterable[str]], Iterator[tuple[Any, ...]]]
"""Yields columns of the stored rows whose first one is among the ids. See `ParentSync.stored`."""
Derive = Callable[[Sequence[Any], datetime, Stored], list[Batch]]


@dataclass
class Span:
    """The newest (up to now) and the oldest creation time read of one parent, in UTC."""

    newest: datetime | None = None
    oldest: datetime | None = None
    told: int | None = None
    """The least total that its pages told: what comes while they are read is the next sync's."""


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
        todo = per.todo(parents, key=self.parents.id)
        sync.session.counters.parents_total = len(todo)
        read = partial(self._answer, sync, per) if self.whole else partial(self._pages, sync, per, self._newest(sync))
        span: dict[str, Span] = {}
        for answer in map_concurrently(todo, read, sync.workers, partial(self.ping, sync.client)):
            key = self.parents.id(answer.parent)
            if answer.error:
                yield LoadItem(self._failed(sync, per, key, answer.error))
            elif answer.page is None and not self.whole:
                yield LoadItem(self._end(answer.parent, per, span.pop(key, Span())))
            elif answer.page is not None and self.whole:
                yield LoadItem(self._history(answer.parent, answer.page, per, trusts_digest=not sync.session.ids))
            elif answer.page is not None:
                yield LoadItem(self._loaded(answer.parent, answer.page, per, span.setdefault(key, Span())))
        per.finish()

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

    def _answer(self, sync: SyncContext, per: ParentSync, parent: Record) -> Iterator[RawPage]:
        """Yields a parent's one answer; it is requested twice if it has fewer records than before."""
        known = per.coverage.get(self.parents.id(parent))
        for page in self.pages(sync.client, parent):
            fewer = known is not None and known.records is not None and len(page.records) < known.records
            yield next(iter(self.pages(sync.client, parent)), page) if fewer else page

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
        return Page(found.records, found.unreadable, total=page.total, id=id_, time=time)

    def _history(self, parent: Record, page: Any, per: ParentSync, *, trusts_digest: bool) -> list[Batch]:
        """Returns the batches of a parent's one answer: all its records, or none if the digest is unchanged."""
        key, records, table = self.parents.id(parent), list(page.records), self.table
        per.session.counters.pages += 1
        per.session.counters.records += len(records)
        answer, known = digest(per.to_load.since, *map(bytes, records)), per.proof(key)
        if known and known.digest == answer and trusts_digest:
            return per.complete(key, digest=answer, covered_to=known.covered_to, records=known.records)
        found = parse(table.model, records, self.given(parent), refuse=per.session.refuse)
        to_load = [record for record in found.records if per.to_load.contains(record_time(record))]
        covered_to = per.watermark(key, (record_time(record) for record in to_load))
        distinct = len({*map(record_id, found.records)}) + len(found.unreadable)
        return [
            Batch(table, to_load),
            *self.derive(to_load, per.now, partial(per.stored, key)),
            per.dead_letters.unreadable(found.unreadable, parent=key),
            per.dead_letters.resolve("record", [record_id(record) for record in to_load]),
            *([] if per.window else [per.dead_letters.resolve_rest(key)]),
            *per.complete(key, covered_to=covered_to, digest=answer, records=distinct),
        ]

    def _loaded(self, parent: Record, page: Any, per: ParentSync, span: Span) -> list[Batch]:
        """Returns the batches of one page of a parent that goes on; `span` notes its newest and oldest records."""
        key, table = self.parents.id(parent), self.table
        per.session.counters.pages += 1
        per.session.counters.records += len(page.records) + len(page.unreadable)
        to_load = [record for record, at in zip(page.records, page.times, strict=True) if per.to_load.contains(at)]
        span.told = min((one for one in (span.told, page.total) if one is not None), default=None)
        span.newest = per.watermark(key, [span.newest, *map(record_time, to_load)])
        span.oldest = min([*page.times, *([span.oldest] if span.oldest else [])], default=None)
        return [
            Batch(table, to_load),
            *self.derive(to_load, per.now, partial(per.stored, key)),
            per.dead_letters.unreadable(page.unreadable, parent=key),
            per.dead_letters.resolve("record", [record_id(record) for record in to_load]),
        ]

    def _end(self, parent: Record, per: ParentSync, span: Span) -> list[Batch]:
        """Returns the batches after the last page of a parent."""
        key = self.parents.id(parent)
        rest = [] if per.proof(key) or per.window else [per.dead_letters.resolve_rest(key)]
        listed = getattr(parent, self.parents.count) if self.parents.count else None
        records = listed if span.told is None else span.told  # pages are newer than the listing of parents
        lost = per.lost(key, span.oldest, self.keeps) if self.keeps else {}
        return [*rest, *per.complete(key, covered_to=per.watermark(key, [span.newest]), records=records, **lost)]

    def listed_parents(self, client: Client) -> Iterator[list[ListedParent]]:
        """Yields the vendor's parents, page by page."""
        return listed_parents(self.parents, client, self.given)

    def named_parents(self, ids: Sequence[str]) -> list[ListedParent]:
        """Returns the parents with these ids; sends no request."""
        parents = [self.parents.named(key) for key in ids]
        return [ListedParent(self.parents.id(parent), None, self.given(parent), parent) for parent in parents]

    def listed_record(self, client: Client, key: str) -> None:
        """Returns none: pages hold whole records."""

    def oldest_record(self, client: Client) -> None:
        """Returns none: only whole parents can be requested."""

    def listed_pages(self, client: Client, parent: ListedParent, window: Window = EVERYTHING) -> Iterator[ListedPage]:
        """Yields every page of a parent's records with its ids and times."""

        def read() -> Iterator[ListedPage]:
            return (listed_page(self.table, page, parent.given) for page in self.pages(client, parent.record))

        return each_once(read, f"{self.parents.noun}/{parent.id}/{self.table.name}")
