"""A DuckLake's catalog in Postgres: how DuckDB attaches it, and whose turn it is to write to the lake.

DuckLake lets writers commit at once and looks for conflicts when they end. Whoever inserts into a table from which
another one deleted meanwhile fails then, with all that it did, and in Postgres not every conflict is seen
(duckdb/ducklake, issue 1094). So each transaction of ours that writes waits for its turn before it begins.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from gapless.pipelines.destinations._postgres.session import connect
from gapless.pipelines.errors import InUse

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

SECRET = "gapless_catalog"
"""Name of the secret with the catalog's password; it is in a DuckDB in memory, and gone with that."""
TURN = int.from_bytes(blake2b(b"gapless lake", digest_size=4).digest(), signed=True)
"""The first number of the lock of whose turn it is; the second one stands for the lake."""
LIMIT = 600
"""Seconds that a turn is waited for: a merge takes seconds, and each other writer may have one before it."""
SNAPSHOTS = "ducklake_snapshot"
"""The catalog's table to which every commit adds a row."""
WRITES = (
    f"writes to the DuckLake for more than {LIMIT} s: it holds a lock in the catalog's database (pg_locks says which"
    " session). What was loaded stays: sync again."
)
COMMITTING = """
    select count(*) from pg_locks where locktype = 'relation' and mode = 'RowExclusiveLock'
    and relation = to_regclass(%s) and database = (select oid from pg_database where datname = current_database())
"""
_mine = threading.local()


@contextmanager
def in_turn(address: str, schema: str) -> Iterator[None]:
    """Holds the turn to write to the lake whose catalog is in a schema; within it this thread has it already.

    Why a connection of its own: that of DuckLake is not ours. Raises InUse if another one does not end its turn.
    """
    import psycopg2

    held: set[tuple[str, str]] = _mine.__dict__.setdefault("held", set())
    if (address, schema) in held:
        yield
        return
    with closing(connect(address)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"set lock_timeout = {int(LIMIT * 1000)}")
        try:
            cursor.execute("select pg_advisory_lock(%s, hashtext(%s))", (TURN, schema))
        except psycopg2.errors.LockNotAvailable:
            raise InUse(f"another sync {WRITES}") from None
        ends = time.monotonic() + LIMIT
        # The server may be committing still what a writer sent before it was killed.
        while _is_committed_to(cursor, schema):
            if time.monotonic() > ends:
                raise InUse(f"another program {WRITES}")
            cursor.execute("select pg_sleep(0.01)")
        held.add((address, schema))
        try:
            yield
        finally:
            held.discard((address, schema))


def is_made(connection: Connection, schema: str) -> bool:
    """Returns whether the tables of a catalog are there."""
    with connection.cursor() as cursor:
        cursor.execute("select to_regclass(%s) is not null", (_snapshots(schema),))
        return bool(cursor.fetchone()[0])


def attaching(parts: Mapping[str, str], name: str, options: Mapping[str, str]) -> tuple[str, str]:
    """Returns the statements that make the secret with the password and attach the lake: errors quote statements.

    `parts` are libpq's parameters, `options` those of DuckLake as SQL; empty ones are left out.
    """
    # Quoted twice: each value as libpq does it, and all of them as one text of SQL.
    dsn = " ".join(f"{part}={_in_dsn(value)}" for part, value in parts.items() if part != "password")
    given = ", ".join(f"{option} {value}" for option, value in options.items() if value)
    return (
        f"create secret {SECRET} (type postgres, password {quoted(parts.get('password', ''))})",
        f'attach {quoted(f"ducklake:postgres:{dsn}")} as "{name}" ({given})',
    )


def quoted(text: str) -> str:
    """Returns a text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def _in_dsn(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _is_committed_to(cursor: Any, schema: str) -> bool:
    cursor.execute(COMMITTING, (_snapshots(schema),))
    return bool(cursor.fetchone()[0])


def _snapshots(schema: str) -> str:
    return '"' + schema.replace('"', '""') + f'".{SNAPSHOTS}'
