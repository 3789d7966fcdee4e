"""Asks a database, before anything is read, whether it can hold what a sync writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from gapless.pipelines.destinations._postgres.session import connect
from gapless.pipelines.destinations._postgres.unreachable import pooled, unreachable
from gapless.pipelines.errors import GaplessError, WrongSettings

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

FACTS = """
    select current_database(), current_setting('server_encoding'), pg_is_in_recovery(),
    current_setting('default_transaction_read_only'), current_setting('row_security'),
    quote_ident(current_user), quote_ident(current_database()),
    case when not rolsuper then rolconnlimit else -1 end,
    (select case when not rolsuper then datconnlimit else -1 end from pg_database where datname = current_database())
    from pg_roles where rolname = current_user
"""
CONNECTIONS = 3
"""Connections that a sync has at once: the lock's, the one that reads, and the one that loads."""
ASKED = "row_security=off"
"""What each of our sessions asks for; where it does not have it, its settings have not reached the server."""


@contextmanager
def connected(address: str, name: str) -> Iterator[Connection]:
    """Yields a connection whose statements each commit by themselves. Raises GaplessError if there is none."""
    import psycopg2

    try:
        connection = connect(address)
    except psycopg2.Error as error:
        raise unreachable(error, name) from None
    with closing(connection):
        connection.autocommit = True
        yield connection


def check_server(connection: Connection, name: str) -> None:
    """Raises WrongSettings when the database of the destination `name` is in an encoding that lacks letters.

    Also when it, or the role, may have fewer connections at once than a sync needs. Raises GaplessError when it takes
    no writes, or something between hands on no settings of a session.
    """
    with connection.cursor() as cursor:
        cursor.execute(FACTS)
        database, encoding, standby, read_only, shown, role, named, of_role, of_database = cursor.fetchone()
    if shown == "on" and ASKED in connection.info.dsn_parameters.get("options", ""):
        raise pooled(name)
    if encoding != "UTF8":
        raise WrongSettings(
            f"the database {database} of {name} has the encoding {encoding}, which cannot hold every text; it must be"
            f" UTF8. Make another, and name it in the address: create database {database}_utf8 template template0"
            " encoding 'UTF8';"
        )
    for what, limit in ((f"role {role}", of_role), (f"database {named}", of_database)):
        if 0 <= limit < CONNECTIONS:
            raise WrongSettings(
                f"the {what} of {name} may have {limit} connections at once, and a sync needs {CONNECTIONS}."
                f" Its owner ends that: alter {what} connection limit {CONNECTIONS + 2};"
            )
    if standby:
        raise GaplessError(
            f"the server of {name} is a standby, which takes no writes. Name the primary; of several hosts"
            " target_session_attrs=read-write in the address finds it."
        )
    if read_only == "on":
        raise GaplessError(
            f"the database {database} of {name} takes no writes: default_transaction_read_only is on, for the server,"
            " the database or this role. Its owner ends that: alter database … or alter role …"
            " set default_transaction_read_only = off;"
        )
