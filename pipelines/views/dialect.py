"""Translates a view's SQL from DuckDB to another engine, without missing tables. Opens no connection.

sqlglot translates nearly all of it. Functions that it leaves unchanged, or translates to something that depends on
the session's time zone, are translated here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import Any

import sqlglot
from sqlglot import exp

from gapless.pipelines.views.models import columns_of

Node = Any
"""An expression of sqlglot, whose types differ between versions."""
Path = Callable[[str, str], list[str]]
"""Dataset and table -> the parts of the table's name in the engine, from the outermost."""
Fold = Callable[[str], str]
"""How an engine changes the case of a name without quotes."""

DAY = {
    "clickhouse": "toDate({}, 'UTC')",
    "databricks": "cast(to_utc_timestamp({}, current_timezone()) as date)",
    "bigquery": "date({}, 'UTC')",
}
"""SQL for the day of a time, in UTC."""
SECONDS = {
    "postgres": "cast(floor(extract(epoch from {1})) - floor(extract(epoch from {0})) as bigint)",
    "bigquery": "unix_seconds({1}) - unix_seconds({0})",
    "databricks": "unix_seconds({1}) - unix_seconds({0})",
}
"""SQL for the seconds between two times, each rounded down to a whole second."""
MILLISECONDS = {
    "postgres": "cast(floor((extract(epoch from {1}) - extract(epoch from {0})) * 1000) as bigint)",
    "bigquery": "unix_millis({1}) - unix_millis({0})",
    "databricks": "unix_millis({1}) - unix_millis({0})",
}
"""SQL for the milliseconds between two times, rounded down."""
TEXT_OF_JSON = {"postgres": "cast({} as jsonb) #>> {}"}
"""SQL for the text of a JSON value at a path; sqlglot writes a function for `json`, and dlt's columns are `jsonb`."""
TYPES = {
    "text": "varchar", "bigint": "bigint", "double": "double", "bool": "boolean", "json": "json",
    "timestamp": "timestamptz",
}  # fmt: skip


def create_view(name: str, text: str, dialect: str, missing: Collection[str], path: Path, fold: Fold = str) -> str:
    """Returns the statement that creates the view `activity.<name>` from `text`, without what is `missing`.

    That are tables (`dataset.name`) and columns (`dataset.name.column`).
    """
    # A copy, because the parsed query serves the next call, too.
    query = _parsed(text).copy()
    columns = {name for name in missing if name.count(".") > 1}
    if tables := frozenset(missing) - columns:
        query = _without_missing(query, tables)
    if columns:
        query = _with_nulls(query, columns)
    query = _translate_functions(query, dialect)
    for table in list(query.find_all(exp.Table)):
        if table.db:
            table.replace(_table(path(table.db, table.name), table.alias or table.name))
    for identifier in query.find_all(exp.Identifier):
        # Names of tables come from dlt as the engine has them; the case of all others is the engine's.
        if not identifier.meta.get("whole"):
            identifier.replace(exp.to_identifier(fold(identifier.name), quoted=True))
    view = exp.Create(this=_table(path("activity", name)), kind="VIEW", replace=True, expression=query)
    sql = view.sql(dialect, comments=False)
    # Without it ClickHouse fills the columns of an unmatched row with empty texts instead of nulls.
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


def _without_missing(query: Node, missing: frozenset[str]) -> Node:
    """Removes the branches of unions that need a missing table; a query without any branch has no rows."""
    own = {name for name in _tables(query) if not name.startswith("activity.")}
    if own and own <= missing:
        return exp.select("*").from_(_replace_missing(query, missing).subquery("nothing")).where("1 = 0")
    for union in reversed(list(query.find_all(exp.Union))):  # from the inside
        left, right = union.left, union.right
        if _tables(right) & missing:
            query = _replace(query, union, left)
        elif _tables(left) & missing:
            query = _replace(query, union, right)
    return _replace_missing(query, missing)


def _replace(query: Node, old: Node, new: Node) -> Node:
    """Returns the query with `new` in the place of `old`, which may be the whole query."""
    if old is query:
        new.pop()
        return new
    old.replace(new)
    return query


def _replace_missing(query: Node, missing: frozenset[str]) -> Node:
    """Replaces each missing table by one with its columns and no rows."""
    used = {column.name for column in query.find_all(exp.Column)}
    for table in list(query.find_all(exp.Table)):
        if _name(table) in missing:
            columns = columns_of(table.db, table.name)
            wanted = [column for column in columns if column in used] or list(columns)
            nulls = [_null(columns[column]).as_(column) for column in wanted]
            table.replace(exp.select(*nulls).where("1 = 0").subquery(table.alias or table.name))
    return query


def _with_nulls(query: Node, missing: Collection[str]) -> Node:
    """Gives each table the columns that it lacks and that the query reads, without a value."""
    used = {column.name for column in query.find_all(exp.Column)}
    for table in list(query.find_all(exp.Table)):
        own = {name.rpartition(".")[2] for name in missing if name.startswith(f"{_name(table)}.")}
        if lacking := sorted(own & used):
            types = columns_of(table.db, table.name)
            nulls = [_null(types[column]).as_(column) for column in lacking]
            whole = exp.select("*", *nulls).from_(_table_of(table))
            table.replace(whole.subquery(table.alias or table.name))
    return query


def _table_of(table: exp.Table) -> exp.Table:
    return exp.table_(table.name, db=table.db)


def _tables(query: Node) -> set[str]:
    """Returns the tables that a query reads, as `dataset.name`."""
    return {_name(table) for table in query.find_all(exp.Table) if table.db}


def _name(table: exp.Table) -> str:
    return f"{table.db}.{table.name}"


def _null(kind: str) -> Node:
    """Returns a null of one of dlt's types."""
    return exp.cast(exp.null(), exp.DataType.build(TYPES[kind]))


def _translate_functions(query: Node, dialect: str) -> Node:
    """Replaces days, durations and texts of JSON by the engine's own functions."""

    def own(node: Node) -> Any:
        if dialect in SECONDS and isinstance(node, exp.DateDiff):
            patterns = MILLISECONDS if "MILLI" in str(node.args.get("unit")).upper() else SECONDS
            return _fill(patterns[dialect], dialect, node.expression, node.this)
        if dialect in DAY and isinstance(node, exp.Cast) and isinstance(node.this, exp.AtTimeZone):
            return _fill(DAY[dialect], dialect, node.this.this)
        if dialect in TEXT_OF_JSON and isinstance(node, exp.JSONExtractScalar):
            path = node.expression.sql("duckdb").strip("'$.")
            return _fill(TEXT_OF_JSON[dialect], dialect, node.this, exp.Literal.string(f"{{{path}}}"))
        return node

    return query.transform(own)


def _fill(pattern: str, dialect: str, *arguments: Node) -> Node:
    return sqlglot.parse_one(pattern.format(*(arg.sql("duckdb") for arg in arguments)), dialect=dialect)
