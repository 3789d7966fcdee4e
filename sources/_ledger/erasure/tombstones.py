"""Knows what was erased on purpose.

A tombstone is a keyed digest: of a record's id, a parent's id, or a value of a column. It names nobody. Records older
than the horizon of a retention count as erased, too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import chain
from typing import Any

from gapless.sources._ledger.erasure.key import LostKey, require_key, tombstone
from gapless.sources._ledger.stored.cells import instant
from gapless.sources._schema.arrow import Table, digest
from gapless.sources._schema.columns import TableSchema
from gapless.sources._schema.parse import readable_time
from gapless.sources._schema.record import record_id, record_time

ERASED = "erased"
"""The table of the tombstones."""
ERASURES = "erasures"
"""The table with one row for each time that something was erased."""
COLUMNS = ("digest", "kind", "parent", "field", "kept_from")
UNCOMPACTED = "uncompacted"
"""The kind of a row that is no tombstone: a command erased, and bytes of deleted rows may still be here."""
SELECT = f"select {', '.join(COLUMNS)} from {{0}} where kind <> '{UNCOMPACTED}'"
DESCRIPTIONS = {
    ERASED: {
        "": "One row per tombstone: what was erased on purpose, and must not come back. It names nobody.",
        "digest": "Keyed digest of what was erased: of a record's id, a parent's id, or a value.",
        "kind": "record, parent, value, kept_from (the horizon of a retention), key (a check of the erasure key), or"
        " uncompacted (no tombstone: bytes of what was erased may be here until `gapless compact`).",
        "parent": "Keyed digest of the parent of a record; null: it has none.",
        "field": "Table and column of a value; of a record a keyed digest of its id and its time; null: neither.",
        "kept_from": "Records that were created earlier are not kept; null: it is no horizon.",
        "erased_at": "When it was erased.",
    },
    ERASURES: {
        "": "One row per time that something was erased: what was counted, and never what it was.",
        "erasure_id": "Id of the erasure.",
        "erased_at": "When it was erased.",
        "kind": "parent, record, value, or keep (by a retention).",
        "reason": "Who asked for it and why, as it was given to `gapless forget`; null: nothing was given.",
        "digest": "Keyed digest of what was named; null: by a retention.",
        "kept_from": "Records that were created earlier are not kept; null: it was no retention.",
        "rows_erased": "JSON: rows that were deleted, by table.",
    },
}
"""What the two tables of erasures (the empty name) and their columns hold. They are made by the first erasure."""
Row = tuple[Any, ...]
"""A tombstone: the cells of COLUMNS. Any, as a cell has the type of its column."""


@dataclass(frozen=True)
class Subjects:
    """What can be erased of a source: its records, and what they are read by. Tables have their plain names."""

    dataset: str
    main: Table
    column: str | None = None
    """The column of `main` with the id of a record's parent."""
    parents: Table | None = None

    def digest(self, key: str, kind: str, text: str) -> str:
        """Returns the tombstone of a record or a parent, by its id."""
        table = self.main if kind == "record" else self.parents
        return tombstone(key, kind, table.name if table else "", text)

    def time_digest(self, key: str, record: str, at: datetime | None) -> str | None:
        """Returns a digest of a record's id and its second of creation, which tells accounts with equal ids apart."""
        second = at and f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
        return tombstone(key, "time", self.main.name, f"{record}\x1f{second}") if second else None


