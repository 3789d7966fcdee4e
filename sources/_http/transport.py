"""The HTTP library and a deadline for each attempt. No vendor, no retry and no key may enter.

httpx has timeouts per read, so an answer of one byte a second never times out. The deadline covers the whole
attempt: `connection/bodies.py` checks it between chunks of a body, and every read and write on a socket gets only the
time that is left, so that slow headers, handshakes and compressed bodies end in time, too.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

# The only place that imports the HTTP library. httpx2 is the maintained fork of httpx, with the same names.
import httpx2 as httpx

if TYPE_CHECKING:
    import ssl

    from httpcore2 import SOCKET_OPTION, ConnectionPool, NetworkBackend, NetworkStream

__all__ = ["Deadline", "DeadlinePassed", "httpx", "limit_sockets", "parsed", "release", "wrap_proxied"]

_log = logging.getLogger(__name__)

for _name in ("httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # at lower levels they log queries and headers


class DeadlinePassed(httpx.ReadTimeout):
    """The attempt as a whole took too long, although no single read did."""


class Deadline:
    """Limits the attempt that runs in this thread to `seconds`; a thread runs one attempt at a time."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self.seconds = seconds
        self._clock = clock
        self._thread = threading.local()

    def start(self) -> None:
        """Begins an attempt in this thread."""
        self._thread.ends = self._clock() + self.seconds

    def left(self) -> float:
        """Returns the seconds left, more than 0; raises DeadlinePassed."""
        left: float = getattr(self._thread, "ends", float("inf")) - self._clock()
        if left <= 0:
            raise DeadlinePassed(f"no complete answer within {self.seconds:g} s")
        return left

    def cap(self, timeout: float | None) -> float:
        """Returns the smaller of `timeout` and the seconds left; raises DeadlinePassed."""
        return self.left() if timeout is None else min(timeout, self.left())

    def check(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yields the same chunks; raises DeadlinePassed between them."""
        for chunk in chunks:
            self.left()
            yield chunk


def parsed(url: str) -> httpx.URL:
    """Returns a URL as httpx reads it. Raises ValueError for text that it does not take for one."""
    try:
        return httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(str(error)) from None


def release(client: httpx.Client) -> None:
    """Closes all connections of a client; its next request opens a new one."""
    for transport in filter(None, [client._transport, *client._mounts.values()]):
        transport.close()


def limit_sockets(client: httpx.Client, deadline: Deadline) -> None:
    """Puts the sockets that a client will open under the deadline."""
    # Private names of httpx and httpcore are used only here and in `_has_leftover`: httpcore takes a network
    # backend, but httpx does not pass one on, and a transport of our own would switch the environment's proxies off.
    # tests/unit/http/test_transport.py fails when they are renamed. Bodies are still checked between chunks then, so
    # this warns and goes on.
    for transport in [client._transport, *client._mounts.values()]:
        pool = getattr(transport, "_pool", None)
        if pool is not None and hasattr(pool, "_network_backend"):
            pool._network_backend = _Backend(pool._network_backend, deadline, pool)
        elif isinstance(transport, httpx.HTTPTransport):
            _log.warning("unknown version of httpx: the deadline does not cover slow headers")


def wrap_proxied(client: httpx.Client, wrap: Callable[[str, httpx.BaseTransport], httpx.BaseTransport]) -> None:
    """Replaces each transport through a proxy of the environment by what `wrap` returns for it.

    `wrap` is called with the requests that the transport is for, as `http://` or `all://`.
    """
    for pattern, transport in client._mounts.items():
        if transport is not None:
            client._mounts[pattern] = wrap(pattern.pattern, transport)


class _Backend:
    """httpcore's network backend, with streams that obey the deadline."""

    def __init__(self, inner: NetworkBackend, deadline: Deadline, pool: ConnectionPool) -> None:
        self._inner, self._deadline, self._pool = inner, deadline, pool

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> _Stream:
        """Returns a connected stream under the deadline."""
        stream = self._inner.connect_tcp(host, port, self._deadline.cap(timeout), local_address, socket_options)
        return _Stream(stream, self._deadline, self._pool)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream:
    """httpcore's network stream, under the deadline of the thread that reads it, which made the request."""

    def __init__(self, inner: NetworkStream, deadline: Deadline, pool: ConnectionPool) -> None:
        self._inner, self._deadline, self._pool = inner, deadline, pool

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.cap(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._has_leftover():
            raise httpx.RemoteProtocolError("the server sent more than its last answer, so this connection is closed")
        self._inner.write(buffer, self._deadline.cap(timeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Stream:
        """Returns the encrypted stream; the handshake counts to the deadline."""
        inner = self._inner.start_tls(ssl_context, server_hostname, self._deadline.cap(timeout))
        return _Stream(inner, self._deadline, self._pool)

    def _has_leftover(self) -> bool:
        """Returns whether bytes came after the last answer; httpcore would take them for the next answer."""
        connections = (getattr(each, "_connection", None) for each in self._pool.connections)
        own = (each for each in connections if getattr(each, "_network_stream", None) is self)
        return any(
            each._h11_state.trailing_data[0] for each in own if each is not None and hasattr(each, "_h11_state")
        )

    def get_extra_info(self, info: str) -> object:
        return self._inner.get_extra_info(info)

    def close(self) -> None:
        self._inner.close()
