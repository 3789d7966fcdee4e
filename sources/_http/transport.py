"""The HTTP library and a deadline for each attempt. No vendor, no retry and no key may enter.

httpx has timeouts per read, so an answer of one byte a second never times out. The deadline covers the whole
attempt: the client checks it between chunks of a body, and every read and write on a socket gets only the time
that is left, so that slow headers, handshakes and compressed bodies end in time, too.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING

# The only place that imports the HTTP library. httpx2 is the maintained fork of httpx, with the same names.
import httpx2 as httpx

from gapless.sources._http.body.content_encoding import ACCEPTED, Undecodable, decompressed
from gapless.sources._http.environment.certificates import tls_context
from gapless.sources._http.environment.proxies import Proxy, proxies

if TYPE_CHECKING:
    import ssl

    from httpcore2 import SOCKET_OPTION, ConnectionPool, NetworkBackend, NetworkStream

__all__ = [
    "LOCATION",
    "PROXY",
    "BodyTooLong",
    "Deadline",
    "DeadlinePassed",
    "ProxyFault",
    "Undecodable",
    "connect",
    "error_body",
    "fault",
    "httpx",
    "parsed",
    "release",
    "whole_body",
]

_log = logging.getLogger(__name__)

for _name in ("httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # at lower levels they log queries and headers

CONNECT_SECONDS, READ_SECONDS = 10.0, 30.0
KEEPALIVE_SECONDS = 30.0
"""How long an unused connection stays open."""
ERROR_BODY_BYTES = 65_536
"""How much of an error's body is read: enough for a message, and an endless one ends."""


BODY_BYTES = 256 * 2**20
"""How many bytes an answer may have, decompressed: a small one may be compressed from gigabytes."""


PROXY = "gapless.proxy"
"""The key of a response's extensions that names the proxy which may have given it."""
LOCATION = "gapless.location"
"""The key of a response's extensions with the header `Location`, where the HTTP library does not look for it."""
OWN_CERTIFICATE = "where a proxy opens TLS, SSL_CERT_FILE must name a file with its certificate"
LONGEST = f", and more than {BODY_BYTES / 1e6:,.0f} MB are not taken"


class BodyTooLong(Exception):
    """An answer has more than BODY_BYTES."""


class DeadlinePassed(httpx.ReadTimeout):
    """The attempt as a whole took too long, although no single read did."""


class ProxyFault(httpx.TransportError):
    """No answer came through the proxy. `text` says why; `refused` is the status with which the proxy refused.

    Beyond a proxy that was reached it may be the vendor's fault as well: then it is not `at_proxy`.
    """

    def __init__(self, text: str, refused: int | None = None, *, at_proxy: bool = True) -> None:
        super().__init__(text)
        self.refused, self.at_proxy = refused, at_proxy


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


def connect(
    deadline: Deadline,
    transport: httpx.BaseTransport | None,
    workers: int,
    headers: Mapping[str, str] | None = None,
    *,
    direct: bool = False,
) -> httpx.Client:
    """Returns an httpx client with at most `workers` connections, under the deadline.

    It follows no redirect and keeps no cookie, which no key needs and every later request would carry.
    Without a transport httpx chooses one, so that proxies from the environment work, unless it is to go `direct`.
    Raises NetworkSettingError for a variable of the environment with which nothing can be sent.
    """
    longest, named = deadline.seconds, proxies(parsed)
    client = httpx.Client(
        transport=transport,
        verify=tls_context(httpx.create_ssl_context),
        timeout=httpx.Timeout(min(READ_SECONDS, longest), connect=min(CONNECT_SECONDS, longest)),
        limits=httpx.Limits(
            max_connections=workers, max_keepalive_connections=workers, keepalive_expiry=KEEPALIVE_SECONDS
        ),
        follow_redirects=False,
        trust_env=not direct,
        headers={**(headers or {}), "Accept-Encoding": ACCEPTED},
        event_hooks={"response": [_set_location_aside]},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    )
    _limit_sockets(client, deadline)
    _name_proxies(client, named)
    return client


