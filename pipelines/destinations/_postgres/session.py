"""Makes each of our sessions the same, whatever a server, a database or a role has set for its own.

Both ends of a connection notice within a minute that the network is gone; by default it is hours. TCP does it, by
unanswered bytes and probes. A server (or a proxy before it) whose kernel answers while its program stands still is
not noticed: that looks like a statement that takes long.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

    from gapless.pipelines.destinations._dlt.types import Credentials

C = TypeVar("C", bound="Credentials")

CLIENT_KEEPALIVE = {
    "keepalives_idle": "30",  # seconds
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",  # milliseconds
}
"""Parameters of libpq's connection string. The limit for connecting is set by dlt (15 s)."""
ENCODING = {"client_encoding": "UTF8"}
"""Encoding of what libpq sends and gets. A role's own setting would change texts, or refuse them."""
DEFAULTS = (
    # The same for the server (12 or later). Without it the server would keep the locks of a machine that vanished,
    # and the next sync would wait.
    "-ctcp_keepalives_idle=30 -ctcp_keepalives_interval=10 -ctcp_keepalives_count=3 -ctcp_user_timeout=60000"
    # A limit for a person's queries: a merge that takes longer would fail again at every sync. But a lock that
    # somebody forgot would be waited for without end, so that waits so many milliseconds.
    " -cstatement_timeout=0 -clock_timeout=60000 -cidle_in_transaction_session_timeout=0"
)
"""Settings of the server before the user's own: of two values the last one counts."""
EXACT = (
    # A server in another time zone sends the last hours of 9999 as the year 10000, of which Python has no datetime.
    "-ctimezone=UTC -cdatestyle=ISO,YMD"
    # Backslashes are letters, numbers are whole, and null is no value.
    " -cstandard_conforming_strings=on -cextra_float_digits=3 -ctransform_null_equals=off"
    # What a policy hides from this role would count as lost: with this the server says that it hides something.
    " -crow_security=off"
    " -cdefault_transaction_isolation=read\\ committed"
    # With it the server's own names of types have quotes, and every column looks as if somebody had changed it.
    " -cquote_all_identifiers=off"
)
"""Settings after the user's own, without which rows would be other ones."""
OURS = frozenset(re.findall(r"-c(\w+)=", DEFAULTS + EXACT))
"""Names of all of them."""


LIMITS = (("idle_session_timeout", 140000), ("transaction_timeout", 170000))
"""Limits that end a session, with the version of Postgres that brought them: an older one refuses a session that
names them in its options."""


def lift_limits(connection: Connection) -> None:
    """Switches the limits off that end a session which waits, or loads for long.

    The connection must not be in a transaction, as its end could take that back.
    """
    if wanted := [name for name, since in LIMITS if connection.server_version >= since]:
        with connection.cursor() as cursor:
            cursor.execute("; ".join(f"set {name} = 0" for name in wanted))


def connect(address: str) -> Connection:
    """Returns a connection without limits for its time. Raises psycopg2.Error."""
    import psycopg2

    connection = psycopg2.connect(address)
    connection.autocommit = True
    lift_limits(connection)
    connection.autocommit = False
    return connection


def with_session(credentials: C) -> C:
    """Adds all of it to dlt's credentials and returns them; keep-alive and limits in their query stay as they are.

    Adding it twice changes nothing.
    """
    query = dict(credentials.query or {})
    # libpq reads its variable only where nothing is given.
    options = str(query.get("options") or os.environ.get("PGOPTIONS", ""))
    if not options.startswith(DEFAULTS):
        options = " ".join(filter(None, (DEFAULTS, options, EXACT)))
    credentials.client_encoding = ENCODING["client_encoding"]
    credentials.query = {**CLIENT_KEEPALIVE, **query, "options": options}
    return credentials
