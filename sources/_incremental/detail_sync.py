"""The sync of a DetailFeed: lists ids by parent, then reads new records and those within the look-back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Protocol

from gapless.sources._http.client import Client
from gapless.sources._http.errors import NotFound, VendorError
from gapless.sources._incremental.concurrency import map_concurrently
from gapless.sources._incremental.context import SyncContext
from gapless.sources._incremental.detail_parent import DetailParent
from gapless.sources._incremental.listing import Parents, RawPage
from gapless.sources._ledger.ledger import Ledger, instant
from gapless.sources._ledger.left_out import left_out_times
from gapless.sources._ledger.session import Failure, LoadItem
from gapless.sources._schema.arrow import Batch, Table
from gapless.sources._schema.parse import parse
from gapless.sources._schema.record import Record, record_id, record_time

BATCH_RECORDS = 200
"""Records converted to columns at once."""


class Details(Protocol):
    """What a DetailFeed declares, as far as its sync uses it."""

    @property
    def table(self) -> Table:
        """Returns the table of the records."""

    @property
    def parents(self) -> Parents:
        """Returns what the records are listed by."""

    @property
    def listing(self) -> Table:
        """Returns the lines of a parent's listing."""

    @property
    def column(self) -> str:
        """Returns the column of `table` with the id of a record's parent."""

    @property
    def pages(self) -> Callable[[Client, str], Iterator[RawPage]]:
        """Returns what lists a parent, by its id."""

    @property
    def record(self) -> Callable[[Client, str], bytes]:
        """Returns what reads one record, by its id."""

    @property
    def ping(self) -> Callable[[Client], None]:
        """Returns what sends one cheap request."""


Detail = tuple[str, "DetailParent | None"]
"""A record to read, and its parent where that is known."""


