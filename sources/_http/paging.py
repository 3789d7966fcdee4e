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


SPARED = 20
"""Records on a page from which on one more request is sent, if that is what it takes to make pages overlap."""
SIMULATED = 1_000
"""Pages that are counted ahead to compare overlapping pages with plain ones."""


@dataclass(frozen=True)
class NumberedPage:
    """One page of a listing that is paged by numbers."""

    records: Sequence[msgspec.Raw]
    total: int | None
    overlaps: bool = False
    """Whether it was requested so that it begins with the end of the page before."""


class NumberedPages:
    """Chooses numbers and sizes so that each page begins with the end of the one before.

    Whoever reads plain pages does not notice when a record goes from a page that was read and another one comes on a
    later page: the total stays equal, and the record that moved up across the seam is never served.
    """

    def __init__(self) -> None:
        self._size = self._end = 0
        self._overlaps = False

    def following(self, number: int, size: int, came: int, total: int | None) -> tuple[int, int, bool] | None:
        """Returns number, size and whether they overlap of the page after `number`, on which `came` records were.

        Returns None if no further page could bring anything new.
        """
        before, self._end = self._end, (number - 1) * size + came if self._overlaps else self._end + came
        if not before:
            self._size, self._overlaps = came, _affordable(came, total)
        if not self._overlaps:
            return number + 1, size, False
        window = _overlapping(self._end, self._size)
        return None if self._end <= before or window is None else (*window, True)


def numbers_in(url: str, *names: str) -> tuple[int, ...] | None:
    """Returns these query parameters of a URL if all of them are there as whole numbers above 0; else None."""
    found = [httpx.URL(url).params.get(name) or "" for name in names]
    return tuple(map(int, found)) if all(one.isdecimal() and int(one) > 0 for one in found) else None


def with_numbers(url: str, **numbers: int) -> str:
    """Returns a URL with these query parameters in the place of its own."""
    return str(httpx.URL(url).copy_merge_params(numbers))


def _overlapping(end: int, size: int) -> tuple[int, int] | None:
    """Returns number and size of the page that reaches furthest among those that begin before `end`."""
    windows = [((end - 1) // one + 1, one) for one in range(size, size // 2, -1)]
    number, best = max(windows, key=lambda window: window[0] * window[1], default=(0, 0))
    return (number, best) if number * best > end else None


def _affordable(size: int, total: int | None) -> bool:
    if not size or total is None or total > size * SIMULATED:
        return size >= SPARED
    end, pages = size, 1
    while end < total:
        window = _overlapping(end, size)
        if window is None:
            return False
        end, pages = window[0] * window[1], pages + 1
    return pages <= -(-total // size) + (size >= SPARED)


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
        after = httpx.URL(client.follow(following, answer.url)).raw_path.decode("ascii") if following else None
        yield LinkedPage(answer.body, after)
        if after is None:
            return
