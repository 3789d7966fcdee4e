"""What the sync of a source works with: client, ledger, stored state and the settings that all sources share."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gapless.sources._dlt.types import State
from gapless.sources._http.client import Client
from gapless.sources._http.errors import VendorError
from gapless.sources._incremental.listing import Parents
from gapless.sources._incremental.parent_listing import ParentListing
from gapless.sources._ledger.per_parent import ParentSync
from gapless.sources._ledger.session import LoadItem, Session
from gapless.sources._ledger.stored.reader import Ledger
from gapless.sources._ledger.window import Window, as_named, effective_window
from gapless.sources._schema.arrow import Table


@dataclass(frozen=True)
class Connection:
    """The values of a vendor's own settings: how to reach it, and what to read."""

    client: Callable[..., Client]
    """Called with the HTTP settings that all sources share."""
    account: str = ""
    """What distinguishes two accounts on the same host, if a setting does, such as the id of a business."""
    only: tuple[str, ...] = ()
    """Ids to read instead of all that the vendor lists."""
    left_out: frozenset[str] = frozenset()
    """Nouns of the stream's side listings that are not read."""
    relist_after: timedelta = timedelta(days=1)
    """How long an unchanged count is trusted, by a source that lists ids."""


@dataclass
class SyncContext:
    """One sync of one source. Times are UTC."""

    client: Client
    session: Session
    ledger: Ledger
    state: State
    """The source's state as the last completed load left it."""
    connection: Connection
    workers: int = 1
    """Parents read in parallel."""
    lag: timedelta = timedelta(0)
    """The look-back: records that appear up to this late are still read."""
    initial: datetime | None = None
    """Nothing created earlier is read."""
    end: datetime | None = None
    """Nothing created from then on is read, and no watermark moves."""
    pass_began: datetime | None = None
    """When the pass began that this run goes on with, because a limit had cut it; None: this run begins one."""
    window: Window = field(init=False)
    """The window to read; empty: read what is new."""
    _listings: dict[str, ParentListing] = field(default_factory=dict, init=False)
    """Listings of parents, by table."""

    def __post_init__(self) -> None:
        self.window = self._window()

    def parent_ids(self, stream: str) -> list[str]:
        """Returns the ids of parents to read instead of what is new, those of this shard."""
        return self._ids(lambda some: self.ledger.coverage(stream, some))

    def record_ids(self, table: Table) -> list[str]:
        """Returns the ids of records to read instead of what is new, those of this shard."""
        key = table.id_column
        return self._ids(lambda some: {str(one) for one, _ in self.ledger.select(table.name, [key], (key, some))})

    def _ids(self, known: Callable[[list[str]], Container[str]]) -> list[str]:
        # What a command names comes before the setting.
        named = as_named(self.session.ids or self.connection.only, known)
        return [one for one in named if self.session.shard.contains(one)]

    @property
    def reads_ids(self) -> bool:
        """Returns whether only single ids are read."""
        return bool(self.session.ids or self.connection.only)

    def parent_sync(self, stream: str) -> ParentSync:
        """Returns the ledger's side of a sync over the parents of `stream`."""
        return ParentSync(stream, self.ledger, self.session, self.window, self.initial)

    def bound(self, asked: Window) -> None:
        """Narrows the sync to the creation times that a dlt incremental asks for."""
        self.initial = max(filter(None, (self.initial, asked.since)), default=None)
        self.end = min(filter(None, (self.end, asked.until)), default=None)
        self.window = self._window()

    def _window(self) -> Window:
        scheduled = self.session.obeys_scheduler
        return effective_window(self.session.window, self.initial, self.end, scheduled=scheduled)

    def listing(self, parents: Parents) -> ParentListing:
        """Returns the listing of parents of this shard; each page is requested once, whoever reads it."""
        if parents.table.name not in self._listings:
            self._listings[parents.table.name] = ParentListing(parents, self.client, self.ledger, self.session)
        return self._listings[parents.table.name]

    def parent_items(self, parents: Parents) -> Iterator[LoadItem]:
        """Yields what the listing of parents adds to load packages; nothing if only single ids are read."""
        if not self.reads_ids:
            for item, _ in self.listing(parents).pages:
                yield item

    def unknown_id_message(self, setting: str | None, key: str, error: VendorError) -> str:
        """Returns what to say of an id that was named, by `--id` or a setting, and that the vendor does not know."""
        by = "--id" if self.session.ids or setting is None else setting.upper()
        return f"{by} {key}: {error}"
