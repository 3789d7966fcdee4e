"""What a database refused is said without a value: as real engines say it, in every quotation mark, over lines."""

from __future__ import annotations

import logging
import sqlite3
import traceback
from collections.abc import Iterator
from contextlib import closing

import duckdb
import psycopg2
import pyarrow as pa
import pytest
from dlt.destinations.exceptions import DatabaseTransientException

from gapless.pipelines.database_errors import described
from gapless.pipelines.errors import explain, frames, is_foreseen
from gapless.pipelines.redaction import Redacting, redact
from tests.support.postgres import Server

CANARY = "ada.canary@example.com"
VALUES = (CANARY, f'it\'s "{CANARY}" in `quotes`', f"{CANARY}\nin two lines\n{CANARY}")
TABLE = "create table people (mail varchar unique, age integer check (age < 200), born timestamp)"
REFUSED = {
    "twice": "insert into people (mail) values ({0}), ({0})",
    "no number": "insert into people (age) values (cast({0} as integer))",
    "no time": "insert into people (born) values (cast({0} as timestamp))",
    "too large": "insert into people (mail, age) values ({0}, 999)",
    "no syntax": "insert into people values {0} {0}",
    "no JSON": "select cast({0} as json)",
}
TRIGGER = """
    create function guard() returns trigger language plpgsql as $$
    begin raise exception 'no % here', new.mail using detail = new.mail; end $$;
    create trigger guard before insert on people for each row execute function guard()
"""


def literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def raised(connection: object, statement: str) -> BaseException:
    try:
        connection.execute(statement)  # type: ignore[attr-defined]  # a connection of any library
    except Exception as error:
        return error
    raise AssertionError(f"not refused: {statement}")


def said(error: BaseException) -> Iterator[str]:
    """Yields all that may be printed or logged of an error, raised through another one."""
    yield explain(error)
    try:
        raise RuntimeError(f"the load failed: {error}") from error
    except RuntimeError as outer:
        yield redact(frames(outer))
        yield explain(outer)
        record = logging.LogRecord("dlt", logging.ERROR, __file__, 1, "failed: %s", (error,), None)
        yield Redacting(None).format(record)
        record.exc_info = (type(outer), outer, outer.__traceback__)
        yield Redacting(None).format(record)
        assert "Traceback" in traceback.format_exc()
    # dlt's errors are of many classes; some hold the first line of what they wrap.
    for kind, text in ((ValueError, str(error)), (DatabaseTransientException, error), (RuntimeError, _first(error))):
        try:
            raise kind(text) from error
        except Exception as outer:
            yield redact(frames(outer))
            try:
                raise RuntimeError(f"cannot load. Cause: {outer}. Try again") from outer
            except RuntimeError as outermost:
                yield redact(frames(outermost))


def _first(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]


def assert_silent(error: BaseException, kind: str) -> None:
    for text in said(error):
        assert "canary" not in text, text
    assert explain(error).startswith(f"{kind}: ")


@pytest.mark.parametrize("value", VALUES, ids=["plain", "quotes", "lines"])
@pytest.mark.parametrize("reason", REFUSED)
def test_duckdb(reason: str, value: str) -> None:
    with duckdb.connect() as db:
        db.execute(TABLE)
        error = raised(db, REFUSED[reason].format(literal(value)))
        assert_silent(error, type(error).__name__)


@pytest.mark.parametrize("value", VALUES, ids=["plain", "quotes", "lines"])
@pytest.mark.parametrize("reason", [*REFUSED, "a trigger", "no row"])
def test_postgres(reason: str, value: str, server: Server) -> None:
    with closing(psycopg2.connect(server.url("postgres"))) as connection, connection.cursor() as db:
        db.execute("create temp table people (mail varchar unique, age integer check (age < 200), born timestamp)")
        db.execute("alter table people add column must integer not null default 1")
        if reason == "a trigger":
            db.execute(
                TRIGGER.replace("create function guard", "create function pg_temp.guard").replace(
                    "execute function guard", "execute function pg_temp.guard"
                )
            )
        statement = {**REFUSED, "a trigger": "insert into people (mail) values ({0})",
                     "no row": "insert into people (mail, must) values ({0}, null)"}[reason]  # fmt: skip
        error = raised(db, statement.format(literal(value)).replace("%", "%%"))
        connection.rollback()
        assert_silent(error, type(error).__name__)


def test_sqlite_and_arrow() -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("create table people (mail text unique check (mail <> 'ada.canary@example.com'))")
        assert_silent(raised(db, f"insert into people values ({literal(CANARY)})"), "IntegrityError")
    with pytest.raises(pa.ArrowInvalid) as failed:
        pa.array([CANARY], pa.string()).cast(pa.int64())
    assert_silent(failed.value, "ArrowInvalid")


def test_what_helps_stays(server: Server) -> None:
    """Names of tables, columns, files and hosts are no values."""
    with closing(psycopg2.connect(server.url("postgres"))) as connection, connection.cursor() as db:
        assert 'relation "no_such" does not exist' in described(raised(db, "select * from no_such"))
        connection.rollback()
        db.execute("create temp table people (mail varchar constraint one_mail unique)")
        statement = "insert into people values ('a'), ('a')"
        assert 'unique constraint "one_mail"' in described(raised(db, statement))
    with pytest.raises(psycopg2.OperationalError) as failed:
        psycopg2.connect("host=127.0.0.1 port=9 user=me dbname=logs connect_timeout=2")
    assert "127.0.0.1" in explain(failed.value)
    with duckdb.connect() as db:
        assert "no_such" in described(raised(db, "select * from no_such"))
        assert "/nowhere/file" in described(raised(db, "attach '/nowhere/file'"))
    assert "/nowhere" in explain(FileNotFoundError(2, "No such file", "/nowhere"))


GONE = (
    psycopg2.OperationalError("server closed the connection unexpectedly"),
    psycopg2.OperationalError("could not receive data from server: Connection reset by peer"),
    psycopg2.OperationalError("SSL SYSCALL error: EOF detected"),
    psycopg2.OperationalError('connection to server at "db" (10.0.0.1), port 5432 failed: Connection refused'),
    psycopg2.InterfaceError("connection already closed"),
    psycopg2.InterfaceError("cursor already closed"),
    psycopg2.DatabaseError("error with status PGRES_TUPLES_OK and no message from the libpq"),
    duckdb.IOException(
        'Failed to execute query "COMMIT": FATAL:  terminating connection due to administrator command'
    ),
)


@pytest.mark.parametrize("error", GONE, ids=str)
def test_a_connection_that_is_lost(error: Exception) -> None:
    """In whatever words: said in ours, as nothing unforeseen, also where another error came before it."""
    assert is_foreseen(error)
    assert "sync again" in explain(error)
    error.__context__ = psycopg2.errors.UndefinedTable('relation "no_such" does not exist')
    assert is_foreseen(error)
    assert "no_such" not in explain(error)


def test_another_error_is_no_lost_connection() -> None:
    """The twin: neither a statement that is wrong nor a file that is not there."""
    for error in (psycopg2.ProgrammingError("no results to fetch"), duckdb.IOException("Cannot open file: x.duckdb")):
        assert not is_foreseen(error)
