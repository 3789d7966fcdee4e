"""Writes what a comparison found into the ledger, so that `gaps` and the next sync know it, too."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import Locked
from gapless.pipelines.evidence.gap import DIFFERS, MISSING
from gapless.pipelines.ledger import corrections, state
from gapless.pipelines.verify.found import Verified
from gapless.sources import SOURCES
from gapless.sources._incremental.stream import side_listings
from gapless.sources._ledger.dead_letters import DERIVED, of_two
from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, DeadLetter
from gapless.sources._ledger.session import LoadItem
from gapless.sources._ledger.stored.reader import Ledger
from gapless.sources._schema.arrow import Batch

MOST_NOTED = 1_000
"""The most missing or differing records that become dead letters; for more the proof is set back: to walk all is
cheaper."""
UNNOTED = "this could not be noted while a sync is writing, so gapless gaps does not know it yet"


def note(target: Target, found: Verified, *, whole: bool, repaired: bool = False) -> None:
    """Writes missing records as dead letters, or takes back what is disproved; `whole` says that all was compared.

    After a repair what is lost below records is known exactly, so that note is left alone.
    """
    if target.appends or found.error:
        return
    try:
        _note(target, found, whole, repaired)
    except Locked:
        if found.missing or found.differ:
            found.undecided = "; ".join(filter(None, (found.undecided, UNNOTED)))


def _note(target: Target, found: Verified, whole: bool, repaired: bool) -> None:
    # What was not proven to be compared disproves nothing.
    proven, records = whole and not found.unproven, sum(map(len, found.absent.values()))
    noted = sum(map(len, found.to_read.values()))
    if noted > MOST_NOTED:
        state.set_back(target, found.source, found.to_read)
    elif (
        noted
        or found.differing_parents
        or found.differing_listed
        or (proven and corrections.has_findings(target, found.source))
    ):
        state.write(target, found.source, lambda ledger, _: _letters(ledger, found, proven))
    if found.told:
        state.write(target, found.source, lambda ledger, _: _counted(ledger, found))
    if found.gone or found.back:
        corrections.mark_gone(target, found.source, found.gone, found.back)
    # A count, or what is known to be lost, tells of more than can be named.
    if found.missing > records and not whole:
        corrections.note_lost_rows(target, found.source, found.missing)
    elif proven and not (found.missing or found.failed):
        exact = found.cells is not None and found.complete and not found.kept
        if not repaired:
            found.lost = corrections.gone_since(target, found.source)
            found.lost_before = corrections.noted_as_lost(target, found.source)
        corrections.confirm_row_counts(target, found.source, below=not repaired, exact=exact)


def _counted(ledger: Ledger, found: Verified) -> Iterator[LoadItem]:
    """Yields proofs with the number of records that the vendor serves now, where they said more."""
    stream = SOURCES[found.source].main.name
    proofs = ledger.coverage(stream, [*found.told])
    yield LoadItem([Batch(COVERAGE, [proofs[one].model_copy(update={"records": found.told[one]}) for one in proofs])])


def _letters(ledger: Ledger, found: Verified, whole: bool) -> Iterator[LoadItem]:
    """Yields dead letters for what is missing or differs; closes those that a comparison of all disproved."""
    source = SOURCES[found.source]
    missing = f"{MISSING}the vendor serves it and it is not here"
    reasons = {(record, parent): _differs(found, record) for parent, ids in found.differing.items() for record in ids}
    reasons |= {(record, parent): missing for parent, ids in found.absent.items() for record in ids}
    yield LoadItem([Batch(DEAD_LETTERS, [*_rows(ledger, found, source.main.name, reasons, whole)])])
    parents = source.stream.parents
    listed = {parents.table.name: found.differing_parents} if parents else {}
    listed |= {one.table.name: found.differing_listed.get(one.table.name, []) for one in side_listings(source.stream)}
    for table, ids in listed.items():
        reasons = {(one, ""): _differs(found, one) for one in ids}
        yield LoadItem([Batch(DEAD_LETTERS, [*_rows(ledger, found, table, reasons, whole)])])


def _differs(found: Verified, record: str) -> str:
    """Returns the reason, with the names of columns that differ and none of their cells."""
    named = [str(one).replace(f" {record}: ", ": ", 1) for one in found.differences if one.id == record]
    derived = {table.name for table in getattr(SOURCES[found.source].stream, "derived", ())}
    if derived & {one.table for one in found.differences if one.id == record}:
        return f"{DERIVED}{'; '.join(named)}"
    return f"{DIFFERS}{'; '.join(named) or 'another row than the vendor serves'}"


def _rows(
    ledger: Ledger, found: Verified, stream: str, reasons: dict[tuple[str, str], str], whole: bool
) -> Iterator[DeadLetter]:
    """Yields the letters of one stream; `reasons` by id and parent."""
    now = datetime.now(UTC)
    before = {letter.key: letter for letter in ledger.dead_letters(stream) if letter.kind == "record"}
    for (record, parent), reason in reasons.items():
        # A letter that is open keeps its reason and the time of its first failure.
        if record not in before and of_two(parent, record) not in before:
            yield DeadLetter(
                stream=stream,
                kind="record",
                key=record,
                parent=parent or None,
                reason=reason,
                first_seen_at=now,
                last_seen_at=now,
            )
    if whole and not found.failed:
        # A comparison of ids alone says nothing of what a letter about cells says.
        disproved = (MISSING, DIFFERS) if found.cells is not None else (MISSING,)
        open_still = {record for record, _ in reasons}
        for key, letter in before.items():
            if key not in open_still and letter.reason.startswith(disproved):
                yield letter.model_copy(update={"healed_at": now})