class DetailSync:
    """One sync of a DetailFeed."""

    def __init__(self, feed: Details, sync: SyncContext) -> None:
        self._feed, self._sync, self._session = feed, sync, sync.session
        self._per = sync.parent_sync(feed.table.name)
        self._ping = partial(feed.ping, sync.client)

    def steps(self) -> Iterator[LoadItem]:
        """Yields the load items of the sync: single records first, then listings, then the records of each parent."""
        per = self._per
        first = self._first()
        yield from self._details([(key, None) for key in first])
        if not self._sync.reads_ids:
            parents: list[DetailParent] = []
            yield from self._listed(parents)
            todo = self._todo(parents, first)
            # A parent without records to read is covered at once.
            for parent in parents:
                if not parent.open:
                    yield LoadItem(parent.covered(per))
            yield from self._details(todo)
        per.finish()

    def _first(self) -> list[str]:
        """Returns ids to read before anything is listed: the requested ones, or those that failed before."""
        if self._sync.reads_ids:
            return self._sync.ids
        # Another shard may own a record without a known parent, and read it at this moment.
        letters = [one for one in self._per.dead_letters.records() if one.parent or self._session.shard.whole]
        return [letter.key for letter in letters if not self._per.backfill]

    def _todo(self, parents: list[DetailParent], first: list[str]) -> list[Detail]:
        lag, per = self._sync.lag, self._per
        wanted = {p.backfill_key(key): (key, p) for p in parents for key in p.wanted(lag, per) if key not in first}
        todo: list[Detail] = [wanted[one] for one in (per.backfill.remaining(wanted) if per.backfill else wanted)]
        for _, parent in todo:
            if parent:
                parent.open += 1
        return todo

    def _listed(self, readable: list[DetailParent]) -> Iterator[LoadItem]:
        """Lists the ids of parents that may have new ones; puts all but those that failed into `readable`."""
        per, records = self._per, list(self._sync.listed(self._feed.parents))
        yield LoadItem(per.close_vanished(map(self._feed.parents.id, records)))
        self._session.counters.parents_total = len(records)
        parents = self._parents(records)
        relist_after = self._sync.connection.relist_after
        readable += [parent for parent in parents if not parent.must_be_listed(per, relist_after)]
        todo = per.order((parent for parent in parents if parent not in readable), key=lambda parent: parent.id)
        pages = partial(self._feed.pages, self._sync.client)
        for read in map_concurrently(todo, lambda parent: pages(parent.id), self._sync.workers, self._ping):
            if read.page is not None:
                yield LoadItem([self._lines(read.parent, read.page)])
            elif read.error:
                yield LoadItem(per.fail(read.parent.id, read.error))
            else:
                readable.append(read.parent)

    def _parents(self, records: Sequence[Record]) -> list[DetailParent]:
        ids, counts = self._feed.parents.id, self._feed.parents.count
        by_parent = _stored_times(self._sync.ledger, self._feed)
        stored = {key: at for own in by_parent.values() for key, at in own.items()}
        # What a user's step removed is known, too, though it is not there.
        stored |= left_out_times(self._sync.state)

        def parent(record: Record) -> DetailParent:
            count = getattr(record, counts) if counts else None
            key = ids(record)
            known = self._per.coverage.get(key)
            return DetailParent(key, None if count is None else str(count), known, stored, by_parent.get(key, {}))

        return [parent(record) for record in records]

    def _lines(self, parent: DetailParent, page: RawPage) -> Batch:
        """Adds one page of a parent's listing; returns the dead letters of lines without a readable id."""
        self._session.counters.pages += 1
        listing = self._feed.listing
        lines = parse(listing.model, page.records, refuse=self._session.refuse)
        parent.listed = parent.listed or {}
        parent.listed |= {record_id(line): record_time(line) for line in lines.records}
        parent.listed |= {line.key: None for line in lines.unreadable if line.key}  # reading the record shows why
        return self._per.dead_letters.unreadable(
            [line for line in lines.unreadable if not line.key], parent=parent.id
        )

    def _details(self, todo: Sequence[Detail]) -> Iterator[LoadItem]:
        """Reads records by id. A parent is covered when the last of its own is read."""
        read: list[tuple[str, bytes, DetailParent | None]] = []
        one = partial(self._feed.record, self._sync.client)
        for answer in map_concurrently(todo, lambda item: [one(item[0])], self._sync.workers, self._ping):
            key, parent = answer.parent
            if answer.page is not None:
                read.append((key, answer.page, parent))
                continue
            batches = [self._failed_batch(key, parent, answer.error)] if answer.error else []
            if parent:
                parent.open -= 1
            covered = parent is not None and parent.open == 0
            if covered or len(read) >= BATCH_RECORDS:
                batches += self._loaded(read)
                read.clear()
            if parent and covered:
                batches += parent.covered(self._per)
            if batches:
                yield LoadItem(batches)
        yield LoadItem(self._loaded(read))

    def _failed_batch(self, key: str, parent: DetailParent | None, error: VendorError) -> Batch:
        """A 404 after the listing means deleted; other errors become dead letters."""
        per = self._per
        if isinstance(error, NotFound):
            if parent is None and key in self._session.ids:
                self._session.failures.append(Failure(str(error)))
            if parent and per.backfill:
                per.backfill.done(parent.backfill_key(key))
            return per.dead_letters.resolve("record", [key])
        if parent and per.backfill:
            per.backfill.failed(parent.backfill_key(key))
        return per.dead_letters.failed("record", key, error, parent=parent.id if parent else None)

    def _loaded(self, read: Sequence[tuple[str, bytes, DetailParent | None]]) -> list[Batch]:
        """The listing named the ids, so a record whose own id cannot be read is not a nameless letter."""
        table, per = self._feed.table, self._per
        self._session.counters.records += len(read)
        loaded: list[Record] = []
        batches: list[Batch] = []
        for key, raw, parent in read:
            found = parse(table.model, [raw], refuse=self._session.refuse)
            loaded += [one for one in found.records if not parent or per.to_load.contains(record_time(one))]
            bad = [replace(record, key=key) for record in found.unreadable]
            batches.append(per.dead_letters.unreadable(bad, parent=parent.id if parent else None))
            if parent:
                parent.newest += [record_time(record) for record in found.records]
                if per.backfill:
                    per.backfill.done(parent.backfill_key(key))
        resolved = per.dead_letters.resolve("record", [record_id(record) for record in loaded])
        return [Batch(table, loaded), *batches, resolved]


def _stored_times(ledger: Ledger, feed: Details) -> dict[str, dict[str, datetime | None]]:
    """Returns the times of the records in the destination, by parent and id."""
    stored: dict[str, dict[str, datetime | None]] = {}
    table = feed.table
    columns = [feed.column, table.id_column, *([table.time_column] if table.time_column else [])]
    for parent, key, *rest in ledger.select(table.name, columns):
        *time, completed = rest
        if completed:
            stored.setdefault(str(parent), {})[str(key)] = instant(time[0]) if time else None
    return stored
