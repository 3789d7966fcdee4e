"""Finds who keeps a table locked that a sync must write, and waits for the end of that, but not for ever.

A person's forgotten transaction, or maintenance such as VACUUM FULL, lasts as long as it likes; nothing tells the one
who waits for it whom to ask.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gapless.pipelines.errors import InUse

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

LOG = logging.getLogger("gapless")
SAID_AFTER = 5.0
"""Seconds of waiting after which it is said who is waited for."""
LIMIT = "select setting::int / 1000.0 from pg_settings where name = 'lock_timeout'"
"""Seconds that any statement of this session waits for a lock; 0: for ever."""
HOLDER = """
    select a.pid, a.usename, a.application_name, a.xact_start, n.nspname || '.' || c.relname
    from pg_locks as l
    join pg_class as c on c.oid = l.relation
    join pg_namespace as n on n.oid = c.relnamespace
    join pg_stat_activity as a on a.pid = l.pid
    where l.granted and l.pid <> pg_backend_pid() and n.nspname = any(%s)
    and l.database = (select oid from pg_database where datname = current_database())
    and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    order by a.xact_start, c.relname limit 1
"""
"""Whoever holds one of the locks that exclude an insert; without rights Postgres does not tell since when."""


def wait_for_tables(connection: Connection, name: str, datasets: Sequence[str]) -> None:
    """Returns when nobody keeps a table of `datasets` locked; `name` is the destination's.

    Raises InUse, which names the holder, when that takes longer than the session's `lock_timeout`.
    """
    with connection.cursor() as cursor:
        cursor.execute(LIMIT)
        limit, began, said = float(cursor.fetchone()[0]), time.monotonic(), False
        while holder := _holder(connection, datasets):
            waited = time.monotonic() - began
            if limit and waited >= limit:
                raise InUse(
                    f"{holder}; waited {limit:g} s (lock_timeout) in vain, and nothing was asked. Let its owner end"
                    f" that transaction, and sync again; gapless doctor --destination {name} looks again."
                )
            if waited >= SAID_AFTER and not said:
                LOG.warning("waiting: %s", holder)
                said = True
            cursor.execute("select pg_sleep(0.2)")


def _holder(connection: Connection, datasets: Sequence[str]) -> str | None:
    """Returns a sentence about the one who holds a table for the longest time; None without any."""
    with connection.cursor() as cursor:
        cursor.execute(HOLDER, ([*datasets],))
        found = cursor.fetchone()
    if found is None:
        return None
    pid, user, application, since, table = found
    program = f", application {application}" if application else ""
    when = f", since {since:%Y-%m-%d %H:%M:%S} UTC" if since else ""
    return f"the table {table} is locked by session {pid} (user {user}{program}{when})"
