"""DetailFeed: a stream that lists ids by parent and serves each record by its id."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from gapless.sources._http.client import Client
from gapless.sources._http.errors import NotFound, VendorError
from gapless.sources._incremental.concurrency import map_concurrently
from gapless.sources._incremental.context import SyncContext
from gapless.sources._incremental.listing import Answer, ListedPage, ListedParent, Parents, RawPage, listed_page
from gapless.sources._incremental.parent_listing import listed_parents, read_parents
from gapless.sources._ledger.ledger import Coverage, Ledger, instant
from gapless.sources._ledger.per_parent import ParentSync
from gapless.sources._ledger.session import Failure, LoadItem
from gapless.sources._ledger.window import EVERYTHING, Window
from gapless.sources._schema.arrow import Batch, Table
from gapless.sources._schema.parse import parse
from gapless.sources._schema.record import record_id, record_time

BATCH_RECORDS = 200
"""Records converted to columns at once."""


@dataclass(frozen=True)
class DetailFeed:
    """Records that are listed by id, by parent, and read one by one: new ids, and records within the look-back."""

    table: Table
    parents: Parents
    listing: Table
    """The lines of a parent's listing: an id, and a time if there is one."""
    pages: Callable[[Client, str], Iterator[RawPage]]
    """Yields a parent's listing, by the parent's id."""
    record: Callable[[Client, str], bytes]
    """Reads one record by its id, as JSON."""
    column: str
    """The column of `table` with the id of a record's parent."""
    ping: Callable[[Client], None]
    """Sends one cheap request that needs the key."""
    only: str | None = None
    """The setting that names records to read; then nothing is listed."""
    per_page: int | None = None

    by_id: str | None = "record"
    walks: bool = False
    by_time: bool = False

    @property
    def tables(self) -> tuple[Table, ...]:
        """Returns the root tables: the records' and the parents'."""
        return (self.table, self.parents.table)

    def steps(self, sync: SyncContext) -> Iterator[LoadItem]:
        """Yields what each page and each batch of records brings, in the order in which it must be loaded."""
        yield from _DetailSync(self, sync).steps()

    def listed_parents(self, client: Client) -> Iterator[list[ListedParent]]:
        """Yields the vendor's parents, page by page."""
        return listed_parents(self.parents, client)

    def listed_pages(self, client: Client, parent: ListedParent, window: Window = EVERYTHING) -> Iterator[ListedPage]:
        """Yields every page of a parent's listing with its ids and times."""
        for page in self.pages(client, parent.id):
            yield listed_page(self.listing, Answer(page.records, parent.count))

    def named_parents(self, ids: Sequence[str]) -> list[ListedParent]:
        """Returns none: the setting `only` names records."""
        return []

    def oldest_record(self, client: Client) -> None:
        """Returns none: records are listed parent by parent."""

    def listed_record(self, client: Client, key: str) -> ListedPage:
        """Returns one record by its id."""
        return listed_page(self.table, Answer([self.record(client, key)]))


@dataclass(eq=False)
class _Parent:
    """One parent in this sync, with times by id."""

    id: str
    count: str | None
    """Records according to the vendor, as text. An edit does not change it, nor do one deleted and one new."""
    before: Coverage | None
    stored: dict[str, datetime | None]
    """Records in the destination, of all parents."""
    own: dict[str, datetime | None]
    """Records in the destination, of this parent."""
    listed: dict[str, datetime | None] | None = None
    """Records that the vendor lists; None: not listed in this sync."""
    newest: list[datetime | None] = field(default_factory=list)
    open: int = 0
    """Records still to be read."""

    def must_be_listed(self, per: ParentSync, relist_after: timedelta) -> bool:
        """Returns whether its ids must be listed; an unchanged count is trusted for a while."""
        known = per.proof(self.id)
        if known is None or known.failures or known.digest is None or known.listed_at is None:
            return True
        return known.digest != self.count or known.listed_at + relist_after <= per.now

    def wanted(self, lag: timedelta, per: ParentSync) -> list[str]:
        """Returns ids to read: in a window all of it, else the new ones and those stored within the look-back."""
        times = self.own if self.listed is None else self.listed
        in_window = [key for key, at in times.items() if per.to_load.contains(at)]
        if per.window:
            return in_window
        watermark = self.before.covered_to if self.before else max(filter(None, self.own.values()), default=None)
        recent = Window(watermark - lag) if watermark else None
        return [key for key in in_window if key not in self.stored or (recent and recent.contains(self.stored[key]))]

    def covered(self, per: ParentSync) -> list[Batch]:
        """Returns its coverage, after its last record was read."""
        facts: dict[str, Any] = {"digest": self.count, "covered_to": per.watermark(self.id, self.newest)}
        if self.listed is not None:
            facts |= {"records": len(self.listed), "listed_at": per.now}
        elif self.before:
            facts |= {"records": self.before.records, "listed_at": self.before.listed_at}
        return per.complete(self.id, **facts)

    def backfill_key(self, record: str) -> str:
        """Returns the key of one of its records in a backfill."""
        return f"{self.id} {record}"


