"""Locks a Postgres database for every machine: advisory locks, held by a connection that only waits.

A sync has its sources for itself, beside syncs of other sources; shards of one split share theirs, one sync per
shard number. What concerns all sources (a copy, `gapless views`) has the database for itself.

The server frees the lock when the connection ends, so a killed sync leaves nothing behind. It does not work through
a pooler that lends one server connection to many clients in turn (PgBouncer's transaction mode).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING

from gapless.pipelines.destinations._postgres.server import check_server, connected
from gapless.pipelines.destinations._postgres.table_locks import wait_for_tables
from gapless.pipelines.destinations.backend import Part
from gapless.pipelines.errors import GaplessError, Locked
from gapless.sources import SOURCES
from gapless.sources._ledger.shard import MOST

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

# Signed, because the numbers of advisory locks are.
LOCK = int.from_bytes(blake2b(b"gapless", digest_size=8).digest(), signed=True)
"""The lock of all sources. Each database has its own locks, so this number is the same everywhere."""
HELD = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
OTHER_SPLITS = f"""
    select count(*) from pg_locks
    where locktype = 'advisory' and objsubid = 2 and classid::bigint = %s and objid::bigint / {MOST} <> %s
    and database = (select oid from pg_database where datname = current_database())
"""
SHARDS = """
    select count(*) from pg_locks where locktype = 'advisory' and objsubid = 2 and classid::bigint = {}
    and database = (select oid from pg_database where datname = current_database())
"""


def shards_at_work(source: str) -> str:
    """Returns the query that counts the shards of a source that are at work, this one among them."""
    return SHARDS.format(_number(source, 4) % 2**32)


@contextmanager
def locked(credentials: str, name: str, part: Part | None = None) -> Iterator[Callable[[], None]]:
    """Holds the lock; yields a function that raises GaplessError when the lock is lost.

    Raises Locked when another sync has it, InUse when somebody keeps a table locked, WrongSettings or GaplessError
    when the database cannot be reached or cannot hold what a sync writes.
    """
    # In a transaction it would be idle, and a server may end that (idle_in_transaction_session_timeout).
    with connected(credentials, name) as connection:
        check_server(connection, name)
        if taken := _taken_by_others(connection, part or Part()):
            raise Locked(
                f"another sync is writing {taken} this database of {name}, maybe from another machine; nothing was"
                " asked. Try again when it has ended."
            )
        wait_for_tables(connection, name, (part and part.sources) or [*SOURCES])
        yield partial(_check, connection, name, _held(connection))


def _check(connection: Connection, name: str, taken: int) -> None:
    import psycopg2

    try:
        held = _held(connection)
    # A connection that is gone has no locks.
    except psycopg2.Error:
        held = 0
    if held < taken:
        raise GaplessError(
            f"the lock on this database of {name} is lost, as after a restart of the server; another sync may be"
            " writing to it. What was loaded stays: sync again."
        )


def _held(connection: Connection) -> int:
    with connection.cursor() as cursor:
        cursor.execute(HELD)
        return int(cursor.fetchone()[0])


def _taken_by_others(connection: Connection, part: Part) -> str | None:
    """Takes the locks of `part`; returns what somebody else has, None if all are ours.

    Two splits that begin at once may both be refused, but never both be let in: each looks for others after it has
    taken its own.
    """
    with connection.cursor() as cursor:

        def answer(query: str, *values: int) -> int:
            cursor.execute(query, values)
            return int(cursor.fetchone()[0])

        if not part.sources:
            return None if answer("select pg_try_advisory_lock(%s)::int", LOCK) else "to"
        # Shared, so that other sources can be synced meanwhile, and a copy or `gapless views` cannot run.
        if not answer("select pg_try_advisory_lock_shared(%s)::int", LOCK):
            return "to"
        shard = part.shard
        # Shards of one source are let in together; a whole sync of it is not let in beside them.
        kind = "" if shard.whole else "_shared"
        for source in part.sources:
            if not answer(f"select pg_try_advisory_lock{kind}(%s)::int", _number(source, 8)):
                return f"{source} to"
            if shard.whole:
                continue
            # The first of the two numbers of a shard's lock; locks of two numbers never meet those of one.
            shards = _number(source, 4)
            mine = answer("select pg_try_advisory_lock(%s, %s)::int", shards, shard.of * MOST + shard.number - 1)
            # pg_locks shows the number as an oid, which has no sign.
            if not mine or answer(OTHER_SPLITS, shards % 2**32, shard.of):
                return f"{source} to"
    return None


def _number(source: str, size: int) -> int:
    """Returns the number of `size` bytes that stands for a source."""
    return int.from_bytes(blake2b(f"gapless {source}".encode(), digest_size=size).digest(), signed=True)
