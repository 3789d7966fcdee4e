"""DetailFeed: a stream that lists ids by parent and serves each record by its id. A vendor declares it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gapless.sources._http.client import Client
from gapless.sources._incremental.context import SyncContext
from gapless.sources._incremental.listing import (
    ListedPage,
    ListedParent,
    Parents,
    PlainPage,
    RawPage,
    Stored,
    each_once,
    listed_page,
)
from gapless.sources._incremental.parent_listing import listed_parents
from gapless.sources._incremental.rounds.detail_sync import DetailSync
from gapless.sources._ledger.session import LoadItem
from gapless.sources._ledger.window import EVERYTHING, Window
from gapless.sources._schema.arrow import Batch, Table


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

    # What `Stream` asks of every feed, and what is the same for all of this kind.
    one_by_one: bool = True
    by_id: str | None = "record"
    walks: bool = False
    by_time: bool = False

    @property
    def tables(self) -> tuple[Table, ...]:
        """Returns the root tables: the records' and the parents'."""
        return (self.table, self.parents.table)

    def named(self, table: Table, parents: Parents | None) -> DetailFeed:
        """Returns the stream with its tables under other names."""
        return replace(self, table=table, parents=parents or self.parents)

    def steps(self, sync: SyncContext) -> Iterator[LoadItem]:
        """Yields what each page and each batch of records brings, in the order in which it must be loaded."""
        yield from DetailSync(self, sync).steps()

    def batches(self, records: Sequence[Any], now: datetime, stored: Stored) -> list[Batch]:
        """Returns the rows of records; nothing is made from them."""
        return [Batch(self.table, records)]

    def listed_parents(self, client: Client) -> Iterator[list[ListedParent]]:
        """Yields the vendor's parents, page by page."""
        return listed_parents(self.parents, client)

    def listed_pages(self, client: Client, parent: ListedParent, window: Window = EVERYTHING) -> Iterator[ListedPage]:
        """Yields every page of a parent's listing with its ids and times."""

        def read() -> Iterator[ListedPage]:
            for page in self.pages(client, parent.id):
                total = page.total if page.total is not None else parent.count
                yield listed_page(self.listing, PlainPage(page.records, total))

        return each_once(read, f"{self.parents.noun}/{parent.id}/{self.listing.name}", parent.count)

    def named_parents(self, ids: Sequence[str]) -> list[ListedParent]:
        """Returns none: the setting `only` names records."""
        return []

    def oldest_record(self, client: Client) -> None:
        """Returns none: records are listed parent by parent."""

    def listed_record(self, client: Client, key: str) -> ListedPage:
        """Returns one record by its id."""
        return listed_page(self.table, PlainPage([self.record(client, key)]))
