"""One parent in the sync of a DetailFeed: which of its records to read, and when it is covered."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gapless.sources._ledger.ledger import Coverage
from gapless.sources._ledger.per_parent import ParentSync
from gapless.sources._ledger.window import Window, earlier
from gapless.sources._schema.arrow import Batch

MOVED = timedelta(seconds=1)
"""A listing and a record whose times differ by less say the same: one of them may be rounded."""


@dataclass(frozen=True)
class Stored:
    """Records in the destination."""

    times: dict[str, datetime | None]
    """Creation times of all parents' records, by id."""
    parents: dict[str, str]
    """The parent by id."""


# By identity: it changes while it is read, and is looked for in lists.
@dataclass(eq=False)
class DetailParent:
    """One parent in this sync, with times by id."""

    id: str
    count: str | None
    """Records according to the vendor, as text. An edit does not change it, nor do one deleted and one new."""
    before: Coverage | None
    stored: Stored
    own: dict[str, datetime | None] = field(default_factory=dict)
    """Records in the destination, of this parent; where it is not listed, those that may be read again."""
    listed: dict[str, datetime | None] | None = None
    """Records that the vendor lists; None: not listed in this sync."""
    siblings: Mapping[str, DetailParent] = field(default_factory=dict)
    """All parents that are listed, by id."""
    gone: Collection[str] = ()
    """Its own records that an earlier listing had shown to be gone."""
    newest: list[datetime | None] = field(default_factory=list)
    open: int = 0
    """Records still to read."""
    not_found: bool = False
    """Whether one of its own records was not found while it was not listed; then it is listed again."""
    nameless: bool = False
    """Whether its listing has a line whose id cannot be read."""

    def must_be_listed(self, per: ParentSync, relist_after: timedelta) -> bool:
        """Returns whether its ids must be listed; an unchanged count is trusted for a while."""
        known = per.proof(self.id)
        if known is None or known.failures or known.digest is None or known.listed_at is None:
            return True
        # A listing of a time to come was noted by a clock that was wrong.
        believed = known.listed_at <= per.now < known.listed_at + relist_after
        return known.digest != self.count or not believed

    def lacks(self, key: str) -> bool:
        """Returns whether its listing was read in this sync and does not have a record."""
        return self.listed is not None and key not in self.listed

    def wanted(self, lag: timedelta, per: ParentSync) -> list[str]:
        """Returns ids to read: in a window all of it, else the new ones and those stored within the look-back."""
        times = self.own if self.listed is None else self.listed
        in_window = [key for key, at in times.items() if per.to_load.contains(at)]
        if per.window:
            return in_window
        # The newest stored record is the latest that a watermark may be: a proof has none after a sync whose clock
        # was behind, and a later one only by somebody's hand.
        stored = max((at for at in self.own.values() if at and at <= per.now), default=None)
        proven = self.before.covered_to if self.before else None
        if proven and stored and stored < proven:
            per.disbelieve(self.id, stored)
        watermark = min(filter(None, (proven, stored)), default=None)
        # A record may be edited shortly after its creation, so the look-back is read again.
        recent = Window(earlier(watermark, lag)) if watermark else None
        held = self.stored.times
        return [
            key
            for key in in_window
            if key not in held or (recent and recent.contains(held[key])) or self._moved(key, times[key])
        ]

    def _moved(self, key: str, listed_at: datetime | None) -> bool:
        """Returns whether the listing has another time, or another parent, for a record than is stored."""
        if self.listed is None:
            return False
        at = self.stored.times[key]
        parent = self.stored.parents.get(key, self.id)  # one that a user's step removed is stored nowhere
        elsewhere = parent != self.id and parent in self.siblings
        return elsewhere or (at is not None and listed_at is not None and abs(at - listed_at) >= MOVED)

    def covered(self, per: ParentSync) -> list[Batch]:
        """Returns its coverage, after its last record was read."""
        facts: dict[str, object] = {"digest": self.count, "covered_to": per.watermark(self.id, self.newest)}
        if self.listed is not None:
            facts |= {"records": len(self.listed) - self._of_others(), "listed_at": per.now}
        elif self.before:
            facts |= {"records": self.before.records, "listed_at": self.before.listed_at}
        return per.complete(self.id, **facts)

    def _of_others(self) -> int:
        """Returns how many records it lists that are rightly stored under another parent, or under none.

        A record that names a sibling is missed here where the answer may have been the sibling's.
        """
        assert self.listed is not None
        of = {key: self.stored.parents.get(key, self.id) for key in self.listed}
        named = {parent for parent in of.values() if parent in self.siblings and parent != self.id}
        its_own = self.id in of.values() and not any(self.lacks(key) and key not in self.gone for key in self.own)
        believed = its_own or not any(self._may_be(self.siblings[parent]) for parent in named)
        return sum(parent != self.id and (believed or parent not in named) for parent in of.values())

    def _may_be(self, sibling: DetailParent) -> bool:
        """Returns whether its listing may be the answer for a sibling."""
        return sibling.listed is None or sibling.listed.keys() <= (self.listed or {}).keys()

    def backfill_key(self, record: str) -> str:
        """Returns the key of one of its records in a backfill."""
        return f"{self.id} {record}"
