"""Makes the HTTP library's client for one vendor. No key may enter."""

from __future__ import annotations

from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy

from gapless.sources._http.body.content_encoding import ACCEPTED
from gapless.sources._http.connection.proxied import name_proxies
from gapless.sources._http.environment.certificates import tls_context
from gapless.sources._http.environment.proxies import proxies
from gapless.sources._http.transport import Deadline, httpx, limit_sockets, parsed

CONNECT_SECONDS, READ_SECONDS = 10.0, 30.0
KEEPALIVE_SECONDS = 30.0
"""How long an unused connection stays open."""
LOCATION = "gapless.location"
"""The key of a response's extensions with the header `Location`, where the HTTP library does not look for it."""


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
    limit_sockets(client, deadline)
    name_proxies(client, named)
    return client


def _set_location_aside(response: httpx.Response) -> None:
    """Takes the header `Location` from httpx, which makes a request of it even where none is followed.

    For a text that is no URL it raises errors of many classes, some of other libraries.
    """
    if "Location" in response.headers:
        response.extensions[LOCATION] = response.headers.pop("Location")
