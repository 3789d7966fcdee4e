"""Authentication: adds keys to a request just before it is sent, for one origin only, and never shows them.

A key is in no client header, no URL, no message and no repr. No request and no setting may enter.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Generator, Iterable, Mapping

from gapless.sources._http.environment.plain_http import plain_http_problem
from gapless.sources._http.errors import KeyValueError, SettingError
from gapless.sources._http.transport import httpx

MOST_PORTS, LONGEST_LABEL = 65_535, 63
BARE_HOST = re.compile(r"[\w-]+(?:\.[\w-]+)*(?::\d{1,5})?(?:/[\w./-]*)?", re.ASCII)
"""A host, and maybe a port and a path: what people paste without the scheme before it."""

FOREIGN = re.compile(r"[\s\"'`<>\\^{}|]|[^\x20-\x7e\w]")
"""What no address has, and what is pasted with it: blanks, line ends, quotation marks, characters without width."""


def origin(url: httpx.URL | str) -> tuple[str, bytes, int | None]:
    """Returns scheme, host and port of a URL; the scheme's default port is None."""
    parsed = httpx.URL(url)
    return parsed.scheme, parsed.raw_host, parsed.port


def site(url: httpx.URL) -> str:
    """Returns scheme and host for a message, without a user name or a password but saying that one is there."""
    address = f"{url.scheme}://{url.netloc.decode()}"
    return f"{address} with a user name" if url.userinfo else address


def path_of(url: httpx.URL) -> str:
    """Returns a URL's path without its query, which may hold a cursor or a person's data."""
    return url.raw_path.split(b"?")[0].decode("ascii")


def checked_base_url(url: str) -> str:
    """Returns a base URL without its last slash.

    Raises SettingError when it is not scheme, host and maybe a path, or would send the key without encryption.
    """
    if "$" in url:
        raise SettingError(
            "base_url", "holds a $, and nothing replaces what begins with it in a setting; write it out"
        )
    if foreign := FOREIGN.search(url.strip()):
        raise SettingError("base_url", f"holds {foreign[0]!a} at its character {foreign.start() + 1}; copy it anew")
    try:
        found = httpx.URL(url.strip())
    except httpx.InvalidURL:
        found = httpx.URL("")
    if "//" not in url and BARE_HOST.fullmatch(url.strip()):
        raise SettingError("base_url", f"must be scheme and host, and has no scheme; expected https://{url.strip()}")
    # A user name, a query or a fragment would be dropped, or carried into every request.
    if found.scheme not in ("http", "https") or not found.host or set("@?#") & set(url):
        raise SettingError(
            "base_url",
            "must be scheme and host, such as https://api.example.com, without user, query and"
            f" fragment; found scheme {found.scheme or 'none'!r} and host {found.host or 'none'!r}",
        )
    # Python's sockets take a port modulo 65,536, so that the key would go to another one.
    if found.port is not None and not 1 <= found.port <= MOST_PORTS:
        raise SettingError("base_url", f"must have a port from 1 to {MOST_PORTS:,}, or none; found {found.port:,}")
    labels = found.raw_host.decode().removesuffix(".").split(".")
    if ":" not in found.host and not all(1 <= len(label) <= LONGEST_LABEL for label in labels):
        raise SettingError("base_url", f"must have a host whose parts have 1 to {LONGEST_LABEL} characters each")
    if problem := plain_http_problem(found.scheme, found.host):
        raise SettingError("base_url", problem)
    return str(found).rstrip("/")


def added_twice(base: str, prefix: str) -> str | None:
    """Returns what is wrong with a base URL that ends in the path that requests begin with; None: it does not."""
    first = prefix.strip("/").partition("/")[0]
    # As it is pasted from a vendor's page, with its version; behind a gateway's path something else follows.
    found = re.search(rf"(?<!/)/{re.escape(first)}(?:/v\d+)*$", base) if first else None
    return f"ends in {found[0]}, which is added to it: write {base[: found.start()]}" if found else None


class HeaderAuth(httpx.Auth):
    """Adds secret headers to requests to the origin of `base_url`, and to no others.

    `hidden` are further texts that must never be shown, such as the password inside a Basic header.
    Raises ValueError, without quoting it, for a value that is not allowed in a header.
    """

    def __init__(self, headers: Mapping[str, str], base_url: str, *, hidden: Iterable[str] = ()) -> None:
        self._headers = {name: _checked_header(name, value) for name, value in headers.items()}
        self._origin = origin(checked_base_url(base_url))
        self._hidden = frozenset(hidden)

    @property
    def secrets(self) -> frozenset[str]:
        """Returns every text that must not be shown: each header value, and the part after its scheme word."""
        whole = set(self._headers.values())
        return frozenset(whole | {value.split(" ", 1)[-1] for value in whole} | self._hidden)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Yields the request with the headers, if it goes to their origin; httpx calls it for each request."""
        # Checked for each request, so that no redirect or link can carry the key to another host.
        if origin(request.url) == self._origin:
            request.headers.update(self._headers)
        yield request

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._headers)})"


def basic(client_id: str, client_secret: str, base_url: str) -> HeaderAuth:
    """Returns HTTP Basic authentication (RFC 7617) for the origin of `base_url`.

    Raises SettingError, of `client_id` or `client_secret`, for an empty part, and for an id with a colon.
    """
    client_id, client_secret = client_id.strip(), client_secret.strip()
    for name, value in (("client_id", client_id), ("client_secret", client_secret)):
        if not value:
            raise SettingError(name, "is empty; copy it from the vendor's page of API keys")
        if found := _pasted(value):
            raise SettingError(name, found)
    # A colon ends the user name (RFC 7617, section 2), so the vendor would read another id.
    if ":" in client_id:
        raise SettingError(
            "client_id", "holds a colon, which no client id has; it may have been copied with its secret"
        )
    token = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
    return HeaderAuth({"Authorization": f"Basic {token}"}, base_url, hidden=[client_secret])


def _pasted(value: str) -> str | None:
    """Returns what was pasted with a key: a shell takes quotation marks away, `docker --env-file` does not."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'`":
        return "has quotation marks around it, which are no part of it"
    if value[:1] + value[-1:] in ("[]", "{}"):
        return "is a list or a table, and one text was expected"
    return "begins with the word Bearer, which is no part of it" if value.lower().startswith("bearer ") else None


def _checked_header(name: str, value: str) -> str:
    # Checked here, because the error of the HTTP library would quote the value.
    value = value.strip()
    if found := _pasted(value.removeprefix("Bearer ") if name == "Authorization" else value):
        raise KeyValueError(f"a key or an id of the account {found}; it is sent as the header {name}")
    if not value or not value.isascii() or not value.isprintable():
        found = "empty" if not value else "not plain printable ASCII"
        raise KeyValueError(f"a key or an id of the account is {found}; it is sent as the header {name}")
    return value
