"""Whose turn it is to write to a DuckLake with its catalog in Postgres."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from gapless.pipelines.destinations._postgres import lake_catalog
from gapless.pipelines.destinations._postgres.lake_catalog import in_turn
from gapless.pipelines.destinations.ducklake import PostgresLake
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import InUse, Locked
from gapless.pipelines.maintenance.compact import compact
from gapless.sources._ledger.shard import Shard
from tests.support.postgres import Server

HERE = "DESTINATION__DUCKLAKE__CREDENTIALS__"


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


def test_writers_have_turns(server: Server) -> None:
    """One at a time for each lake; who has it already does not wait for itself, and other lakes do not matter."""
    url, order = server.database(), list[str]()

    def second() -> None:
        with in_turn(url, "lake"):
            order.append("second")

    turn = ExitStack()
    for schema in ("lake", "lake", "other"):
        turn.enter_context(in_turn(url, schema))
    with begun(second) as had, turn:
        assert not had.wait(0.3)
        order.append("first")
    with in_turn(url, "lake"):
        assert order == ["first", "second"]


def test_a_commit_under_way_is_waited_for(server: Server) -> None:
    """Of a writer that was killed the server may still commit what it has sent: nobody begins beside that."""
    url = server.database()

    def second() -> None:
        with in_turn(url, "a lake"):
            pass

    with closing(psycopg2.connect(url)) as dead, dead.cursor() as cursor:
        cursor.execute('create schema "a lake"; create table "a lake".ducklake_snapshot (snapshot_id bigint)')
        dead.commit()
        cursor.execute('insert into "a lake".ducklake_snapshot values (1)')
        with begun(second) as had:
            assert not had.wait(0.3)
            dead.commit()
            assert had.wait(10)


def test_a_turn_that_never_ends(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for with a limit, and said."""
    url, told = server.database(), list[str]()
    monkeypatch.setattr(lake_catalog, "LIMIT", 0.2)

    def second() -> None:
        with pytest.raises(InUse) as refused, in_turn(url, "lake"):
            pass
        told.append(str(refused.value))

    with in_turn(url, "lake"), begun(second) as had:
        assert had.wait(20)
    assert "another sync writes to the DuckLake" in told[0]


def test_a_commit_that_never_ends(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that somebody left open in a transaction is no reason to wait for ever."""
    url = server.database()
    monkeypatch.setattr(lake_catalog, "LIMIT", 0.2)
    with closing(psycopg2.connect(url)) as idle, idle.cursor() as cursor:
        cursor.execute('create schema "a lake"; create table "a lake".ducklake_snapshot (snapshot_id bigint)')
        idle.commit()
        cursor.execute('insert into "a lake".ducklake_snapshot values (1)')
        with pytest.raises(InUse, match="another program writes to the DuckLake"), in_turn(url, "a lake"):
            pass


@pytest.fixture
def lake(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty one; returns the address of its catalog."""
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
