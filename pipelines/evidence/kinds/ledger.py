"""What the ledger of one source says, each part of it read once, and how a gap in it is written down."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property

from gapless.pipelines.destinations.reader import Reader, Rows
from gapless.pipelines.evidence.gap import Commands, Failed, Gap, Kind, chosen_ids
from gapless.pipelines.evidence.proofs import Proof, as_utc, read_proofs
from gapless.pipelines.evidence.rounds import Round, read_rounds
from gapless.pipelines.evidence.rows.counts import RowCounts
from gapless.sources import Source
from gapless.sources._ledger.markers import GONE, NOT_FOLLOWED

OPEN = "(failures > 0 or missing is not null or last_checked_at is null)"
"""SQL condition on a proof that leaves something open."""


class Ledger:
    """What the ledger of one source says."""

    def __init__(
        self, reader: Reader, source: Source, commands: Commands, now: datetime, rows: RowCounts | None = None
    ) -> None:
        """Takes the counts of all rows, where they are known."""
        self.counts = rows or {}
        self.reader, self.source, self.commands, self.now = reader, source, commands, now
        self.stream, self.main = source.stream, source.main

    def rows(self, select: str, *tables: str) -> Rows:
        """Returns what `Reader.rows` says; nothing where a table or a column is missing, which `damaged` reports."""
        return self.reader.rows(self.source.name, select, *tables) or []

    def gap(
        self,
        kind: Kind,
        why: str,
        fill: str,
        parent: str = "",
        *,
        since: str | None = None,
        until: str | None = None,
        stream: str = "",
        failed: Failed = Failed(),  # noqa: B008 - a constant
    ) -> Gap:
        """Returns a gap of this source, in the records' table unless `stream` names another."""
        of = self.parents_in_all if parent and not failed.key else None
        where = (self.source.name, kind, stream or self.main.name, parent, since, until)
        # No sync under today's settings reads another parent than those that they name.
        unchosen = bool(parent and self.chosen and parent not in self.chosen)
        return Gap(*where, why, self.commands.typed(fill, unchosen=unchosen), failed, of)

    @cached_property
    def chosen(self) -> list[str]:
        """Returns the ids that a setting names to be read instead of all."""
        return chosen_ids(self.source)

    @cached_property
    def parents_in_all(self) -> int:
        """Returns how many parents there are, without those that the vendor does not list any more."""
        listed = len(self.listed)
        # Ids that a setting names are not listed, and a parent that is new has no proof.
        return max(listed, self._count_proofs())

    def _count_proofs(self) -> int:
        closed = " or ".join(f"error like '{mark}%'" for mark in (GONE, NOT_FOLLOWED))
        select = f"select count(*) from {{0}} where stream = '{self.main.name}' and parent <> ''"
        found = self.rows(f"{select} and not (failures = 0 and error is not null and ({closed}))", "coverage")
        return int(found[0][0]) if found else 0

    @cached_property
    def open(self) -> list[Proof]:
        """Returns the proofs that leave something open."""
        proofs = read_proofs(self.reader, self.source.name, self.main.name, OPEN) or []
        return [*proofs, *(proof for proof in self.proofs.values() if proof.broke_off)]

    @cached_property
    def proofs(self) -> dict[str, Proof]:
        """Returns every proof of the records' stream, by parent; that of a listing names none."""
        proofs = read_proofs(self.reader, self.source.name, self.main.name) or []
        return {proof.parent: proof for proof in proofs if self.stream.parents or not proof.parent}

    @cached_property
    def rounds(self) -> list[Round]:
        """Returns the rounds of the source, newest first."""
        return read_rounds(self.reader, self.source.name, self.now)

    @cached_property
    def letters(self) -> Rows:
        """Returns stream, kind, key, parent, reason, attempts and first failure of every open dead letter."""
        columns = "stream, kind, key, parent, reason, attempts, first_seen_at"
        return self.rows(f"select {columns} from {{0}} where healed_at is null", "dead_letters")

    @cached_property
    def first_failed(self) -> dict[str, datetime | None]:
        """Returns when each parent with an open dead letter failed for the first time."""
        main = self.main.name
        return {key: as_utc(at) for stream, kind, key, *_, at in self.letters if (stream, kind) == (main, "parent")}

    @cached_property
    def listed(self) -> list[str]:
        """Returns the parents to check; those without records need no coverage."""
        parents = self.stream.parents
        if parents is None:
            return []
        listing = parents.table
        rows = self.rows(f"select {listing.id_column} from {{0}} where {parents.condition()}", listing.name)
        return [str(parent) for (parent,) in rows]


def text(time: datetime | None) -> str | None:
    """Returns a time as a gap has it."""
    return time.isoformat() if time else None
