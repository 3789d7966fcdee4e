"""`gapless copy`: what the DuckDB file holds, in a real Postgres, no vendor asked; and a sync goes on there."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import dlt
import duckdb
import psycopg2
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.destination_copy import copy_sources, dataset
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import Locked
from gapless.pipelines.ledger.gaps import gaps
from gapless.pipelines.outcome import Outcome
from gapless.pipelines.sync import run
from gapless.pipelines.sync.request import SyncRequest
from gapless.pipelines.sync.run import sync
from gapless.sources import SOURCES
from gapless.sources._extract import resource
from gapless.sources._extract.resource import shapes
from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, RUNS
from gapless.sources._ledger.session import Session
from tests.contract.subject import subject
from tests.contract.test_accounts import become_another, move, rotate
from tests.support.oracle import mismatches
from tests.support.postgres import Reader, Server
from tests.support.world import World, some

TEXT = {name: subject(name).text for name in SOURCES}
MESSAGE = {"id": "m", "channel": "SMS", "direction": "INBOUND", "body": "\0"}


@dataclass
class Copied:
    """A vendor, the DuckDB file, and an empty Postgres database that is to hold the same."""

    world: World
    url: str

    @property
    def fake(self) -> Any:
        return self.world.fake

    def copy(self) -> Outcome:
        self.fake.requests.clear()
        (outcome,) = copy_sources.copy([], Target.find("duckdb"), Target.find("postgres"), lambda name: None)
        assert self.fake.requests == []
        return outcome

    def complete(self) -> Outcome:
        outcome = self.copy()
        assert (outcome.outcome, outcome.error, outcome.failures) == ("complete", None, [])
        return outcome

    def mismatches(self) -> list[str]:
        with closing(psycopg2.connect(self.url)) as db:
            return mismatches(Reader(db), self.world.name, self.fake.truth())

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.url, options=f"-csearch_path={self.world.name}")) as db:
            return list(Reader(db).execute(query).fetchall())

    def assert_equal(self) -> None:
        """Every cell of every table, the ledger's too; runs but for what was held."""
        tables = shapes([*SOURCES[self.world.name].tables, COVERAGE, DEAD_LETTERS, RUNS])
        with duckdb.connect(str(self.world.folder / "gapless.duckdb"), read_only=True) as db:
            for table in tables:
                is_json = {column.name for column in table.columns if column.data_type == "json"}
                names = [name for name in table.arrow_schema.names if name != "held"]
                cells = [f'"{name}"::varchar' if name in is_json else f'"{name}"' for name in names]
                select = f"select {', '.join(cells)} from {self.world.name}.{table.name}"
                here, there = (
                    values(rows, names, is_json) for rows in (db.execute(select).fetchall(), self.sql(select))
                )
                assert here == there, table.name


def values(rows: list[tuple[Any, ...]], names: list[str], is_json: set[str]) -> list[str]:
    """Rows in one order; times as instants, JSON as what it says."""

    def value(name: str, cell: Any) -> Any:
        if isinstance(cell, datetime):
            return cell.timestamp()
        return json.loads(cell) if cell and name in is_json else cell

    return sorted(json.dumps([value(*pair) for pair in zip(names, row, strict=True)], sort_keys=True) for row in rows)


@pytest.fixture
def copied(server: Server, world: Callable[[Any], World]) -> Callable[..., Copied]:
    def begin(name: str, listed: int = 26) -> Copied:
        fake = subject(name).empty(page_cap=4)
        fake.fill(4, 12 if subject(name).parents_table else listed)
        url = server.database()
        return Copied(world(fake).set(DESTINATION__POSTGRES__CREDENTIALS=url), url)

    return begin


