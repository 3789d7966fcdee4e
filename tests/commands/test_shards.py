"""A sync split into shards: real processes, which write the same tables at once, of a real Postgres or a DuckLake."""

from __future__ import annotations

import json
import os
import random
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations import advisory_lock
from gapless.pipelines.destinations.backend import Backend, Part
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import Locked, WrongSettings
from gapless.pipelines.evidence.gap import Gap
from gapless.pipelines.ledger.gaps import gaps
from gapless.pipelines.sync import lost_rows, run
from gapless.pipelines.sync.request import SyncRequest
from gapless.pipelines.sync.run import sync
from gapless.sources import SOURCES
from gapless.sources._ledger.session import Session
from gapless.sources._ledger.shard import Shard
from tests.contract.subject import subject
from tests.support import lakes, warm
from tests.support.databases import require
from tests.support.oracle import mismatches
from tests.support.postgres import OwnServer, Reader, Server
from tests.support.world import LET_THROUGH, World, some

SPLIT = [name for name, source in SOURCES.items() if source.split_by]
WHERE = ["postgres", "ducklake"]
EVERYWHERE = [(name, where) for name in SPLIT for where in WHERE]


def has_children(name: str) -> bool:
    return any(shape.parent for shape in SOURCES[name].main.schema.tree())


SYNC = """
import sys
from gapless.pipelines.destinations.backend import Part
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.sync.run import sync
from gapless.pipelines.sync.request import SyncRequest
from gapless.sources._ledger.shard import Shard
destination, name, chunk, shard = sys.argv[1:]
(outcome,) = sync([name], Target.find(destination, Shard.parse(shard)), SyncRequest(package_records=int(chunk)))
print(outcome.error, outcome.failures, file=sys.stderr)
sys.exit({"complete": 0, "partial": 3}.get(outcome.outcome, 1))
"""


@dataclass
class Fleet:
    """A vendor, an empty destination, and processes that sync parts of the one into the other."""

    world: World
    url: str
    """Of the Postgres database, or of the one that has the lake's catalog."""
    destination: str = "postgres"

    @property
    def fake(self) -> Any:
        return self.world.fake

    def sync(self, of: int, chunk: int = 40, kill_after: list[float] | None = None) -> list[int]:
        """All shards at once; their exit codes. `kill_after` so many seconds, each."""
        began = time.monotonic()
        with (self.world.folder / "syncer.log").open("a") as log:
            run = [sys.executable, "-c", SYNC, self.destination, self.world.name, str(chunk)]
            shards = [warm.Popen([*run, f"{number}/{of}"], stderr=log) for number in range(1, of + 1)]
        for shard, seconds in sorted(zip(shards, kill_after or [], strict=False), key=lambda pair: pair[1]):
            time.sleep(max(0, began + seconds - time.monotonic()))
            shard.kill()
        return [shard.wait(60) for shard in shards]

    def mismatches(self) -> list[str]:
        if self.destination == "ducklake":
            return lakes.differences(self.world)
        with closing(psycopg2.connect(self.url)) as db:
            return mismatches(Reader(db), self.world.name, self.fake.truth())

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        if self.destination == "ducklake":
            return lakes.asked(self.world, query)
        with closing(psycopg2.connect(self.url, options=f"-csearch_path={self.world.name}")) as db, db:
            found = Reader(db).execute(query)
            return list(found.fetchall()) if found.description else []

    def synced(self, *shards: str) -> list[str]:
        """The outcomes of shards, one after the other."""
        parts = [Target.find(self.destination, Shard.parse(shard)) for shard in shards]
        return [outcome.outcome for part in parts for outcome in sync([self.world.name], part, SyncRequest())]

    def lost(self) -> set[str]:
        """The tables of which `gaps` says that rows are lost."""
        return {gap.stream for gap in self.gaps() if gap.kind == "lost"}

    def gaps(self) -> list[Gap]:
        return [*gaps(Target.find(self.destination), [self.world.name])]


@pytest.fixture
def fleet(server: Server, world: Callable[[Any], World]) -> Callable[..., Fleet]:
    def begin(name: str, parents: int = 12, destination: str = "postgres", **settings: str) -> Fleet:
        require(destination)
        fake = getattr(import_module(f"gapless.sources.{name}.fake"), f"{name.capitalize()}Fake")(page_cap=8)
        fake.seed(parents, **({"logged": 6} if name == "kizen" else {"logs": 9}))
        url = server.database()
        here = Fleet(world(fake).set(DESTINATION__POSTGRES__CREDENTIALS=url, **settings), url, destination)
        lakes.point(here.world, url)
        return here

    return begin


