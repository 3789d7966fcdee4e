"""The SQL of the views: it reaches every engine, and in a DuckDB file each view reads tables alone."""

from __future__ import annotations

from types import SimpleNamespace

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from gapless.pipelines.destinations.backend import Backend
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.views import dlt_catalog, refresh
from gapless.pipelines.views.dialect import create_view
from gapless.pipelines.views.duckdb_catalog import DuckdbCatalog, inlined

VIEWS = {view.name: view for view in refresh.views()}
DIALECTS = ["snowflake", "bigquery", "redshift", "clickhouse", "databricks", "sqlite", "postgres", "duckdb"]
KNOWN_THERE = {"TODATE", "UNIX_SECONDS", "UNIX_MILLIS", "JULIANDAY"}
"""Functions of one engine that sqlglot has no class for."""
TABLES = set[str]().union(*(view.reads for view in VIEWS.values())) - {f"activity.{name}" for name in VIEWS}


@pytest.mark.parametrize(
    ("dialect", "missing"),
    [
        *((dialect, "none") for dialect in DIALECTS),
        ("snowflake", "tines"),
        ("clickhouse", "all"),
        ("bigquery", "all"),
    ],
)
def test_every_view_is_sql_in_every_dialect(dialect: str, missing: str) -> None:
    """Parsed again it holds no function that only DuckDB knows, and its tables are called as dlt calls them."""
    gone = {"none": set(), "tines": {t for t in TABLES if t.startswith("tines.")}, "all": TABLES}[missing]
    fold = str.upper if dialect == "snowflake" else str
    for name, view in VIEWS.items():
        sql = create_view(name, view.query, dialect, gone, lambda d, t: ["warehouse", fold(f"{d}___{t}")], fold)
        again = sqlglot.parse_one(sql, dialect=dialect, error_level=sqlglot.ErrorLevel.RAISE)
        assert isinstance(again, exp.Create), sql
        unknown = {node.name.upper() for node in again.find_all(exp.Anonymous)}
        assert unknown <= KNOWN_THERE, (name, unknown)
        tables = {table.name for table in again.find_all(exp.Table) if table.db}
        assert tables == {fold(read.replace(".", "___")) for read in {*view.reads} - gone} | {
            fold(f"activity___{name}")
        }
        if dialect == "snowflake":
            assert all(node.name.isupper() or "warehouse" in node.name for node in again.find_all(exp.Identifier))


@pytest.mark.parametrize(
    ("dialect", "day", "seconds"),
    [
        ("postgres", "AT TIME ZONE 'UTC' AS DATE", 'FLOOR(EXTRACT(EPOCH FROM "left_at"))'),
        ("snowflake", "CONVERT_TIMEZONE('UTC', ", "DATEDIFF(SECOND, "),
        ("bigquery", "date(`occurred_at`, 'UTC')", "unix_seconds(`left_at`)"),
        ("databricks", "TO_UTC_TIMESTAMP(", "UNIX_SECONDS(`left_at`)"),
        ("clickhouse", "toDate(\"occurred_at\", 'UTC')", "DATE_DIFF(SECOND, "),
    ],
)
def test_days_and_durations_in_each_dialect(dialect: str, day: str, seconds: str) -> None:
    """Nothing that depends on the reader's time zone, where the engine would take that."""
    for name, part in (("daily_volume", day), ("status_durations", seconds)):
        assert part in create_view(name, VIEWS[name].query, dialect, (), lambda d, t: [d, t])


def test_sql_that_reaches_every_engine() -> None:
    """No view orders its rows, takes all columns unnamed, or reads a column's JSON."""
    for view in VIEWS.values():
        query = sqlglot.parse_one(view.query, dialect="duckdb")
        assert not any(select.is_star for select in query.find_all(exp.Select)), view.name
        assert not list(query.find_all(exp.JSONExtract, exp.Qualify, exp.Order)) or _only_in_windows(query), view.name


def _only_in_windows(query: exp.Expression) -> bool:
    return all(isinstance(order.parent, exp.Window) for order in query.find_all(exp.Order))


def test_a_destination_without_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, and SQLite, whose views see one file only: said by the command, left out by a sync."""
    place, settings = Target(Backend("elsewhere", "x")), SimpleNamespace(sqlglot_dialect="sqlite")
    with pytest.raises(WrongSettings, match="SQLite"):
        dlt_catalog._check(place, SimpleNamespace(sql_client=None, capabilities=settings))
    with pytest.raises(WrongSettings, match="no database"):
        dlt_catalog._check(place, object())


@pytest.mark.parametrize(
    ("query", "alone"),
    [
        ("from activity.a where x", "from (\nselect 1 as x\n) as a where x"),
        ("select b.x from activity.a as b", "select b.x from (\nselect 1 as x\n) as b"),
        ('SELECT * FROM "activity"."a" AS "a"', 'SELECT * FROM (\nselect 1 as x\n) AS "a"'),
        ("select 'from activity.a' -- from activity.a", "select 'from activity.a' -- from activity.a"),
        ("from activity.b", "from activity.b"),
    ],
)
def test_a_view_reads_tables_alone(query: str, alone: str) -> None:
    """Where it names a view of ours, and nowhere else."""
    assert inlined(query, {"a": "-- One row per x.\nselect 1 as x\n"}) == alone


def test_a_view_that_must_name_another_one() -> None:
    """As one of a user may, by the schema before a column, or an alias without `as`: it reads the view then."""
    for again in ("select activity.a.x from activity.a", "select b.x from activity.a b"):
        with duckdb.connect() as db:
            DuckdbCatalog(db).create({"a": "select 1 as x", "again": again}, set())
            assert db.execute("select x from activity.again").fetchall() == [(1,)]
