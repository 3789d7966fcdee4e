"""How a sync into Postgres knows that no row was lost, without counting rows: what it sees, and when."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations.reader import reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.evidence.rows.counts import SIGNS, read_held, sum_rows
from gapless.pipelines.ledger.gaps import gaps
from gapless.sources import SOURCES
from tests.contract.subject import subject
from tests.support.postgres import OwnServer
from tests.support.world import LET_THROUGH, World, some

RECORDS = ("activity_logs", "activity_logs__activity_log_items")
READ = """
    select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) from pg_stat_user_tables where relname like 'activity_logs%'
"""
HELD = "select held from sequence.runs where held is not null"


@pytest.fixture
def destination() -> str:
    """Where `world` has its data."""
    return "postgres"


@pytest.fixture
def here(world: Callable[[Any], World]) -> World:
    """A vendor, and a database with all of it, whose rows were counted."""
    begun = world(subject("sequence").filled(4, 30, page_cap=8))
    begun.complete()
    begun.complete()
    return begun


def change(here: World, *statements: str) -> None:
    """By a session of somebody else's, which has ended and told its statistics when this returns."""
    with closing(psycopg2.connect(here.database.settings["DESTINATION__POSTGRES__CREDENTIALS"])) as db, db:
        for statement in statements:
            db.cursor().execute(statement)
    here.sql("select pg_sleep(0.1)")


def held(here: World) -> dict[str, Any]:
    ((cell,),) = here.sql(HELD)
    return dict(json.loads(cell) if isinstance(cell, str) else cell)


def read(here: World) -> int:
    here.sql("select pg_sleep(0.1)")
    return int(here.sql(READ)[0][0])


OLD = """
    insert into sequence.activity_logs
        (id, sequence_account_id, activity_type, api_version, origin, created_at, _dlt_id, _dlt_load_id)
    select 'old ' || n, '1', 'X', 'V1', 'API', '2020-01-01', 'old ' || n, load_id
    from generate_series(1, 5000) as n, (select max(load_id) as load_id from sequence._dlt_loads) as newest
"""


@pytest.mark.slow
def test_an_idle_sync_reads_no_table_whole(here: World) -> None:
    """However many rows there are: of those of which the vendor has no news none is read."""
    change(here, OLD, "analyze sequence.activity_logs")
    here.complete()  # it counts, as somebody else has written
    before = read(here)
    here.complete()
    assert read(here) - before < 1000
    assert held(here)["activity_logs"] == here.sql("select count(*) from sequence.activity_logs")[0][0] > 5000


ONE = "delete from sequence.activity_logs where id = (select min(id) from sequence.activity_logs)"
KEPT = "create temp table kept as select * from"
OTHERS = "update kept set _dlt_id = 'other ' || _dlt_id"
LOSSES = {
    "a record": ONE,
    "a row below one": "delete from {items} where _dlt_id = (select min(_dlt_id) from {items})",
    "all of a table": "truncate {items}",
    "statistics, too": f"{ONE}; select pg_stat_reset()",
    "as many come": f"{KEPT} {{logs}} limit 3; {OTHERS}, id = 'other ' || id;"
    " delete from {logs} where id in (select substr(id, 7) from kept); insert into {logs} select * from kept",
    "as many come below": f"{KEPT} {{items}} limit 3; {OTHERS};"
    " delete from {items} where _dlt_id in (select substr(_dlt_id, 7) from kept);"
    " insert into {items} select * from kept",
    "more come than go": f"{KEPT} {{logs}} limit 3; {OTHERS}, id = 'other ' || id; {ONE};"
    " insert into {logs} select * from kept",
    "a table filled anew": f"{KEPT} {{items}}; {OTHERS} where _dlt_list_idx = 0; truncate {{items}};"
    " insert into {items} select * from kept",
    "statistics, and as many come": f"{KEPT} {{items}} limit 3; {OTHERS};"
    " delete from {items} where _dlt_id in (select substr(_dlt_id, 7) from kept);"
    " insert into {items} select * from kept; select pg_stat_reset()",
}


