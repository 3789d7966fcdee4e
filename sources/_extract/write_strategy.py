"""Chooses the write disposition that a destination supports, and drops rows that need not be written.

Where dlt has no insert-only merge, rows that exist already are dropped, so that the first one stays. Where dlt can
only append, unchanged rows are dropped, and for each key the newest row of a completed load counts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import pyarrow as pa

from gapless.sources._dlt.append_only import appends
from gapless.sources._dlt.tables import LOAD_ID, ROOT_ID, ROW_ID
from gapless.sources._dlt.types import Capabilities
from gapless.sources._ledger.ledger import FIRST_SEEN, MERGE
from gapless.sources._ledger.stored.cells import Bounds
from gapless.sources._ledger.stored.reader import Ledger
from gapless.sources._schema.arrow import Table, with_ids
from gapless.sources._schema.columns import TableSchema
from gapless.sources._schema.record import ROWS_BELOW

IN_LIST_MAX = 2_000
"""Ids in one query, because some databases limit its length."""
Disposition = Any
"""dlt's write disposition: a word, or a dictionary with a strategy."""
Arrows = Iterable[tuple[TableSchema, pa.Table]]


class WriteStrategy:
    """How tables are written to a destination with these capabilities."""

    def __init__(self, capabilities: Capabilities | None, ledger: Ledger) -> None:
        """Takes the ledger, which reads what is stored; without capabilities, as in a preview, nothing is written."""
        strategies = capabilities.supported_merge_strategies or () if capabilities else ()
        self._appends = capabilities is not None and appends(capabilities)
        self._ledger = ledger
        self._inserts_only = "insert-only" in strategies and not self._appends

    @property
    def word(self) -> Literal["append", "merge"]:
        """Returns dlt's word for what becomes of most tables."""
        return "append" if self._appends else "merge"

    def disposition(self, table: Table) -> Disposition:
        """Returns dlt's write disposition for a table."""
        if self._appends:
            return "append"
        if table.write_disposition is FIRST_SEEN and not self._inserts_only:
            return MERGE
        return table.write_disposition

    def rows_to_load(self, table: Table, tables: Arrows) -> Iterator[tuple[TableSchema, pa.Table]]:
        """Yields the tables of a tree with the rows to load; `tables` begins with the root table."""
        if table.write_disposition is FIRST_SEEN and not self._inserts_only:
            return _new_rows(self._ledger, table, tables)
        return _changed(self._ledger, tables) if self._appends else iter(tables)


def _new_rows(ledger: Ledger, table: Table, tables: Arrows) -> Iterator[tuple[TableSchema, pa.Table]]:
    # The first time a status is seen is a fact that a later sync must not replace.
    for shape, arrow in tables:
        ids = arrow.column(ROW_ID).to_pylist()
        slices = [ids[at : at + IN_LIST_MAX] for at in range(0, len(ids), IN_LIST_MAX)]
        stored = [row[0] for some in slices for row in ledger.select(table.name, [ROW_ID], (ROW_ID, some))]
        yield shape, with_ids(arrow, ROW_ID, stored, wanted=False)


def _changed(ledger: Ledger, tables: Arrows) -> Iterator[tuple[TableSchema, pa.Table]]:
    """Yields the records that differ from the stored ones, in any row, with all of their rows."""
    trees = list(tables)
    if trees[0][1].num_rows:
        differ = changed_roots(ledger, trees)
        trees = [(shape, with_ids(arrow, _root(shape), differ)) for shape, arrow in trees]
    yield from trees


def changed_roots(
    ledger: Ledger, trees: Sequence[tuple[TableSchema, pa.Table]], time: str | None = None, *, known: bool = False
) -> set[str]:
    """Returns the `_dlt_id` of the records that differ, in any row, from those that completed loads have stored.

    `known` says that nobody but syncs has changed rows: then rows below a record are of the load that brought it, and
    the record was created at its `time`. An engine without indexes skips what is older.
    """
    ids = trees[0][1].column(ROW_ID).to_pylist()
    times = trees[0][1].column(time).to_pylist() if known and time in trees[0][1].column_names else []
    bounds = Bounds.of(time, times)
    before, now = Counter[Any](), Counter[Any]()
    for shape, rows in trees if ids else ():
        # A count that an older version did not write is no change; what it counts is compared itself.
        arrow = rows.drop_columns([name for name in rows.schema.names if name == ROWS_BELOW])
        names, root = arrow.schema.names, _root(shape)
        at = names.index(root)
        comparable = _Comparable(shape, names if ledger.decodes_json else [])
        now.update(
            (row[at], shape.name, comparable(row, decoded=False))
            for row in zip(*arrow.to_pydict().values(), strict=True)
        )
        columns = [*names, LOAD_ID] if known else names
        stored = [row[:-1] for row in ledger.select(shape.name, columns, (root, ids), bounds) if row[-1]]
        # Child rows are part of the comparison: a changed item must bring its whole record.
        before.update((row[at], shape.name, comparable(row[: len(names)], decoded=True)) for row in stored)
        if known and not shape.parent:
            bounds = Bounds.of(LOAD_ID, (row[-1] for row in stored))
    # Both ways, because a row that is not served any more makes a difference as well.
    return {root for root, *_ in (now - before) + (before - now)}


class _Comparable:
    """Makes rows comparable where the driver decodes JSON, as Postgres' does: by value, not by spelling."""

    def __init__(self, shape: TableSchema, names: Sequence[str]) -> None:
        json_columns = {column.name for column in shape.columns if column.data_type == "json"}
        self._at = [at for at, name in enumerate(names) if name in json_columns]

    def __call__(self, row: Sequence[Any], *, decoded: bool) -> tuple[Any, ...]:
        """Returns a row whose cells can be hashed; `decoded` as the driver returned it, else with JSON as text."""
        cells = [*row]
        for at in self._at:
            cell = cells[at]
            cells[at] = None if cell is None else by_value(cell if decoded else json.loads(cell))
        return tuple(cells)


def by_value(value: Any) -> Any:
    """Returns a JSON value as one that can be hashed, and is equal for equal values, whatever their spelling."""
    if isinstance(value, dict):
        return frozenset((key, by_value(one)) for key, one in value.items())
    if isinstance(value, list):
        return tuple(map(by_value, value))
    return (type(value) is bool, value)


def _root(shape: TableSchema) -> str:
    return ROOT_ID if shape.parent else ROW_ID
