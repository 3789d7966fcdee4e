"""The sync of a DetailFeed: lists ids by parent, then reads new records and those within the look-back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from gapless.sources._http.client import Client
from gapless.sources._http.errors import BadRequest, NotFound, VendorError
from gapless.sources._incremental.concurrency import map_concurrently
from gapless.sources._incremental.context import SyncContext
from gapless.sources._incremental.listing import Parents, RawPage
from gapless.sources._incremental.parent_listing import proven_pages
from gapless.sources._incremental.rounds import stored_records as here
from gapless.sources._incremental.rounds.detail_parent import DetailParent, Stored
from gapless.sources._incremental.single_record import read_record
from gapless.sources._ledger.left_out import left_out_times
from gapless.sources._ledger.session import Failure, LoadItem
from gapless.sources._ledger.walk_state import Page
from gapless.sources._schema.arrow import Batch, Table, digest
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

    @property
    def only(self) -> str | None:
        """Returns the setting that names records to read."""


Detail = tuple[str, "DetailParent | None"]
"""A record to read, and its parent where that is known."""


class DetailSync:
    """One sync of a DetailFeed."""

    def __init__(self, feed: Details, sync: SyncContext) -> None:
        self._feed, self._sync, self._session = feed, sync, sync.session
        self._per = sync.parent_sync(feed.table.name)
        self._ping = partial(feed.ping, sync.client)
        self._absent: dict[str, NotFound] = {}
        """Records with a dead letter that the vendor does not find by id."""
        self._stored = Stored({}, {})
        """Records in the destination, as far as this sync must know them; none before the listings were read."""
        self._read_ids: set[str] = set()
        """Records that were read in this sync, by id."""

    def steps(self) -> Iterator[LoadItem]:
        """Yields the load items of the sync: single records first, then listings, then the records of each parent."""
        first = self._first()
        # Before the listings, because `_close_absent` needs to know which of them the vendor does not find.
        yield from self._details([(key, None) for key in first])
        self._read_ids |= {*first}
        if not self._sync.reads_ids:
            parents: list[DetailParent] = []
            yield from self._listed(parents)
            self._look_up(parents)
            self._mark(parents, parents)
            yield from self._close_absent(parents)
            yield from self._records(parents)
            yield from self._list_again(parents)
        self._per.finish()

    def _records(self, parents: list[DetailParent]) -> Iterator[LoadItem]:
        """Yields the records to read of parents, and the coverage of each parent."""
        todo = self._todo(parents)
        # A parent without records to read is covered at once.
        for parent in parents:
            if not parent.open:
                yield LoadItem(parent.covered(self._per))
        yield from self._details(todo)

    def _list_again(self, parents: list[DetailParent]) -> Iterator[LoadItem]:
        """Lists parents whose count was believed and that have lost a record: then another one came in its place."""
        believed = [parent for parent in parents if parent.not_found]
        if not believed:
            return
        listed: list[DetailParent] = []
        yield from self._list(believed, listed)
        self._look_up(listed)
        self._mark(listed, parents)
        yield from self._records(listed)

    def _first(self) -> list[str]:
        """Returns ids to read before anything is listed: the requested ones, or those that failed before."""
        if self._sync.reads_ids:
            named = self._sync.record_ids(self._feed.table)
            return [key for key in named if not self._session.erased.hides_record(key)]
        # Another shard may own a record without a known parent, and read it at this moment.
        letters = [one for one in self._per.dead_letters.records() if one.parent or self._session.shard.whole]
        return [letter.key for letter in letters if not self._per.window]

    def _todo(self, parents: list[DetailParent]) -> list[Detail]:
        lag, per = self._sync.lag, self._per
        # Not those that were read just now, nor those that were erased: they would be read for nothing.
        keys = [(key, p) for p in parents for key in p.wanted(lag, per) if key not in self._read_ids]
        keys = self._without_gone(keys)
        wanted = {p.backfill_key(key): (key, p) for key, p in keys if not self._session.erased.hides_record(key)}
        todo: list[Detail] = [wanted[one] for one in (per.backfill.remaining(wanted) if per.backfill else wanted)]
        for key, parent in todo:
            before = self._stored.parents.get(key)
            if parent:
                parent.open += 1
            if parent and before not in (None, parent.id):
                per.note_doubtful(before or "")
        return todo

    def _without_gone(self, keys: list[tuple[str, DetailParent]]) -> list[tuple[str, DetailParent]]:
        """Returns records to read, without those that an earlier listing showed to be gone and no later one lists."""
        rows = {key: digest(key) for key, parent in keys if parent.listed is None}
        gone = self._sync.ledger.marked(self._feed.table.name, set(rows.values())) if rows else set()
        return [(key, parent) for key, parent in keys if rows.get(key) not in gone]

    def _listed(self, readable: list[DetailParent]) -> Iterator[LoadItem]:
        """Lists the ids of parents that may have new ones; puts all but those that failed into `readable`."""
        per, listing = self._per, self._sync.listing(self._feed.parents)
        unlisted = listing.unlisted(per)
        parents, not_listed = self._parents([*listing.found(), *unlisted]), set(map(self._feed.parents.id, unlisted))
        self._session.counters.parents_total = len(parents)
        relist_after, everything = self._sync.connection.relist_after, self._must_list_everything()
        todo = [parent for parent in parents if everything or parent.must_be_listed(per, relist_after)]
        readable += [parent for parent in parents if parent not in todo]
        yield from self._list(per.order(todo, key=lambda parent: parent.id), readable, not_listed)

    def _list(
        self, todo: list[DetailParent], readable: list[DetailParent], not_listed: Collection[str] = ()
    ) -> Iterator[LoadItem]:
        """Lists the ids of parents, of which `not_listed` may be gone; puts those that answered into `readable`."""
        per, feed = self._per, self._feed
        for read in map_concurrently(todo, self._pages, self._sync.workers, self._ping):
            if read.page is not None:
                yield LoadItem([self._lines(read.parent, read.page)])
            elif isinstance(read.error, NotFound) and read.parent.id in not_listed:
                per.mark_parent(feed.parents.table, (feed.table, feed.column), read.parent.id)
                yield LoadItem(per.close(read.parent.id))
            elif read.error:
                yield LoadItem(per.fail(read.parent.id, read.error))
            else:
                readable.append(read.parent)
                # A listing without a line was read, too; None would mean that it was not.
                read.parent.listed = read.parent.listed or {}
                nameless = [] if per.window else [per.dead_letters.resolve_rest(read.parent.id, ("nameless",))]
                yield LoadItem(nameless)

    def _mark(self, parents: list[DetailParent], everywhere: list[DetailParent]) -> None:
        """Marks records that the listings of these parents lack as gone, and takes back what they have."""
        listed = [parent for parent in parents if parent.listed is not None]
        if self._per.window or not listed:
            return
        # A record may have moved to another type.
        served = {key for parent in everywhere for key in parent.listed or ()}
        lacking = {key for parent in listed for key in parent.own if parent.lacks(key)}
        marked = self._sync.ledger.marked(self._feed.table.name, set(map(digest, lacking))) if lacking else set()
        for parent in listed:
            parent.gone = {key for key in parent.own if digest(key) in marked} if marked else ()
        gone = {key for parent in listed if not parent.nameless for key in parent.own if key not in served}
        self._per.mark_records(self._feed.table, gone, served)

    def _must_list_everything(self) -> bool:
        """Returns whether a record that is not found has no known parent: any of them may list it."""
        letters = self._per.dead_letters.records() if self._absent else []
        return any(letter.key in self._absent and not letter.parent for letter in letters)

    def _close_absent(self, parents: list[DetailParent]) -> Iterator[LoadItem]:
        """Closes the letters of records that are not found and not listed either; the others keep failing."""
        letters, by_id = self._per.dead_letters, {parent.id: parent for parent in parents}
        for letter in letters.records():
            error = self._absent.get(letter.key)
            if error is None or not letters.is_open("record", letter.key):
                continue
            own = [by_id[letter.parent]] if letter.parent in by_id else [] if letter.parent else parents
            everywhere = all(parent.listed is None or parent.lacks(letter.key) for parent in parents)
            if own and everywhere and all(parent.lacks(letter.key) for parent in own):
                yield LoadItem([letters.resolve_gone([letter.key])])
            else:
                yield LoadItem([letters.failed("record", letter.key, error, parent=letter.parent)])

    def _pages(self, parent: DetailParent) -> Iterator[Page[Record]]:
        counted = int(parent.count) if parent.count and parent.count.isdecimal() else None
        return proven_pages(
            f"{self._feed.parents.noun}/{parent.id}/{self._feed.listing.name}",
            partial(self._feed.pages, self._sync.client, parent.id),
            self._typed,
            counted=lambda end: counted,
        )

    def _typed(self, page: RawPage) -> Page[Record]:
        listing = self._feed.listing
        lines = parse(listing.model, page.records, refuse=self._session.refuse)
        return Page(lines.records, lines.unreadable, total=page.total, id=listing.id_column, time="")

    def _parents(self, records: Sequence[Record]) -> list[DetailParent]:
        ids, counts = self._feed.parents.id, self._feed.parents.count
        found = dict[str, DetailParent]()

        def parent_of(record: Record) -> DetailParent:
            count = getattr(record, counts) if counts else None
            key = ids(record)
            known = self._per.coverage.get(key)
            counted = None if count is None else str(count)
            return found.setdefault(key, DetailParent(key, counted, known, self._stored, siblings=found))

        return [parent_of(record) for record in records]

    def _look_up(self, parents: Sequence[DetailParent]) -> None:
        """Reads which records are here: all of them only where somebody else may have changed some."""
        ledger, feed, stored = self._sync.ledger, self._feed, self._stored
        known = here.known(ledger, feed, parents, self._sync.lag) if self._session.rows_known else None
        here.add(stored, here.all_rows(ledger, feed) if known is None else known)
        by_id = {parent.id: parent for parent in parents}
        for key, of in stored.parents.items():
            if of in by_id:
                by_id[of].own[key] = stored.times[key]
        # What a user's step removed is known, too, though it is not there.
        stored.times.update(left_out_times(self._sync.state))

    def _lines(self, parent: DetailParent, page: Page[Record]) -> Batch:
        """Adds one page of a parent's listing; returns the dead letters of lines without a readable id."""
        self._session.counters.pages += 1
        parent.listed = parent.listed or {}
        parent.listed |= {record_id(line): record_time(line) for line in page.records}
        parent.listed |= {line.key: None for line in page.unreadable if line.key}  # reading the record shows why
        nameless = [line for line in page.unreadable if not line.key]
        parent.nameless = parent.nameless or bool(nameless)
        return self._per.dead_letters.unreadable(nameless, parent=parent.id)

    def _details(self, todo: Sequence[Detail]) -> Iterator[LoadItem]:
        """Reads records by id. A parent is covered when the last of its own is read."""
        read: list[tuple[str, bytes, DetailParent | None]] = []
        one = partial(read_record, self._feed.record, self._sync.client, self._feed.table)
        for answer in map_concurrently(todo, lambda item: [one(item[0])], self._sync.workers, self._ping, len):
            key, parent = answer.parent
            if answer.page is not None:
                read.append((key, answer.page, parent))
                self._read_ids.add(key)
                continue
            batches = [self._failed_batch(key, parent, answer.error)] if answer.error else []
            if parent:
                parent.open -= 1
            covered = parent is not None and parent.open == 0 and not parent.not_found
            # Coverage must not reach the destination before the records that it speaks of.
            if covered or len(read) >= BATCH_RECORDS:
                batches += self._loaded(read)
                read.clear()
            if parent and covered:
                batches += parent.covered(self._per)
            if batches:
                yield LoadItem(batches)
        yield LoadItem(self._loaded(read))

    def _parent_of(self, record: Record) -> str:
        """Returns the id of the parent under which a record is stored, as text, which its listing may contradict."""
        value: object = record
        for name in self._feed.column.split("__"):
            value = getattr(value, name, None)
        return str(value)

    def _failed_batch(self, key: str, parent: DetailParent | None, error: VendorError) -> Batch:
        """Returns the dead letter for a record that failed; not yet for one that may be gone, or mistyped."""
        per = self._per
        if (
            parent is None
            and not per.dead_letters.is_open("record", key)
            and isinstance(error, NotFound | BadRequest)
        ):
            self._session.failures.append(Failure(self._sync.unknown_id_message(self._feed.only, key, error)))
            return per.dead_letters.resolve("record", [])
        # Only the listings of this sync show whether it is gone: `_close_absent` decides.
        if parent is None and not self._sync.reads_ids and isinstance(error, NotFound):
            self._absent[key] = error
            return per.dead_letters.resolve("record", [])
        # A count that was believed is not believed any more: `_list_again`.
        if parent and parent.listed is None and isinstance(error, NotFound):
            parent.not_found = True
            return per.dead_letters.resolve("record", [])
        if parent and per.backfill:
            per.backfill.failed(parent.backfill_key(key))
        return per.dead_letters.failed("record", key, error, parent=parent.id if parent else None)

    def _loaded(self, read: Sequence[tuple[str, bytes, DetailParent | None]]) -> list[Batch]:
        """Returns the batches of records that were read by id: their rows, and their dead letters."""
        table, per = self._feed.table, self._per
        self._session.counters.records += len(read)
        self._session.counters.weigh(raw for _, raw, _ in read)
        loaded: list[Record] = []
        batches: list[Batch] = []
        for key, raw, parent in read:
            found = parse(table.model, [raw], refuse=self._session.refuse)
            loaded += [one for one in found.records if not parent or per.to_load.contains(record_time(one))]
            # The listing named the id, so a record whose own id cannot be read is not nameless.
            bad = [replace(record, key=key) for record in found.unreadable]
            batches.append(per.dead_letters.unreadable(bad, parent=parent.id if parent else None))
            if parent:
                parent.newest += [record_time(record) for record in found.records]
                ids = map(record_id, found.records)
                per.note_new(parent.id, [one for one in ids if self._stored.parents.get(one) != parent.id])
                self._stored.parents.update({record_id(one): self._parent_of(one) for one in found.records})
                if per.backfill:
                    per.backfill.done(parent.backfill_key(key))
        resolved = per.dead_letters.resolve("record", [record_id(record) for record in loaded])
        return [Batch(table, loaded), *batches, resolved]
