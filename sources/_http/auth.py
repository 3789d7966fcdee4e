"""Keys: put on a request at the last moment, for one origin only, and never shown.

A key stands in no client header, no URL, no message and no repr. No HTTP and no setting may enter.
"""

from __future__ import annotations

import base64
from collections.abc import Generator, Iterable, Mapping

from gapless.sources._http.transport import httpx


def origin(url: httpx.URL | str) -> tuple[str, bytes, int | None]:
    """Scheme, host and port of a URL; a default port is None."""
    parsed = httpx.URL(url)
    return parsed.scheme, parsed.raw_host, parsed.port


def base(url: str) -> str:
    """A base URL without its last slash; raises ValueError when it is not scheme, host and perhaps a path."""
    try:
        found = httpx.URL(url.strip())
    except httpx.InvalidURL:
        found = httpx.URL("")
    if found.scheme not in ("http", "https") or not found.host or set("@?#") & set(url):
        raise ValueError(
            "base_url must be scheme and host, such as https://api.example.com, without user, query and"
            f" fragment; found scheme {found.scheme or 'none'!r} and host {found.host or 'none'!r}"
        )
    return str(found).rstrip("/")


class HeaderAuth(httpx.Auth):
    """Sets secret headers on requests to the origin of `base_url`, and leaves all others as they are.

    `hidden` are more texts that must not be shown, such as the password inside a Basic header.
    Raises ValueError, without the value, for one that cannot stand in a header.
    """

    def __init__(self, headers: Mapping[str, str], base_url: str, *, hidden: Iterable[str] = ()) -> None:
        self._headers = {name: _checked(name, value) for name, value in headers.items()}
        self._origin = origin(base(base_url))
        self._hidden = frozenset(hidden)

    @property
    def secrets(self) -> frozenset[str]:
        """Every text that must not be shown: header values whole and, after a scheme word, the rest."""
        whole = set(self._headers.values())
        return frozenset(whole | {value.split(" ", 1)[-1] for value in whole} | self._hidden)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if origin(request.url) == self._origin:
            request.headers.update(self._headers)
        yield request

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._headers)})"


def basic(client_id: str, client_secret: str, base_url: str) -> HeaderAuth:
    """HTTP Basic (RFC 7617) with an id and a secret, for the origin of `base_url`."""
    client_id, client_secret = client_id.strip(), client_secret.strip()
    if not client_id or not client_secret or ":" in client_id:
        raise ValueError("client id and client secret must both be set, and the id has no colon")
    token = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
    return HeaderAuth({"Authorization": f"Basic {token}"}, base_url, hidden=[client_secret])


def _checked(name: str, value: str) -> str:
    # Here, because the HTTP library's own refusal of such a value quotes it.
    value = value.strip()
    if not value or not value.isascii() or not value.isprintable():
        found = "empty" if not value else "not plain printable ASCII"
        raise ValueError(f"the value for header {name} is {found}; check the setting that holds it")
    return value
