"""Deletes what was chosen, and leaves tombstones: in one transaction, so a kill leaves all of it done or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from gapless.pipelines.erasure.note import Erasure, make_tables, mark_uncompacted, write_erasure, write_tombstones
from gapless.pipelines.erasure.traces import remove_from_runs, remove_from_states
from gapless.pipelines.evidence.rows.counts import HELD, Held
from gapless.sources import Source
from gapless.sources._dlt.tables import ROOT_ID, ROW_ID
from gapless.sources._extract.subjects import subjects_of
from gapless.sources._ledger.erasure.key import check_value, tombstone
from gapless.sources._ledger.erasure.tombstones import Row, Tombstones, value_text

if TYPE_CHECKING:
    from gapless.pipelines.erasure.selection import Selection
    from gapless.pipelines.erasure.tables import Tables

Deleted = dict[str, int]
"""Rows by table."""
Where = tuple[str, str, Iterable[str]]
"""A table, a column of it, and the values of the rows that go."""


def erase(tables: Tables, source: Source, chosen: Selection, key: str, reason: str | None) -> Deleted:
    """Deletes what was chosen; returns how many rows, by table. `key` is that of the tombstones."""
    with transaction(tables):
        make_tables(tables)
        rows = [*tombstones_of(source, chosen, key)]
        write_tombstones(tables, rows)
        deleted = delete_everywhere(tables, source, chosen, as_erased(source, rows, key))
        tables.empty_staging()
        named = tombstone(key, chosen.kind, source.name, chosen.named)
        write_erasure(tables, Erasure(chosen.kind, deleted, reason, named))
        mark_uncompacted(tables)
    return deleted


def delete_everywhere(tables: Tables, source: Source, chosen: Selection, erased: Tombstones) -> Deleted:
    """Deletes what was chosen, in what syncs left of it, too; returns how many rows, by table."""
    deleted = delete_rows(tables, source, chosen, erased, dry=False)
    reduce_held(tables, deleted)
    ids = {*chosen.parents, *chosen.records}
    remove_from_states(tables, ids)
    remove_from_runs(tables, ids)
    return deleted


def transaction(tables: Tables) -> AbstractContextManager[object]:
    """Begins a transaction, which is rolled back when what stands in it fails."""
    # Whatever dlt says of the engine: those in which rows are erased have transactions.
    return tables.client.begin_transaction()


def tombstones_of(source: Source, chosen: Selection, key: str) -> list[Row]:
    """Returns the tombstones of what was chosen, and the check value of the key."""
    subjects = subjects_of(source.name, source.stream)

    def digest(kind: str, text: str) -> str:
        return subjects.digest(key, kind, text)

    rows: list[Row] = [(check_value(key), "key", None, None, None)]
    rows += [(digest("parent", one), "parent", None, None, None) for one in chosen.parents]
    rows += [
        (
            digest("record", one),
            "record",
            digest("parent", parent) if parent else None,
            subjects.time_digest(key, one, chosen.times.get(one)),
            None,
        )
        for one, parent in chosen.records.items()
    ]
    for table, column, value in chosen.values:
        of = f"{table}.{column}"
        rows.append((tombstone(key, "value", of, value_text(value) or ""), "value", None, of, None))
    return rows


def as_erased(source: Source, rows: list[Row], key: str) -> Tombstones:
    """Returns new tombstones as later syncs will know them."""
    return Tombstones(subjects_of(source.name, source.stream), rows, key=key)


def delete_rows(tables: Tables, source: Source, chosen: Selection, erased: Tombstones, *, dry: bool) -> Deleted:
    """Deletes the rows of what was chosen, in every table that holds some; `dry` only counts them."""
    act, deleted = tables.count if dry else tables.delete, Deleted()
    for table, column, values in (*_rows_of(tables, source, chosen), *_ledger_of(tables, chosen, erased)):
        for where in tables.among(column, values) if column in tables.columns[table] else ():
            deleted[table] = deleted.get(table, 0) + act(table, where)
    return {table: number for table, number in deleted.items() if number}


def _rows_of(tables: Tables, source: Source, chosen: Selection) -> Iterator[Where]:
    """Yields where records, parents, rows below them and rows made of them stand."""
    for root, ids in chosen.rows.items():
        for table in tables.of_root(root):
            yield table, ROOT_ID if ROOT_ID in tables.columns[table] else ROW_ID, ids
    for derived in source.tables:
        # Rows that were made of a record name it in their one other column of keys.
        of = [*derived.model.parent_columns] if derived.name not in chosen.rows else []
        if len(of) == 1:
            yield from ((table, of[0], chosen.records) for table in tables.of_root(derived.name))


def _ledger_of(tables: Tables, chosen: Selection, erased: Tombstones) -> Iterator[Where]:
    """Yields where the ledger speaks of them."""
    letters = "stream, kind, key, parent, raw_json"
    if "coverage" in tables.columns:
        yield "coverage", "parent", chosen.parents
    if tables.has("dead_letters", ROW_ID, *letters.split(", ")):
        found = tables.query(f"select {ROW_ID}, {letters} from {tables.name('dead_letters')}")
        yield "dead_letters", ROW_ID, {str(row) for row, *letter in found if erased.hides_letter(*letter)}


def reduce_held(tables: Tables, deleted: Mapping[str, int]) -> None:
    """Takes the deleted rows from what the last sync counted, so that none of them looks lost."""
    if not tables.has("runs", "run_id", "held", "finished_at"):
        return
    runs = tables.name("runs")
    found = tables.query(HELD.format(runs))
    if not found:
        return
    held = Held.of(cell for (cell,) in found)
    held.rows = {table: max(0, rows - deleted.get(table, 0)) for table, rows in held.rows.items()}
    held.checksums = {}  # those of the rows that were deleted are not known
    newest = tables.query(
        f"select run_id from {runs} where held is not null order by {tables.column('finished_at')} desc limit 1"
    )
    tables.run(f"update {runs} set held = null where held is not null")
    tables.run(f"update {runs} set held = %s where run_id = %s", held.to_json(), newest[0][0])
