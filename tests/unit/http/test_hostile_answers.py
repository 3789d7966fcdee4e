"""Whatever a vendor writes into headers, links and status lines ends in an answer or in one of our errors."""

from __future__ import annotations

import socket
import threading
import warnings
from collections.abc import Iterator
from functools import cache
from itertools import islice, product
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.sources._http.auth import HeaderAuth, origin
from gapless.sources._http.client import Client
from gapless.sources._http.errors import BadRequest, ForeignHost, VendorError
from gapless.sources._http.transport import httpx
from tests.unit.http.vendor import client

HOME = "https://api.vendor.test"
KEY = "Canary-key-0123"
HOSTS = (
    "xn--", "xn--a", "xn--\u00e9", "XN--A", "$xn--0000h", "a..xn--a", "[::1", "::1]", "[zz]", "[]", "[v1.x]",
    "a..b", ".", "..", "%",
    "%00", "a\0b", "a b", "\\", "\u202eevil", "\u00ad", "\u2488", "ß", "a" * 64, "a" * 300, "256.0.0.1", "0x7f.1",
    "*", "{}",
    "user:pw@api.vendor.test", "@", "a@b@c", "api.vendor.test@evil.test", "api.vendor.test%2eevil.test", "evil.test",
)  # fmt: skip
PORTS = ("", ":", ":0", ":-1", ":65536", ":99999999999999999999", ":abc", ":\u0663", ":80:80", ": 80")
LINKS = [
    *(f"{scheme}//{host}/x" for scheme, host in product(("https:", ""), HOSTS)),
    *(f"https://api.vendor.test{port}/x" for port in PORTS),
    *(f"{scheme}:alert(1)" for scheme in ("javascript", "JaVaScRiPt", "data", "mailto", "tel", "about", "blob",
    "urn:x")),
    *(f"{scheme}://api.vendor.test/x" for scheme in ("file", "ftp", "ws", "1x", "h ttp", "h\0", "http", "")),
    *("", "?", "#", "%", "%zz", "/%00", "/a\0b", "/\x1b[2J", "/a b", "\\\\evil.test", "/\\evil.test", "///evil.test"),
    *("https:\\\\evil.test", "https://", "https:///x", "http:", "../../..", "/" + "a" * 10_000, "x" * 70_000,
    "/\u2028"),
    *("/\ud800", "https://\ud800/", f"https://{KEY}.evil.test/", f"https://{KEY}@evil.test/"),
]  # fmt: skip


def said(error: VendorError) -> str:
    """The error's text, which must be one short line without a key."""
    text = str(error)
    assert text.isprintable(), ascii(text)
    assert len(text) < 800
    assert "canary" not in text.lower()
    return text


def raw(link: str) -> bytes:
    return link.encode("utf-8", "surrogatepass")


def get(response: httpx.Response) -> Any:
    auth = HeaderAuth({"X-Key": KEY}, HOME)
    return client(lambda _: response, retry_budget=0, base_url=HOME, auth=auth).get_page("x", list[msgspec.Raw])


@pytest.mark.parametrize("status", [301, 307])
def test_a_malformed_location_fails_one_request(status: int) -> None:
    """No URL, another scheme, a host or a port that is none: the request is refused, and says why."""
    for link in LINKS:
        with pytest.raises((ForeignHost, BadRequest)) as caught:
            get(httpx.Response(status, headers=[(b"Location", raw(link))]))
        assert " redirect" in said(caught.value), link


def test_what_is_no_address_is_not_repeated() -> None:
    """Nothing of it is printed: not the scheme of a script, nor a name that cannot be decoded."""
    for link in (
        "javascript:alert(1)",
        "https://$xn--0000h/",
        "http://[::1",
        "https://api.vendor.test:0/",
        "https://a\0/",
    ):
        with pytest.raises(ForeignHost, match="the redirect points to no valid URL, but the key is for https://api"):
            get(httpx.Response(302, headers=[(b"Location", raw(link))]))


@pytest.mark.parametrize("base", [None, f"{HOME}/x"])
def test_a_malformed_next_link_fails_one_request(base: str | None) -> None:
    """A next link in a body either leads to the vendor's own origin or is refused."""
    for link in LINKS:
        assert_followed_or_refused(link, base)


@pytest.mark.slow
@given(st.one_of(st.text(), st.sampled_from(LINKS).flatmap(lambda link: st.text(max_size=3).map(link.__add__))))
def test_no_text_is_a_link_elsewhere(link: str) -> None:
    """The same for any text at all."""
    assert_followed_or_refused(link, f"{HOME}/x")


@cache
def vendor() -> Client:
    auth = HeaderAuth({"X-Key": KEY}, HOME)
    return client(lambda _: httpx.Response(200, json=[]), retry_budget=0, base_url=HOME, auth=auth)


def assert_followed_or_refused(link: str, base: str | None) -> None:
    try:
        found = vendor().follow(link, base)
    except VendorError as error:
        said(error)
    else:
        assert origin(found) == origin(HOME), link
        assert "@" not in httpx.URL(found).netloc.decode()
        vendor().get(found, list[msgspec.Raw])


