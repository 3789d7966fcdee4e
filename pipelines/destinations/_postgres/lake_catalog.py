"""A DuckLake's catalog in Postgres: how DuckDB attaches it, and whose turn it is to write to the lake.

DuckLake lets writers commit at once and looks for conflicts when they end. Whoever inserts into a table from which
another one deleted meanwhile fails then, with all that it did, and in Postgres not every conflict is seen
(duckdb/ducklake, issue 1094). So each transaction of ours that writes waits for its turn before it begins.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC
from hashlib import blake2b
from threading import RLock
from typing import TYPE_CHECKING, Any

from gapless.pipelines.destinations._postgres.session import connect
from gapless.pipelines.errors import GaplessError, InUse

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

LOG = logging.getLogger("gapless")
SECRET = "gapless_catalog"
"""Name of the secret with the catalog's password; it is in a DuckDB in memory, and gone with that."""
TURN = int.from_bytes(blake2b(b"gapless lake", digest_size=4).digest(), signed=True)
"""The first number of the lock of whose turn it is; the second one stands for the lake."""
LIMIT = 600.0
"""Seconds that a turn is waited for: a merge takes seconds, and each other writer may have one before it."""
SAID_AFTER = 5.0
"""Seconds of waiting after which it is said who is waited for, and then of waiting at one go."""
SNAPSHOTS = "ducklake_snapshot"
"""The catalog's table to which every commit adds a row."""
HOLDER = """
    select a.pid, a.usename, a.application_name, coalesce(a.xact_start, a.state_change), l.locktype = 'relation'
    from pg_locks as l join pg_stat_activity as a on a.pid = l.pid
    where l.granted and l.pid <> pg_backend_pid()
    and l.database = (select oid from pg_database where datname = current_database())
    and (
        (l.locktype = 'relation' and l.mode = 'RowExclusiveLock' and l.relation = to_regclass(%(snapshots)s))
        or (l.locktype = 'advisory' and l.objsubid = 2 and l.classid::bigint = %(turn)s
            and l.objid::bigint = hashtext(%(schema)s)::bigint & 4294967295)
    )
    order by 5 desc, 4 limit 1
"""
"""Whoever commits to the catalog, else whoever has the turn: that one may wait for the same commit itself."""


class Turns:
    """The turns of one sync to write to the lake whose catalog is in a schema. All its threads share one connection.

    Why a connection of its own: that of DuckLake is not ours. A lock is gone with its connection, so whatever fails
    there closes it, and the next turn begins with another one.
    """

    def __init__(self, address: str, schema: str) -> None:
        self._address, self._schema = address, schema
        # Also lets threads of one sync in one by one, each as often as it likes.
        self._thread = RLock()
        self._connection: Connection | None = None
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
        connection, self._connection = self._connection, None
        if connection:
            connection.close()
        self._in_vain = False

    def _take(self) -> None:
        import psycopg2

        used = self._connection is not None
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
                    # The server may be committing still what a writer sent before it was killed.
                    holder = self._holder(cursor, committing=mine)
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
            self._drop()
            raise

    def _open(self) -> Connection:
        if self._connection is None:
            self._connection = connect(self._address)
            self._connection.autocommit = True
            with self._connection.cursor() as cursor:
                cursor.execute(f"set lock_timeout = {int(min(SAID_AFTER, LIMIT) * 1000)}")
        return self._connection

    def _queue(self, cursor: Any) -> bool:
        """Returns whether the lock was got; the server lets in first who came first."""
        import psycopg2

        try:
            cursor.execute("select pg_advisory_lock(%s, hashtext(%s))", (TURN, self._schema))
        except psycopg2.errors.LockNotAvailable:
            return False
        return True

    def _holder(self, cursor: Any, *, committing: bool) -> str | None:
        """Returns a sentence about the session that is waited for; None if there is none."""
        names = {"snapshots": _snapshots(self._schema), "schema": self._schema, "turn": TURN % 2**32}
        cursor.execute(HOLDER, names)
        found = cursor.fetchone()
        if found is None or (committing and not found[4]):
            return None
        pid, user, application, since, commits = found
        program = f", application {application}" if application else ""
        when = f", since {since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if since else ""
        does = "has not ended its commit to the DuckLake" if commits else "has the turn to write to the DuckLake"
        return f"session {pid} of the catalog's database (user {user}{program}{when}) {does}"

    def _require(self) -> None:
        """Raises GaplessError if the connection is gone, and the lock with it.

        The server is asked, as its end of a connection is not seen before something is read from it.
        """
        import psycopg2

        with suppress(psycopg2.Error):
            if self._connection:
                with self._connection.cursor() as cursor:
                    cursor.execute("select 1")
                return
        self._drop()
        raise GaplessError(
            "the turn to write to the DuckLake is lost with its connection, as after a restart of the server; another"
            " sync may be writing to it. What was loaded stays: sync again."
        )

    def _give_back(self) -> None:
        import psycopg2

        if self._connection is None:
            return
        try:
            with self._connection.cursor() as cursor:
                cursor.execute("select pg_advisory_unlock_all()")
        except psycopg2.Error:  # what was written is committed, or not, already
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            with suppress(Exception):
                connection.close()


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


def _snapshots(schema: str) -> str:
    return '"' + schema.replace('"', '""') + f'".{SNAPSHOTS}'
