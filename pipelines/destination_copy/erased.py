"""Carries what was erased over to a copy, so that a copy never keeps, nor brings back, what one of the two forgot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from gapless.pipelines.destination_copy.storable import Tree
from gapless.pipelines.destinations.reader import Reader
from gapless.pipelines.erasure.erase import delete_everywhere, transaction
from gapless.pipelines.erasure.keep import erase_older
from gapless.pipelines.erasure.note import (
    ERASURES_COLUMNS,
    make_tables,
    mark_uncompacted,
    write_erasures,
    write_tombstones,
)
from gapless.pipelines.erasure.selection import Selection, completed
from gapless.pipelines.erasure.tables import Tables
from gapless.pipelines.evidence.stored_state import tombstones
from gapless.sources import Source
from gapless.sources._dlt.tables import ROOT_ID, ROW_ID
from gapless.sources._ledger.erasure.tombstones import ERASED, ERASURES, SELECT, Row, Tombstones
from gapless.sources._schema.arrow import Table

if TYPE_CHECKING:
    import dlt

CANNOT_ERASE = (
    "some of its records were forgotten in the file, and gapless cannot delete them in this destination: drop the"
    " copy's dataset and copy again"
)


def erased_rows(reader: Reader, source: Source) -> list[Row]:
    """Returns the tombstones of a source's dataset."""
    return reader.rows(source.name, SELECT, ERASED) or []


def erasures_of(reader: Reader, source: Source) -> list[Row]:
    """Returns the rows of `erasures` of a source's dataset."""
    return reader.rows(source.name, f"select {', '.join(ERASURES_COLUMNS)} from {{0}}", ERASURES) or []


def carry_over(
    pipeline: dlt.Pipeline, source: Source, file: Sequence[Row], copy: Sequence[Row], erasures: Sequence[Row]
) -> Tombstones:
    """Erases in the copy what was erased in the file since; returns what was erased in either.

    `erasures` are the file's rows of that table. Raises LostErasureKey where the tombstones' key is not at hand.
    """
    known = {(row[0], row[2], row[4]) for row in copy}
    news = [row for row in file if (row[0], row[2], row[4]) not in known]
    every = tombstones(source, [*copy, *news])
    if not news:
        return every
    with pipeline.sql_client() as client:
        # Before the first row: a copy that is killed and then synced by itself must know them, too.
        if not client.has_dataset():
            client.create_dataset()
        tables = Tables(pipeline, client)
        if every.kept_from and source.main.name in tables.columns:
            erase_older(tables, source, every.kept_from, "copied")
        with transaction(tables):
            make_tables(tables)
            write_tombstones(tables, news)
            write_erasures(tables, erasures)
            if every.names and source.main.name in tables.columns:
                deleted = delete_everywhere(tables, source, _chosen(tables, source, every), every)
                if deleted:
                    mark_uncompacted(tables)
            tables.empty_staging()
    return every


def _chosen(tables: Tables, source: Source, erased: Tombstones) -> Selection:
    """Returns what is in the copy and was erased: all ids are looked at, as a tombstone names none."""
    main, of, parents = source.main, source.stream.column, source.stream.parents
    found = Selection("copied", "")
    for _, key, *parent in tables.row_ids(main.name, ("1 = 1", []), [main.id_column, *([of] if of else [])]):
        owner = str(parent[0]) if parent else ""
        if erased.hides_record(str(key)) or erased.hides_parent(owner):
            found.records[str(key)] = owner
    if parents:
        stored = tables.row_ids(parents.table.name, ("1 = 1", []), [parents.table.id_column])
        proven = tables.query(f"select parent from {tables.name('coverage')} where stream = %s", main.name)
        ids = {*(str(key) for _, key in stored), *(str(parent) for (parent,) in proven)}
        found.parents = {key for key in ids if erased.hides_parent(key)}
    return completed(tables, source, found)


def without_erased(table: Table, tree: Tree, erased: Tombstones) -> Tree:
    """Returns the rows of a root table and those below it without those that were erased in the copy itself."""
    subjects = erased.subjects
    if not erased or subjects is None:
        return tree
    ((_, root), *_) = tree
    hidden = {str(row[ROW_ID]) for row in root.to_pylist() if _hides(table, row, erased)}
    if not hidden:
        return tree
    owned = [(shape, arrow.column(ROOT_ID if shape.parent else ROW_ID), arrow) for shape, arrow in tree]
    ids = pa.array(sorted(hidden), pa.string())
    return [(shape, arrow.filter(pc.invert(pc.is_in(owner, value_set=ids)))) for shape, owner, arrow in owned]


def _hides(table: Table, row: dict[str, object], erased: Tombstones) -> bool:
    subjects = erased.subjects
    assert subjects
    key = str(row.get(table.id_column))
    if table.name == subjects.main.name:
        at = row.get(table.time_column or "")
        old = erased.kept_from is not None and at is not None and at < erased.kept_from  # type: ignore[operator]
        return old or erased.hides_record(key) or erased.hides_parent(str(row.get(subjects.column or "") or ""))
    if subjects.parents and table.name == subjects.parents.name:
        return erased.hides_parent(key)
    if table.name == "coverage":
        return erased.hides_parent(str(row["parent"]))
    if table.name == "dead_letters":
        letter = [row[name] for name in ("stream", "kind", "key", "parent", "raw_json")]
        return erased.hides_letter(*letter)  # type: ignore[arg-type]  # texts
    of = [*table.model.parent_columns]
    return len(of) == 1 and erased.hides_record(str(row.get(of[0])))