class Tombstones:
    """What was erased of one source. It is false without a tombstone and a horizon; then no record is checked."""

    def __init__(
        self,
        subjects: Subjects | None,
        rows: Sequence[Row] = (),
        keep: datetime | None = None,
        key: str | None = None,
    ) -> None:
        """Takes the rows of the table; `keep` is the horizon that the settings ask for, `key` that of new rows.

        Raises LostKey where no key is given, and the one of the settings is another.
        """
        self.subjects = subjects
        kinds = {kind: [row for row in rows if row[1] == kind] for kind in {row[1] for row in rows}}
        self._records = {str(row[0]): row[2] for row in kinds.get("record", ())}
        self._made = {str(row[0]): row[3] for row in kinds.get("record", ())}
        self._parents = {str(row[0]) for row in kinds.get("parent", ())}
        self._values = {str(row[0]) for row in kinds.get("value", ())}
        self._fields = sorted({tuple(str(row[3]).rsplit(".", 1)) for row in kinds.get("value", ())})
        self._by_parent = Counter(parent for parent in self._records.values() if parent)
        stored = [instant(row[4]) for row in kinds.get("kept_from", ())]
        self.kept_from: datetime | None = max(filter(None, [*stored, keep]), default=None)
        """Records that were created earlier are not kept; None: all are."""
        check = next((str(row[0]) for row in kinds.get("key", ())), None)
        keyed = bool(self._records or self._parents or self._values)
        self._key = (key or require_key(check, subjects.dataset)) if keyed and subjects else ""
        self.met: dict[str, Row] = {}
        """Tombstones to write: of records that a value hides, and of those that stand under another parent now."""
        self._of: Callable[[str, str], str] = cache(self._digest)

    def __bool__(self) -> bool:
        return bool(self.names or self.kept_from)

    @property
    def names(self) -> bool:
        """Returns whether there is a tombstone, not only a horizon."""
        return bool(self._key)

    @property
    def dates(self) -> bool:
        """Returns whether it is noted of any record when it was made."""
        return any(self._made.values())

    def _digest(self, kind: str, text: str) -> str:
        assert self.subjects
        return self.subjects.digest(self._key, kind, text)

    def hides_record(self, key: str | None) -> bool:
        """Returns whether the record with this id was erased."""
        return bool(self._records) and key is not None and self._of("record", key) in self._records

    def knows_record(self, record: Any) -> bool | None:
        """Returns whether a record was erased; False: another of its id was. None: unknown."""
        made = self._made.get(self._of("record", record_id(record))) if self._records else None
        now = self.subjects and self.subjects.time_digest(self._key, record_id(record), record_time(record))
        return made == now if made and now else None

    def hides_parent(self, key: str | None) -> bool:
        """Returns whether the parent with this id was erased, with all its records."""
        return bool(self._parents) and bool(key) and self._of("parent", key or "") in self._parents

    def count(self, parent: str = "") -> int:
        """Returns how many records of a parent were erased; of a listing without parents, how many of all."""
        if not self._records:
            return 0
        return self._by_parent[self._of("parent", parent)] if parent else len(self._records)

    def hidden(self, records: Sequence[Any]) -> list[bool]:
        """Returns of each record whether it was erased, or is older than what is kept."""
        assert self.subjects
        table, column = self.subjects.main, self.subjects.column
        found = next((one for one in table.schema.columns if one.name == column), None)
        parents = [str(cell) for cell in found.cells([*records])] if found else [""] * len(records)
        by_value = self.named(table, records)
        return [
            self._hides(record, parent, named)
            for record, parent, named in zip(records, parents, by_value, strict=True)
        ]

    def ids(self, records: Sequence[Any], unreadable: Sequence[str | None]) -> frozenset[str]:
        """Returns the ids of those that were erased, of records and of others whose id alone can be read."""
        hidden = zip(records, self.hidden(records), strict=True)
        others = (key for key in unreadable if key and self.hides_record(key))
        return frozenset([*(record_id(record) for record, hid in hidden if hid), *others])

    def _hides(self, record: Any, parent: str, named: bool) -> bool:
        at = record_time(record)
        if self.kept_from and at and at < self.kept_from:
            return True
        if not self.names:
            return False
        key = record_id(record)
        if not (named or self.hides_parent(parent) or self.hides_record(key)):
            return False
        self._meet(key, parent, at)
        return True

    def _meet(self, key: str, parent: str | None, at: datetime | None = None) -> None:
        """Notes a tombstone of a record that is hidden by a value, or by another parent than before."""
        digest, of = self._of("record", key), self._of("parent", parent) if parent else None
        if digest not in self._records or self._records[digest] != of:
            made = self.subjects.time_digest(self._key, key, at) if self.subjects else None
            self.met[digest] = (digest, "record", of, made, None)

    def named(self, table: Table, records: Sequence[Any]) -> list[bool]:
        """Returns of each record whether it, or a row below it, has a value that was erased."""
        named = [False] * len(records)
        for of, column in self._fields:
            for number, cells in enumerate(cells_of(table.schema, of, column, records)):
                named[number] = named[number] or any(self.hides_value(of, column, cell) for cell in cells)
        return named

    def hidden_parents(self, parents: Sequence[Any]) -> list[bool]:
        """Returns of each parent whether it was erased, by its id or by a value."""
        assert self.subjects
        assert self.subjects.parents
        named = self.named(self.subjects.parents, parents)
        return [one or self.hides_parent(record_id(parent)) for parent, one in zip(parents, named, strict=True)]

    def hides_value(self, table: str, column: str, cell: object) -> bool:
        """Returns whether records with this cell were erased."""
        text = value_text(cell)
        return text is not None and tombstone(self._key, "value", f"{table}.{column}", text) in self._values

    def _hides_text(self, raw: str | None) -> bool:
        """Returns whether a record that cannot be read holds a value that was erased, in whatever field."""
        if not (self._values and raw):
            return False
        return any(self.hides_value(of, column, text) for text in texts_in(raw) for of, column in self._fields)

    def _is_old(self, raw: str | None) -> bool:
        """Returns whether a record that cannot be read is older than what is kept, by its text."""
        if not (self.kept_from and self.subjects and raw):
            return False
        at = readable_time(self.subjects.main.model, raw)
        return at is not None and at < self.kept_from

    def hides_letter(self, stream: str, kind: str, key: str, parent: str | None, raw: str | None) -> bool:
        """Returns whether a dead letter is about what was erased. `stream` is the name of its table."""
        if kind != "parent" and self._is_old(raw):
            return True
        if not (self.names and self.subjects):
            return False
        parents = self.subjects.parents
        if self.hides_parent(parent) or self._hides_text(raw):
            # Otherwise a comparison would report it: that sees only its id, or counts it.
            if kind == "record":
                self._meet(key.removeprefix(f"{parent}/") if parent else key, parent)
            elif kind == "nameless" and raw:
                self._meet(digest(raw), parent)
            return True
        if kind == "parent" or (parents and stream == parents.name):
            return self.hides_parent(key)
        # A record that two parents serve has the parent's id before its own.
        return kind == "record" and (
            self.hides_record(key) or (bool(parent) and self.hides_record(key.removeprefix(f"{parent}/")))
        )

    def hides_nameless(self, stream: str, raw: str, parent: str) -> bool:
        """Returns whether a record whose id cannot be read was erased: by its text, or by a value in it."""
        if not self:
            return False
        own = digest(raw)
        return self.hides_record(own) or self.hides_letter(stream, "nameless", own, parent or None, raw)


