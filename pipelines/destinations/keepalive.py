"""A dead wire to Postgres is noticed within a minute, at both of its ends; libpq and the server would wait for hours.

TCP does it: unanswered bytes and unanswered probes. A server (or a proxy before it) whose kernel answers while the
program behind it stands still is not noticed: nothing tells that from a statement that takes long.
"""

from __future__ import annotations

from typing import Any

CLIENT_KEEPALIVE = {
    "keepalives_idle": "30",  # seconds
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",  # milliseconds
}
"""What libpq takes in a connection string; how long connecting may take is there already, from dlt (15 s)."""
SERVER_KEEPALIVE = (
    "-ctcp_keepalives_idle=30 -ctcp_keepalives_interval=10 -ctcp_keepalives_count=3 -ctcp_user_timeout=60000"
)
"""The same for the server (12 or later), which else keeps the locks of a machine that vanished, and the next sync
waiting."""


def with_an_end(credentials: Any) -> Any:
    """dlt's credentials with all this; whatever their query says already stays as it is."""
    query = dict(credentials.query or {})
    options = (
        f"{SERVER_KEEPALIVE} {query.get('options', '')}".strip()
    )  # of two values of a setting the last one counts
    credentials.query = {**CLIENT_KEEPALIVE, **query, "options": options}
    return credentials
