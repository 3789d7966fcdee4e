"""The client: one checked answer, or the right error with the right words. No sockets, no waiting."""

from __future__ import annotations

import gzip
import json
import logging
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from gapless.sources._http.body import decoding
from gapless.sources._http.client import Client, segment
from gapless.sources._http.connection import bodies
from gapless.sources._http.errors import (
    BadEnvelope,
    BadRequest,
    Rejected,
    TooLarge,
    Unavailable,
)
from gapless.sources._http.testing import FakeClock
from gapless.sources._http.transport import httpx
from tests.unit.http.vendor import BASE, Page, Stream, client, one, requests

# ---- what is asked


def test_a_get_is_sent_as_written() -> None:
    """Base URL, prefix, path and parameters make the URL; the headers say JSON and who we are."""
    seen, it = requests()
    it.get("leads/a%2Fb/logs", Page, {"limit": 5, "after": "a b&c"})
    request = seen[0]
    assert (request.method, str(request.url)) == (
        "GET",
        BASE + "/api/v1/leads/a%2Fb/logs?limit=5&after=a+b%26c",
    )
    assert request.headers["accept"] == "application/json"
    assert request.headers["user-agent"].startswith("gapless/")
    assert "gzip" in request.headers["accept-encoding"]


def test_a_post_carries_json() -> None:
    """The body is the JSON given, and the answer is decoded as that of a GET."""
    seen, it = requests()
    assert it.post("x", Page, {"a": [1]}, {"page": 2}).items == []
    request = seen[0]
    assert (request.method, request.url.query, json.loads(request.content)) == ("POST", b"page=2", {"a": [1]})
    assert request.headers["content-type"] == "application/json"


def test_a_retried_post_sends_its_body_again() -> None:
    """Every attempt carries the whole body."""
    bodies: list[bytes] = []

    def handle(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        return httpx.Response(500 if len(bodies) < 3 else 200, json={"items": []})

    client(handle).post("x", Page, {"a": 1})
    assert bodies == [b'{"a":1}'] * 3


def test_own_headers_are_sent() -> None:
    """A header that is no secret, such as a version, is on every request."""
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["sequence-version"])
        return httpx.Response(200, json={"items": []})

    client(handle, headers={"Sequence-Version": "2024-07-30"}).get("x", Page)
    assert seen == ["2024-07-30"]


@pytest.mark.parametrize(
    ("base_url", "prefix", "path", "url"),
    [
        (BASE, "", "x", "/x"),
        (BASE + "/", "/api/", "/x", "/api/x"),
        (BASE + "/proxy/acme/", "api/v1", "x", "/proxy/acme/api/v1/x"),
        (f" {BASE}\n", "api", "", "/api"),
        (BASE, "api", "//evil.test/x", "/api/evil.test/x"),
    ],
)
def test_base_prefix_and_path_join(base_url: str, prefix: str, path: str, url: str) -> None:
    """One slash between the parts, a path in the base URL is kept, and no path leaves the host."""
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(200, json={"items": []})

    client(handle, base_url=base_url, prefix=prefix).get(path, Page)
    assert seen == [BASE + url]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.vendor.test",
        "ftp://x",
        "https://",
        "https://u:hunter2@x.test",
        "https://x?key=hunter2",
        "https://x:y",
    ],
)
def test_a_wrong_base_url_is_refused(url: str) -> None:
    """Before any request, saying what a right one looks like and never what was behind an @ or a ?."""
    with pytest.raises(ValueError, match="base_url must be scheme and host") as caught:
        Client(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("value", "quoted"), [("a/b?c#d e%", "a%2Fb%3Fc%23d%20e%25"), (7, "7"), ("é", "%C3%A9")])
def test_a_segment_stays_one_segment(value: object, quoted: str) -> None:
    """No id can add a segment, a query or a fragment."""
    assert segment(value) == quoted


@pytest.mark.parametrize("value", ["", ".", "..", "\ud800"])
def test_an_id_that_is_no_segment_is_rejected(value: str) -> None:
    """It is an error of the kind that skips this one parent, and only this one."""
    with pytest.raises(Rejected, match="cannot be part of a URL path"):
        segment(value)


@pytest.mark.parametrize(("path", "params"), [("x" * 70_000, {}), ("a\nb", {}), ("x", {"a": "\ud800"})])
def test_what_is_no_url_is_rejected(path: str, params: dict[str, str | int]) -> None:
    """A request that cannot be written down is skipped like one the vendor refuses."""
    with pytest.raises(BadRequest, match="are not a valid URL"):
        requests()[1].get(path, Page, params)


