"""One truth: sync, gaps, status, freshness and verify claim no more than the evidence, and say the same of it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import duckdb
import httpx2 as httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gapless.pipelines.cli.doctor.probe import changed_policies
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import interrupted
from gapless.sources import SOURCES
from tests.contract.commands import document, fill, gapless, gaps, lose, typed
from tests.contract.conftest import NAMES, Begin, of
from tests.contract.subject import Subject
from tests.support.world import World, some


def status(here: World) -> dict[str, Any]:
    """What `gapless status` says of one source."""
    found: dict[str, Any] = json.loads(gapless(here, "status", "--json").stdout)["sources"][here.name]
    return found


@pytest.mark.sweep
@of(NAMES[0])
def test_a_first_sync_that_failed(subject: Subject, world: Begin) -> None:
    """It leaves a trace: nobody calls a source complete that was never read."""
    here = world(subject.filled())
    here.fail_after(0, status=401)
    assert gapless(here, "sync", subject.name).exit_code == 1
    told = gaps(here)
    assert [gap["kind"] for gap in told] == ["not asked"]
    assert told[0]["why"].startswith("never read, 1 round failed: ")
    # A source of parents is asked for their list; of a walk's listing verify has nothing to compare with.
    seen = gapless(here, "verify", subject.name).exit_code
    assert (status(here)["complete"], seen) == (False, 3 if subject.source.stream.walks else 1)
    here.mend()
    assert document(here, "verify", subject.name)["sources"][0]["unproven"]
    fill(here, told)
    assert status(here)["complete"]
    here.assert_exact()


@pytest.mark.slow
@of(NAMES[-1])
def test_rounds_that_failed(subject: Subject, synced: World) -> None:
    """Since when nobody could ask, how often it was tried, and why: until a sync goes well."""
    synced.fail_after(0, status=401)
    for _ in range(2):
        assert synced.sync().outcome == "failed"
    (told,) = gaps(synced)
    assert (told["kind"], "2 rounds failed: " in told["why"]) == ("not asked", True)
    assert (told["since"] is not None, status(synced)["complete"]) == (True, False)
    synced.mend()
    subject.add_one(synced.fake)
    found = document(synced, "verify", subject.name, "--whole")
    assert (found["exit_code"], "2 rounds failed" in str(found["sources"][0]["unproven"])) == (3, True)
    fill(synced, [told])


@pytest.mark.slow
@of(NAMES[-1])
def test_no_proof_is_no_claim(subject: Subject, synced: World) -> None:
    """Without a row in the coverage nothing is complete, whatever else is here."""
    synced.database.change(synced.name, "delete from coverage")
    found = document(synced, "verify", subject.name)
    assert (found["exit_code"], bool(found["sources"][0]["unproven"])) == (3, True)
    assert not status(synced)["complete"]
    told = gaps(synced)
    assert {gap["kind"] for gap in told} == {"never asked"}
    fill(synced, told)
    synced.assert_exact()


@pytest.mark.sweep
@of(NAMES[1])
def test_what_verify_finds_is_a_gap(subject: Subject, synced: World) -> None:
    """Also where nothing here shows that one lacks, as it came late; it is one until the record is read."""
    subject.add_one(synced.fake, at=synced.fake.now - timedelta(days=5))
    assert gaps(synced) == []
    (found,) = document(synced, "verify", subject.name, "--whole")["sources"]
    assert found["missing"] == 1
    told = gaps(synced)
    assert [(gap["kind"], gap["fill"]) for gap in told] == [
        ("dead letter", f"gapless verify {subject.name} --repair"),
    ]
    assert not status(synced)["complete"]
    fill(synced, told)
    synced.complete()
    synced.assert_exact()


@pytest.mark.slow
@pytest.mark.parametrize("table", some(("coverage", "dead_letters", "runs"), "coverage"))
@of(NAMES[0])
def test_rows_of_the_ledger_that_stand_there_twice(table: str, subject: Subject, synced: World) -> None:
    """The command that is named removes the second ones, without a sync before it."""
    bad = subject.add_one(synced.fake, **subject.with_text([]))
    assert synced.sync().outcome == "partial"
    before = synced.rows(table)
    synced.database.change(synced.name, f"insert into {table} select * from {table}")
    twice = [gap for gap in gaps(synced) if gap["kind"] == "doubled"]
    assert {gap["stream"] for gap in twice} == {table}
    typed(synced, twice[0]["fill"])
    assert len(synced.rows(table)) - len(before) in (0, 1)  # a repair adds a run of its own
    assert "doubled" not in {gap["kind"] for gap in gaps(synced)}
    subject.edit(synced.fake, bad, "mended")
    synced.sync()
    synced.assert_exact()
    assert gaps(synced) == []


PARENT, OTHER = "(select max(parent) from coverage)", "(select min(parent) from coverage)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("which", "parent"),
    some([(PARENT, "'x'"), (OTHER, "'x'"), (PARENT, OTHER), (OTHER, PARENT)], (PARENT, "'x'")),
)
@of(NAMES[1], NAMES[3])
def test_a_proof_whose_parent_somebody_changed(subject: Subject, synced: World, which: str, parent: str) -> None:
    """Nobody calls that complete while something is unread, and the next sync ends it, telling it once."""
    synced.database.change(synced.name, f"update coverage set parent = {parent} where parent = {which}")
    assert gapless(synced, "verify", subject.name).exit_code in (0, 3)
    synced.sync()
    if told := gaps(synced):
        fill(synced, told)
    assert synced.sync().outcome == "complete"
    synced.complete()
    synced.assert_exact()
    assert synced.sql(
        "select count(*) - count(distinct _dlt_id), count(*) - count(distinct parent) from coverage"
        " where coalesce(error, '') not like 'gone: %'"
    ) == [(0, 0)]
    assert synced.sql("select count(*) from coverage where parent = 'x'") == [(0,)]


@pytest.mark.sweep
@of(NAMES[2])
def test_one_record_proves_nothing_of_the_others(subject: Subject, world: Begin) -> None:
    """What `--id` reads into an empty database is here, and nothing is complete."""
    if subject.source.stream.by_id is None:
        pytest.skip("the source reads nothing by id")
    here = world(subject.filled())
    row = subject.records(here.fake)[0]
    key = subject.of_parent(row) if subject.source.stream.by_id == "parent" else str(row[subject.id])
    here.complete(ids=(key,))
    assert {gap["kind"] for gap in gaps(here)} == {"never asked"}
    assert not status(here)["complete"]
    fill(here, gaps(here))
    here.assert_exact()


@pytest.mark.sweep
@of(NAMES[2])
def test_one_record_of_an_account_that_was_empty(subject: Subject, world: Begin) -> None:
    """A sync found no parent; then one record was read by its id: its parent was never listed."""
    if subject.source.stream.by_id != "record" or not subject.parents_table:
        pytest.skip("the source reads no record by its id, or has no parents")
    here = world(subject.empty())
    here.complete()
    assert (gaps(here), status(here)["complete"]) == ([], True)
    subject.fill(here.fake, 2, 6)
    here.complete(ids=(str(subject.records(here.fake)[0][subject.id]),))
    assert {gap["kind"] for gap in gaps(here)} == {"never asked"}
    assert not status(here)["complete"]
    fill(here, gaps(here))
    here.assert_exact()


@pytest.mark.slow
@of(NAMES[1])
def test_fewer_than_the_vendor_told(subject: Subject, synced: World) -> None:
    """A page lacks a new record that its total counts: the sync that met it is partial, and so is every one after."""
    if not subject.tells_total or subject.whole:
        pytest.skip("no total counts the records of a page")
    hidden = subject.add_one(synced.fake)
    synced.intercept = lambda request: _lacking(subject, synced.fake.handle(request), hidden)
    for _ in range(2):
        assert synced.sync().outcome == "partial"
        assert gaps(synced)
        assert not status(synced)["complete"]
    synced.mend()
    if told := gaps(synced):
        fill(synced, told)
    synced.complete()
    synced.assert_exact()


def _lacking(subject: Subject, answer: httpx.Response, hidden: Any) -> httpx.Response:
    """A page without one of its records, and with the same total."""
    body = json.loads(answer.content)
    for name in subject.lists:
        if isinstance(body, dict) and name in body:
            body[name] = [row for row in body[name] if row.get(subject.id) != hidden]
    return httpx.Response(answer.status_code, json=body)


@pytest.mark.sweep
@of(NAMES[-1])
def test_all_rows_and_runs_are_gone(subject: Subject, synced: World) -> None:
    """Nothing counted them, and the proof says that there were some: so they are missed, also after a sync."""
    lose(synced)
    synced.database.change(synced.name, "delete from runs")
    assert gaps(synced)
    assert synced.sync().outcome == "partial"
    fill(synced, gaps(synced))
    synced.complete()
    synced.assert_exact()


@pytest.mark.sweep
@of(NAMES[0])
def test_verify_of_a_parent_that_failed(subject: Subject, world: Begin) -> None:
    """What it has is no newcomer that the next sync will bring: nothing of it was ever read."""
    if not subject.parents_table:
        pytest.skip("it has no parents, so none of them can fail alone")
    here = world(subject.filled())
    parent = subject.of_parent(subject.records(here.fake)[0])
    here.fake.failing[subject.part_of_path(parent)] = 500
    assert here.sync().outcome == "partial"
    here.mend()
    assert document(here, "verify", subject.name, "--whole")["exit_code"] == 3
    assert gapless(here, "verify", subject.name, "--repair").exit_code == 0
    here.complete()
    here.assert_exact()


@pytest.mark.sweep
@of(NAMES[3])
def test_a_watermark_that_is_later_than_its_records(subject: Subject, synced: World) -> None:
    """Somebody's hand or a wrong clock made it so: what comes next is read all the same."""
    synced.database.change(synced.name, "update coverage set covered_to = covered_to + interval '30 days'")
    for _ in range(2):
        synced.fake.advance(60)
        synced.complete()
        synced.assert_exact()


