"""Limits that a server, a database or a role has for its sessions, and connections that somebody ends."""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import httpx2 as httpx
import psycopg2
import pytest
from typer.testing import CliRunner

from gapless.pipelines import json_logs
from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations._postgres.merging import PackageMerge
from tests.contract.subject import filled
from tests.support.databases import Postgres
from tests.support.postgres import Server
from tests.support.world import LET_THROUGH, World, some

Begin = Callable[[Any], World]
LIMIT, LONGER = 0.3, 0.6
"""Seconds."""
LIMITS = {
    # the parameter: what a session of ours does for longer
    "transaction_timeout": "loads",
    "idle_in_transaction_session_timeout": "loads",
    "statement_timeout": "merges",
    "idle_session_timeout": "asks",
    "lock_timeout": "waits",
}
SETTING = "DESTINATION__POSTGRES__CREDENTIALS"
NEEDS_17 = "transaction_timeout"


@pytest.fixture
def destination() -> str:
    return Postgres.name


@pytest.fixture
def here(one_source: World) -> World:
    one_source.fake.advance(30)
    return one_source


def address(here: World) -> str:
    return here.database.settings[SETTING]


def database(here: World) -> str:
    return address(here).rpartition("/")[2]


def in_a_merge(monkeypatch: pytest.MonkeyPatch, done: Callable[[Any], object], times: int = 1_000) -> None:
    """Does something in the middle of the first transactions that load, with their cursors."""
    run, left = PackageMerge.run, [done] * times

    def slowly(package: PackageMerge, cursor: Any, merge: Callable[[], None]) -> Any:
        if left and package.tables[0].name == "action_logs":
            left.pop()(cursor)
        return run(package, cursor, merge)

    monkeypatch.setattr(PackageMerge, "run", slowly)


