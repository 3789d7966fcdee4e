"""A view's SQL, which is DuckDB's, for another engine and for the tables that are there. Asks no database.

sqlglot carries nearly all of it; the few things that it leaves as they are, or carries to something that depends on
the reader's time zone, are spelled out here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import Any

import sqlglot
from sqlglot import exp

from gapless.sources import SOURCES

Node = Any
"""An expression of sqlglot's, whose types are not the same in every version."""
Path = Callable[[str, str], list[str]]
"""Dataset and table -> the parts of the table's name on the engine, the last one its own."""
Fold = Callable[[str], str]
"""What an engine makes of a name that is not quoted."""

DAY = {
    "clickhouse": "toDate({}, 'UTC')",
    "databricks": "cast(to_utc_timestamp({}, current_timezone()) as date)",
    "bigquery": "date({}, 'UTC')",
}
"""The day in UTC of an instant."""
SECONDS = {
    "postgres": "cast(floor(extract(epoch from {1})) - floor(extract(epoch from {0})) as bigint)",
    "bigquery": "unix_seconds({1}) - unix_seconds({0})",
    "databricks": "unix_seconds({1}) - unix_seconds({0})",
}
"""Between two instants, each taken down to its whole second."""
TYPES = {
    "text": "varchar", "bigint": "bigint", "double": "double", "bool": "boolean", "json": "json",
    "timestamp": "timestamptz",
}  # fmt: skip


def created(name: str, text: str, dialect: str, missing: Collection[str], path: Path, fold: Fold = str) -> str:
    """The statement that makes the view `activity.<name>` of the query `text`, without what is `missing`."""
    query = _parsed(text).copy()
    if missing:
        query = _of_what_is_there(query, frozenset(missing))
    query = _spelled(query, dialect)
    for table in list(query.find_all(exp.Table)):
        if table.db:
            table.replace(_table(path(table.db, table.name), table.alias or table.name))
    for identifier in query.find_all(exp.Identifier):
        if not identifier.meta.get("whole"):
            identifier.replace(exp.to_identifier(fold(identifier.name), quoted=True))
    view = exp.Create(this=_table(path("activity", name)), kind="VIEW", replace=True, expression=query)
    sql = view.sql(dialect, comments=False)
    # Without it a row that found no partner has empty texts where there should be nulls.
    return f"{sql} SETTINGS join_use_nulls = 1" if dialect == "clickhouse" and query.find(exp.Join) else sql


@cache
def _parsed(text: str) -> Node:
    return sqlglot.parse_one(text, dialect="duckdb")


def _table(parts: list[str], alias: str = "") -> Node:
    names = [exp.to_identifier(part, quoted=True) for part in reversed(parts)]
    for name in names:
        name.meta["whole"] = True
    table = exp.Table(**dict(zip(("this", "db", "catalog"), names, strict=False)))
    return exp.alias_(table, alias, table=True) if alias else table


def _of_what_is_there(query: Node, missing: frozenset[str]) -> Node:
    """Branches of unions that need a missing table are left out. A query of which nothing is left has no rows."""
    own = {name for name in _tables(query) if not name.startswith("activity.")}
    if own and own <= missing:
        return exp.select("*").from_(_emptied(query, missing).subquery("nothing")).where("1 = 0")
    for union in reversed(list(query.find_all(exp.Union))):  # from the inside
        left, right = union.left, union.right
        if _tables(right) & missing:
            query = _put(query, union, left)
        elif _tables(left) & missing:
            query = _put(query, union, right)
    return _emptied(query, missing)


def _put(query: Node, old: Node, new: Node) -> Node:
    if old is query:
        new.pop()
        return new
    old.replace(new)
    return query


def _emptied(query: Node, missing: frozenset[str]) -> Node:
    """For each missing table one with its columns and no rows."""
    used = {column.name for column in query.find_all(exp.Column)}
    for table in list(query.find_all(exp.Table)):
        if _name(table) in missing:
            columns = _columns(table.db, table.name)
            wanted = [column for column in columns if column in used] or list(columns)
            nulls = [_null(columns[column]).as_(column) for column in wanted]
            table.replace(exp.select(*nulls).where("1 = 0").subquery(table.alias or table.name))
    return query


def _tables(query: Node) -> set[str]:
    return {_name(table) for table in query.find_all(exp.Table) if table.db}


def _name(table: exp.Table) -> str:
    return f"{table.db}.{table.name}"


def _null(kind: str) -> Node:
    return exp.cast(exp.null(), exp.DataType.build(TYPES[kind]))


@cache
def _columns(source: str, table: str) -> dict[str, str]:
    """Column -> dlt's type, as the models have them."""
    from gapless.sources._dlt.tables import LIST_INDEX, LOAD_ID, LOADS, LOADS_COLUMNS
    from gapless.sources._extract.resource import shapes
    from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, RUNS

    if table == LOADS:
        return LOADS_COLUMNS
    tables = (*SOURCES[source].tables, COVERAGE, DEAD_LETTERS, RUNS)
    (shape,) = (shape for shape in shapes(tables) if shape.name == table)
    keys = {name: "bigint" if name == LIST_INDEX else "text" for name in shape.arrow_schema.names}
    return {**keys, LOAD_ID: "text", **{column.name: column.data_type for column in shape.columns}}


def _spelled(query: Node, dialect: str) -> Node:
    """Days and durations as the engine has them."""

    def own(node: Node) -> Any:
        if dialect in SECONDS and isinstance(node, exp.DateDiff):
            return _filled(SECONDS[dialect], dialect, node.expression, node.this)
        if dialect in DAY and isinstance(node, exp.Cast) and isinstance(node.this, exp.AtTimeZone):
            return _filled(DAY[dialect], dialect, node.this.this)
        return node

    return query.transform(own)


def _filled(pattern: str, dialect: str, *arguments: Node) -> Node:
    return sqlglot.parse_one(pattern.format(*(arg.sql("duckdb") for arg in arguments)), dialect=dialect)
