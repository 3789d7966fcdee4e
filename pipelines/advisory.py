"""One writer per Postgres database, from whatever machine: an advisory lock, held by a connection that only waits.

The server frees it when the connection ends, so a killed sync leaves nothing behind. A pooler that lends one
server connection to many clients in turn (PgBouncer's transaction mode) would make it worthless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from hashlib import blake2b
from typing import Any

from pipelines.errors import GaplessError, Locked

LOCK = int.from_bytes(blake2b(b"gapless", digest_size=8).digest(), signed=True)
"""Each database has its own locks, so this number is the same everywhere."""
NO_LIMIT = "select set_config(name, '0', false) from pg_settings where name = 'idle_session_timeout'"
"""As far as this version of Postgres has one."""
HELD = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"


@contextmanager
def locked(credentials: str, name: str, options: str | None = None) -> Iterator[Callable[[], None]]:
    """Raises Locked when another sync has it, GaplessError when the database cannot be reached.

    Yields what raises GaplessError when the lock is lost. `options` as dlt gives them: in its URL every blank has
    become a plus, which libpq takes for one.
    """
    import psycopg2

    try:
        connection = psycopg2.connect(credentials, options=options)
    except psycopg2.Error as error:
        first = str(error).strip().split("\n", 1)[0][:300]
        raise GaplessError(f"cannot reach {name}: {first}. Nothing was asked.") from None
    with closing(connection):
        connection.autocommit = True
        if not _taken(connection):
            raise Locked(
                f"another sync is writing to this database of {name}, maybe from another machine; nothing was asked."
                " Try again when it has ended."
            )
        yield partial(_check, connection, name)


def _check(connection: Any, name: str) -> None:
    import psycopg2

    try:
        with connection.cursor() as cursor:
            cursor.execute(HELD)
            held = bool(cursor.fetchone()[0])
    except psycopg2.Error:
        held = False
    if not held:
        raise GaplessError(
            f"the lock on this database of {name} is lost, as after a restart of the server; another sync may be"
            " writing to it. What was loaded stays: sync again."
        )


def _taken(connection: Any) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(NO_LIMIT)
        cursor.execute("select pg_try_advisory_lock(%s)", (LOCK,))
        return bool(cursor.fetchone()[0])
