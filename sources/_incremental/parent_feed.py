"""ParentFeed: a stream whose records are read by parent, each parent's in one answer or page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from gapless.sources._http.client import Client
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
from gapless.sources._incremental.parent_listing import listed_parents, named_parent
from gapless.sources._incremental.rounds.parent_sync import ParentRound
from gapless.sources._ledger.session import LoadItem
from gapless.sources._ledger.window import EVERYTHING, Window
from gapless.sources._schema.arrow import Batch, Table, digest

Derive = Callable[[Sequence[Any], datetime, Stored], list[Batch]]


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
    side_listings: tuple[Parents, ...] = ()
    """Further listings that records and parents name by id, such as stories: each is read once a sync."""

    # What `Stream` asks of every feed, and what is the same for all of this kind.
    one_by_one: bool = False
    walks: bool = False
    by_time: bool = False

    @property
    def tables(self) -> tuple[Table, ...]:
        """Returns the root tables: the records', the parents', the derived ones and those of further listings."""
        return (self.table, self.parents.table, *self.derived, *(one.table for one in self.side_listings))

    @property
    def by_id(self) -> str | None:
        """Returns what `--id` reads: "parent", or None if a parent cannot be read without the listing."""
        return "parent" if self.alone else None

    def named(self, table: Table, parents: Parents | None) -> ParentFeed:
        """Returns the stream with its tables under other names."""
        return replace(self, table=table, parents=parents or self.parents)

    def steps(self, sync: SyncContext) -> Iterator[LoadItem]:
        """Yields what each page brings, in the order in which it must be loaded."""
        yield from ParentRound(self, sync).steps()

    def batches(self, records: Sequence[Any], now: datetime, stored: Stored) -> list[Batch]:
        """Returns the rows of records, and those of the derived tables."""
        return [Batch(self.table, records), *self.derive(records, now, stored)]

    def listed_parents(self, client: Client) -> Iterator[list[ListedParent]]:
        """Yields the vendor's parents, page by page."""
        return listed_parents(self.parents, client, self.given)

    def named_parents(self, ids: Sequence[str]) -> list[ListedParent]:
        """Returns the parents with these ids, without those that no parent can have; sends no request."""
        parents = filter(None, (named_parent(self.parents, key) for key in ids))
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
                # As a sync makes it (ParentRound), or `verify` would take each answer for a changed one.
                yield replace(found, answer=digest(None, *found.raws)) if self.whole else found

        return each_once(read, f"{self.parents.noun}/{parent.id}/{self.table.name}")