def _set_location_aside(response: httpx.Response) -> None:
    """Takes the header `Location` from httpx, which makes a request of it even where none is followed.

    For a text that is no URL it raises errors of many classes, some of other libraries.
    """
    if "Location" in response.headers:
        response.extensions[LOCATION] = response.headers.pop("Location")


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


def whole_body(response: httpx.Response, deadline: Deadline) -> bytes:
    """Returns an answer's body, decompressed. Raises BodyTooLong early, DeadlinePassed, Undecodable."""
    told = response.headers.get("Content-Length", "")
    if told.isdecimal() and int(told) > BODY_BYTES:
        raise BodyTooLong(f"the answer has {int(told) / 1e6:,.0f} MB{LONGEST}")
    chunks, size = [], 0
    for chunk in deadline.check(_decoded(response)):
        size += len(chunk)
        if size > BODY_BYTES:
            raise BodyTooLong(f"the answer goes on after {size / 1e6:,.0f} MB{LONGEST}")
        chunks.append(chunk)
    return b"".join(chunks)


def error_body(response: httpx.Response, deadline: Deadline) -> bytes:
    """Returns the beginning of an error's body, up to about ERROR_BODY_BYTES or to where the connection broke."""
    body = b""
    try:
        for chunk in deadline.check(_decoded(response)):
            body += chunk
            if len(body) > ERROR_BODY_BYTES:
                break
    except (httpx.TransportError, httpx.DecodingError, Undecodable):
        pass  # the status alone says what happened
    return body


def _decoded(response: httpx.Response) -> Iterator[bytes]:
    if response.is_stream_consumed:  # by a test's transport, which has read and decoded it
        return response.iter_bytes()
    return decompressed(response.iter_raw(), response.headers.get_list("Content-Encoding", split_commas=True))


def fault(error: httpx.RequestError) -> str:
    """Names what went wrong on the connection; a library's text is quoted only where it cannot hold our data."""
    if isinstance(error, ProxyFault):
        return str(error)
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
    text = isinstance(error, httpx.NetworkError | httpx.TimeoutException) and str(error)
    # Said as "self-signed certificate in certificate chain", which names no remedy.
    own = f"; {OWN_CERTIFICATE}" if text and "CERTIFICATE_VERIFY_FAILED" in text else ""
    return f"{name}: {text}{own}" if text else name


def _limit_sockets(client: httpx.Client, deadline: Deadline) -> None:
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


def _name_proxies(client: httpx.Client, named: Mapping[str, Proxy]) -> None:
    """Makes the transports through proxies of the environment name the proxy when something fails there."""
    for pattern, transport in client._mounts.items():
        if transport is not None and (proxy := named.get(pattern.pattern.removesuffix("://"))):
            client._mounts[pattern] = _ViaProxy(transport, proxy)


class _ViaProxy(httpx.BaseTransport):
    """A transport through a proxy of the environment: what goes wrong on the way is told as the proxy's."""

    def __init__(self, inner: httpx.BaseTransport, proxy: Proxy) -> None:
        self._inner, self._proxy = inner, proxy

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Returns the answer; that to a request without encryption names the proxy, which may have given it."""
        try:
            response = self._inner.handle_request(request)
        except httpx.ProxyError as error:  # its text is the answer to CONNECT, `403 Forbidden`, or what SOCKS says
            refused = re.match(r"4\d\d\b", str(error))
            raise ProxyFault(f"the proxy {self._proxy} said {error}", refused and int(refused[0])) from None
        except httpx.TransportError as error:
            at_proxy = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) and "SSL" not in str(error)
            way = "did not reach" if at_proxy else "through"
            raise ProxyFault(f"{way} the proxy {self._proxy}: {fault(error)}", at_proxy=at_proxy) from None
        except Exception as error:  # of the library for SOCKS, which httpx does not translate
            raise ProxyFault(f"the proxy {self._proxy} gave an answer of another kind of proxy") from error
        if request.url.scheme == "http":
            response.extensions[PROXY] = str(self._proxy)
        return response

    def close(self) -> None:
        self._inner.close()


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
