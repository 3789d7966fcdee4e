"""Links and redirects: those within the base URL's own origin are followed, and no key goes elsewhere."""

from __future__ import annotations

import pytest

from gapless.sources._http.body import decoding
from gapless.sources._http.errors import (
    BadEnvelope,
    BadRequest,
    ForeignHost,
    VendorError,
)
from gapless.sources._http.transport import httpx
from tests.unit.http.vendor import BASE, Page, client, one, requests


@pytest.mark.parametrize(
    ("link", "url"),
    [
        (BASE + "/api/v1/x?page=2", BASE + "/api/v1/x?page=2"),
        ("https://API.vendor.test:443/api/v1/x", BASE + "/api/v1/x"),
        ("/api/v1/x?page=2", BASE + "/api/v1/x?page=2"),
        ("x?page=2", BASE + "/api/v1/x?page=2"),
    ],
)
def test_a_next_link_is_followed(link: str, url: str) -> None:
    """Absolute or relative, it becomes a URL that `get` takes with its query; parameters are added to it."""
    seen, it = requests()
    it.get(it.follow(link), Page)
    it.get(it.follow(link), Page, {"more": 1})
    assert [str(request.url) for request in seen] == [url, url + ("&" if "?" in url else "?") + "more=1"]


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("?page=2", BASE + "/api/v1/leads/7/logs?page=2"),
        ("logs?page=2", BASE + "/api/v1/leads/7/logs?page=2"),
        ("../8/logs", BASE + "/api/v1/leads/8/logs"),
        ("/api/v1/other", BASE + "/api/v1/other"),
        (BASE + "/z", BASE + "/z"),
    ],
)
def test_a_relative_link_belongs_to_its_page(link: str, url: str) -> None:
    """It is resolved against the URL of the page that holds it, also when that was a POST."""
    for method in ("GET", "POST"):
        seen, it = requests()
        path, params = "leads/7/logs", {"page": 1}
        page = it.get_page(path, Page, params) if method == "GET" else it.post_page(path, Page, {"a": 1}, params)
        assert (page.url, page.body.items) == (BASE + "/api/v1/leads/7/logs?page=1", [])
        it.get(it.follow(link, base=page.url), Page)
        assert (seen[0].method, str(seen[1].url)) == (method, url)


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], {}),
        ([""], {}),
        (['<?after=2>; rel="next"'], {"next": "?after=2"}),
        (['<?a=1,2;3>;rel=next , <?b>;rel="prev"'], {"next": "?a=1,2;3", "prev": "?b"}),
        (["<?a>; rel=self", '<?b>; rel="next"'], {"self": "?a", "next": "?b"}),
        (['<?a>; title="x, <?no>; rel=next \\" y"; REL="Next  LAST"; x'], {"next": "?a", "last": "?a"}),
        (["<?a>; rel=next; rel=prev, <?b>; rel=next"], {"next": "?a"}),
        (['<?a>; rel="next"; anchor="/other", <?b>; rel=next'], {"next": "?b"}),
        ([", ,<?a> ; rel = next ;, ,"], {"next": "?a"}),
        (["<?a>; title*=UTF-8''x%20y; rel=next"], {"next": "?a"}),
        (["<>; rel=next, <?b>"], {"next": ""}),
    ],
)
def test_link_headers_are_read(headers: list[str], found: dict[str, str]) -> None:
    """Several links in one header or in several, quoted values with commas, several relations, any case."""
    assert decoding.links(headers) == found
    answer = httpx.Response(200, json={"items": []}, headers=[("link", each) for each in headers])
    page = client(lambda _: answer).get_page("x/y", Page)
    assert page.links == {relation: f"{BASE}/x/y{target}" for relation, target in found.items()}


@pytest.mark.parametrize(
    "header", ["?a; rel=next", '<?a>; rel="next', "<?a> rel=next", "<?a>; rel=next <?b>", "<https://x:y>; rel=next"]
)
def test_a_link_header_that_cannot_be_read_is_an_error(header: str) -> None:
    """A missed next link would end the listing early, so it is retried like a wrong body; `get` does not care."""
    answer = httpx.Response(200, json={"items": []}, headers={"link": header})
    with pytest.raises(BadEnvelope, match="expected a Link header"):
        client(lambda _: answer, retry_budget=0).get_page("x", Page)
    assert client(lambda _: answer).get("x", Page).items == []


def test_a_link_header_to_another_host_is_refused() -> None:
    """The page itself counts, but its link is not requested: neither as a path nor by `follow`."""
    answer = httpx.Response(200, json={"items": []}, headers={"link": "<//evil.test/x>; rel=next, <ftp://y>; rel=up"})
    seen, it = requests(answer)
    page = it.get_page("x", Page)
    assert page.links == {"next": "https://evil.test/x", "up": "ftp://y"}
    for link in page.links.values():
        for ask in (it.follow, lambda url: it.get(url, Page)):
            with pytest.raises(ForeignHost):
                ask(link)
    assert len(seen) == 1


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.test/api/v1/x",
        "//evil.test/x",
        "http://api.vendor.test/x",
        "https://api.vendor.test:8443/x",
        "https://api.vendor.test@evil.test/x",
        "https://user:hunter2@api.vendor.test/x",
        "https://api.vendor.test.evil.test/",
        "javascript:alert(1)",
        "https://[x",
        "https://a b/",
    ],
)
def test_a_foreign_next_link_is_refused(link: str) -> None:
    """Another scheme, host or port, a user in the URL, or no URL at all: nothing is sent there."""
    seen, it = requests()
    with pytest.raises(ForeignHost, match="next link points to") as caught:
        it.follow(link)
    assert "hunter2" not in str(caught.value)
    if link.startswith("http"):
        with pytest.raises(VendorError):
            it.get(link, Page)
    assert seen == []


@pytest.mark.parametrize(
    "location", ["https://evil.test/api", "//evil.test", "http://api.vendor.test/x", "https://["]
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_elsewhere_stops(location: str, status: int) -> None:
    """It is one request, not two, and not tried again."""
    seen, it = requests(httpx.Response(status, headers={"location": location}))
    with pytest.raises(ForeignHost, match=r"redirect points to .* base_url"):
        it.get("x", Page)
    assert len(seen) == 1


def test_a_redirect_at_home_names_the_setting() -> None:
    """On the same origin it is a wrong path, so the message names the base URL."""
    error = one(httpx.Response(302, headers={"location": "/login?next=%2Fx"}))
    assert type(error) is BadRequest
    assert str(error) == (
        "GET /x answered 302: redirects are not followed (to /login); check the source's base_url setting"
    )
    assert type(one(httpx.Response(304))) is BadRequest
