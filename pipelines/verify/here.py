"""What is here of one source when a comparison begins: its records by parent, its proofs, and what was erased."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from gapless.pipelines.destinations.reader import Reader
from gapless.pipelines.evidence.gap import Commands, Gap
from gapless.pipelines.evidence.kinds.ledger import Ledger
from gapless.pipelines.evidence.kinds.unasked import never_asked, rounds, shards
from gapless.pipelines.evidence.proofs import Proof, as_utc, read_proofs
from gapless.pipelines.evidence.rows.counts import RowCounts, read_missed
from gapless.pipelines.evidence.stored_state import erased_here
from gapless.pipelines.evidence.structure import damages
from gapless.sources import Source
from gapless.sources._incremental.listing import ListedParent
from gapless.sources._ledger.erasure.tombstones import Tombstones
from gapless.sources._ledger.ledger import is_reset

FOR_EVER = datetime.max.replace(tzinfo=UTC)
"""The end of a proof that cannot be believed: no record that is missing may be left to the next sync."""


@dataclass(frozen=True)
class Here:
    """What the destination holds of one source."""

    source: Source
    proofs: Mapping[str, Proof]
    """By parent."""
    row_counts: RowCounts
    """Records by parent."""
    newest: Mapping[str, datetime | None]
    """The newest creation time by parent."""
    erased: Tombstones
    tables: RowCounts
    """Rows by table."""
    lost: RowCounts
    """Rows by table that went since the last sync, or are noted as lost."""
    counted: Collection[str]
    """The tables of which a sync noted how many rows there were, and no dead letter is open."""
    unread: list[str]
    """Parents that no sync has read."""
    shards_left: list[Gap]
    """The shards that never ran: their parents are not even listed here."""
    failed_rounds: Gap | None
    """The rounds that failed as a whole since the last one that did not."""

    def is_erased(self, parent: ListedParent) -> bool:
        """Returns whether a parent was erased on purpose."""
        if not self.erased.names or self.source.stream.parents is None:
            return False
        # One of which only the id is known shows no value.
        named = self.erased.hidden_parents([parent.record]) if parent.whole and parent.record else [False]
        return named[0] or self.erased.hides_parent(parent.id)

    def lost_none(self, table: str) -> bool:
        """Returns whether no row of a table went since a sync counted them."""
        return table in self.counted and not self.lost.get(table)

    def kept_or_erased(self, parent: str) -> int:
        """Returns how many records of a parent are here, or were erased on purpose."""
        return self.row_counts.get(parent, 0) + self.erased.count(parent)

    def lost_before(self, parent: str) -> datetime | None:
        """Returns up to when an absent record is a loss; a newer one is left to the next sync.

        A proof says nothing of what is new when it was set back, when the last check failed, or when less is here
        than the vendor had at that check; a watermark below a record that is here was put there by somebody.
        """
        proof, here = self.proofs[parent], self.kept_or_erased(parent)
        if is_reset(proof.covered_to) or proof.last_checked_at is None or proof.failures:
            return FOR_EVER
        fewer = not proof.covered_from and proof.records is not None and here < proof.records
        if fewer or (here and proof.covered_to is None):
            return FOR_EVER
        return max(filter(None, (proof.covered_to, self.newest.get(parent))), default=None)


def read_here(reader: Reader, commands: Commands) -> Here | str:
    """Returns what is here, or why nothing can be compared. Raises LostErasureKey."""
    source, again = commands.source, commands.typed(f"sync {commands.source.name}")
    # First of all, because records of a missing table would look like lost ones.
    if damaged := damages(reader, source):
        return f"{damaged[0]}: {again} makes it again"
    main, column = source.main, source.stream.column or "''"
    proofs = read_proofs(reader, source.name, main.name)
    if proofs is None:
        return f"never synced into this destination: {again}"
    group = f" group by {column}" if source.stream.column else ""
    newest = f"max({main.time_column})" if main.time_column else "null"
    rows = reader.rows(source.name, f"select {column}, count(*), {newest} from {{0}}{group}", main.name) or []
    held, now, lost = read_missed(reader, source)
    ledger = Ledger(reader, source, commands, datetime.now(UTC))
    return Here(
        source,
        {proof.parent: proof for proof in proofs},
        {str(parent): int(count) for parent, count, _ in rows},
        {str(parent): as_utc(at) for parent, _, at in rows},
        erased_here(reader, source),
        now,
        lost,
        (held.rows.keys() if held else set[str]()) - {stream for stream, *_ in ledger.letters},
        [gap.parent for gap in never_asked(ledger)],
        [*shards(ledger)],
        next(rounds(ledger), None),
    )
