"""A vendor in memory for the tests of the client: no sockets, and no wait takes time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from gapless.sources._http.client import Client
from gapless.sources._http.errors import VendorError
from gapless.sources._http.testing import FakeClock
from gapless.sources._http.transport import httpx

BASE = "https://api.vendor.test"


class Page(msgspec.Struct):
    items: list[msgspec.Raw]


class Stream(httpx.SyncByteStream):
    """A body that arrives as an iterator of chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks = chunks
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks

    def close(self) -> None:
        self.closed = True


def client(
    handle: Callable[[httpx.Request], httpx.Response], time: FakeClock | None = None, **settings: Any
) -> Client:
    """A client whose vendor is `handle` and whose waits take no time."""
    time = time or FakeClock()
    return Client(
        settings.pop("base_url", BASE),
        transport=httpx.MockTransport(handle),
        clock=time.clock,
        sleep=time.sleep,
        **settings,
    )


def one(response: httpx.Response, **settings: Any) -> VendorError:
    """The error that this one answer, for ever, ends in."""
    with pytest.raises(VendorError) as caught:
        client(lambda _: response, retry_budget=0, **settings).get("x", Page)
    return caught.value


def requests(handle: httpx.Response | None = None) -> tuple[list[httpx.Request], Client]:
    seen: list[httpx.Request] = []

    def note(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return handle or httpx.Response(200, json={"items": []})

    return seen, client(note, prefix="/api/v1")
