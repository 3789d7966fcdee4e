"""Says which columns the tables have that views read, as today's models and ledger declare them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from gapless.sources import SOURCES


@cache
def columns_of(source: str, table: str) -> dict[str, str]:
    """Returns dlt's type by column of a source's table; none of a table that is not ours."""
    from gapless.sources._dlt.tables import LIST_INDEX, LOAD_ID, LOADS, LOADS_COLUMNS
    from gapless.sources._extract.resource import shapes
    from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, RUNS

    if table == LOADS:
        return LOADS_COLUMNS
    tables = (*SOURCES[source].tables, COVERAGE, DEAD_LETTERS, RUNS) if source in SOURCES else ()
    shape = next((shape for shape in shapes(tables) if shape.name == table), None)
    if shape is None:
        return {}
    keys = {name: "bigint" if name == LIST_INDEX else "text" for name in shape.arrow_schema.names}
    return {**keys, LOAD_ID: "text", **{column.name: column.data_type for column in shape.columns}}


def model_columns(tables: Iterable[str]) -> set[str]:
    """Returns all columns of these tables (`dataset.name`), as `dataset.name.column`."""
    named = (table.partition(".") for table in tables)
    return {f"{dataset}.{name}.{column}" for dataset, _, name in named for column in columns_of(dataset, name)}
