"""Erases what is older than is kept: once by a command, or before each sync by a setting."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from inspect import signature
from typing import TYPE_CHECKING

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.erasure.erase import Deleted, reduce_held, transaction
from gapless.pipelines.erasure.forget import opened
from gapless.pipelines.erasure.note import Erasure, make_tables, mark_uncompacted, write_erasure, write_tombstones
from gapless.pipelines.erasure.noted import note
from gapless.pipelines.erasure.tables import Found, Tables
from gapless.pipelines.errors import WrongSettings
from gapless.sources import SOURCES, Source
from gapless.sources._dlt.tables import ROOT_ID, ROW_ID
from gapless.sources._extract.subjects import subjects_of
from gapless.sources._ledger.erasure.tombstones import Tombstones
from gapless.sources._ledger.markers import LOST
from gapless.sources._ledger.stored.cells import instant
from gapless.sources._ledger.window import retention

if TYPE_CHECKING:
    import dlt

KEPT = ("kept_from", "kept_from", None, None)
"""The first cells of a retention's tombstone, which names no record and so needs no key."""


def parsed(name: str, text: str) -> timedelta:
    """Returns how long records are to be kept. Raises WrongSettings for no time, and for one within the look-back."""
    import dlt

    setting, build = f"{name}_lag", signature(SOURCES[name].build).parameters
    # Where dlt looks for a setting of the source, from the narrowest place on.
    sections = (f"sources.{name}.", "sources.", "")
    found = next(filter(None, (dlt.config.get(f"{section}{setting}", float) for section in sections)), None)
    lag = found or (build[setting].default if setting in build else 0.0)
    try:
        return retention(text, "TIME", timedelta(seconds=lag))
    except ValueError as error:
        raise WrongSettings(f"{name}: {error}") from None


def keep(target: Target, name: str, kept: timedelta, reason: str | None, *, dry: bool) -> tuple[datetime, Deleted]:
    """Erases the records that are older; returns from when on they are kept, in UTC, and the rows by table.

    `dry` only counts them. Raises WrongSettings where nothing was synced yet, Locked, GaplessError.
    """
    source, before = SOURCES[name], datetime.now(UTC) - kept
    if source.main.time_column is None:
        raise WrongSettings(f"{name} has no time for each of its records, so none is too old.")
    with opened(target, source) as tables:
        if source.main.name not in tables.columns:
            raise WrongSettings(f"nothing synced yet from {name}, so nothing is too old. Nothing was erased.")
        if dry:
            return before, _delete(tables, source, before, dry=True)
        deleted = erase_older(tables, source, before, reason or "gapless keep")
        note(target, name, tables)
    return before, deleted


def apply_keep(pipeline: dlt.Pipeline, source: Source, before: datetime) -> Deleted:
    """Erases what is older than the settings keep, before a sync reads; returns the rows by table."""
    with pipeline.sql_client() as client:
        tables = Tables(pipeline, client)
        column = source.main.time_column
        if not (column and tables.has(source.main.name, column)):
            return {}
        # Where nothing is too old, the proofs move on with what is read: all of them at each sync would cost more.
        old = _delete(tables, source, before, dry=True)
        return erase_older(tables, source, before, None) if old else {}


def erase_older(tables: Tables, source: Source, before: datetime, reason: str | None) -> Deleted:
    """Erases the records that are older, in one transaction; returns the rows by table."""
    with transaction(tables):
        make_tables(tables)
        write_tombstones(tables, [(*KEPT, before)])
        deleted = _delete(tables, source, before, dry=False)
        _move_proofs(tables, source, before)
        reduce_held(tables, deleted)
        tables.empty_staging()
        write_erasure(tables, Erasure("keep", deleted, reason, kept_from=before))
        if deleted and reason is not None:  # a sync with a retention compacts nothing
            mark_uncompacted(tables)
    return deleted


def _delete(tables: Tables, source: Source, before: datetime, *, dry: bool) -> Deleted:
    """Deletes records that are older, rows below them and made of them, and their dead letters; `dry` counts them."""
    act, deleted = tables.count if dry else tables.delete, Deleted()

    def add(table: str, where: Found) -> None:
        deleted[table] = deleted.get(table, 0) + act(table, where)

    main, time = source.main, source.main.time_column or ""
    old = f"from {tables.name(main.name)} where {tables.column(time)} < %s"
    for derived in source.tables:
        of = derived.model.parent_columns
        if derived not in (main, *_parents(source)) and len(of) == 1 and tables.has(derived.name, *of):
            ids = f"select cast({tables.column(main.id_column)} as varchar) {old}"
            add(derived.name, (f"{tables.column(*of)} in ({ids})", [before]))
    # Children first, as they are found by the records.
    for table in tables.of_root(main.name):
        if ROOT_ID in tables.columns[table]:
            add(table, (f"{ROOT_ID} in (select {ROW_ID} {old})", [before]))
        elif time in tables.columns[table]:
            add(table, (f"{tables.column(time)} < %s", [before]))
    if tables.has("dead_letters", ROW_ID, "kind", "raw_json", "first_seen_at"):
        for where in tables.among(ROW_ID, _old_letters(tables, source, before)):
            add("dead_letters", where)
    return {table: rows for table, rows in deleted.items() if rows}


def _old_letters(tables: Tables, source: Source, before: datetime) -> Iterator[str]:
    """Yields `_dlt_id` of the dead letters of records that are older, by their text or by their first failure."""
    erased = Tombstones(subjects_of(source.name, source.stream), [(*KEPT, before)])
    columns = f"{ROW_ID}, kind, raw_json, {tables.column('first_seen_at')}"
    select = f"select {columns} from {tables.name('dead_letters')} where stream = %s and kind <> 'parent'"
    for row, kind, raw, first in tables.query(select, source.main.name):
        seen = instant(first)
        if (seen and seen < before) or erased.hides_letter(source.main.name, kind, "", None, raw):
            yield str(row)


def _parents(source: Source) -> list[object]:
    return [source.stream.parents.table] if source.stream.parents else []


def _move_proofs(tables: Tables, source: Source, before: datetime) -> None:
    """Has the proofs say from when on records are kept, and that no interval before it is missing."""
    if not tables.has("coverage", "stream", "covered_from", "missing", "error"):
        return
    coverage, begins = tables.name("coverage"), tables.column("covered_from")
    where, values = f"stream = %s and ({begins} is null or {begins} < %s)", (source.main.name, before)
    tables.run(f"update {coverage} set {begins} = %s where {where}", before, *values)
    found = f"select parent, missing, error from {coverage} where stream = %s and missing is not null"
    for parent, cell, error in tables.query(found, source.main.name):
        intervals = json.loads(cell) if isinstance(cell, str) else cell
        left = [one for one in intervals if one[1] is None or datetime.fromisoformat(one[1]) > before]
        if len(left) < len(intervals):
            reason = error if left or not str(error or "").startswith(LOST) else None
            changes = {"missing": json.dumps(left) if left else None, "error": reason}
            sets = ", ".join(f"{name} = {'null' if one is None else '%s'}" for name, one in changes.items())
            given = [one for one in changes.values() if one is not None]
            tables.run(
                f"update {coverage} set {sets} where stream = %s and parent = %s", *given, source.main.name, parent
            )
