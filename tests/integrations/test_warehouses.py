"""Warehouses without a connection: that they are taken, and what dlt would send them, parsed in their dialects.

Needs their drivers: `dlt[snowflake,bigquery,redshift,clickhouse,databricks,motherduck]`. None of them was run for
real; DESTINATIONS.md says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlt
import pytest
import sqlglot
from dlt.common.schema.utils import get_nested_tables
from sqlglot import exp

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.sync.build import build
from gapless.sources import SOURCES
from gapless.sources._ledger.session import Session
from gapless.sources._ledger.stored.reader import Ledger
from tests.contract.subject import FLAG, JSON, NUMBER, REAL, TEXT, TIME
from tests.support.destinations import Begin, seeded, snippets
from tests.support.oracle import contract

RUN_FOR_REAL = ("duckdb", "postgres", "ducklake", "sqlalchemy", "filesystem")
SETTINGS = {
    snippet.destination: snippet.settings for snippet in snippets() if snippet.destination not in RUN_FOR_REAL
}
"""As DESTINATIONS.md shows them."""
TYPES = {
    "snowflake": (["VARCHAR"], ["DECIMAL(19, 0)"], ["DOUBLE"], ["TIMESTAMPLTZ"], ["VARIANT"], ["BOOLEAN"]),
    "bigquery": (["STRING"], ["INT64"], ["FLOAT64"], ["TIMESTAMP"], ["JSON"], ["BOOL"]),
    "redshift": (
        ["VARCHAR(MAX)"], ["BIGINT"], ["DOUBLE PRECISION"], ["TIMESTAMP WITH TIME ZONE"], ["SUPER"], ["BOOLEAN"],
    ),
    "clickhouse": (["String"], ["Int64"], ["Float64"], ["DateTime64(6, 'UTC')"], ["String"], ["Bool"]),
    "databricks": (["STRING"], ["BIGINT"], ["DOUBLE"], ["TIMESTAMP"], ["STRING"], ["BOOLEAN"]),
    "motherduck": (["TEXT"], ["BIGINT"], ["DOUBLE"], ["TIMESTAMPTZ"], ["JSON"], ["BOOLEAN"]),
}  # fmt: skip
"""As sqlglot writes what the DDL has for text, integers, numbers, times (instants, microseconds), JSON, flags."""
KINDS = (TEXT, NUMBER, REAL, TIME, JSON, FLAG)
FORMATS = {"redshift": "insert_values", "bigquery": "jsonl"}
AT_ONCE = {
    "snowflake": {"dead_letters", "coverage"},
    "redshift": {"dead_letters", "coverage", "records"},
    "motherduck": {"dead_letters", "coverage", "records"},
    "bigquery": set[str](), "clickhouse": set[str](), "databricks": set[str](),
}  # fmt: skip
"""What is merged in one transaction; `records` are roots with their children. See DESTINATIONS.md."""


@dataclass
class Sent:
    """What dlt would send a warehouse for one source."""

    place: Target
    client: Any
    schema: Any
    ddl: list[str]

    @property
    def roots(self) -> list[str]:
        return [table["name"] for table in self.schema.data_tables() if not table.get("parent")]

    def merge(self, table: str) -> str:
        chain = [self.client.prepare_load_table(t["name"]) for t in get_nested_tables(self.schema.tables, table)]
        (job,) = self.client._create_merge_followup_jobs(chain)
        return Path(job.new_file_path()).read_text()


@pytest.fixture
def sent(world: Begin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Read and written to files as in a sync of an empty warehouse; nobody is connected to."""

    def begin(warehouse: str, name: str) -> Sent:
        world(seeded(name)).set(**SETTINGS[warehouse])
        place, session = Target.find(warehouse), Session()
        monkeypatch.setattr(Ledger, "_query", lambda *asked: iter([]))
        monkeypatch.setattr(Ledger, "newest", lambda *asked: {})
        monkeypatch.setattr(Ledger, "rows", lambda *asked: None)
        monkeypatch.setattr(Ledger, "columns", lambda *asked: set())
        pipeline = dlt.pipeline(name, str(tmp_path), destination=place.dlt_destination, dataset_name=name)
        pipeline.extract(build(SOURCES[name], session), loader_file_format=place.file_format)
        pipeline.normalize()
        assert session.client
        session.client.close()
        client: Any = pipeline.destination_client()
        tables = [table["name"] for table in pipeline.default_schema.data_tables()]
        client.verify_schema(tables, _jobs(pipeline))
        ddl, _ = client._build_schema_update_sql([(table, {}) for table in tables])
        return Sent(place, client, pipeline.default_schema, ddl)

    return begin


def _jobs(pipeline: Any) -> list[Any]:
    (package,) = pipeline.list_normalized_load_packages()
    return [job.job_file_info for job in pipeline.get_load_package_info(package).jobs["new_jobs"]]


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("warehouse", SETTINGS)
def test_tables(warehouse: str, name: str, sent: Any) -> None:
    """It is taken, without its secret in its name; every table and column is made, of the type we promise."""
    here = sent(warehouse, name)
    assert "secret-password" not in repr(here.place)
    assert here.place.file_format == FORMATS.get(warehouse, "parquet")
    made: dict[str, dict[str, str]] = {}
    dialect = here.client.capabilities.sqlglot_dialect
    for tree in map(parsed(dialect), here.ddl):
        if not isinstance(tree, exp.Create):
            continue  # Databricks gets a table's description in a statement of its own
        table = tree.find(exp.Table).name.lower().split("___")[-1]
        made[table] = {c.name.lower(): c.args["kind"].sql(dialect) for c in tree.find_all(exp.ColumnDef)}
    for table, columns in contract(name).items():
        for column, kind in columns.items():
            held = (
                made[table][column]
                .removeprefix("Nullable(")
                .removesuffix(")" if "Nullable" in made[table][column] else "")
            )
            assert held in TYPES[warehouse][KINDS.index(kind)], f"{table}.{column}"


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("warehouse", SETTINGS)
def test_merges(warehouse: str, name: str, sent: Any) -> None:
    """dlt's SQL for every root table is of the dialect; what of it is one transaction is what the page says."""
    here = sent(warehouse, name)
    capabilities = here.client.capabilities
    for root in here.roots:
        sql = here.merge(root)
        statements = [part for line in sql.splitlines() for part in line.split(";") if part.strip()]
        trees = list(map(parsed(capabilities.sqlglot_dialect), statements))
        makes = [isinstance(tree, exp.Create) for tree in trees]
        whole = capabilities.supports_ddl_transactions if any(makes) else capabilities.supports_transactions
        commits = warehouse == "snowflake" and any(makes[1:])  # there a table is made in a transaction of its own
        kind = "records" if any(makes) else root
        if kind in ("records", "dead_letters", "coverage"):
            assert (bool(whole) and not commits) == (kind in AT_ONCE[warehouse]), root


def parsed(dialect: str) -> Callable[[str], Any]:
    def parse(sql: str) -> Any:
        (tree,) = sqlglot.parse(sql.strip().rstrip(";"), read=dialect)
        assert not isinstance(tree, exp.Command), f"sqlglot does not understand {sql}"
        return tree

    return parse


def test_types_are_looked_at() -> None:
    """The twin: what is no SQL of a dialect is refused."""
    with pytest.raises(sqlglot.ParseError):
        parsed("snowflake")("create table (a b c")
    with pytest.raises(AssertionError):
        parsed("bigquery")("vacuum nothing at all")