@pytest.mark.sweep
@of(NAMES[3])
def test_rows_that_are_taken_come_back_beyond_the_look_back(subject: Subject, synced: World) -> None:
    """Of a parent that is read page by page, the next sync reads from the newest record that is here."""
    if not subject.parents_table or subject.whole or subject.one_by_one:
        pytest.skip("a parent is not read page by page")
    time = subject.source.main.time_column
    lose(synced, f"{time} > (select max({time}) - interval '20 hours' from {subject.main})")
    assert synced.sync().outcome == "partial"
    synced.assert_exact()


@pytest.mark.sweep
@of(NAMES[-1])
def test_row_counts_that_somebody_took_away(subject: Subject, synced: World) -> None:
    """The column that holds them is made again by the command that is named, which says so."""
    synced.database.change(synced.name, "alter table runs drop column held")
    (told,) = gaps(synced)
    assert (told["kind"], told["fill"]) == ("damaged", f"gapless sync {subject.name}")
    assert synced.sync().outcome == "partial"
    fill(synced, gaps(synced))
    synced.complete()


@of()
def test_a_parent_that_fails_holds_the_proof_back(subject: Subject, synced: World) -> None:
    """`covered_to` is up to when all is proven; the newest stands beside it."""
    if not subject.parents_table:
        pytest.skip("it has no parents, so none of them can fail alone")
    older, newer = synced.sql("select parent from coverage where covered_to is not null order by covered_to")[::2][:2]
    synced.fake.failing[subject.part_of_path(older[0])] = 500
    synced.fake.advance(600)
    synced.sync()
    ((proven,),) = synced.sql(f"select covered_to from coverage where parent = '{older[0]}'")
    stream = f"source = '{subject.name}' and stream = '{subject.main}'"
    rows = synced.sql(f"select covered_to, newest_covered_to from activity.freshness where {stream}")
    assert rows[0][0] == proven < rows[0][1]
    assert status(synced)["coverage"][subject.main]["covered_to"] == proven.isoformat()
    assert newer


