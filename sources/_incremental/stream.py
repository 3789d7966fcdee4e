"""The interface of a source's stream of records, for all that is not about one kind of stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol

from gapless.sources._http.client import Client
from gapless.sources._incremental.context import SyncContext
from gapless.sources._incremental.listing import ListedPage, ListedParent, Parents, Stored
from gapless.sources._ledger.session import LoadItem
from gapless.sources._ledger.window import EVERYTHING, Window
from gapless.sources._schema.arrow import Batch, Table


class Stream(Protocol):
    """How a source's records are listed and synced: a Feed, a ParentFeed or a DetailFeed."""

    @property
    def table(self) -> Table:
        """Returns the table of the records."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """Returns every root table: the records', then the parents', then others."""

    @property
    def parents(self) -> Parents | None:
        """Returns what the records are read by; None: they are one listing."""

    @property
    def column(self) -> str | None:
        """Returns the column of `table` with the id of a record's parent."""

    @property
    def walks(self) -> bool:
        """Returns whether its proof is one watermark for the whole listing."""

    @property
    def one_by_one(self) -> bool:
        """Returns whether pages list ids, and each record is read by its own."""

    @property
    def by_id(self) -> str | None:
        """Returns what `--id` reads: "record", "parent", or None."""

    @property
    def by_time(self) -> bool:
        """Returns whether the vendor itself leaves out what was not created in a window."""

    @property
    def only(self) -> str | None:
        """Returns the setting that names the only ids to read: of records if `by_id` is "record", else of parents."""

    @property
    def per_page(self) -> int | None:
        """Returns the most records of a page; None: all are in one answer."""

    def named(self, table: Table, parents: Parents | None) -> Stream:
        """Returns the stream with its tables under other names."""

    def steps(self, sync: SyncContext) -> Iterator[LoadItem]:
        """Yields what each page brings, in the order in which it must be loaded."""

    def batches(self, records: Sequence[Any], now: datetime, stored: Stored) -> list[Batch]:
        """Returns what records become: their own rows, and those that are derived from them and not stored yet."""

    def listed_parents(self, client: Client) -> Iterator[list[ListedParent]]:
        """Yields the vendor's parents, page by page."""

    def listed_pages(self, client: Client, parent: ListedParent, window: Window = EVERYTHING) -> Iterator[ListedPage]:
        """Yields every page of a parent's records; with `by_time` only of those created in the window."""

    def named_parents(self, ids: Sequence[str]) -> list[ListedParent]:
        """Returns the parents with these ids; sends no request."""

    def listed_record(self, client: Client, key: str) -> ListedPage | None:
        """Returns one record by its id; None if pages hold whole records already."""

    def oldest_record(self, client: Client) -> ListedPage | None:
        """Returns the oldest record that the vendor serves; None if there is no request for it."""


def side_listings(stream: Stream) -> tuple[Parents, ...]:
    """Returns the listings beside the records; a stream of a user's package need not know of any."""
    found: tuple[Parents, ...] = getattr(stream, "side_listings", ())
    return found
