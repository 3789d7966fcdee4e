"""Turns a session's load packages into one dlt resource that loads a tree of real nested tables.

dlt 1.31 makes nested tables only of rows that it normalizes itself; the hints of `_hints` and
`_dlt/internals.py` are all it takes to make them of Arrow tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dlt
import pyarrow as pa
from dlt.sources import DltResource

from gapless.sources._dlt.internals import name_root_resources
from gapless.sources._dlt.tables import LOAD_ID, PARENT_ID, ROOT_ID, ROW_ID
from gapless.sources._dlt.types import State
from gapless.sources._extract.write_strategy import Arrows, Disposition, WriteStrategy
from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, RUNS, Ledger
from gapless.sources._ledger.session import LoadItem, Session
from gapless.sources._schema.arrow import Table
from gapless.sources._schema.columns import TableSchema
from gapless.sources._schema.destination_limits import storage_check
from gapless.sources._schema.privacy import NOTHING_PRIVATE, Privacy

DLT_COLUMNS: dict[str, dict[str, Any]] = {
    ROW_ID: {"row_key": True, "unique": True},
    PARENT_ID: {"parent_key": True},
    ROOT_ID: {"root_key": True},
}
"""What dlt must know of the columns that it would make itself for rows."""


def shapes(tables: Sequence[Table]) -> list[TableSchema]:
    """Returns every table of these trees: each root table and the tables below it."""
    return [shape for table in tables for shape in table.schema.tree()]


def tree_resource(
    tables: Sequence[Table],
    read: Callable[[Ledger, State], Iterator[LoadItem]],
    session: Session,
    privacy: Privacy = NOTHING_PRIVATE,
) -> DltResource:
    """Returns a resource named after the first of `tables`; each extraction yields the session's next load package.

    `read` receives the ledger and the resource's state and yields the load items of a whole sync. The ledger's own
    tables are loaded with it.
    """

    def read_trees(state: State) -> Iterator[tuple[Table, Arrows]]:
        session.refuse = storage_check(dlt.current.pipeline().destination.destination_type)
        package = session.next_package(lambda: read(Ledger(session.shard), dict(state)), state)
        # The ledger is in the same package as the records, so that a crash leaves both or neither.
        for table in (*tables, COVERAGE, DEAD_LETTERS, RUNS):
            yield table, ((shape, privacy.apply(shape, arrow)) for shape, arrow in package.tables(table))

    return table_resource(tables[0], read_trees)


def table_resource(main: Table, read_trees: Callable[[State], Iterator[tuple[Table, Arrows]]]) -> DltResource:
    """Returns a resource named after `main`; each extraction yields the trees of columns from `read_trees`.

    `read_trees` receives the resource's state and changes it to what it is once they are loaded.
    """

    def rows() -> Iterator[Any]:
        name_root_resources()
        load_id = dlt.current.load_package_state()["load_id"]
        strategy = WriteStrategy(dlt.current.pipeline().destination.capabilities())
        for table, trees in read_trees(dlt.current.resource_state()):
            for shape, arrow in strategy.rows_to_load(table, trees):
                hints = _hints(table, shape, strategy.disposition(table))
                yield dlt.mark.with_hints(_of_load(arrow, load_id), hints, create_table_variant=True)

    return dlt.resource(rows, name=main.name, primary_key=main.key, write_disposition=main.write_disposition)


def _of_load(arrow: pa.Table, load_id: str) -> pa.Table:
    """Adds `_dlt_load_id`: dlt adds it to Arrow tables only if configured, and the ledger depends on it."""
    ids = pa.repeat(pa.scalar(load_id), arrow.num_rows)
    return arrow.append_column(pa.field(LOAD_ID, pa.string(), nullable=False), ids)


def _hints(table: Table, shape: TableSchema, write_disposition: Disposition) -> Any:
    columns: dict[str, Any] = {c.name: {"data_type": c.data_type, "nullable": c.nullable} for c in shape.columns}
    # Arrow tables skip dlt's normalizer, which would add these columns.
    keys = [name for name in (*shape.arrow_schema.names, LOAD_ID) if name not in columns]
    columns |= {name: {"nullable": False, **DLT_COLUMNS.get(name, {})} for name in keys}
    if shape.parent:
        return dlt.mark.make_hints(
            table_name=shape.name, parent_table_name=shape.parent, primary_key=(), columns=columns
        )
    return dlt.mark.make_hints(
        table_name=shape.name,
        primary_key=table.key,
        write_disposition=write_disposition,
        columns=columns,
    )