# ---- while it waits


def test_the_reason_of_a_wait_is_known() -> None:
    """People see meanwhile what is tried again; nothing once an answer came."""
    answers, told = iter([httpx.Response(503), httpx.Response(200, json={"items": []})]), list[str]()
    it = Client(
        BASE,
        transport=httpx.MockTransport(lambda request: next(answers)),
        sleep=lambda seconds: told.append(it.stats.trouble),
    )
    it.get("x", Page)
    assert told == ["GET /x answered 503: the vendor could not answer"]
    assert it.stats.trouble == ""


# ---- how much of an answer


def _endless() -> Iterator[bytes]:
    while True:
        yield b"x" * 10_000


def _bomb() -> httpx.Response:
    packed = gzip.compress(b'{"items": [' + b" " * 3_000_000 + b"]}")
    return httpx.Response(200, stream=Stream(iter([packed])), headers={"Content-Encoding": "gzip"})


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda: httpx.Response(200, stream=Stream(_endless())), "the answer goes on after 2 MB"),
        (_bomb, "the answer goes on after 2 MB"),
        (
            lambda: httpx.Response(200, stream=Stream(_endless()), headers={"Content-Length": "2000000000"}),
            "the answer has 2,000 MB",
        ),
        (lambda: httpx.Response(200, json={"items": [{}] * 21}), "the answer has 21 records, and more than 20 are"),
        (lambda: httpx.Response(200, json={"items": ["NaN", {}] * 11}), "the answer has 22 records"),
    ],
)
def test_an_answer_is_not_of_any_size(
    answer: Callable[[], httpx.Response], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Endless, compressed from much, declared as huge, or of countless records: one error, and no second request."""
    monkeypatch.setattr(bodies, "BODY_BYTES", 2_000_000)
    monkeypatch.setattr(decoding, "MOST_RECORDS", 20)
    asked = []

    def vendor(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answer()

    with pytest.raises(TooLarge, match=told):
        client(vendor).get("x", Page)
    assert len(asked) == 1


def test_an_answer_of_the_greatest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the byte and to the record it is taken."""
    body = json.dumps({"items": [{}] * 20}).encode()
    monkeypatch.setattr(bodies, "BODY_BYTES", len(body))
    monkeypatch.setattr(decoding, "MOST_RECORDS", 20)
    assert len(client(lambda _: httpx.Response(200, content=body)).get("x", Page).items) == 20


def test_a_long_text_beside_a_bad_record_costs_little_memory() -> None:
    """Each of its characters was once a place where a regular expression might go back to."""
    body = b'{"items": [{"id": 1, "t": "' + b'a\\"' * 500_000 + b'"}, {"id": NaN}]}'
    tracemalloc.start()
    assert len(client(lambda _: httpx.Response(200, content=body)).get("x", Page).items) == 2
    assert tracemalloc.get_traced_memory()[1] < 20 * len(body)
    tracemalloc.stop()


# ---- keys that stand twice


@pytest.mark.parametrize(
    "record",
    [b'{"id": 2, "id": 3}', b'{"a": [{"b": 1, "b": 2}]}', b'{"a": 1, "\\u0061": 1}', b'{"x": {"": 1, "": 2}}'],
)
def test_a_record_with_a_key_twice_comes_as_its_text(record: bytes) -> None:
    """Wherever the key stands; the others stay as they are, byte for byte."""
    body = b'{"items": [{"id":  1}, ' + record + b', {"id": 4}]}'
    first, second, third = client(lambda _: httpx.Response(200, content=body)).get("x", Page).items
    assert (bytes(first), bytes(third)) == (b'{"id":  1}', b'{"id": 4}')
    assert json.loads(bytes(second)) == record.decode()


@pytest.mark.parametrize("size", [1, 5_000_000])
def test_a_key_twice_beside_the_records_is_a_wrong_envelope(size: int) -> None:
    """One of two lists of records would be gone; so in a body that is too long for the fast parser."""
    body = b'{"items": [{"id": 1}], "x": "' + b"y" * size + b'", "items": []}'
    with pytest.raises(BadEnvelope, match="a key stands twice beside the records"):
        client(lambda _: httpx.Response(200, content=body), retry_budget=0).get("x", Page)


# ---- the envelope


@pytest.mark.parametrize(
    ("body", "media", "found"),
    [
        (b"", "application/json", "application/json, an empty body; Input data was truncated"),
        (b"<html>canary</html>", "text/html; charset=utf-8", "text/html, HTML or XML; JSON is malformed"),
        (b'{"error":"canary"}', "application/json", "a JSON object; Object missing required field `items`"),
        (b'{"items":{"a":"canary"}}', "application/json", "Expected `array`, got `object` - at `$.items`"),
        (b'{"items":null}', "application/json", "Expected `array`, got `null`"),
        (b'["canary"]', "application/json", "a JSON array; Expected `object`, got `array`"),
        (b'{"items":[{"a":"canary"', "application/json", "a JSON object; Input data was truncated"),
        (b'{"items":[]} canary', "application/json", "trailing characters"),
        (b'{"items":NaN}', "", "no content type, a JSON object; JSON is malformed"),
        (b'{"items":' + b"[" * 100_000, "application/json", "nested too deeply"),
        (b"null", "application/json", "a JSON null"),
        (b"12", "application/json", "a JSON number"),
        (b"oops canary", "application/json", "not JSON"),
    ],
)
def test_a_wrong_envelope_is_an_error_in_types(body: bytes, media: str, found: str) -> None:
    """200 with anything else than the documented shape says what it is, and never quotes it."""
    error = one(httpx.Response(200, content=body, headers={"content-type": media} if media else {}))
    assert type(error) is BadEnvelope
    assert "expected a JSON object with `items`, as the vendor documents it, found " in error.detail
    assert found in error.detail
    assert "canary" not in str(error)


@pytest.mark.parametrize("body", [b'"\xffcanary"', b'"canary\xc3"'])
def test_invalid_utf8_is_an_error_in_types(body: bytes) -> None:
    """Text that is no text is a wrong envelope, not a crash."""
    with pytest.raises(BadEnvelope, match="not valid UTF-8") as caught:
        client(lambda _: httpx.Response(200, content=body), retry_budget=0).get("x", str)
    assert "canary" not in str(caught.value)


def test_wrong_values_and_keys_are_not_quoted() -> None:
    """What msgspec quotes from a body is left out of its message."""

    class Strict(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind", tag="ok"):
        a: int = 0

    bodies = iter([b'{"kind":"canary"}', b'{"kind":"ok","canary":1}', b'{"kind":"ok","a`canary":1}'])
    it = client(lambda _: httpx.Response(200, content=next(bodies)), retry_budget=0)
    for _ in range(3):
        with pytest.raises(BadEnvelope) as caught:
            it.get("x", Strict)
        assert "canary" not in str(caught.value)


def test_a_wrong_envelope_is_asked_again() -> None:
    """An error body with 200 is retried, and the good answer after it is returned."""
    answers = iter([{"error": "busy"}, {"items": [1]}])
    it = client(lambda _: httpx.Response(200, json=next(answers)))
    assert [bytes(raw) for raw in it.get("x", Page).items] == [b"1"]
    assert (it.stats.requests, it.stats.retries) == (2, 1)


def test_shapes_may_be_unions() -> None:
    """Either documented form is accepted, each as its own type."""
    answers = iter([[1], {"items": [2]}])
    it = client(lambda _: httpx.Response(200, json=next(answers)))
    first, second = (it.get("x", Page | list[msgspec.Raw]) for _ in range(2))
    assert isinstance(first, list)
    assert isinstance(second, Page)


def test_records_stay_raw() -> None:
    """The bytes of a record are the vendor's own, digits and spaces too; a byte order mark is no fault."""
    body = b'\xef\xbb\xbf{"items": [ {"n": 12345678901234567890.10} ]}'
    found = client(lambda _: httpx.Response(200, content=body)).get("x", Page)
    assert [bytes(raw) for raw in found.items] == [b'{"n": 12345678901234567890.10}']


def test_gzip_is_decoded() -> None:
    """A compressed answer is the same answer."""
    zipped = gzip.compress(b'{"items":[]}')
    response = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Stream(iter([zipped])))
    assert client(lambda _: response).get("x", Page).items == []


# ---- faults on the wire


@pytest.mark.parametrize(
    "fault",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.ReadTimeout("slow"),
        httpx.WriteError("reset"),
        httpx.PoolTimeout("busy"),
        httpx.RemoteProtocolError("garbage"),
        httpx.ProxyError("407"),
        httpx.DecodingError("bad gzip"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_faults_are_retried(fault: Exception) -> None:
    """Every fault of a connection passes by itself, on the way there or in the middle of a body."""
    calls: list[int] = []

    def broken() -> Iterator[bytes]:
        yield b'{"items'
        raise fault

    def handle(request: httpx.Request) -> httpx.Response:
        calls.append(1)
        if len(calls) == 1:
            raise fault
        if len(calls) == 2:
            return httpx.Response(200, stream=Stream(broken()))
        return httpx.Response(200, json={"items": []})

    assert client(handle).get("x", Page).items == []
    assert len(calls) == 3


def test_corrupt_gzip_is_retried() -> None:
    """A content encoding that does not decode is a fault, not a crash."""
    answers = iter([b"not gzip at all", gzip.compress(b'{"items":[')[:-12], gzip.compress(b'{"items":[]}')])

    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Stream(iter([next(answers)])))

    it = client(handle)
    assert it.get("x", Page).items == []
    assert it.stats.requests == 3


def test_a_fault_says_its_name() -> None:
    """The message names the fault; what a protocol error quotes from the wire is left out."""

    def fail(error: Exception) -> str:
        def handle(request: httpx.Request) -> httpx.Response:
            raise error

        with pytest.raises(Unavailable) as caught:
            client(handle, retry_budget=0).get("x", Page)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
        return str(caught.value)

    assert fail(httpx.ConnectError("[Errno 111] Connection refused")).startswith(
        "GET /x: connect error: [Errno 111] Connection refused; gave up after 1 attempt in 0.0 s"
    )
    assert fail(httpx.RemoteProtocolError("illegal status line: canary")).startswith(
        "GET /x: remote protocol error; gave up"
    )


def test_a_trickle_meets_the_deadline() -> None:
    """A body that always sends one more byte, each in time, ends when the whole attempt is over."""
    time = FakeClock()
    streams: list[Stream] = []

    def drip() -> Iterator[bytes]:
        while True:
            time.now += 1
            yield b" "

    def handle(request: httpx.Request) -> httpx.Response:
        streams.append(Stream(drip()))
        return httpx.Response(200, stream=streams[-1])

    with pytest.raises(Unavailable, match="no complete answer within 60 s"):
        client(handle, time, retry_budget=100).get("x", Page)
    assert 120 <= time.now - 1000 <= 161
    assert all(stream.closed for stream in streams)


def test_each_attempt_has_its_own_deadline() -> None:
    """Slow attempts one after the other are not added up."""
    time = FakeClock()
    statuses = iter([503, 503, 200])

    def handle(request: httpx.Request) -> httpx.Response:
        time.now += 40
        return httpx.Response(next(statuses), json={"items": []})

    assert client(handle, time).get("x", Page).items == []


# ---- what is counted and logged


def test_stats_count_sends_retries_and_seconds() -> None:
    """Each send, each retry and each second asleep is counted, and `waiting` is up only while asleep."""
    time = FakeClock()
    asleep: list[int] = []
    answers = iter([429, 503, 200])

    def sleep(seconds: float) -> None:
        asleep.append(it.stats.waiting)
        time.sleep(seconds)

    def handle(request: httpx.Request) -> httpx.Response:
        assert it.stats.waiting == 0
        return httpx.Response(next(answers), headers={"retry-after": "3"}, json={"items": []})

    it = Client(BASE, transport=httpx.MockTransport(handle), clock=time.clock, sleep=sleep)
    it.get("x", Page)
    stats = it.stats
    assert (stats.requests, stats.retries, stats.waited, stats.waiting) == (3, 2, 6, 0)
    assert asleep == [1, 1]


def test_queries_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Not even with everything logged: the HTTP library is kept quiet."""
    with caplog.at_level(logging.DEBUG):
        requests()[1].get("x", Page, {"token": "canary"})
    assert "canary" not in caplog.text


@pytest.mark.parametrize("status", [202, 204, 206, 226])
def test_a_part_is_not_the_whole(status: int) -> None:
    """An answer that says itself that it is a part, or not there yet."""
    assert type(one(httpx.Response(status, json={"items": []}))) is BadEnvelope


@pytest.mark.parametrize("errors", [{"errors": [{"message": "shard 3 failed"}]}, {"error": "timeout"}])
def test_records_with_errors_beside_them(errors: dict[str, Any]) -> None:
    """Some records may be missing; an empty list of errors, or a field of that name in a record, is no sign of it."""
    error = one(httpx.Response(200, json={"items": [{"id": 1}], **errors}))
    assert (type(error), "beside them" in str(error)) == (BadEnvelope, True)
    for body in ({"items": [{"errors": ["x"]}]}, {"items": [], "errors": []}, {"items": [], "error": None}):
        asked = client(lambda _, body=body: httpx.Response(200, json=body))  # type: ignore[misc]  # a default of a lambda
        assert len(asked.get("x", Page).items) == len(body["items"])
