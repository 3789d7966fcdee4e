"""How rows come to stand in a destination: merged by dlt where it can, else with a look at what is there already.

Where dlt has no insert-only merge, the first sight of a status is kept by leaving out what was seen before. Where it
can only append, what did not change is left out, and of the rows with one key the newest of a completed load counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gapless.sources._dlt.append_only import appends
from gapless.sources._ledger.ledger import FIRST_SEEN, MERGE, Ledger
from gapless.sources._schema.arrow import Table
from gapless.sources._schema.columns import TableSchema

AT_ONCE = 2_000
"""Ids in one query: there are databases that take no long ones."""
Arrows = Iterable[tuple[TableSchema, pa.Table]]


class WriteStrategy:
    """For a destination of these capabilities, as dlt knows them."""

    def __init__(self, capabilities: Any) -> None:
        strategies = capabilities.supported_merge_strategies or ()
        self._appends = appends(capabilities)
        self._knows_first = "insert-only" in strategies and not self._appends

    def disposition(self, table: Table) -> Any:
        """What dlt is told to do with a table's rows."""
        if self._appends:
            return "append"
        if table.write_disposition is FIRST_SEEN and not self._knows_first:
            return MERGE
        return table.write_disposition

    def new(self, table: Table, tables: Arrows) -> Iterator[tuple[TableSchema, pa.Table]]:
        """Of a root table and those below it, what is to be loaded."""
        if table.write_disposition is FIRST_SEEN and not self._knows_first:
            return _unseen(table, tables)
        return _changed(tables) if self._appends else iter(tables)


def _unseen(table: Table, tables: Arrows) -> Iterator[tuple[TableSchema, pa.Table]]:
    for shape, arrow in tables:
        ids = arrow.column("_dlt_id").to_pylist()
        slices = [ids[at : at + AT_ONCE] for at in range(0, len(ids), AT_ONCE)]
        seen = [row[0] for some in slices for row in Ledger().select(table.name, ["_dlt_id"], ("_dlt_id", some))]
        yield shape, arrow.filter(pc.invert(pc.is_in(arrow.column("_dlt_id"), value_set=pa.array(seen, pa.string()))))


def _changed(tables: Arrows) -> Iterator[tuple[TableSchema, pa.Table]]:
    """Root rows that differ from what counts in the destination, in themselves or below, and all below them."""
    known = list(tables)
    ids = known[0][1].column("_dlt_id").to_pylist()
    if ids:
        before, now = Counter[Any](), Counter[Any]()
        for shape, arrow in known:
            names, root = arrow.schema.names, _root(shape)
            at = names.index(root)
            now.update((row[at], shape.name, row) for row in zip(*arrow.to_pydict().values(), strict=True))
            held = (row[:-1] for row in Ledger().select(shape.name, names, (root, ids)))
            before.update((row[at], shape.name, row) for row in held)
        differ = pa.array({root for root, *_ in (now - before) + (before - now)}, pa.string())
        known = [(s, arrow.filter(pc.is_in(arrow.column(_root(s)), value_set=differ))) for s, arrow in known]
    yield from known


def _root(shape: TableSchema) -> str:
    return "_dlt_root_id" if shape.parent else "_dlt_id"
