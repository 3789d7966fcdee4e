"""Writes what a comparison found into the ledger, so that `gaps` and the next sync know it, too."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import Locked
from gapless.pipelines.evidence.gap import MISSING
from gapless.pipelines.ledger import state
from gapless.pipelines.verify.found import Verified
from gapless.sources import SOURCES
from gapless.sources._ledger.ledger import DEAD_LETTERS, DeadLetter, Ledger
from gapless.sources._ledger.session import LoadItem
from gapless.sources._schema.arrow import Batch

MOST_NOTED = 1_000
"""The most missing records that become dead letters; for more the proof is set back: to walk all is cheaper."""
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
        if found.missing:
            found.undecided = "; ".join(filter(None, (found.undecided, UNNOTED)))


def _note(target: Target, found: Verified, whole: bool, repaired: bool) -> None:
    records = sum(map(len, found.absent.values()))
    if records > MOST_NOTED:
        state.set_back(target, found.source, found.absent)
    elif records or (whole and state.has_missing(target, found.source)):
        state.write(target, found.source, lambda ledger, _: _letters(ledger, found, whole))
    if found.missing > records and not whole:
        state.note_lost_rows(target, found.source, found.missing)
    elif whole and not (found.missing or found.failed or found.unproven):
        state.confirm_row_counts(target, found.source, below=not repaired)


def _letters(ledger: Ledger, found: Verified, whole: bool) -> Iterator[LoadItem]:
    """Yields dead letters for what is missing; closes those of records that a comparison of all found here."""
    stream, now = SOURCES[found.source].main.name, datetime.now(UTC)
    before = {letter.key: letter for letter in ledger.dead_letters(stream) if letter.kind == "record"}
    missing = {record: parent for parent, ids in found.absent.items() for record in ids}
    rows = [
        DeadLetter(
            stream=stream,
            kind="record",
            key=record,
            parent=parent or None,
            reason=f"{MISSING}the vendor serves it and it is not here",
            first_seen_at=now,
            last_seen_at=now,
        )
        for record, parent in missing.items()
        if record not in before
    ]
    if whole and not found.failed:
        rows += [
            letter.model_copy(update={"healed_at": now})
            for key, letter in before.items()
            if key not in missing and letter.reason.startswith(MISSING)
        ]
    yield LoadItem([Batch(DEAD_LETTERS, rows)])
