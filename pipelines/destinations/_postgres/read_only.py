"""A connection to Postgres that only reads, for a bounded time, and whose statements see one state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from gapless.pipelines.destinations._postgres.session import connect

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

LOCK_SECONDS = 5
"""How long a statement waits for a table that a sync is changing."""


@contextmanager
def read_only(address: str, seconds: float) -> Iterator[Connection]:
    """Yields a connection in a read-only transaction, whose statements may take `seconds` each.

    Raises psycopg2.OperationalError when the server cannot be reached.
    """
    with closing(connect(address)) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            # For the session: a limit for one transaction would end with a statement that fails.
            cursor.execute(
                f"set statement_timeout = {int(seconds * 1000)}; set lock_timeout = {LOCK_SECONDS * 1000};"
                " set default_transaction_read_only = on"
            )
        connection.commit()
        yield connection
        connection.rollback()
