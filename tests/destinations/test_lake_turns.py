"""Whose turn it is to write to a DuckLake with its catalog in Postgres."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from gapless.pipelines.destinations._postgres import turns as turns_module
from gapless.pipelines.destinations._postgres.lake_catalog import LakeTurns
from gapless.pipelines.destinations._postgres.session import connect
from gapless.pipelines.destinations.ducklake import PostgresLake
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError, InUse, Locked
from gapless.pipelines.maintenance.compact import compact
from gapless.sources import SOURCES
from gapless.sources._ledger.shard import Shard
from tests.support import lakes
from tests.support.databases import require
from tests.support.destinations import Begin, seeded
from tests.support.postgres import OwnServer, Server

HERE = "DESTINATION__DUCKLAKE__CREDENTIALS__"
NAMES = [*SOURCES]
KILL = "select pg_terminate_backend({})"


@pytest.fixture
def destination() -> str:
    """Where `world` has its data."""
    require("ducklake")
    return "ducklake"


@contextmanager
def begun(turn: Callable[[], None]) -> Iterator[threading.Event]:
    """Something that waits for its turn in another thread; what tells that it had it."""
    had = threading.Event()

    def wait() -> None:
        turn()
        had.set()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield had
    finally:
        thread.join(20)


@pytest.fixture
def turns(server: Server) -> Iterator[Callable[..., LakeTurns]]:
    """Makes turns of one more sync: by default at one lake in one catalog."""
    url = server.database()
    with ExitStack() as stack:

        def make(schema: str = "a lake", url: str = url, name: str = "") -> LakeTurns:
            address = f"{url}?application_name={name}" if name else url
            return stack.enter_context(closing(LakeTurns(address, schema)))

        yield make


@contextmanager
def committing(url: str) -> Iterator[Connection]:
    """Somebody who has sent a commit to the catalog, or is about to, and does not end it."""
    with closing(psycopg2.connect(url, application_name="psql of Ann")) as other, other.cursor() as cursor:
        cursor.execute(
            'create schema if not exists "a lake"; create table "a lake".ducklake_snapshot (snapshot_id bigint)'
        )
        other.commit()
        cursor.execute('insert into "a lake".ducklake_snapshot values (1)')
        yield other


def refused(turns: LakeTurns) -> str:
    """What somebody reads who waited in vain."""
    with pytest.raises(InUse) as error, turns.taken():
        pass
    return str(error.value)


def pid_of(turns: LakeTurns) -> int:
    """The server's number of the connection that has the turn."""
    assert turns.connection
    return turns.connection.info.backend_pid


def test_writers_have_turns(turns: Callable[..., LakeTurns]) -> None:
    """One at a time for each lake, of two syncs and of two threads of one.

    Who has it already does not wait for itself, and other lakes do not matter.
    """
    for first, second in ((turns(), turns()), (own := turns(), own)):
        order = list[str]()

        def later(second: LakeTurns = second, order: list[str] = order) -> None:
            with second.taken():
                order.append("second")

        turn = ExitStack()
        for one in (first, first, turns("other")):
            turn.enter_context(one.taken())
        with begun(later) as had, turn:
            assert not had.wait(0.3)
            order.append("first")
        with first.taken():
            assert order == ["first", "second"]


