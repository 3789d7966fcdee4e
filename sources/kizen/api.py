"""Kizen's endpoints, one function each. https://developer.kizen.com/api/activities

Only the request for one logged activity is documented. The two listings are those that the vendor's own code calls;
they may answer with a page or with a bare list. No path may end in a slash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from gapless.sources._http.auth import HeaderAuth
from gapless.sources._http.client import Client, segment
from gapless.sources._http.decoding import OneRecord
from gapless.sources._http.errors import BadEnvelope
from gapless.sources._http.paging import LoopGuard

DEFAULT_BASE_URL = "https://app.go.kizen.com"
PAGE_SIZE = 1000
"""The most the vendor allows."""
TRIES = 3
"""Requests for a page that ends too early, before the listing counts as failed."""


class Listing(msgspec.Struct):
    """A page of Django REST framework; `next` is null on the last one. `next` or `count` must be there."""

    results: list[msgspec.Raw]
    next: str | msgspec.UnsetType | None = msgspec.UNSET
    count: int | None = None

    def __post_init__(self) -> None:
        if self.next is msgspec.UNSET and self.count is None:
            raise ValueError("neither `next` nor `count` is there")

    @property
    def records(self) -> list[msgspec.Raw]:
        """Returns the records' JSON."""
        return self.results

    @property
    def total(self) -> int | None:
        """Returns how many records the whole listing has; None: unknown."""
        return self.count


Answer = Listing | list[msgspec.Raw]


def client(api_key: str, business_id: str, user_id: str, base_url: str = DEFAULT_BASE_URL, **http: Any) -> Client:
    """Returns a client with the keys; `http` are the settings that all sources share."""
    keys = {"X-API-KEY": api_key, "X-BUSINESS-ID": business_id, "X-USER-ID": user_id}
    return Client(base_url, prefix="api", auth=HeaderAuth(keys, base_url), **http)


def activities(client: Client) -> Iterator[Listing]:
    """Yields the pages of activity types."""
    yield from _listed(client, "activities", lambda path: client.get(path, Answer))


def responses(client: Client, activity_id: str) -> Iterator[Listing]:
    """Yields pages with ids and times of a type's logged activities. Every page is read by POST."""
    path = f"activities/{segment(activity_id)}/responses?page_size={PAGE_SIZE}"
    # The body may hold filters; an empty object lists everything.
    yield from _listed(client, path, lambda path: client.post(path, Answer, json={}))


def _listed(client: Client, path: str, ask: Callable[[str], Answer]) -> Iterator[Listing]:
    """Yields the pages from `path` on, each read by `ask`; raises BadEnvelope when the last one comes too early."""
    guard, following, seen = LoopGuard(path.split("?", maxsplit=1)[0]), path, 0
    while True:
        answer = _telling_its_end(ask, guard.pass_on(following), seen)
        # A bare list has no paging at all, so it is the whole listing.
        if isinstance(answer, list):
            yield Listing(answer, next=None, count=len(answer))
            return
        yield answer
        seen += len(answer.results)
        if not answer.next:
            return
        # `next` is an absolute URL: only one on the vendor's own host is followed.
        following = client.follow(answer.next)


def _telling_its_end(ask: Callable[[str], Answer], path: str, seen: int) -> Answer:
    """Returns a page; requests it again if it has no `next` and fewer records came than `count` says."""
    came, count = 0, 0
    # A listing that ends early in silence would hide records, and the next request may be answered in full.
    for _ in range(TRIES):
        answer = ask(path)
        if isinstance(answer, list) or answer.next is not msgspec.UNSET:
            return answer
        came, count = seen + len(answer.results), answer.count or 0
        if came >= count:
            return answer
    detail = f"{came} of {count} came, and no `next` for the rest"
    raise BadEnvelope(method="GET", path=path.split("?", maxsplit=1)[0], detail=detail)


def logged_activity(client: Client, activity_id: str) -> bytes:
    """Returns one logged activity as JSON. Raises NotFound for one that is missing or not visible to this user."""
    return client.get(f"activities/logged/{segment(activity_id)}", OneRecord)


def ping(client: Client) -> None:
    """Sends one cheap request that needs the keys. Raises VendorError."""
    next(activities(client))
