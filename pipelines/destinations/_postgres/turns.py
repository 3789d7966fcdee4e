"""Turns that an advisory lock of a Postgres database gives, one at a time, to those who ask for them.

Who waits says for whom, once, and not without end: somebody who stands still would otherwise stop all others in
silence.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import blake2b
from threading import RLock
from typing import TYPE_CHECKING, Any

from gapless.pipelines.destinations._postgres.session import connect
from gapless.pipelines.errors import GaplessError, InUse

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

LOG = logging.getLogger("gapless")
LIMIT = 600.0
"""Seconds that a turn is waited for: one takes seconds, and each other one who waits may have one before it."""
SAID_AFTER = 5.0
"""Seconds of waiting after which it is said who is waited for, and then of waiting at one go."""
HOLDER = """
    select a.pid, a.usename, a.application_name, coalesce(a.xact_start, a.state_change)
    from pg_locks as l join pg_stat_activity as a on a.pid = l.pid
    where l.granted and l.pid <> pg_backend_pid() and l.locktype = 'advisory' and l.objsubid = 2
    and l.database = (select oid from pg_database where datname = current_database())
    and l.classid::bigint = %s::bigint & 4294967295 and l.objid::bigint = hashtext(%s)::bigint & 4294967295
    limit 1
"""
"""Whoever has the turn; without rights Postgres tells no more than the number and the user."""
TABLES = int.from_bytes(blake2b(b"gapless tables", digest_size=4).digest(), signed=True)
"""The lock of the shard that makes tables or views."""


class Turns:
    """The turns of one sync, whose threads share one connection: to make tables and views, unless `lock` is another.

    Why a connection of its own: dlt resets its connection after an error, and the lock would go with it. A lock is
    gone with its connection, so whatever fails there closes it, and the next turn begins with another one.
    """

    def __init__(self, address: str, lock: int = TABLES, name: str = "") -> None:
        self._address, self._lock = address, (lock, name)
        # Also lets threads of one sync in one by one, each as often as it likes.
        self._thread = RLock()
        self.connection: Connection | None = None
        self._mine = self._in_vain = False

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Holds the turn; within it this thread has it already, which is checked.

        Raises InUse if another one does not end its turn, GaplessError if ours is lost.
        """
        with self._thread:
            if self._mine:
                self._require()
                yield
                return
            self._take()
            self._mine = True
            try:
                yield
            finally:
                self._mine = False
                self._give_back()

    def close(self) -> None:
        """Closes the connection; a later turn opens another one."""
        self.drop()
        self._in_vain = False

    def holder(self, cursor: Any, *, mine: bool) -> str | None:
        """Returns a sentence about the session that is waited for, or None; `mine`: the lock is ours."""
        if mine:
            return None
        cursor.execute(HOLDER, self._lock)
        found = cursor.fetchone()
        return found and f"{session(*found)} has the turn to make tables or views"

    def _take(self) -> None:
        import psycopg2

        used = self.connection is not None
        try:
            self._wait()
        except psycopg2.Error:
            if not used:
                raise
            self._wait()  # the server had ended the connection since the last turn, as when it was started anew

    def _wait(self) -> None:
        """Returns when the turn is ours; any error closes the connection."""
        # Who waited in vain once has no second patience: the load is tried again, and the run is written down.
        limit = min(SAID_AFTER, LIMIT) if self._in_vain else LIMIT
        began, said, mine = time.monotonic(), False, False
        try:
            with self._open().cursor() as cursor:
                while True:
                    mine = mine or self._queue(cursor)
                    holder = self.holder(cursor, mine=mine)
                    if mine and not holder:
                        self._in_vain = False
                        return
                    waited = time.monotonic() - began
                    if holder and waited >= limit:
                        self._in_vain = True
                        raise InUse(
                            f"{holder}; waited {waited:.0f} s in vain for the turn to write. Let its owner end that;"
                            " what was loaded stays: sync again."
                        )
                    if holder and waited >= SAID_AFTER and not said:
                        LOG.warning("waiting: %s", holder)
                        said = True
                    if mine:
                        cursor.execute("select pg_sleep(0.01)")
        except BaseException:
            self.drop()
            raise

    def _open(self) -> Connection:
        if self.connection is None:
            self.connection = connect(self._address)
            self.connection.autocommit = True
            with self.connection.cursor() as cursor:
                cursor.execute(f"set lock_timeout = {int(min(SAID_AFTER, LIMIT) * 1000)}")
        return self.connection

    def _queue(self, cursor: Any) -> bool:
        """Returns whether the lock was got; the server lets in first who came first."""
        import psycopg2

        try:
            cursor.execute("select pg_advisory_lock(%s, hashtext(%s))", self._lock)
        except psycopg2.errors.LockNotAvailable:
            return False
        return True

    def _require(self) -> None:
        """Raises GaplessError if the connection is gone, and the lock with it.

        The server is asked, as its end of a connection is not seen before something is read from it.
        """
        import psycopg2

        with suppress(psycopg2.Error):
            if self.connection:
                with self.connection.cursor() as cursor:
                    cursor.execute("select 1")
                return
        self.drop()
        raise GaplessError(
            "the turn to write is lost with its connection, as after a restart of the server; another sync may be"
            " writing. What was loaded stays: sync again."
        )

    def _give_back(self) -> None:
        """Ends the turn; it is had once or twice in a sync, so its connection does not stay."""
        self.drop()

    def drop(self) -> None:
        """Closes the connection, and with it ends the turn."""
        connection, self.connection = self.connection, None
        if connection:
            with suppress(Exception):
                connection.close()


def session(pid: int, user: str, application: str | None, since: datetime | None, of: str = "") -> str:
    """Returns the words for a session of the server; `of` says of which database."""
    program = f", application {application}" if application else ""
    when = f", since {since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if since else ""
    return f"session {pid}{of} (user {user}{program}{when})"
