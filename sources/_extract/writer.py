"""Gives dlt the rows of our tables, each under its name in this dataset, with the hints that Arrow rows need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dlt
import pyarrow as pa

from gapless.sources._dlt.internals import DataItemWithMeta
from gapless.sources._dlt.tables import LOAD_ID
from gapless.sources._extract.extraction import Extraction
from gapless.sources._extract.hints import name_variant
from gapless.sources._extract.write_strategy import Arrows
from gapless.sources._schema.arrow import Table
from gapless.sources._schema.columns import TableSchema


class Writer:
    """Makes the items of one resource for one load package; `main` is the table that dlt gives the resource."""

    def __init__(self, extraction: Extraction, main: Table) -> None:
        self._extraction, self._main = extraction, main
        self._written, self._variants = set[str](), set[str]()

    def tree(self, table: Table, tree: Arrows) -> Iterator[Any]:
        """Yields Arrow rows under the names of `table`; once also a table without a row, so that it is made."""
        named = ((shape, arrow) for shape, (_, arrow) in zip(table.schema.tree(), tree, strict=True))
        for shape, arrow in self._extraction.strategy.rows_to_load(table, named):
            if arrow.num_rows or shape.name not in self._written:
                # dlt adds the load's id to Arrow tables only if configured, and the ledger depends on it.
                ids = pa.repeat(pa.scalar(self._extraction.load_id), arrow.num_rows)
                field = pa.field(LOAD_ID, pa.string(), nullable=False)
                yield self.item(table, shape, arrow.append_column(field, ids))

    def item(self, table: Table, shape: TableSchema, rows: Any) -> Any:
        """Returns rows of `shape`, Arrow or dictionaries, as an item for dlt."""
        self._written.add(shape.name)
        resource, is_main = dlt.current.resource(), shape.name == self._main.name
        disposition = self._extraction.strategy.disposition(table)
        if is_main and shape.name == resource.table_name and disposition == table.write_disposition:
            return DataItemWithMeta(None, rows)
        if shape.name not in self._variants:
            self._variants.add(shape.name)
            # A user's own disposition of the resource stays, unless the destination can only append.
            appends = disposition == "append" and not self._extraction.replaces
            own = disposition if appends else resource.write_disposition
            disposition = own if is_main else self._extraction.disposition(table)
            name_variant(resource, shape, table, disposition, own_format=self._extraction.own_session)
        return dlt.mark.with_table_name(rows, shape.name)
