"""How Sequence speaks. https://docs.sequencehq.com/reference, version 2024-07-30."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from gapless.sources._http.auth import basic
from gapless.sources._http.client import Client, segment
from gapless.sources._http.decoding import OneRecord
from gapless.sources._http.paging import LoopGuard

DEFAULT_BASE_URL = "https://eu.sequencehq.com"
PAGE_SIZE = 100
"""The most the vendor allows."""


class Pagination(msgspec.Struct):
    after: str | None = None
    total_result_size: int | None = msgspec.field(default=None, name="totalResultSize")


class ActivityLogsPage(msgspec.Struct):
    items: list[msgspec.Raw]
    pagination: Pagination

    @property
    def after(self) -> str | None:
        """The next page's cursor. Null, absent and empty mean that there is none, and so does an empty page."""
        return (self.pagination.after or None) if self.items else None

    @property
    def records(self) -> list[msgspec.Raw]:
        return self.items

    @property
    def total(self) -> int | None:
        return self.pagination.total_result_size


def client(client_id: str, client_secret: str, base_url: str = DEFAULT_BASE_URL, **http: Any) -> Client:
    """Activity logs exist only in this version of the API; the vendor's page lists the path without `/api`,
    every example on it has it."""
    return Client(
        base_url,
        prefix="api",
        auth=basic(client_id, client_secret, base_url),
        headers={"Sequence-Version": "2024-07-30"},
        **http,
    )


def activity_logs(client: Client, after: str | None = None, limit: int = PAGE_SIZE) -> Iterator[ActivityLogsPage]:
    """The pages from a cursor on, newest first. There is no filter by time.

    A cursor is bound to its sort order. Raises `Loop` when one comes again, `BadRequest` when one is refused.
    """
    guard = LoopGuard("activity-logs")
    while True:
        params: dict[str, str | int] = {"limit": limit, "sortOrder": "DESC"}
        if after:
            params["after"] = guard.pass_on(after)
        page = client.get("activity-logs", ActivityLogsPage, params)
        yield page
        after = page.after
        if after is None:
            return


def oldest(client: Client) -> list[msgspec.Raw]:
    """The oldest log that is served, or none."""
    return client.get("activity-logs", ActivityLogsPage, {"limit": 1, "sortOrder": "ASC"}).items


def activity_log(client: Client, log_id: str) -> bytes:
    """One log, as JSON."""
    return client.get(f"activity-logs/{segment(log_id)}", OneRecord)


def ping(client: Client) -> None:
    """One cheap request that needs the key."""
    next(activity_logs(client, limit=1))
