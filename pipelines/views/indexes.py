"""Indexes by which the views, the page and the proofs find rows in Postgres: by time, parent, object, or row above.

The merge has indexes of its own, which a table is made with. These are made with the views: once, and for a first
sync after its rows, which costs less. Columnar engines read a column as fast as an index.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING

from gapless.sources import SOURCES, Source
from gapless.sources._dlt.tables import PARENT_ID

if TYPE_CHECKING:
    from gapless.pipelines.views.catalog import Catalog

_log = logging.getLogger(__name__)
BY_ORDER, BY_VALUE = "btree", "hash"
"""The second one for texts, as a b-tree refuses long ones."""


def wanted(source: Source) -> Iterator[tuple[str, str, str]]:
    """Yields tables of a source, an SQL expression of their columns to index, and how."""
    for table in source.tables:
        if table.time_column:
            yield table.name, table.time_column, BY_ORDER
        for shape in table.schema.tree():
            if shape.parent:
                yield shape.name, PARENT_ID, BY_VALUE
    if column := source.stream.column:
        yield source.main.name, column, BY_VALUE
    for entity in source.facts.entities:
        table_name, _, expression = entity.partition(": ")
        yield table_name, expression, BY_VALUE


def make_indexes(catalog: Catalog, existing: Collection[str]) -> None:
    """Makes the indexes that tables among `existing` (`dataset.table`) lack; logs an error instead of raising it."""
    if catalog.dialect != "postgres":
        return
    try:
        catalog.run([*_statements(catalog, existing)])
    except Exception as error:  # the tables may be somebody else's, and every question is answered without them
        _log.info("indexes for queries could not be made: %s", error)


def _statements(catalog: Catalog, existing: Collection[str]) -> Iterator[str]:
    for name, source in SOURCES.items():
        schema = catalog.schema(name)
        for table, column, how in wanted(source):
            if f"{name}.{table}" in existing:
                # A name of our own, so that the next time finds it, whatever the length of the others.
                mark = blake2b(f"{table}.{column}".encode(), digest_size=4).hexdigest()
                written = f'"{column}"' if column.isidentifier() else f"({column})"
                index = f"{table[:40]}_{mark}_idx"
                yield f'create index if not exists "{index}" on "{schema}"."{table}" using {how} ({written})'
