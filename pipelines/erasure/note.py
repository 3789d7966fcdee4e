"""Writes the tables of what was erased: `erased`, the tombstones, and `erasures`, one row for each time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from gapless.sources._ledger.erasure.tombstones import ERASED, ERASURES, UNCOMPACTED, Row

if TYPE_CHECKING:
    from gapless.pipelines.erasure.tables import Tables

TIME = "timestamp with time zone"
MAKE = {
    ERASED: f"digest varchar not null, kind varchar not null, parent varchar, field varchar, kept_from {TIME},"
    f" erased_at {TIME} not null",
    ERASURES: f"erasure_id varchar not null, erased_at {TIME} not null, kind varchar not null, reason varchar,"
    f" digest varchar, kept_from {TIME}, rows_erased varchar not null",
}
"""The columns of the two tables. dlt does not know them: no refresh of its own drops them."""
ERASURES_COLUMNS = tuple(part.split()[0] for part in MAKE[ERASURES].split(", "))
TOMBSTONES = 100
"""Tombstones in one statement."""


@dataclass(frozen=True)
class Erasure:
    """One time that something was erased."""

    kind: str
    """parent, record, value or keep"""
    rows: Mapping[str, int]
    """Rows deleted, by table."""
    reason: str | None = None
    """Free text: who asked, and why."""
    digest: str | None = None
    """A keyed digest of what was named."""
    kept_from: datetime | None = None
    """Records that are older are not kept."""


def make_tables(tables: Tables) -> None:
    """Makes the two tables, where they are missing."""
    for name, columns in MAKE.items():
        if name not in tables.columns:
            tables.run(f"create table if not exists {tables.name(name)} ({columns})")
            tables.columns[name] = {part.split()[0] for part in columns.split(", ")}


def write_tombstones(tables: Tables, rows: Iterable[Row]) -> None:
    """Writes tombstones; one with the same digest is replaced."""
    every, now = list({row[0]: row for row in rows}.values()), datetime.now(UTC)
    names = ", ".join(map(tables.column, ("digest", "kind", "parent", "field", "kept_from", "erased_at")))
    for start in range(0, len(every), TOMBSTONES):
        some = every[start : start + TOMBSTONES]
        for where in tables.among("digest", [row[0] for row in some]):
            tables.run(f"delete from {tables.name(ERASED)} where {where[0]}", *where[1])
        # A null has no type of its own among parameters of several rows.
        values, cells = [], list[Any]()
        for row in some:
            values.append(f"({', '.join('null' if cell is None else '%s' for cell in (*row, now))})")
            cells += [cell for cell in (*row, now) if cell is not None]
        tables.run(f"insert into {tables.name(ERASED)} ({names}) values {', '.join(values)}", *cells)


def write_erasure(tables: Tables, erasure: Erasure) -> None:
    """Adds a row to `erasures`; what the settings' retention erases in one day is one row."""
    daily = erasure.kind == "keep" and erasure.reason is None
    now = datetime.now(UTC)
    key = f"keep {now:%Y-%m-%d}" if daily else uuid4().hex
    rows = {table: number for table, number in erasure.rows.items() if number}
    if daily:
        before = tables.query(f"select rows_erased from {tables.name(ERASURES)} where erasure_id = %s", key)
        for table, number in (json.loads(before[0][0]) if before else {}).items():
            rows[table] = rows.get(table, 0) + number
        tables.run(f"delete from {tables.name(ERASURES)} where erasure_id = %s", key)
    cells: dict[str, Any] = {
        "erasure_id": key, "erased_at": now, "kind": erasure.kind, "reason": erasure.reason,
        "digest": erasure.digest, "kept_from": erasure.kept_from, "rows_erased": json.dumps(rows),
    }  # fmt: skip
    _insert(tables, cells)


def mark_uncompacted(tables: Tables) -> None:
    """Notes that deleted rows may still be in the database's bytes, until a compaction has ended."""
    names = ", ".join(map(tables.column, ("digest", "kind", "erased_at")))
    values = (uuid4().hex, UNCOMPACTED, datetime.now(UTC))
    tables.run(f"insert into {tables.name(ERASED)} ({names}) values (%s, %s, %s)", *values)


def write_erasures(tables: Tables, rows: Iterable[Row]) -> None:
    """Copies rows of `erasures`, the cells of ERASURES_COLUMNS, that are not there yet."""
    known = {key for (key,) in tables.query(f"select erasure_id from {tables.name(ERASURES)}")}
    for row in rows:
        if row[0] not in known:
            _insert(tables, dict(zip(ERASURES_COLUMNS, row, strict=True)))


def _insert(tables: Tables, cells: Mapping[str, Any]) -> None:
    given = {name: cell for name, cell in cells.items() if cell is not None}
    names, marks = ", ".join(map(tables.column, given)), ", ".join(["%s"] * len(given))
    tables.run(f"insert into {tables.name(ERASURES)} ({names}) values ({marks})", *given.values())