NOTHING_ERASED = Tombstones(None)


def stored_rows(rows: Callable[[str, str], Sequence[Row] | None], dataset: str) -> list[Row]:
    """Returns a dataset's tombstones; `rows` answers a select from one table, None where that is missing.

    Raises LostKey where an erasure is noted and no tombstone is there: somebody has emptied or dropped the table.
    """
    found = rows(SELECT, ERASED) or []
    if not found and rows("select erasure_id from {0} where digest is not null limit 1", ERASURES):
        raise LostKey(
            f"{dataset}: people were forgotten here, and their tombstones in the table {ERASED} are gone, so they"
            f" would come back: nothing was done. Bring {ERASED} back from a copy or a backup; to give these erasures"
            f" up, delete them from {ERASURES}"
        )
    return [*found]


def cells_of(schema: TableSchema, table: str, column: str, rows: Sequence[object]) -> list[list[object]]:
    """Returns of each row the cells of a column: its own, or those of the rows below it in the child `table`."""
    if schema.name == table:
        return [[cell] for own in schema.columns if own.name == column for cell in own.cells([*rows])] or [
            [] for _ in rows
        ]
    for child in schema.children:
        if table == child.name or table.startswith(f"{child.name}__"):
            many = [child.items(row) or [] for row in rows]
            below = iter(cells_of(child, table, column, [*chain.from_iterable(many)]))
            return [[cell for _ in items for cell in next(below)] for items in many]
    return [[] for _ in rows]


def value_text(cell: object) -> str | None:
    """Returns the text by which a cell is compared, in small letters; None: a null. A JSON string is its text."""
    if cell is None:
        return None
    text = cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell)
    if text.startswith('"'):
        with suppress(ValueError):
            text = str(json.loads(text))
    return text.lower()


def texts_in(raw: str) -> Iterator[str]:
    """Yields the texts and numbers that stand anywhere in a JSON document; nothing if it is no JSON."""
    try:
        waiting: list[object] = [json.loads(raw)]
    except (ValueError, RecursionError):
        return
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str | int | float):
            yield str(one)
