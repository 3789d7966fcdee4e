"""Pages of a listing whose next page stands in the `Link` header (RFC 8288). No vendor may enter.

https://www.rfc-editor.org/rfc/rfc8288
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from gapless.sources._http.client import Client, Params
from gapless.sources._http.loop_guard import LoopGuard
from gapless.sources._http.transport import httpx


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
        answer = client.get_page(url, list[msgspec.Raw], None if after else params)
        following = answer.links.get("next")
        after = httpx.URL(client.follow(following)).raw_path.decode("ascii") if following else None
        yield LinkedPage(answer.body, after)
        if after is None:
            return
