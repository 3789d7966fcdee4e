"""The wire: which HTTP library, how long it may take. No vendor, no retry and no key may enter.

httpx has timeouts per read, so a vendor that sends one byte a second is never late. Here is a deadline for
the whole attempt: the client asks it between chunks of a body, and every read and write on a socket gets
no more time than is left, so that headers, handshakes and compressed bodies cannot trickle either.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

# The only place that names the HTTP library: `import httpx2 as httpx` changes over to its fork.
import httpx

__all__ = ["Deadline", "DeadlinePassed", "connect", "httpx"]

_log = logging.getLogger(__name__)

for _name in (httpx.__name__, "httpcore", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # below that they log queries and headers

CONNECT, READ, IDLE = 10.0, 30.0, 30.0  # seconds; IDLE: how long a connection is kept without use


class DeadlinePassed(httpx.ReadTimeout):
    """The attempt as a whole took too long, though no single read did."""


class Deadline:
    """When the attempt under way in this thread must have ended; a thread has one attempt at a time."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self.seconds = seconds
        self._clock = clock
        self._thread = threading.local()

    def start(self) -> None:
        self._thread.ends = self._clock() + self.seconds

    def left(self) -> float:
        """Seconds left, more than 0; raises DeadlinePassed."""
        left: float = getattr(self._thread, "ends", float("inf")) - self._clock()
        if left <= 0:
            raise DeadlinePassed(f"no complete answer within {self.seconds:g} s")
        return left

    def cap(self, timeout: float | None) -> float:
        return self.left() if timeout is None else min(timeout, self.left())

    def check(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The same chunks, until the deadline passes."""
        for chunk in chunks:
            self.left()
            yield chunk


def connect(deadline: Deadline, transport: httpx.BaseTransport | None, workers: int, **settings: Any) -> httpx.Client:
    """A pool of `workers` connections under the deadline that never follows a redirect.

    Without a transport httpx chooses one itself, so that proxies from the environment work.
    """
    longest = deadline.seconds
    client = httpx.Client(
        transport=transport,
        verify=_trust(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")),
        timeout=httpx.Timeout(min(READ, longest), connect=min(CONNECT, longest)),
        limits=httpx.Limits(max_connections=workers, max_keepalive_connections=workers, keepalive_expiry=IDLE),
        follow_redirects=False,
        **settings,
    )
    _guard(client, deadline)
    return client


@cache
def _trust(*_: str | None) -> ssl.SSLContext:
    """Whom httpx trusts: reading the certificates takes longer than a request, so once for all clients."""
    return httpx.create_ssl_context()


def _guard(client: httpx.Client, deadline: Deadline) -> None:
    # The only private names we touch, with those in `_left_over`. httpcore takes a network backend, but httpx does
    # not pass one on, and a transport of our own would switch the environment's proxies off.
    # tests/unit/http/test_transport.py goes red when they are renamed; until then bodies are still checked between
    # chunks, so we go on and say so.
    for transport in [client._transport, *client._mounts.values()]:
        pool = getattr(transport, "_pool", None)
        if pool is not None and hasattr(pool, "_network_backend"):
            pool._network_backend = _Backend(pool._network_backend, deadline, pool)
        elif isinstance(transport, httpx.HTTPTransport):
            _log.warning("this version of httpx is unknown: headers that trickle are not cut at the deadline")


class _Backend:
    """httpcore's network backend, giving out streams that know the deadline."""

    def __init__(self, inner: Any, deadline: Deadline, pool: Any) -> None:
        self._inner, self._deadline, self._pool = inner, deadline, pool

    def connect_tcp(self, *args: Any, timeout: float | None = None, **kwargs: Any) -> _Stream:
        stream = self._inner.connect_tcp(*args, timeout=self._deadline.cap(timeout), **kwargs)
        return _Stream(stream, self._deadline, self._pool)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream:
    """httpcore's network stream; all of its I/O happens in the thread that made the request."""

    def __init__(self, inner: Any, deadline: Deadline, pool: Any) -> None:
        self._inner, self._deadline, self._pool = inner, deadline, pool

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = self._inner.read(max_bytes, timeout=self._deadline.cap(timeout))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._left_over():
            raise httpx.RemoteProtocolError("more came than the last answer, so this connection is not used again")
        self._inner.write(buffer, timeout=self._deadline.cap(timeout))

    def start_tls(self, *args: Any, timeout: float | None = None, **kwargs: Any) -> _Stream:
        inner = self._inner.start_tls(*args, timeout=self._deadline.cap(timeout), **kwargs)
        return _Stream(inner, self._deadline, self._pool)

    def _left_over(self) -> bool:
        """Whether something was read behind the last answer: httpcore would take it for the next request's answer."""
        connections: list[Any] = [getattr(each, "_connection", None) for each in self._pool.connections]
        own = (each for each in connections if getattr(each, "_network_stream", None) is self)
        return any(each._h11_state.trailing_data[0] for each in own if hasattr(each, "_h11_state"))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def close(self) -> None:
        self._inner.close()
