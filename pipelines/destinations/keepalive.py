"""Has both ends of a connection to Postgres notice within a minute that the network is gone; by default it is hours.

TCP does it, by unanswered bytes and probes. A server (or a proxy before it) whose kernel answers while its program
stands still is not noticed: that looks like a statement that takes long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from gapless.pipelines.destinations._dlt.types import Credentials

C = TypeVar("C", bound="Credentials")

CLIENT_KEEPALIVE = {
    "keepalives_idle": "30",  # seconds
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",  # milliseconds
}
"""Parameters of libpq's connection string. The limit for connecting is set by dlt (15 s)."""
SERVER_KEEPALIVE = (
    "-ctcp_keepalives_idle=30 -ctcp_keepalives_interval=10 -ctcp_keepalives_count=3 -ctcp_user_timeout=60000"
)
"""The same for the server (12 or later). Without it the server would keep the locks of a machine that vanished, and
the next sync would wait."""


def with_keepalive(credentials: C) -> C:
    """Adds both to dlt's credentials and returns them; what their query says already stays as it is.

    Adding it twice changes nothing.
    """
    query = dict(credentials.query or {})
    options = str(query.get("options", ""))
    if not options.startswith(SERVER_KEEPALIVE):  # of two values of a setting the last one counts
        options = f"{SERVER_KEEPALIVE} {options}".strip()
    credentials.query = {**CLIENT_KEEPALIVE, **query, "options": options}
    return credentials
