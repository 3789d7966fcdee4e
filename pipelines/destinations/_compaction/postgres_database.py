"""Writes tables of a Postgres database anew, by VACUUM FULL, which a kill leaves as they were."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from gapless.pipelines.destinations._postgres.server import connected
from gapless.pipelines.errors import LOCK_NOT_AVAILABLE, GaplessError, InUse, summarize

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

TABLES = """
    select quote_ident(n.nspname) || '.' || quote_ident(c.relname), not n.nspname = any(%(schemas)s)
    and c.relname not like '\\_dlt%%'
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
    where c.relkind in ('r', 'm')
    and (n.nspname = any(%(schemas)s) or n.nspname ~ any(%(staging)s))
    order by 1
"""
"""The tables of datasets and of their staging datasets, and whether they hold only what the last load merged."""
SIZE = "select coalesce(sum(pg_total_relation_size(name::regclass)), 0) from unnest(%s) as name"


def compact(address: str, name: str, schemas: Sequence[str]) -> tuple[int, int] | None:
    """Returns the bytes before and after of all tables in `schemas`, with their indexes; None: nothing is there.

    `name` is what messages call the database. Raises InUse when somebody keeps a table locked, GaplessError when the
    server cannot be reached or refuses; what is not done yet is as it was then.
    """
    import psycopg2

    with connected(address, name) as connection:  # VACUUM cannot be in a transaction
        try:
            return _compact(connection, schemas)
        except psycopg2.Error as error:
            kind = InUse if error.pgcode == LOCK_NOT_AVAILABLE else GaplessError
            raise kind(f"not all tables of {name} were compacted: {summarize(error)}. Try again.") from error


def _compact(connection: Connection, schemas: Sequence[str]) -> tuple[int, int] | None:
    with connection.cursor() as cursor:
        staging = [f"^{schema}_staging(_[0-9]+_of_[0-9]+)?$" for schema in schemas]
        cursor.execute(TABLES, {"schemas": [*schemas], "staging": staging})
        tables: dict[str, bool] = dict(cursor.fetchall())
        if not tables:
            return None
        before = _size(connection, tables)
        for table, is_staged in tables.items():
            if is_staged:
                cursor.execute(f"truncate {table}")
            del connection.notices[:]
            cursor.execute(f"vacuum (full, analyze) {table}")
            if refused := [line for line in connection.notices if "skipping" in line]:
                raise GaplessError(f"{table} was not compacted: {refused[0].strip()}. Its owner can do it.")
        import psycopg2

        # So that the old pages reach the disk no more; it is a right of its own, and happens later anyway.
        with suppress(psycopg2.Error):
            cursor.execute("checkpoint")
        return before, _size(connection, tables)


def _size(connection: Connection, tables: dict[str, bool]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(SIZE, ([*tables],))
        return int(cursor.fetchone()[0])
