"""Refuses a login of Postgres that could read more than the database: a read-only transaction keeps it from writing,
but not from reading the server's files.
"""

from __future__ import annotations

from gapless.pipelines.ui.database.session import Database, QueryUnavailable

MAY = (
    "select bool_or(pg_has_role(session_user, oid, 'member')) from pg_roles where rolsuper"
    " or rolname in ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')"
)
"""Also by a role that it could take on: a query can do that, too (`set_config`)."""
READER = (
    "create role gapless_reader login password '…'; grant pg_read_all_data to gapless_reader;"
    " alter role gapless_reader set default_transaction_read_only = on;"
)


def check_login(db: Database) -> None:
    """Raises QueryUnavailable for a superuser, and for a login that may read the server's files."""
    # Not by `set role`: the query itself could take that back.
    if db.rows(MAY) == [(True,)]:
        raise QueryUnavailable(
            "This login of Postgres may read the server's files, which a query could hand out.",
            f"Use one that may only read the database: {READER}",
        )