Detail = tuple[str, "_Parent | None"]
"""A record to read, and its parent where that is known."""


class _DetailSync:
    """One sync of a DetailFeed."""

    def __init__(self, feed: DetailFeed, sync: SyncContext) -> None:
        self._feed, self._sync, self._session = feed, sync, sync.session
        self._per = sync.parent_sync(feed.table.name)
        self._ping = partial(feed.ping, sync.client)

    def steps(self) -> Iterator[LoadItem]:
        """Yields the load items of the sync: single records first, then listings, then the records of each parent."""
        per = self._per
        first = self._first()
        yield from self._details([(key, None) for key in first])
        if not self._sync.reads_ids:
            parents: list[_Parent] = []
            yield from self._listed(parents)
            todo = self._todo(parents, first)
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

    def _todo(self, parents: list[_Parent], first: list[str]) -> list[Detail]:
        lag, per = self._sync.lag, self._per
        wanted = {p.backfill_key(key): (key, p) for p in parents for key in p.wanted(lag, per) if key not in first}
        todo: list[Detail] = [wanted[one] for one in (per.backfill.remaining(wanted) if per.backfill else wanted)]
        for _, parent in todo:
            if parent:
                parent.open += 1
        return todo

    def _listed(self, readable: list[_Parent]) -> Iterator[LoadItem]:
        """Lists the ids of parents that may have new ones; puts all but those that failed into `readable`."""
        per, records = self._per, list[Any]()
        yield from read_parents(self._feed.parents, self._sync, records)
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

    def _parents(self, records: Sequence[Any]) -> list[_Parent]:
        ids, counts = self._feed.parents.id, self._feed.parents.count
        by_parent = _stored_times(self._sync.ledger, self._feed)
        stored = {key: at for own in by_parent.values() for key, at in own.items()}

        def parent(record: Any) -> _Parent:
            count = getattr(record, counts) if counts else None
            key = ids(record)
            known = self._per.coverage.get(key)
            return _Parent(key, None if count is None else str(count), known, stored, by_parent.get(key, {}))

        return [parent(record) for record in records]

    def _lines(self, parent: _Parent, page: RawPage) -> Batch:
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
        read: list[tuple[str, bytes, _Parent | None]] = []
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

    def _failed_batch(self, key: str, parent: _Parent | None, error: VendorError) -> Batch:
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

    def _loaded(self, read: Sequence[tuple[str, bytes, _Parent | None]]) -> list[Batch]:
        """The listing named the ids, so a record whose own id cannot be read is not a nameless letter."""
        table, per = self._feed.table, self._per
        self._session.counters.records += len(read)
        loaded: list[Any] = []
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


def _stored_times(ledger: Ledger, feed: DetailFeed) -> dict[str, dict[str, datetime | None]]:
    """Returns the times of the records in the destination, by parent and id."""
    stored: dict[str, dict[str, datetime | None]] = {}
    table = feed.table
    columns = [feed.column, table.id_column, *([table.time_column] if table.time_column else [])]
    for parent, key, *rest in ledger.select(table.name, columns):
        *time, completed = rest
        if completed:
            stored.setdefault(str(parent), {})[str(key)] = instant(time[0]) if time else None
    return stored
