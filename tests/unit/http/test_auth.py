"""Keys: on the vendor's origin only, and never shown."""

from __future__ import annotations

import base64

import msgspec
import pytest

from gapless.sources._http.auth import HeaderAuth, basic, checked_base_url
from gapless.sources._http.client import Client
from gapless.sources._http.errors import SettingError, Unauthorized, VendorError
from gapless.sources._http.testing import FakeClock
from gapless.sources._http.transport import httpx

BASE = "https://api.vendor.test"
KEY = "canary-7f3a9c"


def sent_by(auth: HeaderAuth, url: str) -> httpx.Headers:
    """The headers of the one request that a flow makes of a request to `url`, driven by hand."""
    flow = auth.auth_flow(httpx.Request("GET", url))
    request = next(flow)
    with pytest.raises(StopIteration):
        flow.send(httpx.Response(200, request=request))
    return request.headers


def test_headers_go_to_the_base_urls_origin() -> None:
    """Every secret header is on a request to the configured origin, a written-out default port included."""
    auth = HeaderAuth({"X-API-KEY": KEY, "X-USER-ID": "u-1"}, BASE + "/some/prefix")
    for url in (BASE + "/api/x?y=1", "https://API.vendor.test:443/"):
        headers = sent_by(auth, url)
        assert (headers["x-api-key"], headers["x-user-id"]) == (KEY, "u-1")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.vendor.test/",
        "https://api.vendor.test:8443/",
        "https://vendor.test/",
        "https://api.vendor.test.evil.test/",
        "https://api.vendor.test@evil.test/",
    ],
)
def test_headers_go_nowhere_else(url: str) -> None:
    """Another scheme, host or port gets the request without the key."""
    assert KEY not in str(sent_by(HeaderAuth({"x-api-key": KEY}, BASE), url).raw)


def test_basic_is_rfc_7617() -> None:
    """Id and secret are joined by a colon and encoded as UTF-8 in base64."""
    scheme, token = sent_by(basic("id", "pässwort:x", BASE), BASE)["authorization"].split(" ")
    assert (scheme, base64.b64decode(token).decode()) == ("Basic", "id:pässwort:x")


def test_repr_shows_names_only() -> None:
    """repr() of either kind holds no value."""
    assert repr(HeaderAuth({"x-api-key": KEY}, BASE)) == "HeaderAuth(x-api-key)"
    assert repr(basic("id", KEY, BASE)) == "HeaderAuth(Authorization)"


def test_secrets_name_every_part() -> None:
    """What must be scrubbed is the header, the token after its scheme word, and the password inside it."""
    token = base64.b64encode(f"id:{KEY}".encode()).decode()
    assert basic("id", KEY, BASE).secrets == {f"Basic {token}", token, KEY}
    assert HeaderAuth({"Authorization": f"Bearer {KEY}"}, BASE).secrets == {f"Bearer {KEY}", KEY}


def test_a_line_break_around_a_key_is_forgiven() -> None:
    """A key read from a file with its last newline works."""
    assert sent_by(HeaderAuth({"x-api-key": f" {KEY}\n"}, BASE), BASE)["x-api-key"] == KEY


@pytest.mark.parametrize("value", ["", " \n", f"{KEY}\r\nx: y", f"{KEY}\x00", f"{KEY}é"])
def test_a_value_that_cannot_be_sent_is_refused_unseen(value: str) -> None:
    """It is refused at once, naming the header and not the value; the HTTP library would quote it."""
    with pytest.raises(ValueError, match="x-api-key") as caught:
        HeaderAuth({"x-api-key": value}, BASE)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(("client_id", "secret"), [("", KEY), ("id", ""), ("i:d", KEY)])
def test_basic_needs_both_halves(client_id: str, secret: str) -> None:
    """An empty half or a colon in the id cannot be sent, and the message does not hold the secret."""
    with pytest.raises(ValueError, match="client_") as caught:
        basic(client_id, secret, BASE)
    assert KEY not in str(caught.value)


def test_client_headers_and_urls_hold_no_key() -> None:
    """The client keeps the key in the flow alone."""
    client = Client(BASE, auth=HeaderAuth({"x-api-key": KEY}, BASE))
    assert KEY not in str(client._http.headers.raw)
    assert KEY not in repr(vars(client))
    client.close()


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(401, json={"error": {"type": "auth", "message": f"bad key {KEY}"}}),
        httpx.Response(400, json={"detail": KEY}),
        httpx.Response(403, text=f"key {KEY} may not", headers={"content-type": "text/plain"}),
        httpx.Response(302, headers={"location": f"/login?key={KEY}"}),
        httpx.Response(302, headers={"location": f"/login/{KEY}"}),
        httpx.Response(302, headers={"location": f"https://evil.test/{KEY}"}),
        httpx.Response(200, json={KEY: KEY}),
        httpx.Response(503, json={"message": KEY}),
    ],
)
def test_no_error_shows_the_key(answer: httpx.Response) -> None:
    """A vendor that echoes the key does not get it into our messages, nor into any fact of the error."""
    time = FakeClock()
    transport = httpx.MockTransport(lambda _: answer)
    auth = HeaderAuth({"Authorization": f"Bearer {KEY}"}, BASE)
    client = Client(BASE, auth=auth, transport=transport, clock=time.clock, sleep=time.sleep, retry_budget=1)
    with pytest.raises(VendorError) as caught:
        client.get("x", list[msgspec.Raw])
    assert KEY not in str(caught.value) + repr(caught.value) + repr(vars(caught.value))


def test_a_refused_key_is_said() -> None:
    """401 tells what happened and where to look."""
    client = Client(BASE, transport=httpx.MockTransport(lambda _: httpx.Response(401)))
    with pytest.raises(Unauthorized, match="the key was refused; check the source's key settings"):
        client.get("x", list[msgspec.Raw])
    assert client.stats.requests == 1


@pytest.mark.parametrize("address", [":99999", ":65536", ":0", ":-1", "..b", f".{'a' * 64}.com"])
def test_a_host_or_port_that_is_none(address: str) -> None:
    """Refused: a socket takes a port modulo 65,536, and the key would go to another one."""
    with pytest.raises(SettingError):
        checked_base_url(f"https://a{address}")
