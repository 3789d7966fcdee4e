"""The error tree: which error an answer without success is, and what a person reads of it."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from gapless.sources._http.errors import (
    BadEnvelope,
    BadRequest,
    Forbidden,
    Loop,
    NotFound,
    QuotaSpent,
    Rejected,
    Retryable,
    Stop,
    Throttled,
    Unauthorized,
    Unavailable,
    VendorError,
)
from gapless.sources._http.testing import FakeClock
from gapless.sources._http.transport import httpx
from tests.unit.http.vendor import Page, Stream, client, one, requests


def test_a_quota_closes_the_client_until_it_is_renewed() -> None:
    """One request is told to wait for a day: it is not sent again, nor is any other, and the time is said."""
    time, seen = FakeClock(), list[httpx.Request]()

    def refused(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(429, headers={"Retry-After": "86400"}, json={"error": "daily limit"})

    it = client(refused, time)
    for path in ("a", "b"):
        with pytest.raises(QuotaSpent, match=r"left alone until .* UTC; .*; the vendor says: daily limit"):
            it.get(path, Page)
    assert (len(seen), time.sleeps) == (1, [])
    time.now += 86_401
    with pytest.raises(QuotaSpent):
        it.get("c", Page)
    assert len(seen) == 2
    assert "left alone for more than a year" in str(one(httpx.Response(429, headers={"Retry-After": "9" * 20})))


@pytest.mark.parametrize(
    ("status", "kind", "group"),
    [
        (400, BadRequest, Rejected),
        (401, Unauthorized, Stop),
        (403, Forbidden, Rejected),
        (404, NotFound, Rejected),
        (405, BadRequest, Rejected),
        (408, Unavailable, Retryable),
        (410, NotFound, Rejected),
        (418, BadRequest, Rejected),
        (422, BadRequest, Rejected),
        (425, Unavailable, Retryable),
        (429, Throttled, Retryable),
        (500, Unavailable, Retryable),
        (501, Unavailable, Retryable),
        (503, Unavailable, Retryable),
        (599, Unavailable, Retryable),
        (204, BadEnvelope, Retryable),
    ],
)
def test_a_status_is_the_right_error(status: int, kind: type[VendorError], group: type[VendorError]) -> None:
    """Each status is in the group that says what to do about it, with the facts on it."""
    error = one(httpx.Response(status))
    assert type(error) is kind
    assert isinstance(error, group)
    assert (error.method, error.path, error.status) == ("GET", "/x", status)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_cannot_pass_is_asked_once(status: int) -> None:
    """No retry for what will not change."""
    seen, it = requests(httpx.Response(status))
    with pytest.raises(VendorError):
        it.get("x", Page)
    assert (len(seen), it.stats.requests, it.stats.retries) == (1, 1, 0)


def test_a_loop_is_of_one_listing() -> None:
    """The paging's own error ends one parent, not the source."""
    assert str(Loop(method="GET", path="/x", detail="cursor came before")) == "GET /x: cursor came before"
    assert issubclass(Loop, Rejected)


def test_errors_survive_pickling() -> None:
    """An error may cross a process, as schedulers make it."""
    error = pickle.loads(pickle.dumps(Throttled(method="GET", path="/x", status=429, detail="d", retry_after=2)))
    assert (str(error), error.retry_after) == ("GET /x answered 429: d", 2)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            {"error": {"type": "invalid_request_error", "message": "No such log"}},
            "invalid_request_error, No such log",
        ),
        ({"detail": "Not found.", "code": "not_found"}, "not_found, Not found."),
        ({"errors": [{"message": "per_page is too large"}]}, "per_page is too large"),
        ([{"message": "first"}, {"message": "second"}], "first"),
        (["only text"], "only text"),
        ("a string", "a string"),
        ({"message": "two\r\nlines\x1b[31m"}, "two lines [31m"),
        ({"message": "x" * 201, "code": 17}, "17"),
    ],
)
def test_the_vendors_short_words_are_told(answer: object, words: str) -> None:
    """Type, code and short messages of every documented error shape are in the detail, on one line."""
    assert one(httpx.Response(400, json=answer)).detail.endswith(f"; the vendor says: {words}")


def test_plain_text_is_told() -> None:
    """A short text body is the vendor's message."""
    assert one(httpx.Response(404, text="no such action")).detail.endswith("; the vendor says: no such action")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(400, html="<h1>canary</h1>"),
        httpx.Response(400, text="<h1>canary</h1>"),
        httpx.Response(400, text="canary" * 40),
        httpx.Response(400, json={"error": {"record": "canary"}, "data": ["canary"]}),
        httpx.Response(400, json={"message": {"a": {"message": "canary"}}}),
        httpx.Response(400, content=b"\xff\x00canary"),
        httpx.Response(400, content=b"[" * 100_000),
        httpx.Response(400, json=None),
    ],
)
def test_other_error_bodies_are_not_told(answer: httpx.Response) -> None:
    """A page, a record or rubbish in an error's body stays out of the message."""
    error = one(answer)
    assert "the vendor says" not in error.detail
    assert "canary" not in str(error)


def test_a_broken_error_body_does_not_hide_the_status() -> None:
    """A 401 whose body breaks off is still a refused key, and its connection is given back."""

    def chunks() -> Iterator[bytes]:
        yield b'{"error":'
        raise httpx.ReadError("reset")

    stream = Stream(chunks())
    assert type(one(httpx.Response(401, stream=stream))) is Unauthorized
    assert stream.closed


def test_an_endless_error_body_ends() -> None:
    """Only the beginning of an error's body is read."""

    def chunks() -> Iterator[bytes]:
        while True:
            yield b"x" * 10_000

    assert type(one(httpx.Response(404, stream=Stream(chunks())))) is NotFound


@pytest.mark.parametrize("status", [300, 304, 305, 399])
def test_what_is_no_redirect(status: int) -> None:
    """Below 400 and no other address: what it means is said, and nothing of a redirect."""
    error = one(httpx.Response(status))
    assert (type(error), "redirect" in str(error)) == (BadRequest, False)
    assert ("304 Not Modified" in str(error)) == (status == 304)
