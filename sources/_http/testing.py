"""Serves a fake vendor on a real socket, for tests and the demo, and fakes the clock. Knows no vendor and no client.

Anything with `handle(request) -> response` can be served (fake_vendor.py has the base of ours). Where no socket is
needed, `httpx.MockTransport(fake.handle)` is enough.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

from gapless.sources._http.transport import httpx

_log = logging.getLogger(__name__)

Handle = Callable[[httpx.Request], httpx.Response]
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "te", "trailer", "upgrade"}


class FakeClock:
    """A clock that only `sleep` moves, for one thread: `Client(…, clock=fake.clock, sleep=fake.sleep)`. Seconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []

    def clock(self) -> float:
        """Returns the fake time in seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Moves the clock at once, and notes the seconds in `sleeps`."""
        self.sleeps.append(seconds)
        self.now += seconds


@contextmanager
def serve(handle: Handle) -> Iterator[str]:
    """Serves `handle` over HTTP/1.1 on a free loopback port until the block ends; yields the base URL."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.handle = handle
    # Python's default is to look every 0.5 s whether to stop, which each test would wait for.
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        server.server_close()
        server.close_connections()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Python's default of 5 refuses connections when more workers connect at once.
    request_queue_size = 128
    handle: Handle

    def __init__(self, *args: object) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args)  # type: ignore[arg-type]  # handed on as they come

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def process_request(self, request: object, client_address: object) -> None:
        self._open.add(cast(socket.socket, request))
        super().process_request(request, client_address)  # type: ignore[arg-type]  # typeshed has private types

    def shutdown_request(self, request: object) -> None:
        self._open.discard(cast(socket.socket, request))
        super().shutdown_request(request)  # type: ignore[arg-type]  # the same

    def handle_error(self, request: object, client_address: object) -> None:
        _log.debug("a client closed its connection to the fake vendor", exc_info=True)

    def close_connections(self) -> None:
        """Closes the connections that clients keep alive, so that a stopped server no longer answers."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else an answer on a reused connection may wait 40 ms
    wbufsize = -1  # headers and body leave in one packet

    def answer(self) -> None:
        server = cast(_Server, self.server)
        response = _answer(server.handle, self._request(server.url))
        body = b"".join(cast(Iterable[bytes], response.stream))  # .content would decompress it
        self.send_response_only(response.status_code, response.reason_phrase or None)
        for name, value in response.headers.multi_items():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        bodiless = self.command == "HEAD" or response.status_code in (204, 304)
        if not bodiless:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not bodiless:
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = answer

    def _request(self, url: str) -> httpx.Request:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return httpx.Request(self.command, url + self.path, headers=list(self.headers.items()), content=body)

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing: a request line holds a query."""


def _answer(handle: Handle, request: httpx.Request) -> httpx.Response:
    try:
        return handle(request)
    except Exception:
        _log.exception("the fake vendor failed on %s %s", request.method, request.url.path)
        return httpx.Response(500, json={"error": {"type": "fake", "message": "the fake vendor failed"}})
