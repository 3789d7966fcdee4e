"""What a comparison proves, and why it does not. No request is made here, and no record is looked up."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.verify.found import Verified
from gapless.pipelines.verify.here import Here
from gapless.pipelines.verify.listings import count_unlisted
from gapless.sources import Source
from gapless.sources._incremental.listing import Parents

HIDDEN = "a count may hide that others are missing: --whole compares ids"


@dataclass(frozen=True)
class Conclusions:
    """Notes in `found` what is not proven: the first reason counts."""

    target: Target
    source: Source
    found: Verified
    here: Here

    def _doubt(self, why: str) -> None:
        self.found.unproven = self.found.unproven or why

    def doubt_what_was_never_read(self, compared: int) -> None:
        """Doubts a comparison of what no sync has read; so many parents are compared."""
        found, unread = self.found, self.here.unread
        if not compared and found.not_asked:
            self._doubt(f"nothing was compared, as nothing was read: {found.typed('sync')}")
        elif unread:
            one = unread == [""]
            never = (
                "nothing here was read by a whole sync"
                if one
                else (f"{len(unread):,} parents that are here were never read")
            )
            self._doubt(f"{never}: {found.typed('sync')}")
        elif left := self.here.shards_left:
            self._doubt(f"{left[0].why}: {left[0].fill}")

    def why_short(self, listing: Parents, listed: Collection[str], gone: Collection[str] = ()) -> str | None:
        """Returns why a listing that lacks most of what was listed before proves nothing; None if it has the most.

        Where rows take no marks of what is gone, only an empty listing proves nothing.
        `gone` are ids that are known to be gone.
        """
        # Where a row cannot be marked as gone, nobody knows which of them an earlier listing lacked, too.
        if listed and not self.target.backend.updates_rows:
            return None
        here, lacking = count_unlisted(self.target, self.source, listing.table, listed, gone)
        if lacking * 2 <= here:
            return None
        what = f"{lacking:,} of {here:,} {listing.noun} that were listed before are not listed"
        return f"{what}: {self.found.typed('sync')} reads the listing again"

    def doubt_listing(self, short: str | None) -> None:
        """Doubts a listing for the reason that `why_short` returned."""
        if short:
            self._doubt(short)

    def doubt_nothing_served(self) -> None:
        """Doubts an answer without any record; once all are marked as gone, it is believed."""
        if self.found.gone and not self.found.served:
            what = f"{len(self.found.gone):,} records are here and the vendor serves none at all"
            self._doubt(f"{what}: {self._once_more()}")

    def doubt_fewer_still(self, parents: int) -> None:
        """Doubts the listings of so many parents that the vendor told to have more than are here."""
        if parents:
            what = f"{parents:,} parents have fewer records here than the vendor told, and now it lists fewer still"
            self._doubt(f"{what}: {self._once_more()}")

    def _once_more(self) -> str:
        return f"{self.found.typed('verify', '--whole')} asks once more before that is believed"

    def doubt_vanished(self) -> None:
        """Doubts that parents are gone that were told to have more records than are here."""
        if self.found.vanished:
            what = f"{len(self.found.vanished):,} parents with fewer records here than the vendor told are not found"
            self._doubt(f"{what}: {self.found.typed('sync')} closes them")

    def doubt_newer(self) -> None:
        """Doubts that records are merely newer which no sync could ask for: the ledger calls that a gap."""
        if self.found.newer and (failed := self.here.failed_rounds):
            self._doubt(f"{self.found.newer:,} newer ones are not here: {failed.why}")

    def conclude_from(self, total: int | None, known_gone: int) -> None:
        """Compares the total of a listing without parents with the row count.

        `known_gone` rows are here that are known to be gone, and hide nothing.
        """
        found, start = self.found, self.here.proofs[""].covered_from
        if total is None:
            found.undecided = (
                f"the vendor tells no total, so the ids of the newest {found.served:,} were compared, and"
                f" {self.here.row_counts.get('', 0):,} are here: {found.typed('verify', '--whole')} compares all"
            )
            return
        found.by, found.here = "count", self.here.row_counts.get("", 0)
        if start:
            found.undecided = "the vendor's total holds older ones than are kept: --whole compares ids"
            return
        found.served = total
        fewer = total - found.newer - found.here
        # The vendor may have deleted them meanwhile: then its total does not count them any more.
        fewer = max(0, fewer - self.here.erased.count()) if fewer > 0 else fewer
        found.missing = max(found.missing, fewer)
        found.kept = max(0, -fewer)
        if found.kept and not total and found.kept > known_gone:
            found.unproven = (
                f"the vendor tells of no record at all, and {found.kept:,} are here:"
                f" {found.typed('verify', '--whole')} compares ids"
            )
        elif found.kept and found.kept != known_gone:
            found.undecided = f"{found.kept:,} are kept that are not served any more, so {HIDDEN}"
