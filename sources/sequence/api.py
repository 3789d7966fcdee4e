"""Sequence's endpoints, one function each. https://docs.sequencehq.com/reference, version 2024-07-30."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from gapless.sources._http.auth import basic
from gapless.sources._http.body.decoding import OneRecord
from gapless.sources._http.client import Client, segment
from gapless.sources._http.paging import LoopGuard

DEFAULT_BASE_URL = "https://eu.sequencehq.com"
PAGE_SIZE = 100
"""The most the vendor allows."""


class Pagination(msgspec.Struct):
    """The paging fields; the cursor `after` leads to the next page."""

    after: str | None = None
    total_result_size: int | None = msgspec.field(default=None, name="totalResultSize")


class ActivityLogsPage(msgspec.Struct):
    """One page of activity logs."""

    items: list[msgspec.Raw]
    pagination: Pagination

    @property
    def after(self) -> str | None:
        """Returns the next page's cursor; None if it is null, absent or empty. Also an empty page may name a next."""
        # The end is written in several ways.
        return self.pagination.after or None

    @property
    def records(self) -> list[msgspec.Raw]:
        """Returns the records' JSON."""
        return self.items

    @property
    def total(self) -> int | None:
        """Returns how many records the whole listing has; None: unknown."""
        return self.pagination.total_result_size


def client(client_id: str, client_secret: str, base_url: str = DEFAULT_BASE_URL, **http: Any) -> Client:
    """Returns a client with the keys, for the only version of the API that has activity logs.

    The vendor's page lists the path without `/api`, but every example on it has it.
    """
    return Client(
        base_url,
        prefix="api",
        auth=basic(client_id, client_secret, base_url),
        # Without it an older version answers, which has no activity logs.
        headers={"Sequence-Version": "2024-07-30"},
        **http,
    )


def activity_logs(client: Client, after: str | None = None, limit: int = PAGE_SIZE) -> Iterator[ActivityLogsPage]:
    """Yields the pages from a cursor on, newest first. There is no filter by time.

    A cursor is bound to its sort order. Raises Loop when one is repeated, BadRequest when one is refused.
    """
    guard = LoopGuard("activity-logs")
    while True:
        # The order is part of the cursor, so it is sent with each page.
        params: dict[str, str | int] = {"limit": limit, "sortOrder": "DESC"}
        if after:
            params["after"] = guard.pass_on(after)
        page = client.get("activity-logs", ActivityLogsPage, params)
        yield page
        after = page.after
        if after is None:
            return


def oldest(client: Client) -> list[msgspec.Raw]:
    """Returns the oldest log that is served, or none."""
    return client.get("activity-logs", ActivityLogsPage, {"limit": 1, "sortOrder": "ASC"}).items


def activity_log(client: Client, log_id: str) -> bytes:
    """Returns one log as JSON. Raises NotFound."""
    return client.get(f"activity-logs/{segment(log_id)}", OneRecord)


def ping(client: Client) -> None:
    """Sends one cheap request that needs the key. Raises VendorError."""
    next(activity_logs(client, limit=1))