def test_every_parent_belongs_to_one_shard() -> None:
    """Of any split, alike on every machine; each shard has about as many."""
    ids = [f"lead-{number}" for number in range(8_000)]
    owners = Counter(number for i in ids for number in range(1, 9) if Shard(number, 8).contains(i))
    assert sum(owners.values()) == len(ids)
    assert all(900 < owners[number] < 1_100 for number in range(1, 9))
    assert [Shard.parse("1/8").contains(i) for i in ("lead-0", "0", "é", "\ud800")] == [False, False, False, True]
    assert Shard().contains("anything")


@pytest.mark.parametrize("budget", [8, 100, 300, 1501])
def test_shares_are_the_whole_budget(budget: int) -> None:
    """Together the shards ask as often as one sync may, and each may ask."""
    shares = [Shard(number, 8).split_budget(budget) for number in range(1, 9)]
    assert (sum(shares), min(shares) >= 1, max(shares) - min(shares) <= 1) == (budget, True, True)


@pytest.mark.parametrize("wrong", ["0/8", "9/8", "8", "a/b", "-1/8", "1/1001", "1/0", ""])
def test_what_is_no_shard_is_said(wrong: str) -> None:
    with pytest.raises(ValueError, match="expected K/N such as 3/8"):
        Shard.parse(wrong)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "where"), some(EVERYWHERE, ("kizen", "postgres"), ("omni", "ducklake")))
def test_shards_that_start_at_once_are_one_sync(name: str, where: str, fleet: Callable[..., Fleet]) -> None:
    """Four on an empty database, which all of them find without tables; a record nobody can read is one's alone; then
    what is new, by a whole sync and by three: exact each time."""
    here = fleet(name, destination=where)
    text = subject(name).text
    bad = _add(here.fake, name, **{text: []})["id"]
    codes = here.sync(4)
    assert sorted(codes) == [0, 0, 0, 3], (here.world.folder / "syncer.log").read_text()
    assert here.sql("select kind, key from dead_letters") == [("record", str(bad))]
    here.fake.change(bad, **{text: "mended"})
    here.fake.advance(45)
    (outcome,) = sync([name], Target.find(where), SyncRequest())
    assert (outcome.outcome, outcome.failures) == ("complete", [])
    assert here.mismatches() == []
    here.fake.advance(45)
    assert here.sync(3) == [0, 0, 0], (here.world.folder / "syncer.log").read_text()
    assert here.mismatches() == []
    ((runs, ids, counted),) = here.sql("select count(*), count(distinct run_id), count(held) from runs")
    # The three shards ended at once, so that each kept its counts; those of the sync before may be there, too.
    assert (runs, ids, 1 <= counted <= 4) == (8, 8, True)


def _add(fake: Any, name: str, **fields: Any) -> Any:
    parent = fake.truth()["leads" if name == "omni" else "activities" if name == "kizen" else "actions"][0]
    add = fake.add_logged if name == "kizen" else fake.add_log
    return add(parent["leadId" if name == "omni" else "id"], **fields)


@pytest.mark.parametrize("where", WHERE)
def test_a_shard_reads_its_own_parents(where: str, fleet: Callable[..., Fleet]) -> None:
    """And asks nothing about the others'; who was read by it is not read again by a whole sync."""
    here = fleet("omni", parents=20, destination=where)
    mine = [lead["leadId"] for lead in here.fake.truth()["leads"] if Shard(2, 3).contains(lead["leadId"])]
    (outcome,) = sync(["omni"], Target.find(where, Shard(2, 3)), SyncRequest())
    assert outcome.outcome == "complete"
    asked = [path for _, path, _ in here.fake.requests if path.endswith("/action-logs")]
    assert len(asked) == len(mine) > 0
    assert {parent for (parent,) in here.sql("select parent from coverage")} == set(mine)
    assert {lead for (lead,) in here.sql("select lead_id from leads")} == set(mine)


