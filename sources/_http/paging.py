"""Paging that vendors share: a check that it ends, and pages whose next one stands in the `Link` header (RFC 8288).

https://www.rfc-editor.org/rfc/rfc8288. No vendor may enter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from gapless.sources._http.client import Client, Params
from gapless.sources._http.errors import Loop
from gapless.sources._http.transport import httpx


class LoopGuard:
    """Remembers the cursors, tokens, page numbers or next links of one listing, whose `path` is for messages."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: set[str] = set()

    def pass_on(self, mark: str) -> str:
        """Returns `mark`; raises Loop when it comes a second time."""
        if mark in self._seen:
            raise Loop(
                method="GET",
                path=self._path,
                status=200,
                detail="the vendor sent the same cursor twice, so the listing would never end",
            )
        self._seen.add(mark)
        return mark


@dataclass(frozen=True)
class LinkedPage:
    """A page whose body is a JSON array of records."""

    records: Sequence[msgspec.Raw]
    after: str | None
    """Path and query of the next page's URL; None: this page is the last."""
    total: int | None = None


def linked_pages(client: Client, path: str, params: Params, after: str | None = None) -> Iterator[LinkedPage]:
    """Yields the pages from the link `after` on, as an earlier page had it; without one from the first.

    The vendor's own next link is requested as it is: what it holds (the cursor, the filters) is the vendor's matter.
    It is kept without its host, so that a listing is resumed although the base URL has changed since. Raises Loop
    when a link comes again, ForeignHost when one leaves the vendor, `BadRequest` when one is refused.
    """
    guard = LoopGuard(path)
    while True:
        url = client.follow(guard.pass_on(after)) if after else path
        # A next link holds the parameters already; sent again they might change the listing.
        answer = client.get_page(url, list[msgspec.Raw], None if after else params)
        following = answer.links.get("next")
        after = httpx.URL(client.follow(following)).raw_path.decode("ascii") if following else None
        yield LinkedPage(answer.body, after)
        if after is None:
            return
