"""A source whose records are read parent by parent: each one's records in one answer, or page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from gapless.sources._http.client import Client
from gapless.sources._http.errors import Unavailable
from gapless.sources._incremental.concurrency import map_concurrently
from gapless.sources._incremental.context import SyncContext
from gapless.sources._incremental.listing import ListedPage, ListedParent, Parents, RawPage, listed_page
from gapless.sources._incremental.newest_first import until_older
from gapless.sources._incremental.parent_listing import listed_parents, read_parents
from gapless.sources._ledger.per_parent import ParentSync
from gapless.sources._ledger.session import LoadItem
from gapless.sources._ledger.walk_state import Page
from gapless.sources._ledger.window import EVERYTHING, Window
from gapless.sources._schema.arrow import Batch, Table, digest
from gapless.sources._schema.parse import parse
from gapless.sources._schema.record import record_id, record_time

RESTARTS = 5
"""So often the pages of one parent are read from the first when they shift; then the next sync reads them."""
Derive = Callable[[Sequence[Any], datetime], list[Batch]]


@dataclass(frozen=True)
class ParentFeed:
    """Records that are read parent by parent, side by side.

    With `whole` a parent's one answer holds all of its records: the same digest means that nothing changed. Without,
    its pages are read newest first, down to the look-back, where their order proves to be that.
    """

    table: Table
    parents: Parents
    pages: Callable[[Client, Any], Iterator[RawPage]]
    """Called with the client and one of the parents."""
    column: str
    """Of `table`: the id of a record's parent."""
    given: Callable[[Any], Mapping[str, Any]]
    """Fields that a parent's records do not carry, by JSON name."""
    ping: Callable[[Client], None]
    """One cheap request that needs the key; made when many parents in a row go unanswered."""
    whole: bool = False
    only: str | None = None
    """The setting that names parents to read instead of all that are listed."""
    per_page: int | None = None
    """Most records of a page; None: all are in one answer."""
    derived: tuple[Table, ...] = ()
    """Further tables, made of the records by `derive`."""
    derive: Derive = field(default=lambda records, now: [])
    alone: bool = False
    """Whether a parent can be read without the listing: then `--id` takes parents."""

    walks: bool = False
    by_time: bool = False

    @property
    def tables(self) -> tuple[Table, ...]:
        return (self.table, self.parents.table, *self.derived)

    @property
    def by_id(self) -> str | None:
        """What `--id` reads: "parent", or None if a parent cannot be read without the listing."""
        return "parent" if self.alone else None

    def steps(self, sync: SyncContext) -> Iterator[LoadItem]:
        """Yields what each page brings, in the order in which it must be loaded."""
        per = sync.parent_sync(self.table.name)
        parents = [self.parents.named(key) for key in sync.ids]
        if not sync.reads_ids:
            yield from read_parents(self.parents, sync, parents)
            parents = [parent for parent in parents if self.parents.is_read(parent)]
            yield LoadItem(per.close_vanished(map(self.parents.id, parents)))
        todo = per.todo(parents, key=self.parents.id)
        sync.session.counters.parents_total = len(todo)
        read = partial(self._answer if self.whole else self._newest, sync, per)
        newest: dict[str, datetime | None] = {}
        for answer in map_concurrently(todo, read, sync.workers, partial(self.ping, sync.client)):
            key = self.parents.id(answer.parent)
            if answer.error:
                yield LoadItem(per.failed(key, answer.error))
            elif answer.page is None and not self.whole:
                yield LoadItem(self._end(answer.parent, per, newest.pop(key, None)))
            elif answer.page is not None:
                load = self._history if self.whole else self._loaded
                yield LoadItem(load(answer.parent, answer.page, per, newest))
        per.finish()

    def _answer(self, sync: SyncContext, per: ParentSync, parent: Any) -> Iterator[RawPage]:
        return self.pages(sync.client, parent)

    def _newest(self, sync: SyncContext, per: ParentSync, parent: Any) -> Iterator[Page[Any]]:
        known = per.known(self.parents.id(parent))
        watermark = known.covered_to if known else None
        floor = watermark - sync.lag if watermark else per.kept.since
        return until_older(self._restarting(sync, parent), floor)

    def _restarting(self, sync: SyncContext, parent: Any) -> Iterator[Page[Any]]:
        """All pages; from the first one again when records vanished meanwhile, as then others moved up unread."""
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
                if shifted:
                    break
                left = page.total
            else:
                return
        detail = f"records vanished while its pages were read, {RESTARTS} times; what moved up may be missing"
        path = f"{self.parents.noun}/{self.parents.id(parent)}/{table.name}"
        raise Unavailable(method="GET", path=path, detail=detail)

    def _history(self, parent: Any, page: Any, per: ParentSync, newest: dict[str, datetime | None]) -> list[Batch]:
        """A parent's one answer: nothing to load when it is the one we know, else all of it."""
        key, records, table = self.parents.id(parent), list(page.records), self.table
        per.session.counters.pages += 1
        per.session.counters.records += len(records)
        seen, known = digest(per.kept.since, *map(bytes, records)), per.known(key)
        if known and known.digest == seen:
            return per.read(key, digest=seen, covered_to=known.covered_to, records=known.records)
        found = parse(table.model, records, self.given(parent), refuse=per.session.refuse)
        kept = [record for record in found.records if per.kept.contains(record_time(record))]
        covered_to = per.newest(key, (record_time(record) for record in kept))
        return [
            Batch(table, kept),
            *self.derive(kept, per.now),
            per.letters.unreadable(found.unreadable, parent=key),
            per.letters.resolve("record", [record_id(record) for record in found.records]),
            per.letters.resolve_rest(key),
            *per.read(key, covered_to=covered_to, digest=seen, records=len(records)),
        ]

    def _loaded(self, parent: Any, page: Any, per: ParentSync, newest: dict[str, datetime | None]) -> list[Batch]:
        """One page of a parent; `newest` holds the watermarks of those whose end has not come yet."""
        key, table = self.parents.id(parent), self.table
        per.session.counters.pages += 1
        per.session.counters.records += len(page.records) + len(page.unreadable)
        kept = [record for record, at in zip(page.records, page.times, strict=True) if per.kept.contains(at)]
        newest[key] = per.newest(key, [newest.get(key), *map(record_time, kept)])
        return [
            Batch(table, kept),
            *self.derive(kept, per.now),
            per.letters.unreadable(page.unreadable, parent=key),
            per.letters.resolve("record", [record_id(record) for record in page.records]),
        ]

    def _end(self, parent: Any, per: ParentSync, newest: datetime | None) -> list[Batch]:
        """The last page of a parent was read."""
        key = self.parents.id(parent)
        rest = [] if per.known(key) else [per.letters.resolve_rest(key)]
        records = getattr(parent, self.parents.count) if self.parents.count else None
        return [*rest, *per.read(key, covered_to=per.newest(key, [newest]), records=records)]

    def listed_parents(self, client: Client) -> Iterator[list[ListedParent]]:
        """Yields the vendor's parents, page by page."""
        return listed_parents(self.parents, client, self.given)

    def named_parents(self, ids: Sequence[str]) -> list[ListedParent]:
        """Returns the parents of these ids; asks nobody."""
        parents = [self.parents.named(key) for key in ids]
        return [ListedParent(self.parents.id(parent), None, self.given(parent), parent) for parent in parents]

    def listed_record(self, client: Client, key: str) -> None:
        """Returns none: pages hold whole records."""

    def oldest_record(self, client: Client) -> None:
        """Returns none: only whole parents can be asked for."""

    def listed_pages(self, client: Client, parent: ListedParent, window: Window = EVERYTHING) -> Iterator[ListedPage]:
        """Yields every page of a parent's records with its ids and times."""
        for page in self.pages(client, parent.record):
            yield listed_page(self.table, page, parent.given)
