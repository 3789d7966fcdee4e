"""Compares rows cell by cell: what the vendor serves, as columns the way a sync makes them, with what is here.

A chunk of records at a time, with one query for each table, so that memory stays flat. A difference names the table,
the record and the columns; never a cell's content, which may be personal data.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from gapless.pipelines.destinations.reader import Reader, reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.evidence.policy import columns_of_today
from gapless.pipelines.evidence.proofs import as_utc
from gapless.pipelines.verify.found import Corrections, Difference
from gapless.sources import Source
from gapless.sources._dlt.tables import ROOT_ID, ROW_ID
from gapless.sources._schema.arrow import Batch, Table, digest
from gapless.sources._schema.columns import TableSchema, type_name

CHUNK = 500
"""Records compared at once."""
CLOCK = datetime(1, 1, 1, tzinfo=UTC)
"""Stands for the time of the comparison: a cell that holds it is a time of ours, which the vendor cannot tell."""
Row = Mapping[str, Any]


class Cells:
    """Compares records of one source with the rows that they have here."""

    def __init__(self, target: Target, source: Source) -> None:
        """Raises WrongSettings for a privacy policy that is wrong: hashed and dropped cells are compared as such."""
        self._target, self._source = target, source
        self._to_arrow = columns_of_today(source)
        self._columns: dict[str, set[str]] | None = None
        self.corrections: Corrections = {}

    def differences(self, batches: Sequence[Batch], *, must_be_here: bool = False) -> Iterator[Difference]:
        """Yields what differs: of the records of the first batch, and of the rows derived from them.

        A record that is not here differs only if it `must_be_here`.
        """
        (table, records), *derived = [(batch.table, batch.records) for batch in batches]
        ids = {digest(*(getattr(one, name) for name in table.key)): str(_id(table, one)) for one in records}
        with reading(self._target) as reader:
            if self._columns is None:
                names = [shape.name for one in self._source.tables for shape in one.schema.tree()]
                self._columns = reader.columns(self._source.name, names)
            here = set(ids)
            yield from self._tree(reader, table, records, ids, here, must_be_here=must_be_here)
            for other, rows in derived:
                (of,) = other.model.parent_columns
                own = [row for row in rows if digest(getattr(row, of)) in here]
                owners = {digest(*(getattr(row, key) for key in other.key)): str(getattr(row, of)) for row in own}
                yield from self._tree(reader, other, own, owners, set(owners), must_be_here=True)

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
                here &= stored.keys()
            for root in (one for one in made.ids if one in here):
                rows = _RowsOfRecord(shape, names, wanted.get(root, []), stored.get(root, []))
                if rows.differ:
                    if not shape.parent:
                        self._correct(table, shape, rows)
                    yield Difference(shape.name, ids[root], tuple(rows.columns), rows.missing, rows.extra)

    def _correct(self, table: Table, shape: TableSchema, rows: _RowsOfRecord) -> None:
        """Notes the cells that a load does not replace: keys, and all of a derived row, which stays as first seen."""
        replaced = table in (self._source.main, self._parents)
        cells = {n: rows.wanted[0][n] for n in rows.columns if n in table.key or not replaced}
        if cells:
            self.corrections.setdefault(shape.name, {})[rows.wanted[0][ROW_ID]] = cells

    @property
    def _parents(self) -> Table | None:
        parents = self._source.stream.parents
        return parents.table if parents else None

    def _names(self, shape: TableSchema) -> list[str]:
        """Returns the columns to compare; one that no sync has added yet is not here."""
        here = {name.lower() for name in (self._columns or {}).get(shape.name, ())}
        return [name for name in shape.arrow_schema.names if not here or name.lower() in here]

    def _stored(
        self, reader: Reader, shape: TableSchema, names: Sequence[str], owner: str, ids: Sequence[str]
    ) -> Iterator[Row]:
        kinds: dict[str, type_name] = {column.name: column.data_type for column in shape.columns}
        # As text, because drivers that decode JSON lose digits of numbers.
        cells = ", ".join(f'cast("{n}" as varchar)' if kinds.get(n) == "json" else f'"{n}"' for n in names)
        listed = ", ".join(f"'{one}'" for one in ids)
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
    if wanted == CLOCK:
        return True
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