def test_a_commit_under_way_is_waited_for(server: Server, turns: Callable[..., LakeTurns]) -> None:
    """Of a writer that was killed the server may still commit what it has sent: nobody begins beside that."""
    url = server.database()

    def second() -> None:
        with turns(url=url).taken():
            pass

    with committing(url) as dead, begun(second) as had:
        assert not had.wait(0.3)
        dead.commit()
        assert had.wait(10)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that end soon."""
    monkeypatch.setattr(turns_module, "LIMIT", 0.6)
    monkeypatch.setattr(turns_module, "SAID_AFTER", 0.1)


@pytest.mark.usefixtures("hasty")
def test_a_turn_that_never_ends(turns: Callable[..., LakeTurns], caplog: pytest.LogCaptureFixture) -> None:
    """It is waited for with a limit; who has it is said once meanwhile, and at the end."""
    first, told = turns(name="one-sync"), list[str]()
    with first.taken():
        with begun(lambda: told.append(refused(turns()))) as had:
            assert had.wait(20)
        holder = f"session {pid_of(first)} of the catalog's database (user gapless, application one-sync, since 2"
    assert holder in told[0]
    assert "has the turn to write to the DuckLake; waited 1 s in vain" in told[0]
    assert caplog.text.count(f"waiting: {holder}") == 1


@pytest.mark.usefixtures("hasty")
def test_a_commit_that_never_ends(server: Server, turns: Callable[..., LakeTurns]) -> None:
    """A session that somebody left open is no reason to wait for ever; who waits behind reads its name, too."""
    url, told = server.database(), list[str]()
    with committing(url) as idle:
        both = [turns(url=url), turns(url=url)]
        with begun(lambda: told.append(refused(both[0]))), begun(lambda: told.append(refused(both[1]))):
            pass
        said = f"session {idle.info.backend_pid} of the catalog's database (user gapless, application psql of Ann"
    assert [said in one and "has not ended its commit to the DuckLake" in one for one in told] == [True, True], told


@pytest.mark.usefixtures("hasty")
def test_what_was_waited_for_in_vain_is_not_waited_for_again(turns: Callable[..., LakeTurns]) -> None:
    """dlt tries a load again, and the run is written down: together they wait once."""
    holder, second, told = turns(), turns(), list[float]()
    with holder.taken(), begun(lambda: told.extend(waits(second, 4))) as had:
        assert had.wait(20)
    assert [waited > 0.5 for waited in told] == [True, False, False, False], told
    with second.taken():  # had again: the patience is back
        pass
    with holder.taken(), begun(lambda: told.extend(waits(second, 1))) as had:
        assert had.wait(20)
    assert told[-1] > 0.5


def waits(turns: LakeTurns, times: int) -> Iterator[float]:
    """The seconds of each of several waits in vain."""
    for _ in range(times):
        began = time.monotonic()
        refused(turns)
        yield time.monotonic() - began


def test_a_turn_is_gone_with_its_connection(own_server: OwnServer) -> None:
    """Whatever ended it: it is not believed to be held, others have it, and the next turn is had by another one."""
    url = own_server.database()
    with closing(LakeTurns(url, "lake")) as turns, closing(LakeTurns(url, "lake")) as other:
        for end in (lambda: own_server.execute("postgres", KILL.format(pid_of(turns))), own_server.restart):
            with turns.taken():
                end()
                with other.taken():
                    pass
                with pytest.raises(GaplessError, match="lost with its connection"), turns.taken():
                    pass
            with turns.taken(), turns.taken():
                pass
        own_server.restart()
        with turns.taken(), turns.taken():
            pass


@pytest.mark.slow
def test_a_sync_has_one_connection_for_its_turns(
    world: Begin, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many load packages there are; none stays open."""
    here, url, opened = world(seeded(NAMES[0])), server.database(), list[Connection]()
    lakes.point(here, url)

    def noted(address: str) -> Connection:
        opened.append(connect(address))
        return opened[-1]

    monkeypatch.setattr(turns_module, "connect", noted)
    assert here.complete(package_records=40).packages > 1
    assert [one.closed for one in opened] == [1]


@pytest.mark.slow
def test_a_sync_waits_in_vain_once(world: Begin, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not once more for the row of `runs`."""
    here, url, waited, wait = world(seeded(NAMES[0])), server.database(), list[float](), LakeTurns._wait
    lakes.point(here, url)
    here.complete()

    def noted(turns: LakeTurns) -> None:
        began = time.monotonic()
        try:
            wait(turns)
        finally:
            waited.append(time.monotonic() - began)

    monkeypatch.setattr(turns_module, "LIMIT", 4.0)
    monkeypatch.setattr(turns_module, "SAID_AFTER", 0.1)
    with closing(LakeTurns(url, "ducklake")) as holder, holder.taken():
        monkeypatch.setattr(LakeTurns, "_wait", noted)
        outcome = here.sync()
    assert "has the turn to write to the DuckLake" in str(outcome.error)
    assert len(waited) > 1
    assert 4 < sum(waited) < 7.9, waited  # and not 8


@pytest.fixture
def lake(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty one; returns the address of its catalog."""
    require("ducklake")
    monkeypatch.setenv(f"{HERE}CATALOG", url := server.database())
    monkeypatch.setenv(f"{HERE}STORAGE__BUCKET_URL", str(tmp_path / "files"))
    return url


@pytest.mark.slow
def test_who_may_write_to_a_lake_beside_whom(lake: str) -> None:
    """Other sources, and shards of one split; no other split, and nobody beside what concerns all."""
    whole, half, third = Target.find("ducklake"), *(Target.find("ducklake", Shard(1, of)) for of in (2, 3))
    assert isinstance(whole.backend, PostgresLake)
    with half.locked("omni"), whole.locked("tines"), Target.find("ducklake", Shard(2, 2)).locked("omni"):
        for other in (whole, half, third):
            with pytest.raises(Locked), other.locked("omni"):
                pass
        with pytest.raises(Locked), whole.locked():
            pass
        # A lake is compacted as a whole, whatever is named.
        with pytest.raises(Locked):
            compact(whole, ["kizen"])