@pytest.mark.slow
@pytest.mark.parametrize("loss", some(LOSSES, "a record"))
def test_a_loss_is_seen_by_the_next_sync(loss: str, here: World) -> None:
    """By whatever way rows went."""
    assert SIGNS in held(here)
    change(here, *LOSSES[loss].format(logs=f"sequence.{RECORDS[0]}", items=f"sequence.{RECORDS[1]}").split("; "))
    if loss != "more come than go":  # that only statistics tell, which a reader does not ask
        assert "lost" in {gap.kind for gap in gaps(Target.find("postgres"), ["sequence"])}
    for _ in range(2):  # and it stays told
        outcome = here.sync()
        assert outcome.outcome == "partial"
        assert any("are gone" in str(failure) for failure in outcome.failures)
    for gap in gaps(Target.find("postgres"), ["sequence"]):
        for command in gap.fill.split(" && "):
            CliRunner().invoke(app, shlex.split(command)[1:])
    assert [*gaps(Target.find("postgres"), ["sequence"])] == []
    here.complete()
    assert "missing" not in " ".join(here.mismatches())


@pytest.mark.slow
def test_what_was_no_loss_is_none(here: World) -> None:
    """Rolled back, taken down and written anew, or vacuumed: it is a reason to count, and all rows are there."""
    with closing(psycopg2.connect(here.database.settings["DESTINATION__POSTGRES__CREDENTIALS"])) as db:
        db.cursor().execute("delete from sequence.activity_logs")
        db.rollback()
        db.autocommit = True
        db.cursor().execute("vacuum full sequence.activity_logs")
        for table in RECORDS:  # as a restored dump does it
            db.cursor().execute(f"create temp table kept as select * from sequence.{table}")
            db.cursor().execute(f"truncate sequence.{table}; insert into sequence.{table} select * from kept")
            db.cursor().execute("drop table kept")
        db.cursor().execute("select pg_stat_reset()")
    for _ in range(2):
        here.complete()
    here.assert_exact()


@pytest.mark.slow
def test_a_loss_between_two_crashes(own_server: OwnServer, world: Callable[[Any], World]) -> None:
    """Each loses the statistics, so that those after both are like those after the first one."""
    url = own_server.database()
    here = world(subject("sequence").filled(4, 30, page_cap=8)).set(DESTINATION__POSTGRES__CREDENTIALS=url)
    here.complete()
    own_server.restart()
    here.complete()
    with closing(psycopg2.connect(url)) as db, db:
        db.cursor().execute(ONE)
    own_server.restart()
    assert any("are gone" in str(failure) for failure in here.sync().failures)


@pytest.mark.slow
@pytest.mark.parametrize("name", some([*SOURCES], "omni"))
def test_the_sum_of_ids_follows_what_is_written(name: str, world: Callable[[Any], World]) -> None:
    """Added up load package by load package it is the sum over the tables: no later sync sees a loss that is none."""
    one = subject(name)
    here = world(one.filled())
    for _ in range(3):
        here.complete()
        ids = [row[one.id] for row in here.fake.truth()[one.main]][:4]
        for number, key in enumerate(ids):
            here.fake.change(key, **{one.text: f"changed {number}"})
        here.fake.change(ids[0], **one.with_children)
        one.add_one(here.fake)
        here.fake.advance(30)
    here.complete()
    with reading(Target.find("postgres")) as reader:
        found = read_held(reader, SOURCES[name])
        assert found
        assert (found.rows, found.checksums) == sum_rows(reader, SOURCES[name])
        assert found.checksums
    here.complete()


BELOW = """
    delete from sequence.activity_logs__activity_log_items where _dlt_root_id =
        (select _dlt_id from sequence.activity_logs order by created_at limit 1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("loss", [ONE, BELOW])
def test_a_loss_in_the_middle_of_a_sync(loss: str, here: World) -> None:
    """Is noted when it ends, and told by the next one."""
    done = []

    def delete(request: Any) -> Any:
        if not done:
            done.append(change(here, loss))
        return LET_THROUGH

    here.intercept = delete
    here.sync()
    assert done
    here.mend()
    outcome = here.sync()
    assert any("are gone" in str(failure) for failure in outcome.failures)


@pytest.mark.slow
def test_a_loss_without_a_sign_is_seen_within_a_day(here: World) -> None:
    """A superuser's session that is not counted deletes a row: the next count finds it, a day after the last one."""
    change(here, "set track_counts = off", ONE)
    assert here.sync().error is None
    note = held(here)
    note[SIGNS]["counted_at"] = "2020-01-01T00:00:00+00:00"
    change(here, f"update sequence.runs set held = '{json.dumps(note)}' where held is not null")
    outcome = here.sync()
    assert any("are gone" in str(failure) for failure in outcome.failures)
