"""One writer per Postgres database, from whatever machine: an advisory lock, held by a connection that only waits.

The server frees it when the connection ends, so a killed sync leaves nothing behind. A pooler that lends one
server connection to many clients in turn (PgBouncer's transaction mode) would make it worthless.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import blake2b
from typing import Any

from pipelines.errors import GaplessError, Locked

LOCK = int.from_bytes(blake2b(b"gapless", digest_size=8).digest(), signed=True)
"""Each database has its own locks, so this number is the same everywhere."""
SETTINGS = {
    "idle_session_timeout": "0",
    "tcp_keepalives_idle": "30",  # seconds; a machine that vanished is given up after a minute
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}


@contextmanager
def locked(credentials: str, name: str) -> Iterator[None]:
    """Raises Locked when another sync has it, GaplessError when the database cannot be reached."""
    import psycopg2

    try:
        connection = psycopg2.connect(credentials)
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
        yield


def _taken(connection: Any) -> bool:
    with connection.cursor() as cursor:
        for setting, value in SETTINGS.items():  # as far as this version of Postgres has them
            cursor.execute("select set_config(name, %s, false) from pg_settings where name = %s", (value, setting))
        cursor.execute("select pg_try_advisory_lock(%s)", (LOCK,))
        return bool(cursor.fetchone()[0])