@pytest.mark.slow
@pytest.mark.parametrize("name", some(SOURCES, "sequence"))
def test_the_copy_is_the_file(name: str, copied: Callable[..., Copied]) -> None:
    """First whole, in packages; then only what is new or changed; a letter comes and goes with the file's; and a sync
    into the copy goes on where the file stands."""
    here = copied(name)
    bad = here.fake.add_log(**{TEXT[name]: []}) if name == "sequence" else add(here, **{TEXT[name]: []})
    assert here.world.sync(package_records=12).outcome == "partial"
    here.complete()
    here.assert_equal()
    assert here.sql("select count(*) from dead_letters") == [(1,)]
    here.fake.change(bad["id"], **{TEXT[name]: "mended"})
    here.fake.advance(60)
    ((last,),) = here.world.sql("select max(load_id) from _dlt_loads")
    here.world.complete(package_records=12)
    second = here.complete()
    here.assert_equal()
    assert here.mismatches() == []
    main = SOURCES[name].main.name
    assert here.world.sql(f"select count(*) from {main} where _dlt_load_id > '{last}'") == [(second.rows[main],)]
    assert here.sql("select count(*) from dead_letters") == [(0,)]
    here.world.complete()
    assert here.world.complete().packages == 0  # an idle sync, whose checks are copied, too
    assert set(here.complete().rows) <= {"runs"}
    here.assert_equal()
    (outcome,) = sync([name], Target.find("postgres"), SyncRequest())
    assert (outcome.outcome, outcome.failures) == ("complete", [])
    assert outcome.rows_new == here.world.complete().rows_new  # as the next sync of the file itself
    assert here.mismatches() == []


@pytest.mark.slow
def test_marks_of_what_is_gone_are_copied(copied: Callable[..., Copied]) -> None:
    """Also of records whose load was copied before, and when they are taken back."""
    here = copied("kizen")
    here.world.complete()
    here.complete()
    gone = str(here.world.sql("select id from logged_activities order by logged_at limit 1")[0][0])
    record = here.fake._logged[here.fake._type_of(gone)][gone]
    kind = here.fake._type_of(gone)
    here.fake.delete(gone)
    here.world.complete()
    here.complete()
    assert here.sql("select id from logged_activities where gone_at is not null") == [(gone,)]
    here.assert_equal()
    here.fake._logged[kind][gone] = record
    here.world.complete()
    here.complete()
    assert here.sql("select id from logged_activities where gone_at is not null") == []
    here.assert_equal()


def json_columns(here: Copied) -> tuple[set[tuple[str, str]], dict[tuple[str, str], str]]:
    """Those of the model, and the types that the copy has for them."""
    tables = shapes([*SOURCES[here.world.name].tables, COVERAGE, DEAD_LETTERS, RUNS])
    json_ones = {(table.name, c.name) for table in tables for c in table.columns if c.data_type == "json"}
    select = "select table_name, column_name, data_type from information_schema.columns"
    found = {
        (table, column): kind for table, column, kind in here.sql(f"{select} where table_schema = current_schema")
    }
    return json_ones, {one: found[one] for one in json_ones}


@pytest.mark.slow
def test_json_is_jsonb(copied: Callable[..., Copied], monkeypatch: pytest.MonkeyPatch) -> None:
    """In every table; a copy of an older version, which has text in one of them, is copied into and synced on."""
    here = copied("tines")
    here.world.synced()
    here.complete()
    json_ones, types = json_columns(here)
    assert types == dict.fromkeys(json_ones, "jsonb")
    older = copied("tines")
    older.world.synced()
    with monkeypatch.context() as before:
        before.setattr(resource, "columns", lambda *_: ())
        older.complete()
    assert set(json_columns(older)[1].values()) == {"jsonb", "character varying"}
    older.fake.advance(60)
    older.world.complete()
    older.complete()
    older.assert_equal()
    older.fake.advance(60)
    (outcome,) = sync(["tines"], Target.find("postgres"), SyncRequest())
    assert (outcome.outcome, older.mismatches()) == ("complete", [])


def add(here: Copied, **fields: Any) -> Any:
    truth, fake = here.fake.truth(), here.fake
    if here.world.name == "kizen":
        return fake.add_logged(truth["activities"][0]["id"], **fields)
    return fake.add_log(
        truth["leads"][0]["leadId"] if here.world.name == "omni" else truth["actions"][0]["id"], **fields
    )


