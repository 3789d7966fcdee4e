"""How Postgres finds what the views, the page and the proofs ask for, when there are many rows: by indexes."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest

from gapless.sources import OURS, SOURCES
from tests.contract.subject import subject
from tests.support.history import about_others, grow
from tests.support.world import World

MANY = """
    insert into sequence.activity_logs
        (id, sequence_account_id, activity_type, api_version, origin, created_at, _dlt_id, _dlt_load_id)
    select 'old ' || n, '1', 'X', 'V1', 'API', timestamptz '2020-01-01' + n * interval '1 min', 'old ' || n, load_id
    from generate_series(1, 20000) as n, (select max(load_id) as load_id from sequence._dlt_loads) as newest;
    insert into sequence.activity_logs__activity_log_items
        (id, _dlt_id, _dlt_parent_id, _dlt_root_id, _dlt_list_idx, _dlt_load_id)
    select id || i, _dlt_id || i, _dlt_id, _dlt_id, i, _dlt_load_id
    from sequence.activity_logs, generate_series(0, 2) as i where id like 'old %';
    analyze sequence.activity_logs; analyze sequence.activity_logs__activity_log_items
"""
BIG = ("activity_logs", "activity_logs__activity_log_items")
HOUR = "occurred_at between '2020-01-02' and '2020-01-02 01:00'"
LOGS, ITEMS = map("sequence.{}".format, BIG)
MORE = 20_000
"""Rows of a history."""
QUESTIONS = {
    "the timeline of an hour": f"select * from activity.timeline where {HOUR}",
    "failures of an hour": f"select * from activity.failures where {HOUR}",
    "the newest time": f"select max(created_at) from {LOGS}",
    "the newest records": f"select id from {LOGS} where created_at is not null order by created_at desc limit 3",
    "a record by its id": f"select * from {LOGS} where id = 'old 7'",
    "the items of a record": (
        f"select i.* from {LOGS} as l join {ITEMS} as i on i._dlt_parent_id = l._dlt_id where l.id = 'old 7'"
    ),
}


@pytest.fixture
def destination() -> str:
    """Where `world` has its data."""
    return "postgres"


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def whole(plan: Any, tables: Collection[str]) -> list[str]:
    """Those of the tables that a plan reads whole."""
    (root,) = json.loads(plan) if isinstance(plan, str) else plan
    read = [node["Relation Name"] for node in nodes(root["Plan"]) if node["Node Type"] == "Seq Scan"]
    return [table for table in read if table in tables]


@pytest.mark.slow
def test_bounded_questions_read_no_big_table_whole(world: Callable[[Any], World]) -> None:
    """A question about an hour, a record or the newest rows has a plan that scans nothing that has grown."""
    here = world(subject("sequence").filled(4, 30, page_cap=8))
    here.complete()
    here.database.change("sequence", *MANY.split(";"))
    found = {}
    for name, question in QUESTIONS.items():
        ((plan,),) = here.sql(f"explain (format json) {question}")
        found[name] = whole(plan, BIG)
    assert {name: tables for name, tables in found.items() if tables} == {}


OF_AN_OBJECT = "select * from activity.timeline where account = '{}' and object_id = '{}'"


@pytest.mark.slow
@pytest.mark.parametrize("name", OURS)
def test_one_object_is_found_by_an_index(name: str, world: Callable[[Any], World]) -> None:
    """Whatever an object is to a source, its part of the timeline reads no table of records whole."""
    one, entities = subject(name), SOURCES[name].facts.entities
    here = world(one.filled(4, 30, page_cap=8))
    here.complete()
    grow(here, one.main, one.column(one.time), one.id_column, 0, MORE)
    about_others(here, one.main, MORE, entities)
    tables = {one.main, *(entity.partition(":")[0] for entity in entities)}
    for table in tables:
        here.database.change(name, f"analyze {table}")
    some = f"select object_id from activity.timeline where account = '{name}' and object_id is not null"
    of = f"{some} group by 1 order by count(*) limit 1"
    ((plan,),) = here.sql(f"explain (format json) {OF_AN_OBJECT.format(name, here.sql(of)[0][0])}")
    assert whole(plan, tables) == []
    ((rows,),) = here.sql(f"select count(*) from {sorted(tables)[-1]}")
    assert rows > MORE


@pytest.mark.slow
def test_indexes_are_made_once_and_for_tables_that_were_there_before(world: Callable[[Any], World]) -> None:
    """A database of an earlier version gets them with its next views; a sync that finds the views makes none."""
    here = world(subject("tines").filled(4, 20, page_cap=8))
    here.complete()
    made = "select indexname from pg_indexes where schemaname = 'tines' and indexname like '%_idx' order by 1"
    wanted = {"created_at", "action_id"}
    columns = "select indexdef from pg_indexes where schemaname = 'tines' and tablename = 'action_logs'"
    assert wanted <= {column for (text,) in here.sql(columns) for column in wanted if f"({column})" in text}
    before = here.sql(made)
    here.complete()
    assert here.sql(made) == before
