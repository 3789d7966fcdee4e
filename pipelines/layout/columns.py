"""Changes the columns that are there to what a changed model says: wider types, and columns that may be null now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from gapless.pipelines.destinations._catalogs.obstacle import Made
from gapless.pipelines.errors import GaplessError
from gapless.pipelines.views.catalog import SCHEMA
from gapless.pipelines.views.refresh import views
from gapless.pipelines.views.view import MARK
from gapless.sources import Source
from gapless.sources._dlt.tables import PREFIX
from gapless.sources._schema.columns import Column, TableSchema

if TYPE_CHECKING:
    import dlt

    from gapless.sources._dlt.types import SqlClient

Stored = Mapping[str, Mapping[str, Made]]
"""Columns by table, as dlt's stored schema has them."""
WIDER = {
    ("bigint", "double"), ("bigint", "text"), ("double", "text"), ("bool", "text"),
    ("text", "json"), ("bigint", "json"), ("double", "json"), ("bool", "json"),
}  # fmt: skip
"""Changes of a type, from and to, that keep every value."""
TYPES = {"text": "varchar", "double": "double precision", "json": "json"}
"""The types of DuckDB and Postgres that columns are widened to."""
NULLABLE = "alter column {0} drop not null"
Change = tuple[str, str]
"""A column, and what is done to it, with {0} for its quoted name."""


def adapt(pipeline: dlt.Pipeline, source: Source, stored: Stored, real: Mapping[str, set[str]]) -> None:
    """Widens the columns whose type the model changed, and lets columns be null that rows need not have any more.

    Each change is one statement, and harmless when it is done again. Raises GaplessError for a change that would lose
    values, for a new column that no row may lack, and where the destination cannot change a type.
    """
    from gapless.sources._extract.resource import shapes

    kind = pipeline.destination.destination_type.rpartition(".")[2]
    for shape in shapes(source.tables):
        made = stored.get(shape.name, {})
        here = {name: one for name, one in made.items() if name in real.get(shape.name, ())}
        if here:
            changes = [*_changes(source, shape, here, kind)]
            if changes:
                _change(pipeline, source, shape.name, changes)


def unnamed(source: Source, stored: Stored) -> Iterator[str]:
    """Yields a message for each column that a sync made and that the model does not name any more."""
    from gapless.sources._extract.resource import shapes

    for shape in shapes(source.tables):
        named = {column.name for column in shape.columns}
        for name in stored.get(shape.name, {}):
            if name not in named and not name.startswith(PREFIX):
                yield (
                    f"{shape.name}.{name} is not in the model any more: what rows hold there stays, and new rows have"
                    " null"
                )


def _changes(source: Source, shape: TableSchema, made: Mapping[str, Made], kind: str) -> Iterator[Change]:
    named = {column.name: column for column in shape.columns}
    for column in shape.columns:
        before = made.get(column.name)
        if before is None and not column.nullable and not column.name.startswith(PREFIX):
            raise GaplessError(
                f"{source.name}: {shape.name}.{column.name} is new in the model and may not be null, but rows are"
                " here without it: make it `| None = None`"
            )
        if before and before.type and before.type != column.data_type:
            yield from _widened(source, shape.name, column, before.type, kind)
    for name, before in made.items():
        gone = name not in named and not name.startswith(PREFIX)
        if not before.nullable and not before.key and (gone or (name in named and named[name].nullable)):
            if kind == "sqlalchemy":
                raise GaplessError(
                    f"{source.name}: {shape.name}.{name} is null in new rows, and may not be in the database, which"
                    " SQLite cannot change: sync into a new one"
                )
            yield name, NULLABLE


def _widened(source: Source, table: str, column: Column, before: str, kind: str) -> Iterator[Change]:
    where = f"{source.name}: {table}.{column.name} is {column.data_type} in the model and {before} in the database"
    if (before, column.data_type) not in WIDER:
        raise GaplessError(f"{where}, and not every value would fit: give the field another name")
    if kind not in ("duckdb", "postgres"):
        raise GaplessError(f"{where}, and {kind} cannot change it: give the field another name, or sync anew")
    type_ = TYPES[column.data_type] if kind == "duckdb" or column.data_type != "json" else "jsonb"
    value = f"to_{type_}({{0}})" if column.data_type == "json" else f"cast({{0}} as {type_})"
    yield column.name, f"alter column {{0}} set data type {type_} using {value}"


def _change(pipeline: dlt.Pipeline, source: Source, table: str, changes: list[Change]) -> None:
    with pipeline.sql_client() as client:
        if pipeline.destination.destination_type.endswith("postgres"):
            # A view keeps the type of its columns. Ours are made again at the end of the sync.
            for view in (MARK, *(view.name for view in reversed(views()))):
                client.execute_sql(f"drop view if exists {SCHEMA}.{view}")
            staging = f"{client.escape_column_name(f'{source.name}_staging')}.{client.escape_column_name(table)}"
            client.execute_sql(f"drop table if exists {staging}")
        for column, change in changes:
            # DuckLake refuses it a second time, after an upgrade that was killed.
            if change == NULLABLE and _may_be_null(client, source.name, table, column):
                continue
            statement = f"alter table {client.make_qualified_table_name(table)} {change}"
            client.execute_sql(statement.format(client.escape_column_name(column)))


def _may_be_null(client: SqlClient, dataset: str, table: str, column: str) -> bool:
    where = "table_schema = %s and table_name = %s and column_name = %s"
    select = f"select is_nullable from information_schema.columns where {where}"
    return ("YES",) in [tuple(row) for row in client.execute_sql(select, dataset, table, column) or ()]
