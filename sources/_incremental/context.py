"""What every source's sync works with: the client, the settings that all sources share, and what was read before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from gapless.sources._http.client import Client
from gapless.sources._ledger.ledger import Ledger
from gapless.sources._ledger.per_parent import ParentSync
from gapless.sources._ledger.session import Session
from gapless.sources._ledger.window import Window, chosen


@dataclass(frozen=True)
class Connection:
    """What a vendor's own settings come to: how to reach it, and what it is to be asked for."""

    client: Callable[..., Client]
    """Called with the HTTP settings that all sources share."""
    only: tuple[str, ...] = ()
    """Ids that are read instead of all that the vendor lists."""
    relist_after: timedelta = timedelta(days=1)
    """How long an unchanged count is believed, by a source that lists ids."""


@dataclass
class SyncContext:
    """One sync of one source. Times are UTC."""

    client: Client
    session: Session
    ledger: Ledger
    state: dict[str, Any]
    """The source's state as the last completed load left it."""
    connection: Connection
    workers: int = 1
    """Parents read side by side."""
    lag: timedelta = timedelta(0)
    """The look-back: records that appear this late are still seen."""
    initial: datetime | None = None
    """Nothing created earlier is read."""
    end: datetime | None = None
    window: Window = field(init=False)
    """The span to read instead of what is new; empty: read what is new."""

    def __post_init__(self) -> None:
        self.window = chosen(self.session.window, self.initial, self.end)

    @property
    def ids(self) -> list[str]:
        """Ids to read instead of what is new, of this shard."""
        return [one for one in self.session.ids or self.connection.only if self.session.shard.contains(one)]

    @property
    def reads_ids(self) -> bool:
        """Whether single ids were asked for."""
        return bool(self.session.ids or self.connection.only)

    def parent_sync(self, stream: str) -> ParentSync:
        """Returns the ledger's side of a sync over the parents of `stream`."""
        return ParentSync(stream, self.ledger, self.session, self.window, self.initial)