def test_a_comparison_says_which_shard_never_ran(fleet: Callable[..., Fleet]) -> None:
    """What was read is exact, and other parents are not even listed here: it is not proven until all have run."""
    here, there = fleet("omni", parents=6), ("--destination", "postgres")
    assert here.synced("1/2") == ["complete"]
    told = CliRunner().invoke(app, ["verify", "omni", "--whole", *there])
    assert (told.exit_code, "shard 2/2 has not run" in " ".join(told.output.split())) == (3, True), told.output
    assert here.synced("2/2") == ["complete"]
    assert CliRunner().invoke(app, ["verify", "omni", "--whole", *there]).exit_code == 0


@pytest.mark.sweep
def test_a_parent_nobody_can_read_is_one_shards_letter(fleet: Callable[..., Fleet]) -> None:
    """All shards meet it in the listing; one notes it, each time, and the others do not close its letter."""
    here = fleet("omni")
    bad = here.fake.add_lead(firstName=[])["leadId"]
    owner = next(Shard(number, 3) for number in (1, 2, 3) if Shard(number, 3).contains(bad))
    others = [Shard(number, 3) for number in (1, 2, 3) if number != owner.number]
    for attempts in (1, 2):
        for shard in (owner, *others):
            (outcome,) = sync(["omni"], Target.find("postgres", shard), SyncRequest())
            assert outcome.outcome == ("partial" if shard == owner else "complete")
        assert here.sql("select key, attempts, healed_at from dead_letters") == [(bad, attempts, None)]


def test_a_source_without_parents_is_left_to_the_first(fleet: Callable[..., Fleet]) -> None:
    """Sequence is one listing: shard 1 reads all of it, the others say so and ask nothing."""
    here = fleet_of_sequence(fleet)
    for number, rows in ((2, None), (1, 20)):
        told = CliRunner().invoke(app, ["sync", "sequence", "--shard", f"{number}/2", "--destination", "postgres"])
        assert told.exit_code == 0, told.output
        assert ("shard 1/2 reads all of it" in told.output) == (number == 2)
        if rows:
            assert here.sql("select count(*) from activity_logs") == [(rows,)]
    assert here.mismatches() == []


def fleet_of_sequence(fleet: Callable[..., Fleet]) -> Fleet:
    here = fleet("tines", parents=1)
    fake = import_module("gapless.sources.sequence.fake").SequenceFake(page_cap=8)
    fake.seed(20)
    here.world.name, here.world.fake = "sequence", fake
    here.world.set(SEQUENCE_BASE_URL=os.environ["TINES_BASE_URL"])
    return here


@contextmanager
def held(url: str, shard: Shard) -> Iterator[None]:
    with advisory_lock.locked(url, "postgres", part=Part(("omni",), shard)):
        yield


