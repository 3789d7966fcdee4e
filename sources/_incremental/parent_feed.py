"""ParentFeed: a stream whose records are read by parent, each parent's in one answer or page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from gapless.sources._http.client import Client
from gapless.sources._http.errors import Unavailable
from gapless.sources._incremental.concurrency import map_concurrently
from gapless.sources._incremental.context import SyncContext
from gapless.sources._incremental.listing import ListedPage, ListedParent, Parents, RawPage, listed_page
from gapless.sources._incremental.newest_first import until_older
from gapless.sources._incremental.parent_listing import listed_parents
from gapless.sources._ledger.per_parent import ParentSync
from gapless.sources._ledger.session import LoadItem
from gapless.sources._ledger.walk_state import Page
from gapless.sources._ledger.window import EVERYTHING, Window
from gapless.sources._schema.arrow import Batch, Table, digest
from gapless.sources._schema.parse import parse
from gapless.sources._schema.record import Record, record_id, record_time

RESTARTS = 5
"""How often one parent's pages are read again from the first after they shifted; then the next sync reads them."""
Derive = Callable[[Sequence[Any], datetime], list[Batch]]


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
    derive: Derive = field(default=lambda records, now: [])
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
            parents = [parent for parent in sync.listed(self.parents) if self.parents.is_read(parent)]
            # Only a listing that was read to its end says that a parent is gone.
            yield LoadItem(per.close_vanished(map(self.parents.id, parents)))
        todo = per.todo(parents, key=self.parents.id)
        sync.session.counters.parents_total = len(todo)
        read = partial(self._answer if self.whole else self._newest, sync, per)
        newest: dict[str, datetime | None] = {}
        for answer in map_concurrently(todo, read, sync.workers, partial(self.ping, sync.client)):
            key = self.parents.id(answer.parent)
            if answer.error:
                yield LoadItem(per.fail(key, answer.error))
            elif answer.page is None and not self.whole:
                yield LoadItem(self._end(answer.parent, per, newest.pop(key, None)))
            elif answer.page is not None:
                load = self._history if self.whole else self._loaded
                yield LoadItem(load(answer.parent, answer.page, per, newest))
        per.finish()

    def _answer(self, sync: SyncContext, per: ParentSync, parent: Record) -> Iterator[RawPage]:
        return self.pages(sync.client, parent)

    def _newest(self, sync: SyncContext, per: ParentSync, parent: Record) -> Iterator[Page[Record]]:
        known = per.proof(self.parents.id(parent))
        watermark = known.covered_to if known else None
        floor = watermark - sync.lag if watermark else per.to_load.since
        return until_older(self._restarting(sync, parent), floor)

    def _restarting(self, sync: SyncContext, parent: Record) -> Iterator[Page[Record]]:
        """Yields all pages; again from the first if records vanished meanwhile, as others then moved up unread."""
        table = self.table
        for _ in range(RESTARTS):
            left: int | None = None
            for page in self.pages(sync.client, parent):
                shifted = page.total is not None and left is not None and page.total < left
                found = parse(table.model, page.records, self.given(parent), refuse=sync.session.refuse)
                yield Page(
                    found.records,
                    found.unreadable,
                    total=page.total,
                    shifted=shifted,
                    id=table.id_column,
                    time=table.time_column or "",
                )
                # Later records moved up by one place, so one of them was skipped.
                if shifted:
                    break
                left = page.total
            else:
                return
        detail = f"records vanished while its pages were read, {RESTARTS} times; what moved up may be missing"
        path = f"{self.parents.noun}/{self.parents.id(parent)}/{table.name}"
        raise Unavailable(method="GET", path=path, detail=detail)

    def _history(self, parent: Record, page: Any, per: ParentSync, newest: dict[str, datetime | None]) -> list[Batch]:
        """Returns the batches of a parent's one answer: all its records, or none if the digest is unchanged."""
        key, records, table = self.parents.id(parent), list(page.records), self.table
        per.session.counters.pages += 1
        per.session.counters.records += len(records)
        answer, known = digest(per.to_load.since, *map(bytes, records)), per.proof(key)
        if known and known.digest == answer:
            return per.complete(key, digest=answer, covered_to=known.covered_to, records=known.records)
        found = parse(table.model, records, self.given(parent), refuse=per.session.refuse)
        to_load = [record for record in found.records if per.to_load.contains(record_time(record))]
        covered_to = per.watermark(key, (record_time(record) for record in to_load))
        return [
            Batch(table, to_load),
            *self.derive(to_load, per.now),
            per.dead_letters.unreadable(found.unreadable, parent=key),
            per.dead_letters.resolve("record", [record_id(record) for record in found.records]),
            per.dead_letters.resolve_rest(key),
            *per.complete(key, covered_to=covered_to, digest=answer, records=len(records)),
        ]

    def _loaded(self, parent: Record, page: Any, per: ParentSync, newest: dict[str, datetime | None]) -> list[Batch]:
        """Returns the batches of one page of a parent; `newest` holds the watermarks of parents that go on."""
        key, table = self.parents.id(parent), self.table
        per.session.counters.pages += 1
        per.session.counters.records += len(page.records) + len(page.unreadable)
        to_load = [record for record, at in zip(page.records, page.times, strict=True) if per.to_load.contains(at)]
        newest[key] = per.watermark(key, [newest.get(key), *map(record_time, to_load)])
        return [
            Batch(table, to_load),
            *self.derive(to_load, per.now),
            per.dead_letters.unreadable(page.unreadable, parent=key),
            per.dead_letters.resolve("record", [record_id(record) for record in page.records]),
        ]

    def _end(self, parent: Record, per: ParentSync, newest: datetime | None) -> list[Batch]:
        """Returns the batches after the last page of a parent."""
        key = self.parents.id(parent)
        rest = [] if per.proof(key) else [per.dead_letters.resolve_rest(key)]
        records = getattr(parent, self.parents.count) if self.parents.count else None
        return [*rest, *per.complete(key, covered_to=per.watermark(key, [newest]), records=records)]

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
        for page in self.pages(client, parent.record):
            yield listed_page(self.table, page, parent.given)
