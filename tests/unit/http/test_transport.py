"""The client on real loopback sockets: what no fake transport shows."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import msgspec
import pytest

from gapless.sources._http.auth import HeaderAuth
from gapless.sources._http.client import Client
from gapless.sources._http.errors import Unavailable
from gapless.sources._http.testing import serve
from gapless.sources._http.transport import httpx

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"items":[]}'


class Page(msgspec.Struct):
    items: list[msgspec.Raw]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@contextmanager
def raw(*answers: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that treats its first connection by the first answer, and so on; the last one repeats."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        for number in range(100):
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=treat, args=(connection, min(number, len(answers) - 1)), daemon=True).start()

    def treat(connection: socket.socket, number: int) -> None:
        with connection:
            connection.recv(65_536)
            try:
                answers[number](connection)
            except OSError:
                return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def good(connection: socket.socket) -> None:
    connection.sendall(OK)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


DRIPS = 10
"""Seconds that an answer drips: whoever ends long before was ended by the deadline, also on a busy machine."""


def dripping(head: bytes, drop: bytes) -> Callable[[socket.socket], None]:
    def drip(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(DRIPS * 50):
            connection.sendall(drop)
            time.sleep(0.02)

    return drip


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" ", id="body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x", id="header"),
        pytest.param(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", id="early hints"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9999\r\n\r\n"
            b"\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03",
            b"n",
            id="gzip header",
        ),
    ],
)
def test_a_trickle_ends_at_the_deadline(head: bytes, drop: bytes) -> None:
    """One byte after the other, in the body or before it, cannot hold a request longer than its deadline."""
    started = time.monotonic()
    with (
        raw(dripping(head, drop)) as url,
        Client(url, deadline=0.3, retry_budget=0) as client,
        pytest.raises(Unavailable, match=r"no complete answer within 0.3 s|read timeout"),
    ):
        client.get("x", Page)
    assert 0.25 < time.monotonic() - started < DRIPS - 1


def test_silence_ends_at_the_deadline() -> None:
    """A vendor that takes the request and says nothing is left when the deadline comes."""
    left = threading.Event()
    ended_by_itself: list[bool] = []
    with raw(lambda _: ended_by_itself.append(not left.wait(30))) as url:
        with (
            Client(url, deadline=0.2, retry_budget=0) as client,
            pytest.raises(Unavailable, match=r"timeout|no complete answer"),
        ):
            client.get("x", Page)
        assert ended_by_itself == []
        left.set()


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(reset, id="reset"),
        pytest.param(lambda _: None, id="closed"),
        pytest.param(lambda c: c.sendall(OK[:-5]), id="body cut"),
        pytest.param(lambda c: c.sendall(OK[:30]), id="head cut"),
        pytest.param(lambda c: c.sendall(b"SSH-2.0-OpenSSH\r\n\r\n"), id="no HTTP"),
        pytest.param(
            lambda c: c.sendall(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"ite\r\n'),
            id="chunk cut",
        ),
        pytest.param(lambda c: c.sendall(b'HTTP/1.0 200 OK\r\n\r\n{"items":['), id="cut without a length"),
    ],
)
def test_a_broken_connection_is_retried(fault: Callable[[socket.socket], None]) -> None:
    """A reset, a cut or rubbish costs one attempt; the next one answers."""
    with raw(fault, good) as url, Client(url, retry_budget=5) as client:
        assert client.get("x", Page).items == []
        assert client.stats.requests == 2


def test_nobody_there_is_unavailable() -> None:
    """A refused connection is retried until the budget ends, which is said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with (
        Client(url, retry_budget=0) as client,
        pytest.raises(Unavailable, match=r"refused.*GAPLESS_RETRY_BUDGET"),
    ):
        client.get("x", Page)


def test_connections_are_kept_and_quick() -> None:
    """Requests share a connection, also after errors, and none waits 40 ms for an acknowledgement."""
    ports: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(404 if request.url.path == "/gone" else 200, json={"items": ["x" * 30_000]})

    with serve(handle) as url, Client(url, requests_per_minute=1000) as client:
        pool = client._http._transport._pool
        took: list[float] = []
        for number in range(50):
            with_error = number % 5 == 0
            if with_error:
                with pytest.raises(Exception, match="404"):
                    client.get("gone", Page)
            started = time.monotonic()
            client.get("x", Page)
            took.append(time.monotonic() - started)
            ports.extend(str(c._connection._network_stream.get_extra_info("client_addr")) for c in pool.connections)
        assert len(set(ports)) == 1
        assert sorted(took)[len(took) // 4] < 0.02  # a busy machine holds up some, acknowledgements would nearly all


def test_workers_ask_at_once() -> None:
    """A client is shared by its workers: their requests overlap, and each gets its own answer."""
    together = threading.Barrier(4, timeout=30)

    def handle(request: httpx.Request) -> httpx.Response:
        together.wait()
        return httpx.Response(200, json={"items": [request.url.path]})

    with serve(handle) as url, Client(url, workers=4) as client, ThreadPoolExecutor(4) as workers:
        pages = list(workers.map(lambda n: client.get(f"{n}", Page), range(4)))
        assert [bytes(page.items[0]) for page in pages] == [b'"/0"', b'"/1"', b'"/2"', b'"/3"']
        assert client.stats.requests == 4


def test_the_fake_sees_what_was_sent() -> None:
    """Method, URL, headers and body arrive as in a mock transport, and the answer as it was given."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"items": []}, headers={"X-Own": "1", "Connection": "close"})

    with (
        serve(handle) as url,
        Client(url, prefix="api", auth=HeaderAuth({"x-api-key": "k-123"}, url)) as client,
    ):
        client.post("a%2Fb", Page, {"n": 1}, {"q": "ü"})
        request = seen[0]
        assert (request.method, str(request.url)) == ("POST", f"{url}/api/a%2Fb?q=%C3%BC")
        assert (request.headers["x-api-key"], request.read()) == ("k-123", b'{"n":1}')
        with httpx.Client() as plain:
            answer = plain.get(url)
        assert (answer.headers["x-own"], answer.headers["content-length"]) == ("1", "12")
        assert "connection" not in answer.headers


def test_a_failing_fake_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    """An exception in the handler is an answer like any other, and its traceback is in the log."""

    def handle(request: httpx.Request) -> httpx.Response:
        raise RuntimeError("broken fake")

    with (
        serve(handle) as url,
        Client(url, retry_budget=0) as client,
        pytest.raises(Unavailable, match="answered 500"),
    ):
        client.get("x", Page)
    assert "broken fake" in caplog.text


def test_a_stopped_fake_answers_no_more() -> None:
    """After the block neither new nor kept connections are served."""
    with serve(lambda _: httpx.Response(200, json={"items": []})) as url:
        client = Client(url, retry_budget=0)
        client.get("x", Page)
    with client, pytest.raises(Unavailable):
        client.get("x", Page)


def test_the_environments_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY works, and the deadline holds behind a proxy as well."""
    with raw(good, dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("GAPLESS_ALLOW_HTTP", "1")
        with Client("http://vendor.test", deadline=0.3, retry_budget=0) as client:
            assert client.get("x", Page).items == []
            started = time.monotonic()
            with pytest.raises(Unavailable):
                client.get("x", Page)
            with pytest.raises(Unavailable, match=r"no complete answer|read timeout"):
                client.get("x", Page)
            assert time.monotonic() - started < DRIPS - 1
