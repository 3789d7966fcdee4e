"""Obstacles in a DuckDB file or a DuckLake, as DuckDB's own catalog shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from gapless.pipelines.destinations._catalogs.obstacle import (
    Asked,
    Dataset,
    Engine,
    Found,
    Obstacle,
    is_key,
    quoted,
    wrong_columns,
)

OURS = "schema_name = '{0}' and database_name = current_database()"
VIEWS = f"select view_name from duckdb_views() where {OURS} and view_name in ({{1}})"
COLUMNS = (
    "select c.table_name, c.column_name, c.data_type, not c.is_nullable, c.column_default is not null, t.sql"
    " from duckdb_columns() c join duckdb_tables() t using (database_name, schema_name, table_name)"
    f" where {OURS} and c.table_name in ({{1}})"
)
CONSTRAINTS = (
    "select table_name, constraint_type, constraint_column_names from duckdb_constraints()"
    f" where {OURS} and constraint_type <> 'NOT NULL' and table_name in ({{1}})"
)
REFERENCES = (
    "select referenced_table, schema_name, table_name from duckdb_constraints()"
    f" where {OURS} and constraint_type = 'FOREIGN KEY' and referenced_table in ({{1}})"
)
INDEXES = (
    "select table_name, index_name, is_unique, expressions from duckdb_indexes()"
    f" where {OURS} and table_name in ({{1}})"
)
REBUILD = "create table {table}__new as from {table}; drop table {table}; alter table {table}__new rename to {name};"
"""DuckDB cannot drop a constraint, but a table made of the rows has none."""
DUCKDB = Engine(
    types={
        "text": "VARCHAR", "bigint": "BIGINT", "double": "DOUBLE", "bool": "BOOLEAN", "json": "JSON",
        "timestamp": "TIMESTAMP WITH TIME ZONE",
    },
    retyped="alter table {table} alter column {column} set data type {type};",
    nullable="alter table {table} alter column {column} drop not null;",
    plain=REBUILD,
)  # fmt: skip


def obstacles(reader: Asked, dataset: Dataset) -> Iterator[Obstacle]:
    """Yields what keeps a sync from writing to the dataset."""
    asked = partial(dataset.ask, reader)

    def rebuild(table: str) -> str:
        return REBUILD.format(table=dataset.named(table), name=table)

    for (view,) in asked(VIEWS):
        what = "is a view, so nothing can be written to it"
        full = dataset.named(str(view))
        yield Obstacle(f"the table {full}", what, f"drop view {full};", str(view))
    for found, name, unique, expressions in asked(INDEXES):
        table = str(found)
        yield from _index(dataset, table, str(name), bool(unique), str(expressions))
    for found, kind, columns in asked(CONSTRAINTS):
        table = str(found)
        unique = kind in ("UNIQUE", "PRIMARY KEY")
        if not (unique and is_key(list(columns or ()), dataset.tables[table])):
            what = f"has a constraint ({str(kind).lower()}), which may refuse rows"
            yield Obstacle(f"the table {dataset.named(table)}", what, rebuild(table))
    for referenced, schema, table_name in asked(REFERENCES):
        # A table of ours that refers to another is told by CONSTRAINTS.
        if table_name not in dataset.tables:
            what = f"is referred to by a foreign key of {schema}.{table_name}, so its rows cannot be replaced"
            drop = REBUILD.format(table=f"{schema}.{table_name}", name=table_name)
            yield Obstacle(f"the table {dataset.named(str(referenced))}", what, drop)
    yield from _columns(dataset, asked(COLUMNS))


def _index(dataset: Dataset, table: str, name: str, unique: bool, expressions: str) -> Iterator[Obstacle]:
    drop = f"drop index {dataset.name}.{quoted(name)};"
    # DuckDB gives the columns of an index as one text, such as `[id, '"na me"']`.
    columns = [one.strip(" \"'") for one in expressions.strip("[]").split(",")]
    if unique and not is_key(columns, dataset.tables[table]):
        what = f"has the unique index {name}, which may refuse rows"
        yield Obstacle(f"the table {dataset.named(table)}", what, drop)
    elif table in dataset.lacking:
        what = f"lacks columns, which DuckDB adds to no table with an index, as {name}"
        yield Obstacle(f"the table {dataset.named(table)}", what, drop)


def _is_computed(column: str, sql: str) -> bool:
    return re.search(rf'"?\b{re.escape(column)}\b"? [^,]*GENERATED ALWAYS', sql) is not None


def _columns(dataset: Dataset, rows: list[tuple[object, ...]]) -> Iterator[Obstacle]:
    found: dict[str, dict[str, Found]] = {}
    for table, column, type_, not_null, default, sql in rows:
        # DuckDB's catalog tells a computed column only by the statement that made the table. Most tables compute
        # nothing, and a pattern for each column costs as much as the query.
        computed = "GENERATED ALWAYS" in str(sql) and _is_computed(str(column), str(sql))
        held = Found(str(type_), bool(not_null), computed, bool(default))
        found.setdefault(str(table), {})[str(column)] = held
    for table, columns in found.items():
        yield from wrong_columns(dataset, table, columns, DUCKDB)
