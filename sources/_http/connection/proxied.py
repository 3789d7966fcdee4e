"""Names what went wrong on the way to a vendor, and the proxy if it went wrong there."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gapless.sources._http.environment.proxies import Proxy
from gapless.sources._http.transport import httpx, wrap_proxied

PROXY = "gapless.proxy"
"""The key of a response's extensions that names the proxy which may have given it."""
OWN_CERTIFICATE = "where a proxy opens TLS, SSL_CERT_FILE must name a file with its certificate"


class ProxyFault(httpx.TransportError):
    """No answer came through the proxy. `text` says why; `refused` is the status with which the proxy refused.

    Beyond a proxy that was reached it may be the vendor's fault as well: then it is not `at_proxy`.
    """

    def __init__(self, text: str, refused: int | None = None, *, at_proxy: bool = True) -> None:
        super().__init__(text)
        self.refused, self.at_proxy = refused, at_proxy


def fault(error: httpx.RequestError) -> str:
    """Names what went wrong on the connection; a library's text is quoted only where it cannot hold our data."""
    if isinstance(error, ProxyFault):
        return str(error)
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
    text = isinstance(error, httpx.NetworkError | httpx.TimeoutException) and str(error)
    # Said as "self-signed certificate in certificate chain", which names no remedy.
    own = f"; {OWN_CERTIFICATE}" if text and "CERTIFICATE_VERIFY_FAILED" in text else ""
    return f"{name}: {text}{own}" if text else name


def name_proxies(client: httpx.Client, named: Mapping[str, Proxy]) -> None:
    """Makes the transports through proxies of the environment name the proxy when something fails there."""

    def wrap(requests: str, transport: httpx.BaseTransport) -> httpx.BaseTransport:
        proxy = named.get(requests.removesuffix("://"))
        return _ViaProxy(transport, proxy) if proxy else transport

    wrap_proxied(client, wrap)


class _ViaProxy(httpx.BaseTransport):
    """Sends requests through a proxy of the environment; an error on the way names the proxy."""

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
