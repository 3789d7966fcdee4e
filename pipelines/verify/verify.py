"""Compares the destination with the vendors: their totals and record ids with ours. Only a repair loads rows.

Records that a vendor does not serve any more are kept and are no error, because nothing is deleted here. Records
created after the proof are left to the next sync. Records are compared by id, with `cells` also by what they hold.
What is found is written into the ledger (`notes.py`), so that `gaps` says the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from gapless.pipelines.destinations.reader import reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.evidence.completeness import exists
from gapless.pipelines.evidence.seen import once_synced
from gapless.pipelines.ledger import corrections, state
from gapless.pipelines.outcome import Outcome
from gapless.pipelines.sync.request import SyncRequest, Watch
from gapless.pipelines.sync.run import sync
from gapless.pipelines.verify.comparison import IN_LIST_MAX, Comparison
from gapless.pipelines.verify.found import Absent, Corrections, Verified
from gapless.pipelines.verify.notes import MOST_NOTED, note
from gapless.sources import SOURCES
from gapless.sources._dlt.tables import ROOT_ID, ROW_ID
from gapless.sources._schema.arrow import digest

SAMPLE = 20
"""Parents compared by default."""


def synced(target: Target, names: list[str]) -> list[str]:
    """Returns those of `names` that were synced to the destination, or tried to be."""
    with reading(target) as reader:
        return [name for name in names if exists(reader, SOURCES[name])]


def wanted(target: Target, names: list[str]) -> list[str]:
    """Returns those of `names` that were synced to the destination, also if all their tables are gone."""
    here = synced(target, names)
    with reading(target) as reader:
        before = once_synced(reader, target)
    return [name for name in names if name in here or name in before]


def verify(
    target: Target, names: list[str], sample: int | None, seed: int, *, cells: bool = False
) -> Iterator[Verified]:
    """Yields the comparison of each source: of `sample` parents, None for all. Raises Locked while a sync writes.

    `cells` compares what records hold, too. What is found is noted in the destination, unless a sync is writing.
    """
    for name in names:
        found = Comparison(target, SOURCES[name], sample, random.Random(seed), cells=cells).verified()
        note(target, found, whole=sample is None)
        yield found


def repaired(target: Target, found: Verified, watch: Watch) -> tuple[Outcome, Verified]:
    """Reads what is missing or differs again, then compares again. `found` must be of all parents, by id."""
    name, cells = found.source, found.cells is not None
    lost = found.lost or corrections.gone_since(target, name)
    before = found.lost_before or corrections.noted_as_lost(target, name)
    if found.doubled:
        corrections.remove_doubled_rows(target, name)
    # Before the load: by a key that somebody changed it would not find the row to replace.
    if found.differ or found.orphans or found.foreign:
        corrections.prepare_replacing(target, name, _corrections(found))
    ids = _ids_to_repair(target, name, found.to_read)
    (outcome,) = sync([name], target, SyncRequest(ids=ids), watch)
    if ids and (found.differing_parents or found.differing_listed):  # single records are read without a listing
        (outcome,) = sync([name], target, SyncRequest(), watch)
    if found.differ:  # a row whose key somebody changed stands there beside the one that was loaded
        corrections.remove_doubled_rows(target, name)
    main = SOURCES[name].main
    below = {t.name: _present(target, name, found.absent, t.name) for t in main.schema.tree() if t.parent}
    corrections.bring_back(target, name, below)
    after = Comparison(target, SOURCES[name], None, random.Random(0), cells=cells).verified()
    brought = {table: rows - after.lacking.get(table, 0) for table, rows in found.lacking.items()}
    corrections.bring_back(target, name, {table: rows for table, rows in brought.items() if rows > 0})
    note(target, after, whole=True, repaired=True)
    # What one reading alone denies may be an answer that was cut short.
    denied = {*found.lost_below} & {*after.lost_below}
    if denied:
        corrections.accept_below(target, name, denied)
    after.repaired = _present(target, name, found.absent, main.name)
    # While something is missing still, nothing was taken for all.
    if not (after.missing or after.failed or after.unproven):
        after.lost = max(0, lost - after.repaired)
        after.lost_before = max(0, lost + before - after.repaired) - after.lost
    after.replaced = max(0, found.differ - after.differ) if cells else None
    return outcome, after


def _corrections(found: Verified) -> Corrections:
    """Returns the cells to correct: of rows whose id somebody changed, the id with which they were loaded."""
    main = SOURCES[found.source].main
    (kind,) = (column.data_type for column in main.schema.columns if column.name == main.id_column)
    ids = {digest(i): {main.id_column: int(i) if kind == "bigint" else i} for i in found.foreign}
    return {**found.corrections, main.name: {**found.corrections.get(main.name, {}), **ids}}


def _ids_to_repair(target: Target, name: str, absent: Absent) -> tuple[str, ...]:
    """Returns the ids to read again; without ids the next sync reads them, because their proof is set back here."""
    stream = SOURCES[name].stream
    times = [at for ids in absent.values() for at in ids.values()]
    # A record without a time is reached by no walk but the whole one, so ids are cheaper, however many.
    if stream.by_id == "record" and (len(times) <= MOST_NOTED or (stream.walks and None in times)):
        return tuple(record for ids in absent.values() for record in ids)
    if times:
        state.set_back(target, name, absent)
    return tuple(absent) if stream.by_id == "parent" else ()


def _present(target: Target, name: str, absent: Absent, table: str) -> int:
    """Returns how many rows of a table are here by now, of these records or below them."""
    keys = [digest(record) for ids in absent.values() for record in ids]
    column = ROW_ID if table == SOURCES[name].main.name else ROOT_ID
    found = 0
    for start in range(0, len(keys), IN_LIST_MAX):
        ids = ", ".join(f"'{key}'" for key in keys[start : start + IN_LIST_MAX])
        with reading(target) as reader:
            rows = reader.rows(name, f"select count(distinct {ROW_ID}) from {{0}} where {column} in ({ids})", table)
        found += int(rows[0][0]) if rows else 0
    return found
