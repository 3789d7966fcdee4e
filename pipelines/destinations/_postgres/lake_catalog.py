"""A DuckLake's catalog in Postgres: how DuckDB attaches it, and whose turn it is to write to the lake.

DuckLake lets writers commit at once and looks for conflicts when they end. Whoever inserts into a table from which
another one deleted meanwhile fails then, with all that it did, and in Postgres not every conflict is seen
(duckdb/ducklake, issue 1094). So each transaction of ours that writes waits for its turn before it begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from gapless.pipelines.destinations._postgres.turns import Turns, session

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

SECRET = "gapless_catalog"
"""Name of the secret with the catalog's password; it is in a DuckDB in memory, and gone with that."""
TURN = int.from_bytes(blake2b(b"gapless lake", digest_size=4).digest(), signed=True)
"""The first number of the lock of whose turn it is; the second one stands for the lake."""
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


class LakeTurns(Turns):
    """The turns of one sync to write to the lake whose catalog is in a schema.

    Why a connection of its own: that of DuckLake is not ours.
    """

    def __init__(self, address: str, schema: str) -> None:
        super().__init__(address, TURN, schema)
        self._names = {"snapshots": _snapshots(schema), "schema": schema, "turn": TURN % 2**32}

    def holder(self, cursor: Any, *, mine: bool) -> str | None:
        """Returns a sentence about the session that is waited for, also when the lock is ours.

        The server may be committing still what a writer sent before it was killed.
        """
        cursor.execute(HOLDER, self._names)
        found = cursor.fetchone()
        if found is None or (mine and not found[4]):
            return None
        pid, user, application, since, commits = found
        who = session(pid, user, application, since, " of the catalog's database")
        does = "has not ended its commit to the DuckLake" if commits else "has the turn to write to the DuckLake"
        return f"{who} {does}"

    def _give_back(self) -> None:
        """Ends the turn and keeps the connection, as each transaction has one."""
        import psycopg2

        if self.connection is None:
            return
        try:
            with self.connection.cursor() as cursor:
                cursor.execute("select pg_advisory_unlock_all()")
        except psycopg2.Error:  # what was written is committed, or not, already
            self.drop()


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
