"""A listing whose next pages stand in the `Link` header."""

from __future__ import annotations

import pytest

from gapless.sources._http.client import Client
from gapless.sources._http.errors import ForeignHost, Loop
from gapless.sources._http.paging import linked_pages
from gapless.sources._http.transport import httpx

BASE = "https://api.example.com"


class Pages:
    """Answers with the next link in `links` by the requested path and query; notes what was requested."""

    def __init__(self, links: dict[str, str]) -> None:
        self.links, self.requested, self.hosts = links, list[str](), set[str]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        asked = request.url.raw_path.decode()
        self.requested.append(asked)
        self.hosts.add(request.url.host)
        following = self.links.get(asked)
        headers = {"link": f'<{request.url}>; rel="self"' + (f', <{following}>; rel="next"' if following else "")}
        return httpx.Response(200, json=[{"id": asked}], headers=headers)

    def client(self, base: str = BASE) -> Client:
        return Client(base, prefix="v1", requests_per_minute=1_000_000, transport=httpx.MockTransport(self))


def test_the_vendors_own_link_is_requested_as_it_is() -> None:
    """Its query is kept letter by letter, and the parameters of the first request are not added to it."""
    pages = Pages({"/v1/logs?limit=2": f"{BASE}/v1/logs?after=a%2Bb&limit=2", "/v1/logs?after=a%2Bb&limit=2": "?z=1"})
    found = list(linked_pages(pages.client(), "logs", {"limit": 2}))
    assert pages.requested == ["/v1/logs?limit=2", "/v1/logs?after=a%2Bb&limit=2", "/v1/logs?z=1"]
    assert [page.after for page in found] == ["/v1/logs?after=a%2Bb&limit=2", "/v1/logs?z=1", None]
    assert [bytes(record) for record in found[0].records] == [b'{"id":"/v1/logs?limit=2"}']


def test_a_listing_is_resumed_under_another_base_url() -> None:
    """What is kept of a link is its path and query: a database outlives a vendor's host name."""
    pages = Pages({"/v1/logs": f"{BASE}/v1/logs?after=1"})
    after = next(linked_pages(pages.client(), "logs", {})).after
    (page,) = linked_pages(pages.client("https://moved.example.org"), "logs", {"limit": 2}, after)
    assert (pages.requested[-1], page.after) == ("/v1/logs?after=1", None)


def test_a_link_that_comes_again_ends_the_listing_with_an_error() -> None:
    pages = Pages({"/v1/logs": "?after=1", "/v1/logs?after=1": "?after=1"})
    with pytest.raises(Loop):
        list(linked_pages(pages.client(), "logs", {}))
    assert pages.requested == ["/v1/logs", "/v1/logs?after=1"]


@pytest.mark.parametrize(
    "link",
    [
        "http://api.example.com/v1/logs?after=1",
        "https://10.0.0.7:8000/v1/logs?after=1",
        "http://backend/v1/logs/?after=1",
        "//backend.internal/v1/logs?after=1",
        "http://backend/internal/gateway/v1/logs?after=1",
    ],
)
@pytest.mark.parametrize("prefix", ["", "/gateway"])
def test_a_link_of_the_inner_host_is_requested_from_ours(link: str, prefix: str) -> None:
    """A vendor behind a gateway knows neither its scheme nor its name, nor a path that is put before its own."""
    pages = Pages({f"{prefix}/v1/logs": link})
    found = list(linked_pages(pages.client(BASE + prefix), "logs", {}))
    assert pages.requested == [f"{prefix}/v1/logs", f"{prefix}/v1/logs?after=1"]
    assert pages.hosts == {"api.example.com"}
    assert len(found) == 2


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.test/v1/other?after=1",
        "https://evil.test/?after=1",
        "https://user@api.example.com/v1/logs?after=1",
        "ftp://api.example.com/v1/logs?after=1",
    ],
)
def test_any_other_link_elsewhere_is_refused_before_it_is_requested(link: str) -> None:
    pages = Pages({"/v1/logs": link})
    with pytest.raises(ForeignHost):
        list(linked_pages(pages.client(), "logs", {}))
    assert pages.requested == ["/v1/logs"]
