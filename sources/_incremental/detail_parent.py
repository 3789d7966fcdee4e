"""One parent in the sync of a DetailFeed: which of its records to read, and when it is covered."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gapless.sources._ledger.ledger import Coverage
from gapless.sources._ledger.per_parent import ParentSync
from gapless.sources._ledger.window import Window
from gapless.sources._schema.arrow import Batch


@dataclass(eq=False)
class DetailParent:
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
    """Records still to read."""

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
        # A proof has no watermark after a sync whose clock was behind: then the newest stored record stands for it.
        stored = max((at for at in self.own.values() if at and at <= per.now), default=None)
        watermark = self.before.covered_to if self.before and self.before.covered_to else stored
        # A record may be edited shortly after its creation, so the look-back is read again.
        recent = Window(watermark - lag) if watermark else None
        return [key for key in in_window if key not in self.stored or (recent and recent.contains(self.stored[key]))]

    def covered(self, per: ParentSync) -> list[Batch]:
        """Returns its coverage, after its last record was read."""
        facts: dict[str, object] = {"digest": self.count, "covered_to": per.watermark(self.id, self.newest)}
        if self.listed is not None:
            facts |= {"records": len(self.listed), "listed_at": per.now}
        elif self.before:
            facts |= {"records": self.before.records, "listed_at": self.before.listed_at}
        return per.complete(self.id, **facts)

    def backfill_key(self, record: str) -> str:
        """Returns the key of one of its records in a backfill."""
        return f"{self.id} {record}"
