"""Omni's endpoints, one function each. https://docs.getomni.ai/api-reference"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from gapless.sources._http.auth import HeaderAuth
from gapless.sources._http.client import Client, segment
from gapless.sources._http.paging import LoopGuard

DEFAULT_BASE_URL = "https://api-v2.getomni.ai"


class _Totals(msgspec.Struct):
    count: int


class Analytics(msgspec.Struct):
    """Up to 500 leads. `nextToken` is null on the last page and required: a missing one must be an error."""

    breakdown: list[msgspec.Raw]
    next_token: str | None = msgspec.field(name="nextToken")
    totals: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def records(self) -> list[msgspec.Raw]:
        """Returns the leads' JSON."""
        return self.breakdown

    @property
    def total(self) -> int | None:
        """Returns how many leads all pages have; None: unknown."""
        try:
            return msgspec.json.decode(self.totals, type=_Totals).count
        except msgspec.MsgspecError:  # the leads are worth more than their number
            return None


class ActionLogs(msgspec.Struct):
    """The documented envelope; the vendor's own sample is a bare array, so both are accepted."""

    action_logs: list[msgspec.Raw] = msgspec.field(name="actionLogs")


def client(api_key: str, base_url: str = DEFAULT_BASE_URL, **http: Any) -> Client:
    """Returns a client with the key; `http` are the settings that all sources share."""
    # The version stands in each path: analytics are at v0, leads at v1.
    return Client(base_url, prefix="api", auth=HeaderAuth({"x-api-key": api_key}, base_url), **http)


def leads(client: Client) -> Iterator[Analytics]:
    """Yields all leads except deleted and test ones, from the analytics, because no endpoint lists leads.

    `start` and `end` filter by a lead's creation, not by what happened to it, so they are never sent.
    """
    guard = LoopGuard("v0/analytics")
    token: str | None = None
    while True:
        page = client.get("v0/analytics", Analytics, {"token": guard.pass_on(token)} if token else None)
        yield page
        # The vendor documents no order, so every page is read.
        token = page.next_token
        if not token:
            return


def action_logs(client: Client, lead_id: str) -> list[bytes]:
    """Returns a lead's whole history, as JSON records; there is no paging, no filter and no documented order."""
    answer = client.get(f"v1/leads/{segment(lead_id)}/action-logs", ActionLogs | list[msgspec.Raw])
    logs = answer.action_logs if isinstance(answer, ActionLogs) else answer
    # Copied, because a Raw keeps the whole answer in memory as long as one of its logs is used.
    return [bytes(log) for log in logs]


def ping(client: Client) -> None:
    """Sends one cheap request that needs the key. Raises VendorError."""
    next(leads(client))
