"""Compares rows cell by cell: what the vendor serves, as columns the way a sync makes them, with what is here.

A chunk of records at a time, with one query for each table, so that memory stays flat. A difference names the table,
the record and the columns; never a cell's content, which may be personal data.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from gapless.pipelines.destinations.reader import Reader, reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.evidence.policy import columns_of_today, configured_policy
from gapless.pipelines.evidence.proofs import as_utc
from gapless.pipelines.verify.found import Corrections, Difference
from gapless.sources import Source
from gapless.sources._dlt.literals import text_literal
from gapless.sources._dlt.tables import ROOT_ID, ROW_ID
from gapless.sources._incremental.listing import Parents
from gapless.sources._schema.arrow import Table, digest
from gapless.sources._schema.columns import TableSchema, type_name
from gapless.sources._schema.record import GONE_AT

CHUNK = 500
"""Records compared at once."""
CLOCK = datetime(1, 1, 1, tzinfo=UTC)
"""Replaces the time of a sync in derived rows: such a cell is a time of ours, which no vendor can confirm."""
Row = Mapping[str, Any]


class Cells:
    """Compares records of one source with the rows that they have here."""

    def __init__(self, target: Target, source: Source) -> None:
        """Raises WrongSettings for a privacy policy that is wrong: hashed and dropped cells are compared as such."""
        self._policy = configured_policy(source)
        self._target, self._source = target, source
        self._to_arrow = columns_of_today(source)
        self._columns: dict[str, set[str]] | None = None
        self.corrections: Corrections = {}

    def of_records(self, records: Sequence[Any]) -> Iterator[Difference]:
        """Yields what differs in the rows of the records that are here, and in the rows derived from them."""
        table, key = self._source.main, self._source.main.key
        ids = {digest(*(getattr(one, name) for name in key)): str(_id(table, one)) for one in records}
        with self._reading() as reader:
            here = set(ids)
            yield from self._tree(reader, table, records, ids, here, must_be_here=False)
            own = [one for one in records if digest(*(getattr(one, name) for name in key)) in here]
            yield from self._derived(reader, own)

    def of_listed(self, listing: Parents, records: Sequence[Any]) -> Iterator[Difference]:
        """Yields what differs in the rows of a listing, such as that of parents, or is not here."""
        table = listing.table
        ids = {digest(*(getattr(one, key) for key in table.key)): listing.id(one) for one in records}
        with self._reading() as reader:
            yield from self._tree(reader, table, records, ids, set(ids), must_be_here=True)

    @contextmanager
    def _reading(self) -> Iterator[Reader]:
        with reading(self._target) as reader:
            if self._columns is None:
                names = [shape.name for one in self._source.tables for shape in one.schema.tree()]
                self._columns = reader.columns(self._source.name, names)
            yield reader

    def _derived(self, reader: Reader, records: Sequence[Any]) -> Iterator[Difference]:
        """Yields derived rows that a sync would add now, and those that are not what their own id was made of."""
        stream, rows = self._source.stream, dict[str, list[Row]]()

        def stored(table: Table, columns: Sequence[str], ids: Iterable[str]) -> Iterator[tuple[Any, ...]]:
            names = self._names(table.schema)
            wanted = list(ids)
            found = [*self._stored(reader, table.schema, names, columns[0], wanted)] if wanted else []
            rows[table.name] = found
            return (tuple(row[name] for name in columns) for row in found)

        # Twice: first what a sync would add to what is here, then all that these records make.
        wanted = stream.batches(records, CLOCK, stored)[1:]
        current = stream.batches(records, CLOCK, lambda *_: iter(()))[1:]
        for lacking, whole in zip(wanted, current, strict=True):
            table, (of,) = whole.table, whole.table.model.parent_columns
            if {one.name for one in self._policy.columns(table.schema)} & {*table.key}:  # hashed cells tell nothing
                continue
            yield from (Difference(table.name, str(getattr(row, of)), missing=1) for row in lacking.records)
            made = {str(getattr(row, of)): row for row in whole.records}
            for row in rows.get(table.name, ()):
                if row[ROW_ID] not in _own_ids(table, row):
                    cells = _restored(table, row, made.get(row[of]))
                    self.corrections.setdefault(table.name, {})[row[ROW_ID]] = cells
                    yield Difference(table.name, str(row[of]), tuple(cells) or table.key[1:])

    def _tree(
        self,
        reader: Reader,
        table: Table,
        records: Sequence[object],
        ids: Mapping[str, str],
        here: set[str],
        *,
        must_be_here: bool,
    ) -> Iterator[Difference]:
        """Yields what differs in a table and all below it; `ids` are the vendor's, by the `_dlt_id` of root rows.

        `here` are the root rows to compare; those that are not here are taken from it, unless they must be.
        """
        if not records:
            return
        made = self._to_arrow(table, records)
        for shape in table.schema.tree():
            owner = ROOT_ID if shape.parent else ROW_ID
            names = self._names(shape)
            stored = _grouped(self._stored(reader, shape, names, owner, made.ids), owner)
            wanted = _grouped(made.rows[shape.name].to_pylist(), owner)
            if not shape.parent and not must_be_here:
                # In place, because `of_records` goes on with those that are here.
                here &= stored.keys()
            for root in (one for one in made.ids if one in here):
                rows = _RowsOfRecord(shape, names, wanted.get(root, []), stored.get(root, []))
                if rows.differ:
                    if not shape.parent:
                        self._correct(table, shape, rows)
                    yield Difference(shape.name, ids[root], tuple(rows.columns), rows.missing, rows.extra)

    def _correct(self, table: Table, shape: TableSchema, rows: _RowsOfRecord) -> None:
        """Notes the cells of keys, by which a load would not find the row that it replaces."""
        if cells := {name: rows.wanted[0][name] for name in rows.columns if name in table.key}:
            self.corrections.setdefault(shape.name, {})[rows.wanted[0][ROW_ID]] = cells

    def _names(self, shape: TableSchema) -> list[str]:
        """Returns the columns to compare; one that no sync has added yet is not here."""
        here = {name.lower() for name in (self._columns or {}).get(shape.name, ())}
        names = (name for name in shape.arrow_schema.names if not here or name.lower() in here)
        # A record that is served is not gone, whatever its mark says: a comparison takes that back.
        return [name for name in names if name != GONE_AT]

    def _stored(
        self, reader: Reader, shape: TableSchema, names: Sequence[str], owner: str, ids: Sequence[str]
    ) -> Iterator[Row]:
        kinds: dict[str, type_name] = {column.name: column.data_type for column in shape.columns}
        # As text, because drivers that decode JSON lose digits of numbers.
        cells = ", ".join(f'cast("{n}" as varchar)' if kinds.get(n) == "json" else f'"{n}"' for n in names)
        listed = ", ".join(text_literal(one, "{chr}") for one in ids)
        select = f'select {cells} from {{0}} where "{owner}" in ({listed})'
        for row in reader.rows(self._source.name, select, shape.name) or []:
            yield {n: _cell(kinds.get(n), value) for n, value in zip(names, row, strict=True)}


@dataclass
class _RowsOfRecord:
    """The rows of one record in one table: as the vendor's record makes them, and as they are here."""

    shape: TableSchema
    names: Sequence[str]
    wanted: list[Row]
    stored: list[Row]
    columns: list[str] = field(default_factory=list)
    missing: int = 0
    extra: int = 0

    def __post_init__(self) -> None:
        kinds: dict[str, type_name] = {column.name: column.data_type for column in self.shape.columns}
        left = _grouped(self.stored, ROW_ID)
        for row in self.wanted:
            found = left.pop(row[ROW_ID], [])
            self.missing += not found
            self.extra += max(0, len(found) - 1)
            if found:
                self.columns += [
                    name
                    for name in self.names
                    if name not in self.columns and not same(kinds.get(name), row[name], found[0][name])
                ]
        self.extra += sum(map(len, left.values()))

    @property
    def differ(self) -> bool:
        return bool(self.columns or self.missing or self.extra)