@pytest.mark.parametrize(
    ("first", "second", "welcome"),
    [
        ("1/2", "2/2", True),
        ("1/2", "1/2", False),
        ("1/2", "1/1", False),
        ("1/1", "2/2", False),
        ("1/2", "2/3", False),
    ],
)
def test_who_may_write_beside_whom(
    first: str, second: str, welcome: bool, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards of one split, each once; never beside a whole sync or another split, which would read the same parents.
    From other machines, too, and for files alone where the database has no locks."""
    url = server.database()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    one, other = (Target(Backend("elsewhere", "x"), Shard.parse(text)) for text in (first, second))
    attempts = [lambda: held(url, Shard.parse(second))] if "3" in second else [
        lambda: held(url, Shard.parse(second)), lambda: other.lock("omni"),
    ]  # fmt: skip
    with held(url, Shard.parse(first)), one.lock("omni"):
        for attempt in attempts:
            try:
                with attempt():
                    entered = True
            except Locked:
                entered = False
            assert entered == welcome


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "below", "where"),
    some(
        [(name, below, where) for name, where in EVERYWHERE for below in {False, has_children(name)}],
        *[("omni", True, where) for where in WHERE],
        ("omni", False, "postgres"),
    ),
)
def test_a_loss_after_shards(name: str, below: bool, where: str, fleet: Callable[..., Fleet]) -> None:
    """Rows that were lost between two split syncs, records or rows below them: whichever shard comes first says so,
    as do the others and `gaps`, and the commands that are named end it."""
    here, one = fleet(name, destination=where), subject(name)
    children = [shape.name for shape in one.source.main.schema.tree() if shape.parent]
    assert here.synced("1/2", "2/2") == ["complete"] * 2
    table = children[0] if below else one.main
    full, before = f"{name}.{table}", here.sql(f"select count(*) from {name}.{table}")[0][0]
    here.sql(f"delete from {full} where _dlt_id in (select _dlt_id from {full} order by 1 limit 3)")
    assert here.sql(f"select count(*) from {full}") == [(before - 3,)]
    told = {table, f"{one.main}__*"} if below else {table}  # what a record says of the rows below it names no table
    assert here.lost() & told
    assert here.synced("2/2") == ["partial"]
    for shard in ("1/2", "2/2"):
        if not here.mismatches():  # a record that is read again brings the rows below it with it
            break
        assert here.lost() & told
        assert here.synced(shard) == ["partial"]
    for _ in range(2):
        for fill in dict.fromkeys(gap.fill for gap in here.gaps()):
            for command in fill.split(" && "):
                CliRunner().invoke(app, shlex.split(command)[1:])
    assert here.lost() == set()
    assert here.synced("2/2", "1/2") == ["complete"] * 2
    assert (here.mismatches(), here.lost()) == ([], set())


@pytest.mark.slow
def test_a_shard_beside_another_counts_records_alone(fleet: Callable[..., Fleet]) -> None:
    """Rows below a record become fewer when it changes, so nobody else may be at work when they are counted.

    The records say how many are below each of them, so that what somebody deletes meanwhile is seen nevertheless.
    """
    here, main = fleet("omni"), subject("omni").main
    here.synced("1/2", "2/2")
    counts = "select held::text from runs where held is not null order by finished_at desc"
    assert "messages" in here.sql(counts)[0][0]
    with held(here.url, Shard(2, 2)):
        assert here.synced("1/2") == ["complete"]
        assert [json.loads(cell).keys() for (cell,) in here.sql(counts)] == [{main, "leads", "status_changes"}] * len(
            here.sql(counts)
        )
        with closing(psycopg2.connect(here.url)) as db, db, db.cursor() as cursor:  # as the other one might do it
            cursor.execute("update omni.action_logs set rows_below = 0")
            for table in ("action_logs__messages", "action_logs__messages__documents"):
                cursor.execute(f"delete from omni.{table}")
        assert here.lost() == set()
        assert here.synced("1/2") == ["complete"]
        with closing(psycopg2.connect(here.url)) as db, db, db.cursor() as cursor:
            cursor.execute("update omni.action_logs set rows_below = 1")
        assert here.lost() == {"action_logs__*"}


@pytest.mark.slow
@pytest.mark.parametrize("beside", [False, True])
def test_a_shard_counts_once_unless_somebody_else_writes(
    beside: bool, fleet: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its end it knows the rows by those at its beginning and its own, if the database says that nobody wrote."""
    here, one, counts, done = fleet("omni"), subject("omni"), list[Any](), list[Any]()
    here.synced("1/2", "2/2")
    real = lost_rows.count_rows
    monkeypatch.setattr(lost_rows, "count_rows", lambda *args: counts.append(real(*args)) or counts[-1])

    def write(request: Any) -> Any:
        if beside and not done:
            done.append(request)
            with closing(psycopg2.connect(here.url)) as db, db:
                db.cursor().execute(
                    "update omni.action_logs set summary = summary where id = (select min(id) from omni.action_logs)"
                )
        return LET_THROUGH

    here.world.intercept = write
    for number in range(2):  # new records in one of the two shards, and none
        one.add_one(here.fake)
        assert here.synced("1/2", "2/2") == ["complete"] * 2
        assert here.mismatches() == []
        ((noted,),) = here.sql("select held::text from runs where held is not null order by finished_at desc limit 1")
        assert json.loads(noted)[one.main] == here.sql("select count(*) from action_logs")[0][0], number
    assert (len(counts), len(done)) == ((1, 1) if beside else (0, 0))


@pytest.mark.slow
def test_a_loss_while_a_shard_is_at_work(fleet: Callable[..., Fleet]) -> None:
    """Records that somebody deletes meanwhile are noted when it ends, and told by the next one."""
    here, done = fleet("omni"), []
    here.synced("1/2", "2/2")

    def delete(request: Any) -> Any:
        if not done:
            with closing(psycopg2.connect(here.url)) as db, db, db.cursor() as cursor:
                cursor.execute(
                    "delete from omni.action_logs where _dlt_id in (select min(_dlt_id) from omni.action_logs)"
                )
            done.append(request)
        return LET_THROUGH

    here.world.intercept = delete
    here.synced("2/2")
    here.world.mend()
    assert done
    assert "action_logs" in here.lost()
    assert here.synced("2/2") == ["partial"]


@pytest.mark.sweep
def test_the_lock_of_a_shard_is_watched(own_server: OwnServer) -> None:
    """As that of a whole sync: when the server has restarted, the next package is not written."""
    url = own_server.database()
    with advisory_lock.locked(url, "postgres", part=Part(("omni",), Shard(1, 2))) as check:
        check()
        own_server.restart()
        with pytest.raises(Exception, match="the lock on this database"):
            check()


@pytest.mark.parametrize("where", ["duckdb", "ducklake"])
def test_a_file_is_not_written_to_by_shards(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB has one writer at a time, as has a lake with its catalog in a file: said before anything is asked."""
    require(where)
    monkeypatch.setenv("DESTINATION__DUCKLAKE__CREDENTIALS__CATALOG", f"sqlite:///{tmp_path}/catalog.sqlite")
    monkeypatch.setenv("DESTINATION__DUCKLAKE__CREDENTIALS__STORAGE__BUCKET_URL", str(tmp_path / "lake"))
    with pytest.raises(WrongSettings, match=r"one writer at a time.* DuckLake whose catalog is in Postgres"):
        Target.find(where, Shard(1, 2))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--shard", "3"], "expected K/N such as 3/8"),
        (["--shard", "1/2", "--id", "x"], "leave out --shard"),
        (["--shard", "1/500"], "cannot be split into 500 shards"),
    ],
)
def test_wrong_shards_are_wrong_usage(arguments: list[str], reason: str, fleet: Callable[..., Fleet]) -> None:
    """Exit 2, and what mends it."""
    fleet("omni", OMNI_REQUESTS_PER_MINUTE="300")
    told = CliRunner().invoke(app, ["sync", "omni", "--destination", "postgres", *arguments])
    assert (told.exit_code, reason in " ".join(told.output.split())) == (2, True), told.output


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("name", "where"), EVERYWHERE if os.environ.get("SHARDS") else [("omni", at) for at in WHERE]
)
def test_eight_shards_give_the_rows_of_one_sync_whatever_dies(
    name: str, where: str, fleet: Callable[..., Fleet]
) -> None:
    """Eight processes, each killed with -9 at a random moment, twice over; then all run to their end, and once
    more after an hour: every row is that of the vendor, once. `SHARDS=all pytest -m sweep` does it to all three."""
    here, dice = fleet(name, parents=40, destination=where), random.Random(name)
    killed = 0
    for _ in range(2):
        codes = here.sync(8, chunk=10, kill_after=[dice.uniform(0.5, 5) for _ in range(8)])
        assert set(codes) <= {0, -9}, (here.world.folder / "syncer.log").read_text()
        killed += codes.count(-9)
    assert killed > 4
    assert here.sync(8) == [0] * 8, (here.world.folder / "syncer.log").read_text()
    assert here.mismatches() == []
    here.fake.advance(60)
    assert here.sync(8) == [0] * 8
    assert here.mismatches() == []


@pytest.mark.sweep
def test_eight_shards_keep_one_rate_budget(fleet: Callable[..., Fleet]) -> None:
    """40 requests a minute for all: 8 shards with more to ask than that ask 40 in their first minute, not 320."""
    here = fleet("omni", parents=200, OMNI_REQUESTS_PER_MINUTE="40")
    here.sync(8, kill_after=[12.0] * 8)
    assert 20 < len(here.fake.requests) <= 40


@pytest.mark.slow
@pytest.mark.parametrize("name", some(SPLIT, "tines"))
def test_a_shards_clock_was_behind(name: str, fleet: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch) -> None:
    """While records came that are all of the future to it: once it is right again, none of them counts as lost."""
    here = fleet(name)
    one = subject(name)
    times = (datetime.fromisoformat(str(row[one.time])) for row in here.fake.truth()[one.main])
    now = [min(times) - timedelta(minutes=1)]
    monkeypatch.setattr(run, "Session", partial(Session, now=lambda: now[0]))
    assert here.synced("1/2", "2/2") == ["complete", "complete"]
    now[0] = here.fake.now
    assert here.synced("1/2", "2/2") == ["complete", "complete"]
    assert (here.mismatches(), [*gaps(Target.find("postgres"), [name], now[0])]) == ([], [])