def take_longer(here: World, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the next sync do for LONGER seconds what a limit is for."""
    if what == "loads":
        in_a_merge(monkeypatch, lambda cursor: (cursor.execute("select 1"), time.sleep(LONGER)))
    if what == "merges":
        in_a_merge(monkeypatch, lambda cursor: cursor.execute(f"select pg_sleep({LONGER})"))
    if what == "asks":

        def wait(_: httpx.Request) -> httpx.Response:
            time.sleep(LONGER)
            return LET_THROUGH

        here.intercept = wait
    if what == "waits":

        def lock(_: Any) -> None:
            other = psycopg2.connect(address(here))
            other.cursor().execute("lock table omni.action_logs in share mode")
            threading.Timer(LONGER, other.close).start()

        in_a_merge(monkeypatch, lock)


@pytest.mark.slow
@pytest.mark.parametrize("limit", some(LIMITS, "transaction_timeout"))
def test_a_limit_of_the_database(limit: str, here: World, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meant for people's queries: our own sessions set what they need, so a sync and the next one are exact."""
    server.execute("postgres", f"alter database {database(here)} set {limit} = '{int(LIMIT * 1000)}ms'")
    take_longer(here, LIMITS[limit], monkeypatch)
    here.complete()
    here.mend()
    here.complete()
    server.execute("postgres", f"alter database {database(here)} reset {limit}")
    here.assert_exact()


@pytest.mark.slow
@pytest.mark.parametrize("limit", some(LIMITS, "transaction_timeout"))
def test_a_limit_in_the_address(limit: str, here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is somebody's will, unless it would end the lock. What it ends is said with its name, and the next is exact."""
    here.set(**{SETTING: f"{address(here)}?options=-c{limit}%3D{int(LIMIT * 1000)}ms"})
    with monkeypatch.context() as meanwhile:
        take_longer(here, LIMITS[limit], meanwhile)
        outcome = here.sync()
    if limit in ("idle_session_timeout", "transaction_timeout"):
        assert outcome.error is None
    else:
        assert outcome.error
        assert limit in outcome.error
        assert f"set {limit} = 0" in outcome.error or "connection to the database was lost" in outcome.error
    here.mend()
    here.complete()
    here.assert_exact()


ENDED = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> %s"


@pytest.mark.slow
@pytest.mark.parametrize("whose", some(["the load's", "all others"], "the load's"))
def test_a_session_that_somebody_ends(whose: str, here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a load: it begins once more by itself. If that happens each time, what to do is said, without
    a value of a record, whoever writes it."""

    def end(cursor: Any) -> None:
        with closing(psycopg2.connect(address(here))) as other, other, other.cursor() as killing:
            own = other.info.backend_pid
            if whose == "the load's":
                killing.execute("select pg_terminate_backend(%s)", (cursor.connection.info.backend_pid,))
            else:
                killing.execute(ENDED, (own,))

    with monkeypatch.context() as once:
        in_a_merge(once, end, 1)
        here.complete()
    here.fake.advance(30)
    with monkeypatch.context() as always:
        in_a_merge(always, end)
        outcome = here.sync()
    assert outcome.error
    assert "Shutdown" not in outcome.error
    assert "sync again" in outcome.error
    here.complete()
    here.assert_exact()


@contextmanager
def pooler(server: Server) -> Iterator[int]:
    """Stands before the server and hands on no `options`, as PgBouncer with `ignore_startup_parameters` does."""

    def pipe(source: socket.socket, to: socket.socket) -> None:
        with suppress(OSError), source:
            while read := source.recv(65536):
                to.sendall(read)
            to.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                (size,) = struct.unpack("!i", client.recv(4, socket.MSG_WAITALL))
                words = client.recv(size - 4, socket.MSG_WAITALL)[4:].split(b"\0")
                pairs = dict(zip(words[::2], words[1::2], strict=False))
                pairs.pop(b"options")
                text = b"".join(b"%s\0%s\0" % pair for pair in pairs.items() if pair[0]) + b"\0"
                behind = socket.create_connection(("127.0.0.1", server.port))
                behind.sendall(struct.pack("!ii", len(text) + 8, 3 << 16) + text)
                for pair in ((client, behind), (behind, client)):
                    threading.Thread(target=pipe, args=pair, daemon=True).start()

    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.slow
def test_a_pooler(world: Begin, server: Server) -> None:
    """Its sessions lack our settings and hold no lock of ours: named before any request."""
    here = world(filled("sequence")).alone()
    with pooler(server) as port:
        here.set(**{SETTING: address(here).replace(f":{server.port}/", f":{port}/") + "?sslmode=disable"})
        ended = CliRunner().invoke(app, ["sync", "--destination", "postgres"])
    assert (ended.exit_code, here.asked()) == (1, 0)
    assert "connection pooler" in ended.output
    assert "Name the Postgres behind it" in ended.output


def test_what_c_code_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """psycopg2 prints an error of the server in the middle of a COPY by itself, with the row: nobody reads it."""
    json_logs.switch(False)
    error = psycopg2.errors.AdminShutdown("terminating connection\nCONTEXT:  COPY actions, line 1: canary-row")
    sys.excepthook(type(error), error, None)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("what", ["role", "database"])
def test_too_few_connections(what: str, here: World, server: Server) -> None:
    """Fewer at once than a sync has are refused before anything is read, by the doctor too; as many do."""
    role, name = f"few_{what}", f"few_{what}_{database(here)}"
    server.execute(database(here), f"create role {role} login")
    server.execute(database(here), f"create database {name} owner {role}")
    limited = f"alter {what} {role if what == 'role' else name} connection limit"
    server.execute(database(here), f"{limited} 2")
    here.fake.requests.clear()
    where = address(here).partition("@")[2].rpartition("/")[0]
    here.set(**{SETTING: f"postgresql://{role}@{where}/{name}"})
    for command in ("sync", "doctor"):
        told = CliRunner().invoke(app, [command, *here.database.option])
        assert "may have 2 connections at once, and a sync needs 3" in " ".join(told.output.split()), told.output
        assert (told.exit_code != 0, here.asked() if command == "sync" else 0) == (True, 0)
    server.execute(database(here), f"{limited} 3")
    assert CliRunner().invoke(app, ["sync", *here.database.option]).exit_code == 0
