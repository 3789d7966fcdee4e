"""A long history behind a source's records, and how many rows of it a sync reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient

from tests.support.world import World

ROW = "substr(md5('old ' || n), 1, 16)"
"""`_dlt_id` of the old record number n."""
READ = """
    select (select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) from pg_stat_user_tables where relname like '{0}%')
    + (select sum(idx_tup_read) from pg_stat_user_indexes where relname like '{0}%')
"""


def grow(here: World, main: str, time: str, key: str, begin: int, rows: int, like: str = "1 = 1") -> None:
    """Adds old records like one for which an SQL condition holds; numbers from `begin` on tell them apart."""
    new = {
        time: "timestamp with time zone '2020-01-01 00:00:00+00' + n * interval '1 minute'",
        key: _numbered(_kinds(here, main)[key]),
        "_dlt_id": ROW,
        "rows_below": "0",
    }
    _repeat(here, main, f"generate_series({begin}, {begin + rows - 1}) as g(n)", new, like)


def about_others(here: World, main: str, rows: int, entities: Sequence[str]) -> None:
    """Lets each of the old records, numbered from 0, be about an object of its own, by a source's `entities`."""
    numbers = f"generate_series(0, {rows - 1}) as g(n)"
    for table, _, expression in (entity.partition(": ") for entity in entities):
        kinds = _kinds(here, table)
        own = {name: _numbered(kinds[name]) for name in kinds if re.search(rf"\b{name}\b", expression)}
        if table == main:
            changes = ", ".join(f"{name} = {cell}" for name, cell in own.items())
            here.database.change(here.name, f"update {main} set {changes} from {numbers} where _dlt_id = {ROW}")
        else:
            ids = {"_dlt_id": "substr(md5('below ' || n), 1, 16)", "_dlt_parent_id": ROW, "_dlt_root_id": ROW}
            _repeat(here, table, numbers, own | ids)


def _repeat(here: World, table: str, numbers: str, new: Mapping[str, str], like: str = "1 = 1") -> None:
    cells = {name: new.get(name, f'r."{name}"') for name in _kinds(here, table)}
    names = ", ".join(f'"{name}"' for name in cells)
    here.database.change(
        here.name,
        f"insert into {table} ({names}) select {', '.join(cells.values())} from {numbers},"
        f" (select * from {table} where {like} order by _dlt_id limit 1) as r",
        f"analyze {table}",
    )


def _numbered(kind: str) -> str:
    """A cell that differs from row to row."""
    return "1000000000 + n" if kind == "bigint" else "'old ' || n"


def _kinds(here: World, table: str) -> dict[str, str]:
    """The columns of a table, with their types."""
    where = f"table_schema = '{here.name}' and table_name = '{table}'"
    found = here.sql(f"select column_name, data_type from information_schema.columns where {where}")
    return {name: str(kind).lower() for name, kind in found}


def postgres_reads(here: World, main: str, work: Callable[[], Any]) -> int:
    """How many rows, and entries of indexes, of the records' tables are read meanwhile, by statistics."""

    def read() -> int:
        here.sql("select pg_sleep(0.2)")
        return int(here.sql(READ.format(main))[0][0])

    before = read()
    work()
    return read() - before


def duckdb_reads(here: World, main: str, work: Callable[[], Any], patch: pytest.MonkeyPatch) -> int:
    """How many rows of the records' tables are read meanwhile, by DuckDB's profiles of the questions that are asked.

    Without those that only count rows, for which no column is read.
    """
    asked = list[str]()
    execute = DuckDbSqlClient.execute_query

    @contextmanager
    def noted(self: Any, query: Any, *args: Any, **named: Any) -> Iterator[Any]:
        if not args and main in str(query):
            asked.append(str(query))
        with execute(self, query, *args, **named) as cursor:
            yield cursor

    with patch.context() as patched:
        patched.setattr(DuckDbSqlClient, "execute_query", noted)
        work()
    assert asked
    with here.database.opened(here.name) as db:
        return sum(_scanned(db, query) for query in asked if query.startswith(("select", "with")))


def _scanned(db: Any, query: str) -> int:
    ((_, profile),) = db.execute(f"explain (analyze, format json) {query}").fetchall()
    return sum(
        int(node.get("operator_rows_scanned", 0))
        for node in _nodes(json.loads(profile))
        if (node.get("extra_info") or {}).get("Projections")
    )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("children", ()):
        yield from _nodes(below)
