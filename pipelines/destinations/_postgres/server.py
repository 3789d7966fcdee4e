"""Asks a database, before anything is read, whether it can hold what a sync writes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from gapless.pipelines.destinations._postgres.address import ENCODE
from gapless.pipelines.errors import GaplessError, WrongSettings

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

FACTS = """
    select current_database(), current_setting('server_encoding'), pg_is_in_recovery(),
    current_setting('default_transaction_read_only')
"""


INVALID = re.compile(
    r'invalid (?:(?P<port>port) number: |(?P<name>\w+) value: |integer value )(?P<value>"[^"]*")'
    r'(?: for connection option "(?P<number>\w+)")?'
)
"""What libpq says of a parameter before it asks any server; a server says of a value of its own `FATAL:`."""
HOSTS_SHOWN = 3
"""Of several hosts libpq says of each why it could not connect."""


@contextmanager
def connected(address: str, name: str) -> Iterator[Connection]:
    """Yields a connection whose statements each commit by themselves. Raises GaplessError if there is none."""
    import psycopg2

    try:
        connection = psycopg2.connect(address)
    except psycopg2.Error as error:
        raise unreachable(error, name) from None
    with closing(connection):
        connection.autocommit = True
        yield connection


def unreachable(error: Exception, name: str) -> GaplessError:
    """Returns what libpq says when it cannot connect, which holds no password, with the step that helps."""
    if found := INVALID.search(str(error)):
        return _wrong_parameter(name, str(next(filter(None, found.group("port", "name", "number")))), found)
    lines = [line.strip() for line in str(error).strip().splitlines()]
    hosts = [line for line in lines if line.startswith("connection to server")] or lines[:1]
    said = "; ".join(line[:300] for line in hosts[:HOSTS_SHOWN]).rstrip(".")
    refused = f" If the password is right: {ENCODE}." if "password authentication failed" in said else ""
    return GaplessError(
        f"cannot reach {name}: {said}. Nothing was asked.{refused}"
        f" gapless doctor --destination {name} tries it again."
    )


def _wrong_parameter(name: str, parameter: str, found: re.Match[str]) -> WrongSettings:
    """Returns the error for a parameter that libpq refuses whatever the server says, with where it was set."""
    value = found["value"] or ""
    # libpq's own variables have no blanks in their names, but for one of them.
    variables = (f"PG{parameter.upper()}", f"PG{parameter.replace('_', '').upper()}")
    set_here = next((one for one in variables if os.environ.get(one) == value.strip('"')), None)
    where = set_here or f"DESTINATION__{name.upper()}__CREDENTIALS"
    return WrongSettings(
        f"destination {name!r}: libpq does not take the {parameter} {value} of {where}. Nothing was asked; its values"
        " are on https://www.postgresql.org/docs/current/libpq-connect.html"
    )


def check_server(connection: Connection, name: str) -> None:
    """Raises WrongSettings when the database of the destination `name` is in an encoding that lacks letters.

    Raises GaplessError when it takes no writes.
    """
    with connection.cursor() as cursor:
        cursor.execute(FACTS)
        database, encoding, standby, read_only = cursor.fetchone()
    if encoding != "UTF8":
        raise WrongSettings(
            f"the database {database} of {name} has the encoding {encoding}, which cannot hold every text; it must be"
            f" UTF8. Make another, and name it in the address: create database {database}_utf8 template template0"
            " encoding 'UTF8';"
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