def test_a_malformed_link_header_fails_one_request() -> None:
    """A next link in a header: the page, or the request for the next one, fails."""
    for link in LINKS:
        try:
            page = get(httpx.Response(200, json=[], headers=[(b"Link", b"<" + raw(link) + b">; rel=next")]))
        except VendorError as error:
            said(error)
            continue
        if "next" in page.links:
            assert_followed_or_refused(page.links["next"], page.url)


VALUES = (
    b"", b" ", b"x", b"-1", b"+1", b"1e9", b"NaN", b"inf", b"9" * 400, b"\xff\xfe", b"\x00", b"\x1b[2J",
    b"\xe2\x80\xae", b"a" * 60_000,
    b"Fri, 31 Dec 9999 23:59:59 GMT", b"Fri, 32 Foo 0000 99:99:99 GMT", b"Mon, 01 Jan 0001 00:00:00 +2359", b"0x10",
    b"\xd9\xa3",
    b"1,2", b'"', b";", b"=", b",,", b"text/html; charset=\xff", b"application/json; charset=utf-16",
    b"a/b; charset=idna",
    b"application/json;" + b"a=b;" * 5_000, b"gzip, gzip", b"br", b"chunked", b"deflate", b"gzip", b"\tgzip",
    b"x\r\n folded",
    b"http://[::1", b"a=b; Domain=\xff; Expires=never; Max-Age=1e99", b"a=b; path=" + b"/" * 9_000,
)  # fmt: skip
NAMES = (
    b"Retry-After", b"Content-Type", b"Content-Encoding", b"Content-Length", b"Set-Cookie", b"Date", b"Location",
    b"Transfer-Encoding", b"Connection", b"X-\xff", b"", b"X Y", b"Upgrade", b"WWW-Authenticate",
)  # fmt: skip
STATUSES = (
    b"", b"HTTP/1.1", b"HTTP/1.1 abc", b"HTTP/1.1 99 x", b"HTTP/1.1 1000 x", b"HTTP/1.1 -200 x", b"HTTP/2 200",
    b"HTTP/9.9 200 OK",
    b"ICY 200 OK", b"HTTP/1.1 200 \x1b[2J", b"HTTP/1.1 200 \xff\xfe", b"HTTP/1.1 200 " + b"a" * 200_000,
    b"\x16\x03\x01\x02", b"<html>",
    b"HTTP/1.1 100 Continue", b"HTTP/1.1 101 Switching", b"HTTP/1.1 204 No", b"HTTP/1.1 206 part",
    b"HTTP/1.1 304 n", b"HTTP/1.1 399 x",
    b"HTTP/1.1 499 x", b"HTTP/1.1 600 x", b"HTTP/1.1 999 x", b"http/1.1 200 OK", b" HTTP/1.1 200 OK",
    b"HTTP/1.1 2\xd9\xa20 x",
)  # fmt: skip
CHUNKS = (
    b"zz\r\n", b"-1\r\n", b"f" * 20 + b"\r\n", b"2;ext=\xff\r\n[]\r\n0\r\n\r\n", b"2\r\n[]\r\n0\r\nT: \xff\r\n\r\n",
    b"2\r\n[]X0\r\n\r\n",
    b"1" * 5_000,
)  # fmt: skip


def answers() -> Iterator[bytes]:
    """Yields what a vendor may write on a connection: a header of each kind, status lines, bodies."""
    firsts = (b"HTTP/1.1 200 OK", b"HTTP/1.1 429 Slow", b"HTTP/1.1 302 Found")
    for number, (name, value) in enumerate(islice(product(NAMES, VALUES), 0, None, 2)):
        length = b"" if name == b"Content-Length" else b"Content-Length: 2\r\n"
        yield firsts[number % 3] + b"\r\n" + length + name + b": " + value + b"\r\n\r\n[]"
    yield from (status + b"\r\nContent-Length: 2\r\n\r\n[]" for status in STATUSES)
    yield from (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk for chunk in CHUNKS)
    yield b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(20_000)) + b"\r\n[]"
    yield b"HTTP/1.1 200 OK\r\nX: y"
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]" * 2


def test_no_answer_escapes() -> None:
    """Over a real socket, as the parser of HTTP has errors of its own; and no library warns of anything."""
    every = [*answers()]
    assert len(every) > 270
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    threading.Thread(target=_serve, args=(listening, iter(every)), daemon=True).start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for answer in every:
            with Client(url, retry_budget=0, deadline=5, auth=HeaderAuth({"X-Key": KEY}, url)) as vendor:
                try:
                    assert vendor.get_page("x", list[msgspec.Raw]).body == [], answer[:80]
                except VendorError as error:
                    said(error)
    listening.close()


def _serve(listening: socket.socket, every: Iterator[bytes]) -> None:
    """Answers each connection with the next bytes."""
    for answer in every:
        connection, _ = listening.accept()
        with connection:
            connection.settimeout(5)
            connection.recv(65_536)
            try:
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)
            except OSError:  # the client has seen enough
                continue


def test_no_cookie_is_kept() -> None:
    """A vendor cannot make every later request carry, and the memory hold, what it likes."""
    asked: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=[], headers=[(b"Set-Cookie", b"a=%d" % len(asked))])

    vendor = client(handle, base_url=HOME)
    for _ in range(2):
        vendor.get("x", list[msgspec.Raw])
    assert ["Cookie" in request.headers for request in asked] == [False, False]