@of(NAMES[-1])
def test_how_old_a_check_may_be(subject: Subject, synced: World) -> None:
    """With --max-age a source that was not read for longer is a gap; without it none."""
    synced.database.change(synced.name, "update coverage set last_checked_at = last_checked_at - interval '3 hours'")
    assert gaps(synced) == []
    assert gaps(synced, "--max-age", "4h") == []
    told = gaps(synced, "--max-age", "2h")
    assert [(gap["kind"], "--max-age" in gap["why"]) for gap in told] == [("stale", True)]
    assert gapless(synced, "gaps", "--max-age", "soon").exit_code == 2
    fresh = {age: gapless(synced, "status", "--json", "--max-age", age) for age in ("4h", "2h")}
    assert [(done.exit_code, json.loads(done.stdout)["fresh"]) for done in fresh.values()] == [(0, True), (3, False)]
    assert gapless(synced, "status").exit_code == 0
    metrics = gapless(synced, "status", "--prometheus").stdout
    assert f'gapless_complete{{source="{subject.name}",account="{subject.name}"}} 1\n' in metrics
    assert next(text_string_to_metric_families(metrics)).name == "gapless_complete"


@pytest.mark.sweep
@of(NAMES[0])
def test_a_privacy_policy_that_was_changed(subject: Subject, synced: World) -> None:
    """Older rows stay as they are: `gaps`, `doctor` and the next sync say so, until it is applied to them."""
    column = subject.text_column
    synced.set(**{f"{subject.prefix}_PRIVACY": f"{subject.main}.{column}=drop"})
    told = gaps(synced)
    assert [gap["kind"] for gap in told] == ["privacy"]
    assert synced.sync().outcome == "partial"
    ((name, command),) = changed_policies(Target.find("duckdb"), [subject.name])  # as the doctor has it
    assert (name, command) == (subject.name, told[0]["fill"])
    fill(synced, told)
    assert synced.sql(f"select count({column}) from {subject.main}") == [(0,)]
    synced.complete()


