"""Decides who may see the page: only a browser that has the key, and that shows this page and no other.

Why the path: a browser sends a cookie to every port of a host. So the cookie is for a path that only this page's
addresses have, and a server on another port, which does not know it, is never asked for it. No query may enter.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from time import time
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "gapless"
SESSION_AGE = 7 * 86_400
"""Seconds for which a session is let in."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# Neither inline scripts nor eval: htmx runs with eval off.
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        " frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex",
}
"""Of every answer."""
PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")


@dataclass(frozen=True)
class Keys:
    """Makes the secret part of the addresses, and sessions, from the key."""

    token: str

    @property
    def folder(self) -> str:
        """Returns the folder of the page's addresses; the same for the same key, so that addresses stay valid."""
        # 22 characters of base64 have 132 bits, too many to guess.
        return self._digest("folder")[:22]

    def session(self) -> str:
        """Returns a new session, from which the key cannot be found."""
        # Nothing is stored: the digest alone shows that a session was made here.
        began = f"{int(time())}.{secrets.token_urlsafe(16)}"
        return f"{began}.{self._digest(f'session {began}')}"

    def is_token(self, given: str) -> bool:
        """Returns whether this is the key."""
        # As bytes, because compare_digest() refuses texts beyond ASCII.
        return hmac.compare_digest(given.encode(), self.token.encode())

    def is_session(self, given: str) -> bool:
        """Returns whether this session was made with the key, and not long ago."""
        began, _, digest = given.rpartition(".")
        right = hmac.compare_digest(digest.encode(), self._digest(f"session {began}").encode())
        # Only after the digest was right: what we made begins with a number, anything else may not.
        return right and time() - int(began.partition(".")[0]) < SESSION_AGE

    def _digest(self, what: str) -> str:
        digest = hmac.digest(self.token.encode(), f"gapless ui {what}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


@dataclass(frozen=True)
class Door:
    """Where the page is, and under which names it may be asked for."""

    keys: Keys
    names: frozenset[str] = LOOPBACK
    """Names of hosts that are this page's: another site's name may lead here, too."""
    origin: str = ""
    """What a browser shows when a proxy stands before the page, as https://data.example.com."""
    base: str = ""
    """The path under which a proxy serves the page, as /gapless."""

    @property
    def folder(self) -> str:
        """Returns the path of the page itself."""
        return f"{self.base}/{self.keys.folder}/"

    def is_ours(self, headers: dict[str, str]) -> bool:
        """Returns whether a request is for this page, and not sent by another site's or another port's."""
        host = headers.get("host", "")
        if _name(host) not in self.names:
            return False
        origin, site = headers.get("origin", "").lower(), headers.get("sec-fetch-site", "none")
        # A form of a page that says no referrer has no origin either, and then the browser's own word counts.
        own = {"", f"http://{host}".lower(), self.origin.lower(), *(("null",) if site == "same-origin" else ())}
        if origin not in own:
            return False
        if site in ("same-origin", "none"):
            return True
        # A link on another site may lead here; nothing else of it may.
        return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"

    def session_of(self, headers: dict[str, str]) -> bool:
        """Returns whether a request has the cookie of a session."""
        pairs = (pair.strip().partition("=") for pair in headers.get("cookie", "").split(";"))
        return any(name == COOKIE and value and self.keys.is_session(value) for name, _, value in pairs)

    def cookie(self) -> str:
        """Returns the header that gives a browser a new session."""
        # Some browsers do not send a Secure cookie back over plain http.
        secure = "; Secure" if self.origin.startswith("https:") else ""
        return f"{COOKIE}={self.keys.session()}; Path={self.folder}; HttpOnly; SameSite=Strict{secure}"


class Guard:
    """Lets requests through that are for this page, and puts HEADERS on every answer."""

    def __init__(self, app: Application, door: Door) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        # Latin-1 has a character for every byte, so no header can make this fail.
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["type"] != "http":
            # The page has no websocket, whoever asks.
            return await send({"type": "websocket.close", "code": 1008})
        # Of two Host headers the dictionary keeps the last one, and a proxy may have gone by the first.
        if not self._door.is_ours(headers) or _twice(scope["headers"], b"host"):
            return await _refuse(_with_headers(send))
        scope["gapless.session"] = self._door.session_of(headers)
        await self._app(scope, receive, _with_headers(send))


def _twice(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bool:
    return sum(given == name for given, _ in headers) > 1


def _name(host: str) -> str:
    """Returns the name of a `Host` header, without its port; empty for one that is wrong."""
    try:
        # The pattern comes first: urlsplit() takes `other@localhost` for localhost.
        return (urlsplit(f"//{host}").hostname or "") if re.fullmatch(r"[\w.:\[\]-]+", host, re.ASCII) else ""
    except ValueError:
        return ""


def _with_headers(send: Send) -> Send:
    async def sends(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            given = {name for name, _ in message["headers"]}
            # Views show people's data, which no cache may keep; static files bring a cache-control of their own.
            more = {"cache-control": "no-store", **HEADERS}
            added = [(name.encode(), value.encode()) for name, value in more.items() if name.encode() not in given]
            message = {**message, "headers": [*message["headers"], *added]}
        await send(message)

    return sends


async def _refuse(send: Send) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send(
        {"type": "http.response.body", "body": b"This page is not shown to other sites or under other names.\n"}
    )
