"""How Okta speaks. https://developer.okta.com/docs/reference/system-log-query/"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from gapless.sources._http.auth import HeaderAuth
from gapless.sources._http.client import Client
from gapless.sources._http.paging import LinkedPage, linked_pages

PAGE_SIZE = 1000
"""The most the vendor allows."""
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
INCLUDED = timedelta(milliseconds=1)
"""So much earlier than `since` is asked for, as it is not documented whether an event of that very time is served."""


def client(api_token: str, base_url: str, **http: Any) -> Client:
    """There is no default host: every organization has its own domain.

    https://developer.okta.com/docs/reference/core-okta-api/#authentication
    """
    return Client(
        base_url, prefix="api/v1", auth=HeaderAuth({"Authorization": f"SSWS {api_token}"}, base_url), **http
    )


def log_events(
    client: Client,
    after: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = PAGE_SIZE,
) -> Iterator[LinkedPage]:
    """Yields the pages of events published from `since` to `until`, newest first.

    Both are always sent: only then the request is a bounded one, whose order is guaranteed and whose pages end.
    https://developer.okta.com/docs/reference/system-log-query/#bounded-requests
    """
    span = {"since": _text(since - INCLUDED if since else BEGINNING), "until": _text(until or datetime.now(UTC))}
    yield from linked_pages(client, "logs", {**span, "sortOrder": "DESCENDING", "limit": limit}, after)


def ping(client: Client) -> None:
    """Sends one cheap request that needs the key."""
    next(log_events(client, limit=1))


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
