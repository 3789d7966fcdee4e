"""Kizen's endpoints, one function each. https://developer.kizen.com/api/activities

Only the request for one logged activity is documented. The two listings are those that the vendor's own code calls;
they may answer with a page or with a bare list. No path may end in a slash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from gapless.sources._http.auth import HeaderAuth
from gapless.sources._http.body.decoding import Answer as Page
from gapless.sources._http.body.decoding import OneRecord
from gapless.sources._http.client import Client, segment
from gapless.sources._http.paging import LoopGuard, NumberedPage, NumberedPages, numbers_in, with_numbers

DEFAULT_BASE_URL = "https://app.go.kizen.com"
PAGE_SIZE = 1000
"""The most the vendor allows."""


class Listing(msgspec.Struct):
    """A page of Django REST framework; `next` is null on the last one. `next` or `count` must be there."""

    results: list[msgspec.Raw]
    next: str | msgspec.UnsetType | None = msgspec.UNSET
    count: int | None = None

    def __post_init__(self) -> None:
        if self.next is msgspec.UNSET and self.count is None:
            raise ValueError("neither `next` nor `count` is there")


Answer = Listing | list[msgspec.Raw]


def client(api_key: str, business_id: str, user_id: str, base_url: str = DEFAULT_BASE_URL, **http: Any) -> Client:
    """Returns a client with the keys; `http` are the settings that all sources share."""
    keys = {"X-API-KEY": api_key, "X-BUSINESS-ID": business_id, "X-USER-ID": user_id}
    return Client(base_url, prefix="api", auth=HeaderAuth(keys, base_url), **http)


def activities(client: Client) -> Iterator[NumberedPage]:
    """Yields the pages of activity types."""
    yield from _listed(client, "activities", lambda path: client.get_page(path, Answer))


def responses(client: Client, activity_id: str) -> Iterator[NumberedPage]:
    """Yields pages with ids and times of a type's logged activities. Every page is read by POST."""
    path = f"activities/{segment(activity_id)}/responses?page_size={PAGE_SIZE}"
    # The body may hold filters; an empty object lists everything.
    yield from _listed(client, path, lambda path: client.post_page(path, Answer, json={}))


def _listed(client: Client, path: str, ask: Callable[[str], Page[Answer]]) -> Iterator[NumberedPage]:
    """Yields the pages from `path` on, each read by `ask`; numbered ones so that they overlap."""
    guard, seams, following, overlaps = LoopGuard(path.split("?", maxsplit=1)[0]), NumberedPages(), path, False
    number = 1
    while True:
        page = ask(guard.pass_on(following))
        # A bare list has no paging at all, so it is the whole listing.
        if isinstance(page.body, list):
            yield NumberedPage(page.body, len(page.body))
            return
        yield NumberedPage(page.body.results, page.body.count, overlaps)
        if not page.body.next:
            return
        # Only a link on the vendor's own host is followed.
        following = client.follow(page.body.next, page.url)
        named = numbers_in(following, "page", "page_size")
        if named and named[0] == number + 1:
            window = seams.following(number, named[1], len(page.body.results), page.body.count)
            if window is None:
                return
            number, size, overlaps = window
            following = with_numbers(following, page=number, page_size=size)


def logged_activity(client: Client, activity_id: str) -> bytes:
    """Returns one logged activity as JSON. Raises NotFound for one that is missing or not visible to this user."""
    return client.get(f"activities/logged/{segment(activity_id)}", OneRecord)


def ping(client: Client) -> None:
    """Sends one cheap request that needs the keys. Raises VendorError."""
    next(activities(client))