def test_ctrl_c_is_no_failure() -> None:
    """However it was wrapped: raised from it, raised while it was handled, or made another error by DuckDB."""
    wrapped = RuntimeError("a load failed")
    wrapped.__context__ = KeyboardInterrupt()
    assert [*map(interrupted, (KeyboardInterrupt(), wrapped, RuntimeError("Query interrupted")))] == [True] * 3
    assert not interrupted(RuntimeError("another"))


def test_no_status_lasts_less_than_nothing() -> None:
    """A status that was seen only after its record was completed was entered no later than the next one."""
    for source in SOURCES.values():
        for file in source.views:
            if file.stem == "status_durations":
                assert _seconds(source.name, file.read_text()) == [0, None]


def _seconds(name: str, view: str) -> list[int | None]:
    with duckdb.connect() as db:
        db.execute(f"create schema {name}; set timezone = 'UTC'")
        db.execute(
            f"create table {name}.action_logs as select 'a' as id, 'l' as lead_id, 't' as type,"
            " timestamptz '2026-01-01 10:00:00Z' as created_at, timestamptz '2026-01-01 09:00:00Z' as completed_at,"
            " null::timestamptz as gone_at"
        )
        db.execute(f"create table {name}.leads as select 'l' as lead_id, 'Ada' as first_name, null as last_name")
        db.execute(
            f"create table {name}.status_changes as select 'a' as record_id, * from (values"
            " ('PENDING', timestamptz '2026-01-01 11:00:00Z'), ('DONE', timestamptz '2026-01-01 12:00:00Z'))"
            " as seen (status, seen_at)"
        )
        return [seconds for (seconds,) in db.execute(f"select seconds from ({view}) order by position").fetchall()]
