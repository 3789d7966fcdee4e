"""What can go wrong when asking a vendor, grouped by what the caller does about it.

    VendorError
    ├── Retryable        try again while the time budget lasts; then it is raised
    │   ├── Throttled        429
    │   ├── Unavailable      408, 425, 5xx, connection faults, timeouts, the deadline
    │   └── BadEnvelope      a success that is not what the vendor documents
    ├── Rejected         skip this one and record it
    │   ├── NotFound         404, 410
    │   ├── Forbidden        403
    │   └── BadRequest       400, 422, every other 4xx, a redirect on the vendor's own host
    └── Stop             this source cannot go on
        ├── Unauthorized     401
        ├── ForeignHost      a redirect or a next-link to another origin
        └── Loop             a cursor that came before

An error carries facts and never a header, a query string or a record's text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection
from typing import Any

import msgspec

SHORT = 200  # characters: a vendor's own words are repeated only when they are a phrase, not a page
_GUESSABLE = 4  # a "secret" shorter than this would blank ordinary words


class VendorError(Exception):
    """A request that did not give what was asked; `str()` is one line for a person."""

    def __init__(self, *, method: str, path: str, status: int | None = None, detail: str = "") -> None:
        super().__init__()
        self.method, self.path, self.status, self.detail = method, path, status, detail

    def __reduce__(self) -> tuple[Any, ...]:  # facts by name, so that an error may cross a process
        facts = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return functools.partial(type(self), **facts), ()

    def __str__(self) -> str:
        status = "" if self.status is None else f" answered {self.status}"
        return f"{self.method} {self.path}{status}: {self.detail or type(self).__name__}"


class Retryable(VendorError):
    """May pass by itself; `retry_after` is what the vendor asked for, in seconds."""

    def __init__(
        self,
        *,
        method: str,
        path: str,
        status: int | None = None,
        detail: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(method=method, path=path, status=status, detail=detail)
        self.retry_after = retry_after


class Throttled(Retryable):
    """429: too many requests."""


class Unavailable(Retryable):
    """The vendor could not be reached, could not answer, or not in time."""


class BadEnvelope(Retryable):
    """The vendor said success and sent something else than it documents."""


class Rejected(VendorError):
    """This one request will never work; others may."""


class NotFound(Rejected):
    """404 or 410: gone, or not visible to this key."""


class Forbidden(Rejected):
    """403: this key may not see it."""


class BadRequest(Rejected):
    """The vendor does not accept the request as it stands."""


class Stop(VendorError):
    """No request to this vendor makes sense before someone mends something."""


class Unauthorized(Stop):
    """401: the key was refused."""


class ForeignHost(Stop):
    """The vendor pointed somewhere that is not the configured base URL's origin."""


class Loop(Stop):
    """The vendor's paging came back to a cursor that was already followed."""


ADVICE: dict[type[VendorError], str] = {
    Throttled: "too many requests; the source's requests_per_minute setting lowers the pace",
    Unavailable: "the vendor could not answer",
    NotFound: "not found, or not visible to this key",
    Forbidden: "this key may not read it; its permissions are set at the vendor",
    BadRequest: "the vendor does not accept this request",
    Unauthorized: "the key was refused; check the source's key settings and that the base URL belongs to it",
}


def kind(status: int) -> type[VendorError]:
    """The class of error that a status of 400 or more stands for."""
    if status in (408, 425) or status >= 500:
        return Unavailable
    named: dict[int, type[VendorError]] = {401: Unauthorized, 403: Forbidden, 404: NotFound, 410: NotFound}
    return named.get(status, Throttled if status == 429 else BadRequest)


def vendor_words(body: bytes, content_type: str, secrets: Collection[str] = ()) -> str:
    """The vendor's own type, code and message out of an error body, or "" when there is no short one.

    Documented shapes: `{"error": {"type", "message"}}`, `{"detail", "code"}`, `{"errors": [{"message"}]}`,
    lists of these, a JSON string, plain text.
    """
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        is_text = content_type == "text/plain" and not body.lstrip().startswith(b"<")
        found = body.decode("utf-8", "replace") if is_text else None
    words = (scrub(word, secrets) for word in _words(found) if len(word) <= SHORT)
    return ", ".join(list(dict.fromkeys(word for word in words if word))[:4])


def _words(found: Any, depth: int = 3) -> list[str]:
    if isinstance(found, str):
        return [found]
    if isinstance(found, list) and found and depth:
        return _words(found[0], depth - 1)
    if not isinstance(found, dict) or not depth:
        return []
    inner = [word for key in ("error", "errors") for word in _words(found.get(key), depth - 1)]
    named = (found.get(key) for key in ("type", "code", "message", "detail"))
    own = [str(value) for value in named if isinstance(value, str | int)]
    return inner + own


def scrub(text: str, secrets: Collection[str]) -> str:
    """`text` on one line, printable, with every secret in it blanked."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _GUESSABLE or secret == text.strip():
            text = text.replace(secret, "[secret]")
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+", " ", text).strip()