@pytest.mark.sweep
@pytest.mark.parametrize(("bound", "most"), [("PACKAGE_ROWS", 60), ("PACKAGE_BYTES", 25_000)])
def test_packages_are_bounded(
    bound: str, most: int, copied: Callable[..., Copied], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loads of the file go together until a package is full, of rows or of bytes, and no load is left out."""
    here = copied("sequence", 40)
    here.world.complete(package_records=8)
    monkeypatch.setattr(dataset, bound, most)
    packages = here.complete().packages
    (loads,) = here.world.sql("select count(*) from _dlt_loads")
    assert 2 < packages < loads[0]
    here.assert_equal()


@pytest.mark.sweep
def test_what_the_destination_cannot_store_is_told(copied: Callable[..., Copied]) -> None:
    """U+0000 in a text, and below it: a letter, exit 3, all else is there; mended in the file, also in the copy."""
    here = copied("omni")
    bad = [add(here, summary="a\0b")["id"], add(here, messages=[MESSAGE])["id"]]
    bad.append(add(here, output={"deep": ["\0"]})["id"])
    here.world.complete()
    outcome = here.copy()
    assert (outcome.outcome, len(outcome.failures)) == ("partial", 3)
    letters = here.sql("select key, reason, attempts from dead_letters")
    reason = "not copied: holds the character U+0000, which Postgres cannot store"
    assert sorted(letters) == sorted((key, reason, 1) for key in bad)
    assert sorted(here.mismatches()) == sorted(f"omni.action_logs {key}: missing" for key in bad)
    here.fake.change(bad[0], summary="mended")
    here.fake.change(bad[1], summary="still bad", messages=[MESSAGE])
    here.world.complete()
    assert here.copy().outcome == "partial"
    assert sorted(here.sql("select key, attempts from dead_letters")) == sorted([(bad[1], 2), (bad[2], 2)])
    here.fake.change(bad[1], messages=[])
    here.fake.change(bad[2], output=None)
    here.world.complete()
    here.complete()
    assert here.sql("select * from dead_letters") == []
    assert here.mismatches() == []


@pytest.mark.slow
def test_the_policy_of_today(copied: Callable[..., Copied]) -> None:
    """What must not be kept in clear does not leave the file that was written before; a hash stays what it is."""
    here = copied("omni")
    add(here, summary=[])
    here.world.set(OMNI_PRIVACY="leads.email=hash", GAPLESS_HASH_KEY="canary-hash-key-of-today")
    assert here.world.sync().outcome == "partial"
    here.world.set(OMNI_PRIVACY="leads.email=hash, leads.first_name=hash, action_logs.summary=drop")
    here.complete()
    emails = here.world.sql("select email from leads order by lead_id")
    assert here.sql("select email from leads order by lead_id") == emails
    assert here.sql("select count(summary) from action_logs") == [(0,)]
    assert here.sql("select distinct length(first_name) from leads") == [(64,)]
    assert here.sql("select key is null, raw_json from dead_letters") == [(False, None)]


@pytest.mark.slow
def test_what_an_earlier_policy_dropped_in_the_file(copied: Callable[..., Copied]) -> None:
    """A copy in clear of such a file says that it is not, as the file does, until what is named has been typed."""
    here = copied("omni")
    here.world.set(OMNI_PRIVACY="action_logs.summary=drop").complete()
    here.world.set(OMNI_PRIVACY="")
    here.complete()
    assert here.sql("select count(summary) from action_logs") == [(0,)]
    (gap,) = gaps(Target.find("postgres"), ["omni"])
    assert gap.kind == "privacy"
    for command in gap.fill.split(" && "):
        assert CliRunner().invoke(app, shlex.split(command)[1:]).exit_code == 0
    assert ([*gaps(Target.find("postgres"), ["omni"])], here.mismatches()) == ([], [])


LOST_IN_COPY = {
    "records": "delete from omni.action_logs where _dlt_id in (select min(_dlt_id) from omni.action_logs)",
    "rows below": "delete from omni.action_logs__messages",
    "as many others": "create temp table kept as select * from omni.action_logs limit 3;"
    " update kept set _dlt_id = 'other ' || _dlt_id, id = 'other ' || id;"
    " delete from omni.action_logs where id in (select substr(id, 7) from kept);"
    " insert into omni.action_logs select * from kept",
}


@pytest.mark.slow
@pytest.mark.parametrize("loss", some(LOST_IN_COPY, "as many others"))
def test_a_loss_in_the_copy(loss: str, copied: Callable[..., Copied]) -> None:
    """Whoever comes first says so: `gaps`, the next copy, a sync into it; and the named commands end it."""
    here = copied("omni")
    here.world.complete()
    here.fake.change(here.fake.truth()["action_logs"][0]["id"], messages=[MESSAGE | {"body": "x"}])
    here.world.complete()
    here.complete()
    with closing(psycopg2.connect(here.url)) as db, db:
        db.cursor().execute(LOST_IN_COPY[loss])

    def lost() -> list[str]:
        return [gap.fill for gap in gaps(Target.find("postgres"), ["omni"]) if gap.kind == "lost"]

    here.sql("select pg_sleep(0.1)")
    assert lost()
    outcome = here.copy()
    assert (outcome.outcome, any("are gone" in str(one) for one in outcome.failures)) == ("partial", True)
    for _ in range(2):
        for fill in dict.fromkeys(lost()):
            for command in fill.split(" && "):
                CliRunner().invoke(app, shlex.split(command)[1:])
    assert lost() == []


@pytest.mark.sweep
def test_no_copy_over_what_was_synced_itself(copied: Callable[..., Copied]) -> None:
    """It knows letters and changes that the file does not: refused, and nothing of it is touched."""
    here = copied("omni")
    here.world.synced()
    here.complete()
    bad = add(here, summary=[])["id"]
    (synced,) = sync(["omni"], Target.find("postgres"), SyncRequest())
    assert synced.outcome == "partial"
    outcome = here.copy()
    assert (outcome.outcome, "synced by itself" in str(outcome.error)) == ("failed", True)
    assert here.sql("select key from dead_letters") == [(bad,)]


@pytest.mark.sweep
def test_ctrl_c_ends_it(copied: Callable[..., Copied], monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it, also while dlt loads, which wraps it."""
    here = copied("tines")
    here.world.synced()

    def interrupted(*arguments: Any, **more: Any) -> None:
        raise RuntimeError("wrapped") from KeyboardInterrupt()

    monkeypatch.setattr(dlt.Pipeline, "load", interrupted)
    with pytest.raises(KeyboardInterrupt):
        here.copy()


@pytest.mark.sweep
def test_an_interrupted_copy_goes_on(copied: Callable[..., Copied], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is committed stays; the next copy brings the rest."""
    here = copied("sequence")
    here.world.complete(package_records=20)
    monkeypatch.setattr(dataset, "PACKAGE_ROWS", 25)
    lives = iter(range(1))

    def check(place: Target) -> None:
        if next(lives, None) is None:
            raise OSError("the power went out")

    with monkeypatch.context() as broken:
        broken.setattr(Target, "check", check)
        outcome = here.copy()
    assert (outcome.outcome, outcome.packages) == ("failed", 1)
    before = here.sql("select count(*) from activity_logs")[0][0]
    again = here.complete()
    here.assert_equal()
    assert 0 < again.rows["activity_logs"] == here.sql("select count(*) from activity_logs")[0][0] - before


@pytest.mark.sweep
def test_another_file_is_copied_whole(copied: Callable[..., Copied]) -> None:
    """A file made anew knows nothing of the last copy: all of it goes over, and nothing stands there twice."""
    here = copied("sequence")
    here.world.synced()
    here.complete()
    (here.world.folder / "gapless.duckdb").unlink()
    here.fake.advance(60)
    here.world.complete()
    outcome = here.complete()
    assert outcome.rows["activity_logs"] == len(here.fake.truth()["activity_logs"])
    assert here.mismatches() == []


@pytest.mark.slow
@pytest.mark.parametrize("change", [move, become_another])
def test_no_copy_over_another_account(change: Callable[..., None], copied: Callable[..., Copied]) -> None:
    """The rows of two accounts would mix in the copy: refused, and nothing of it is touched."""
    here = copied("tines")
    here.world.synced()
    here.complete()
    before = here.sql("select * from action_logs order by id")
    (here.world.folder / "gapless.duckdb").unlink()
    change(subject("tines"), here.world)
    here.world.complete()
    outcome = here.copy()
    assert (outcome.refused, "the copy holds the rows of" in str(outcome.error)) == (True, True)
    assert here.sql("select * from action_logs order by id") == before


@pytest.mark.slow
def test_no_copy_over_another_account_whose_rows_are_gone(copied: Callable[..., Copied]) -> None:
    """The ledger says whose they were: an account with the same past is copied, another is refused."""
    here = copied("tines")
    here.world.synced()
    here.complete()
    empty = [f"delete from tines.{table}" for table in subject("tines").tables]
    with closing(psycopg2.connect(here.url)) as db, db, db.cursor() as cursor:
        cursor.execute(";".join(empty))
    rotate(subject("tines"), here.world, every=False)
    here.world.complete()
    assert not here.copy().refused
    with closing(psycopg2.connect(here.url)) as db, db, db.cursor() as cursor:
        cursor.execute(";".join(empty))
    (here.world.folder / "gapless.duckdb").unlink()
    become_another(subject("tines"), here.world)
    here.world.complete()
    outcome = here.copy()
    assert (outcome.refused, "of which no row is left" in str(outcome.error)) == (True, True)
    assert here.sql("select * from action_logs") == []


@pytest.mark.slow
def test_nobody_syncs_meanwhile(copied: Callable[..., Copied]) -> None:
    """Neither into the file nor into the copy; and a copy keeps away from both in turn."""
    here = copied("tines")
    here.world.synced()
    for destination in ("duckdb", "postgres"):
        with Target.find(destination).locked(), pytest.raises(Locked):
            here.copy()

    def meanwhile(name: str) -> None:
        for destination in ("duckdb", "postgres"):
            with pytest.raises(Locked), Target.find(destination).locked():
                pass

    (outcome,) = copy_sources.copy([], Target.find("duckdb"), Target.find("postgres"), meanwhile)
    assert outcome.outcome == "complete"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--to", "duckdb"], 2, "cannot be copied to itself"),
        (["--to", "postgres"], 2, "gapless sync makes it"),
        (["--to", "filesystem"], 2, "filesystem"),
        ([], 2, "--to"),
        (["nobody", "--to", "postgres"], 2, "there is no source 'nobody'"),
    ],
)
def test_mistakes_are_told(arguments: list[str], code: int, said: str, copied: Callable[..., Copied]) -> None:
    """Before anything is written, with what mends them."""
    copied("tines")
    told = CliRunner().invoke(app, ["copy", *arguments])
    assert (told.exit_code, said in " ".join(told.output.split())) == (code, True), told.output


@pytest.mark.slow
def test_the_command(copied: Callable[..., Copied]) -> None:
    """It says what went over; a source that the file has never seen fails, the others go."""
    here = copied("tines")
    here.world.synced()
    told = CliRunner().invoke(app, ["copy", "tines", "kizen", "--to", "postgres", "--json"])
    document = json.loads(told.stdout)
    assert (told.exit_code, document["exit_code"]) == (1, 1)
    assert [source["outcome"] for source in document["sources"]] == ["complete", "failed"]
    assert "never synced" in document["sources"][1]["error"]
    assert document["sources"][0]["rows"]["action_logs"] == len(here.fake.truth()["action_logs"])
    assert "copying" in CliRunner().invoke(app, ["copy", "--to", "postgres"]).output


@pytest.mark.slow
@pytest.mark.parametrize("name", some([name for name in SOURCES if subject(name).parents_table], "tines"))
def test_our_clock_was_behind_before_the_copy(
    name: str, copied: Callable[..., Copied], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All records were of the future to it: a sync into the copy, by a right clock, finds none of them lost."""
    here, one = copied(name), subject(name)
    times = (datetime.fromisoformat(str(row[one.time])) for row in here.fake.truth()[one.main])
    now = [min(times) - timedelta(minutes=1)]
    monkeypatch.setattr(run, "Session", partial(Session, now=lambda: now[0]))
    here.world.complete()
    here.complete()
    now[0] = here.fake.now
    (outcome,) = sync([name], Target.find("postgres"), SyncRequest())
    assert (outcome.outcome, outcome.failures) == ("complete", [])
    assert (here.mismatches(), [*gaps(Target.find("postgres"), [name], now[0])]) == ([], [])
