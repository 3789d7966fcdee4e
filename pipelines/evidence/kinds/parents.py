"""Finds what single parents lack: unread intervals, checks that failed, proofs set back, fewer records than told."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from gapless.pipelines.evidence.gap import IN_DOUBT, Failed, Gap
from gapless.pipelines.evidence.kinds.ledger import Ledger, text
from gapless.pipelines.evidence.proofs import Interval, Proof
from gapless.pipelines.evidence.stored_state import erased_here, resource_state
from gapless.pipelines.printable import counted
from gapless.sources._dlt.literals import text_literal
from gapless.sources._ledger.erasure.tombstones import NOTHING_ERASED
from gapless.sources._ledger.markers import LOST, NOT_KEPT

TOGETHER = 50
"""Parents counted by one statement."""
IN_LIST_MAX = 2_000
"""Parents that are counted one by one; of more all rows are read at once."""
NO_PARENT = "''"
"""The parent of records of a listing without parents, in SQL."""


def intervals(ledger: Ledger) -> Iterator[Gap]:
    """Yields the intervals that were not read yet, and those that nobody can read any more."""
    for proof in ledger.open:
        lost = _lost(ledger, proof)
        for since, until in proof.missing:
            if [since, until] in lost and until:
                why = proof.error if proof.error and proof.error.startswith(LOST) else NOT_KEPT
                fill = ledger.commands.acknowledge(until)
                yield ledger.gap("lost", why.removeprefix(LOST), fill, proof.parent, since=since, until=until)
            else:
                why = "an interrupted walk has not read it yet"
                fill = ledger.commands.sync(proof.parent)
                yield ledger.gap("interval", why, fill, proof.parent, since=since, until=until)


def _lost(ledger: Ledger, proof: Proof) -> list[Interval]:
    """Returns the missing intervals that the vendor did not keep; a walk's state knows them from unread ones."""
    if not proof.missing or not ledger.stream.walks:
        return proof.missing
    lost: list[Interval] = (resource_state(ledger.reader, ledger.source) or {}).get("lost", [])
    # The state of a load that broke off went with it, and its proof noted what was lost.
    noted = proof.missing if proof.broke_off and (proof.error or "").startswith(LOST) else []
    return [*lost, *(one for one in noted if None not in one)]


def parents(ledger: Ledger) -> Iterator[Gap]:
    """Yields parents that fail, and those whose proof was set back, or replaced by a load that broke off."""
    for proof in ledger.open:
        since, fill = text(proof.proven_to), ledger.commands.sync(proof.parent, proof.error or "")
        if proof.failures:
            why = f"failed {counted(proof.failures, 'times')}: {proof.error}"
            first = ledger.first_failed.get(proof.parent)
            empty = since is None and proof.records == 0
            how = Failed(proof.error or "", "", proof.failures, text(first), empty)
            yield ledger.gap("failing", why, fill, proof.parent, since=since, failed=how)
        elif proof.broke_off:
            why = f"{IN_DOUBT}{proof.broke_off:%Y-%m-%d %H:%M} UTC; the next sync reads it again"
            yield ledger.gap("set back", why, fill, proof.parent)
        elif proof.last_checked_at is None:
            why = "its proof was set back, and it was not asked since"
            yield ledger.gap("set back", why, fill, proof.parent, since=since)


def fewer(ledger: Ledger, doubtful: Collection[str] | None = None) -> Iterator[Gap]:
    """Yields parents, or the listing, with fewer records here than the vendor counted when they were last read.

    A record that the vendor deleted stays here, so only a page that lacked some, or a loss here, explains it.
    `doubtful` are the only parents to look at; None: all.
    """
    if ledger.reader.appends or (doubtful is not None and not doubtful and ledger.stream.column):
        return
    proofs = [proof for proof in ledger.proofs.values() if doubtful is None or proof.parent in {*doubtful, ""}]
    told = [proof for proof in proofs if proof.records and proof.counts_all]
    if not told:
        return
    here = _records_by_parent(ledger, None if doubtful is None else [proof.parent for proof in told])
    if here is None:
        return  # their table is gone, or a column of it: that is a gap of its own
    short = [(proof, here.get(proof.parent, 0)) for proof in told if here.get(proof.parent, 0) < (proof.records or 0)]
    known = _known_to_miss(ledger) if short else ()
    erased = erased_here(ledger.reader, ledger.source) if short else NOTHING_ERASED
    for proof, rows in short:
        if proof.parent not in known and rows + erased.count(proof.parent) < (proof.records or 0):
            why = f"the vendor told {proof.records:,} records, and {rows:,} are here"
            yield ledger.gap("lost", why, ledger.commands.repair, proof.parent)


def _records_by_parent(ledger: Ledger, parents: Sequence[str] | None = None) -> dict[str, int] | None:
    """Returns the number of records here of each parent, or of some; of a listing without, by the empty text.

    None: they cannot be counted.
    """
    column, table = ledger.stream.column, ledger.main.name
    if column is None and table in ledger.counts:
        return {"": ledger.counts[table]}
    group = f" group by {column}" if column else ""
    count = f"select {column or NO_PARENT}, count(*) from {{0}}"
    each = [count + group]
    if column and parents is not None and len(parents) <= IN_LIST_MAX:
        # For each its own, because a database would rather read all than look several up in an index by value.
        each = [f"{count} where {column} = {text_literal(one, '{chr}')}{group}" for one in parents]
    here: dict[str, int] = {}
    for begin in range(0, len(each), TOGETHER):
        found = ledger.reader.rows(ledger.source.name, " union all ".join(each[begin : begin + TOGETHER]), table)
        if found is None:
            return None
        here |= {str(parent): int(rows) for parent, rows in found}
    return here


def _known_to_miss(ledger: Ledger) -> set[str]:
    """Returns the parents whose missing records have a dead letter, or were left out by a step of the user's."""
    table = ledger.main.name
    letters = f"select coalesce(parent, '') from {{0}} where healed_at is null and stream = '{table}'"
    found = {parent for (parent,) in ledger.rows(letters, "dead_letters")}
    if "filtered" in ledger.reader.columns(ledger.source.name, ["coverage"]).get("coverage", ()):
        filtered = f"select parent from {{0}} where filtered > 0 and stream = '{table}'"
        found |= {parent for (parent,) in ledger.rows(filtered, "coverage")}
    return found
