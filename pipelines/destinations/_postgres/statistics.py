"""Reads the server's own statistics of tables, by which it is known that nobody deleted a row, without counting any.

They count every row that is inserted or deleted, also when that is rolled back; a table that is truncated or written
anew has another file. So equal signs mean equal rows, and other signs are a reason to count. They do not count what
a session does that has switched `track_counts` off, which only a superuser can. A server that crashes loses them all:
then the time from which it counts its archiver's work is another one, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

SIGNS = """
    select c.relname, concat_ws(' ', c.oid, c.relfilenode, pg_stat_get_tuples_updated(c.oid), (select stats_reset
    from pg_stat_database where datname = current_database()), (select stats_reset from pg_stat_archiver)),
    pg_stat_get_tuples_inserted(c.oid), pg_stat_get_tuples_deleted(c.oid)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = '{0}' and c.relname in ({1}) and c.relkind = 'r' and current_setting('track_counts') = 'on'
"""
"""Table, which one it is and how often it was updated, rows inserted, rows deleted; none without statistics."""
UNIQUE = """
    select 1 from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = to_regclass('{0}.{1}') and i.indisunique and i.indisvalid and i.indnatts = 1
    and i.indpred is null and a.attname = '_dlt_id'
"""
"""A row if no two rows of a table can have the same `_dlt_id`."""
CHANGES = """
    select c.relname, pg_stat_get_xact_tuples_inserted(c.oid),
    pg_stat_get_xact_tuples_deleted(c.oid) from pg_class c where c.oid = any(%s::regclass[])
"""


def changes(cursor: Cursor, tables: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Returns how many rows this transaction has inserted and deleted, by a table's plain name.

    `tables` are names in SQL. A session that has had another transaction before may count that one's, too.
    """
    cursor.execute(CHANGES, ([*tables],))
    return {name: (inserted, deleted) for name, inserted, deleted in cursor.fetchall()}
