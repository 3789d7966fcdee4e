"""Tines' endpoints, one function each. https://www.tines.com/docs/api"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from gapless.sources._http.auth import HeaderAuth
from gapless.sources._http.client import Client, segment
from gapless.sources._http.paging import LoopGuard, NumberedPage, NumberedPages

PAGE_SIZE = 500
"""The most the vendor allows."""


class Meta(msgspec.Struct):
    """The paging fields. Pages are counted from 1; a next page of null is the end. `count` is over all pages."""

    next_page_number: int | msgspec.UnsetType | None = msgspec.UNSET
    next_page: str | msgspec.UnsetType | None = msgspec.UNSET
    count: int | None = None

    def __post_init__(self) -> None:
        # Absent, not null: without this check an error body of status 200 would look like the last page.
        if self.next_page_number is msgspec.UNSET and self.next_page is msgspec.UNSET:
            raise ValueError("neither `next_page_number` nor `next_page` is there, not even as null")

    def following(self, number: int) -> int | None:
        """Returns the number of the page after `number`, None after the last; not every tenant sends the number."""
        # Some tenants send the URL alone, so the pages are counted here.
        return self.next_page_number or (number + 1 if self.next_page else None)


class ActionsPage(msgspec.Struct):
    """The vendor's samples call the list `agents`, some of its specifications `actions`."""

    meta: Meta
    agents: list[msgspec.Raw] | None = None
    actions: list[msgspec.Raw] | None = None

    def __post_init__(self) -> None:
        # Else a list of another name would be read as no actions at all.
        if self.agents is None and self.actions is None:
            raise ValueError("neither `agents` nor `actions` is there")

    @property
    def records(self) -> list[msgspec.Raw]:
        """Returns the records' JSON."""
        return self.agents if self.agents is not None else self.actions or []

    @property
    def total(self) -> int | None:
        """Returns how many records the whole listing has; None: unknown."""
        return self.meta.count


class StoriesPage(msgspec.Struct):
    """One page of the stories. https://www.tines.com/docs/api/stories/list/"""

    stories: list[msgspec.Raw]
    meta: Meta

    @property
    def records(self) -> list[msgspec.Raw]:
        """Returns the records' JSON."""
        return self.stories

    @property
    def total(self) -> int | None:
        """Returns how many records the whole listing has; None: unknown."""
        return self.meta.count


class ActionLogsPage(msgspec.Struct):
    """One page of an action's logs."""

    action_logs: list[msgspec.Raw]
    meta: Meta

    @property
    def records(self) -> list[msgspec.Raw]:
        """Returns the records' JSON."""
        return self.action_logs

    @property
    def total(self) -> int | None:
        """Returns how many records the whole listing has; None: unknown."""
        return self.meta.count


P = TypeVar("P", ActionsPage, StoriesPage, ActionLogsPage)


def client(api_key: str, base_url: str, **http: Any) -> Client:
    """Returns a client with the key. There is no default host: every tenant has its own domain."""
    auth = HeaderAuth({"Authorization": f"Bearer {api_key}"}, base_url)
    return Client(base_url, prefix="api/v1", auth=auth, **http)


def actions(client: Client, per_page: int = PAGE_SIZE) -> Iterator[NumberedPage]:
    """Yields the pages of actions."""
    yield from _numbered(client, "actions", ActionsPage, per_page)


def stories(client: Client) -> Iterator[NumberedPage]:
    """Yields the pages of stories. No largest page is documented: an answer is believed by its total."""
    yield from _numbered(client, "stories", StoriesPage, PAGE_SIZE)


def action_logs(client: Client, action_id: int) -> Iterator[NumberedPage]:
    """Yields the pages of one action's logs; neither a filter by time nor an order is documented."""
    yield from _numbered(client, f"actions/{segment(action_id)}/logs", ActionLogsPage, PAGE_SIZE)


def _numbered(client: Client, path: str, shape: type[P], size: int) -> Iterator[NumberedPage]:
    """Yields the pages of a listing from the first one on; raises Loop when the vendor leads back."""
    guard, seams, number, overlaps = LoopGuard(path), NumberedPages(), 1, False
    while True:
        guard.pass_on(f"{number} of {size}")
        page = client.get(path, shape, {"per_page": size, "page": number})
        yield NumberedPage(page.records, page.total, overlaps)
        named = page.meta.following(number)
        if not named:
            return
        # A vendor that leads back would be read for ever.
        if named <= number:
            guard.pass_on(f"{number} of {size}")
        following = seams.following(number, size, len(page.records), page.total)
        if following is None:
            return
        number, size, overlaps = following


def ping(client: Client) -> None:
    """Sends one cheap request that needs the key. Raises VendorError."""
    next(actions(client, per_page=1))