def _own_ids(table: Table, row: Row) -> set[str]:
    """Returns what a row's id may be: a digest of its key; older versions had fewer columns in it."""
    cells = [row[name] for name in table.key]
    return {digest(*cells[:number]) for number in range(2, len(cells) + 1)}


def _restored(table: Table, row: Row, made: Any) -> dict[str, Any]:
    """Returns the cells with which a derived row has the id again that it has; empty if they are not known."""
    cells = {n: row[n] if getattr(made, n) == CLOCK else getattr(made, n) for n in table.key} if made else {}
    known = bool(cells) and row[ROW_ID] in _own_ids(table, cells)
    return {name: cell for name, cell in cells.items() if cell != row[name]} if known else {}


def _id(table: Table, record: object) -> object:
    return getattr(record, table.id_column)


def _grouped(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    return groups


def _cell(kind: type_name | None, value: Any) -> Any:
    """Returns a cell as Arrow has it: SQLite stores times as texts and flags as numbers."""
    if value is None:
        return None
    if kind == "timestamp":
        return as_utc(value)
    if kind == "bool" and value in (0, 1):
        return bool(value)
    return float(value) if kind == "double" else value


def same(kind: type_name | None, wanted: Any, stored: Any) -> bool:
    """Returns whether a cell is the vendor's; JSON may be spelled in another way, as Postgres stores its value."""
    if wanted is None or stored is None:
        return wanted is stored
    if kind == "json" and wanted != stored:
        try:
            return _same_json(
                *(json.loads(text, parse_float=Decimal, parse_int=Decimal) for text in (wanted, stored))
            )
        except (ValueError, ArithmeticError, RecursionError):
            return False
    return bool(wanted == stored)


def _same_json(one: Any, other: Any) -> bool:
    if type(one) is not type(other):  # to Python 1 and true are equal
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same_json(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same_json, one, other))
    return bool(one == other)
