"""Errors of a request to a vendor, grouped by what the caller does about them.

    VendorError
    ├── Retryable        retried within the retry budget, then raised
    │   ├── Throttled        429
    │   ├── Unavailable      408, 425, 5xx, connection faults, timeouts, the deadline
    │   ├── ProxyUnavailable the proxy was not reached, or could not reach the vendor
    │   ├── BadEnvelope      status 2xx with a body that the vendor does not document
    │   └── Incomplete       all pages came, and they do not prove that the listing was read to its end
    ├── Rejected         the caller skips this record or parent and records it
    │   ├── NotFound         404, 410
    │   ├── Forbidden        403
    │   ├── TooLarge         an answer beyond every reasonable size
    │   ├── ForeignHost      a redirect or a next link to another origin
    │   ├── Loop             the same cursor twice
    │   └── BadRequest       400, 422, every other 4xx, a redirect on the vendor's own host
    └── Stop             the source cannot continue
        ├── Unauthorized     401
        ├── QuotaSpent       429 that asks for a longer wait than one request is retried
        └── ProxyRefused     407, or a proxy that does not let the vendor be asked

An error never holds a header, a query string or a record's text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection
from typing import NamedTuple

import msgspec

MESSAGE_CHARACTERS = 200
"""A longer text in an error's body is not repeated: it is a page or a record, not a message."""
_SECRET_CHARACTERS = 4  # a shorter "secret" would blank ordinary words
_UNPRINTABLE = re.compile(
    "[\\s\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff\ud800-\udfff"
    "\U000e0000-\U000e0fff]+"
)
"""Line ends, and what a terminal obeys or does not show: marks of direction among them."""


class Refused(ValueError):
    """What was asked for cannot be done rightly; `str()` tells a person what was found and what to do."""


class SettingError(Refused):
    """A setting's value cannot be used; `setting` is its name without the source's prefix."""

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(f"{setting} {problem}")
        self.setting, self.problem = setting, problem


class KeyValueError(Refused):
    """A key or an id of the account cannot be sent in a header; the text does not quote it."""


class VendorError(Exception):
    """A request that failed; `str()` is one line for a person. `detail` says what happened and what to do."""

    def __init__(self, *, method: str, path: str, status: int | None = None, detail: str = "") -> None:
        super().__init__()
        self.method, self.path, self.status, self.detail = method, path, status, detail

    def __reduce__(self) -> tuple[object, ...]:
        # By name, because the arguments are keywords: schedulers pickle errors.
        facts = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return functools.partial(type(self), **facts), ()

    def __str__(self) -> str:
        status = "" if self.status is None else f" answered {self.status}"
        return f"{self.method} {self.path}{status}: {self.detail or type(self).__name__}"


class Retryable(VendorError):
    """A failure that may be over soon; `retry_after` is the wait that the vendor asked for, in seconds."""

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
    """408, 425, 5xx, no connection, or no complete answer in time."""


class ProxyUnavailable(Retryable):
    """The proxy on the way was not reached, or it could not reach the vendor; the vendor itself said nothing."""


class BadEnvelope(Retryable):
    """Status 2xx with a body that is not what the vendor documents."""


class Incomplete(Retryable):
    """The pages of a listing do not prove that it was read to its end; raised after it was read several times."""


class Rejected(VendorError):
    """This one request will never succeed; others may."""


class NotFound(Rejected):
    """404 or 410: it does not exist, or this key may not see it."""


class Forbidden(Rejected):
    """403: this key may not read it."""


class BadRequest(Rejected):
    """400, 422 and other 4xx, or a redirect: the vendor does not accept the request."""


class TooLarge(Rejected):
    """An answer of more bytes or records than one answer may have."""


class Stop(VendorError):
    """No request to this vendor can succeed until a person changes something, or until a quota is renewed."""


class Unauthorized(Stop):
    """401: the key was refused."""


class QuotaSpent(Stop):
    """429 with a wait beyond the retry budget: until then the vendor refuses whatever this key asks for."""


class ProxyRefused(Stop):
    """The proxy on the way wants a password, or does not let the vendor be asked; the vendor itself said nothing."""


class ForeignHost(Rejected):
    """A redirect or a next link to another origin than the base URL's."""


class Loop(Rejected):
    """The vendor sent a cursor for the second time, so paging would never end."""


ADVICE: dict[type[VendorError], str] = {
    Throttled: "too many requests; lower the source's requests_per_minute setting",
    Unavailable: "the vendor could not answer",
    ProxyUnavailable: "the proxy was not reached, or did not reach the vendor",
    ProxyRefused: "the proxy refused; check its variable, or name the vendor's host in NO_PROXY",
    NotFound: "not found, or not visible to this key",
    Forbidden: "this key may not read it; change its permissions at the vendor",
    BadRequest: "the vendor does not accept this request",
    QuotaSpent: "the quota of requests is used up",
    Unauthorized: "the key was refused; check the source's key settings and that the base URL belongs to it",
}


VENDOR_SAYS, GAVE_UP = "; the vendor says: ", "gave up after "
"""What `detail` says beside our own words: the vendor's message, and how long it was tried."""
_REQUEST = re.compile(r"(?:GET|POST|PUT|PATCH|HEAD|DELETE) \S+?(?: answered (\d{3}))?: (.*)", re.DOTALL)
"""The texts of `VendorError.__str__`."""


class Answer(NamedTuple):
    """What a VendorError's text says, without the request and the retries, which differ from one to the next."""

    status: int | None
    advice: str
    """In our words."""
    says: str
    """In the vendor's words; mostly empty."""


def answer_of(text: str) -> Answer:
    """Returns the parts of a VendorError's text; any other text is all `advice`."""
    found = _REQUEST.fullmatch(text)
    status, detail = (int(found[1]) if found[1] else None, found[2]) if found else (None, text)
    tried = detail.startswith(GAVE_UP)
    advice, _, says = ("" if tried else detail.partition(f"; {GAVE_UP}")[0]).partition(VENDOR_SAYS)
    return Answer(status, advice, says)


def without_vendor_words(text: str) -> str:
    """Returns a text that quotes VendorErrors without what the vendor says of them; class and status stay."""
    # To the last time that it was tried: the vendor's own words may look like ours.
    return re.sub(rf"{VENDOR_SAYS}(?:.*(?=; {GAVE_UP})|.*)", "", text, flags=re.DOTALL)


def error_class(status: int) -> type[VendorError]:
    """Returns the class of error for a status of 400 or more."""
    # 408 and 425 say themselves that the request may be sent again (RFC 9110, 15.5.9; RFC 8470, 5.2).
    if status in (408, 425) or status >= 500:
        return Unavailable
    named: dict[int, type[VendorError]] = {401: Unauthorized, 403: Forbidden, 404: NotFound, 410: NotFound}
    return named.get(status, Throttled if status == 429 else BadRequest)


def vendor_message(body: bytes, content_type: str, secrets: Collection[str] = ()) -> str:
    """Returns the vendor's own type, code and message from an error body, or "" without a short one.

    Known shapes: `{"error": {"type", "message"}}`, `{"detail", "code"}`, `{"errors": [{"message"}]}`,
    lists of these, a JSON string, plain text.
    """
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        is_text = content_type == "text/plain" and not body.lstrip().startswith(b"<")
        found = body.decode("utf-8", "replace") if is_text else None
    texts = (redact(text, secrets) for text in _messages(found) if len(text) <= MESSAGE_CHARACTERS)
    return ", ".join(list(dict.fromkeys(text for text in texts if text))[:4])


def _messages(found: object, depth: int = 3) -> list[str]:
    if isinstance(found, str):
        return [found]
    if isinstance(found, list) and found and depth:
        # One line has room for one message; the further ones of a list are of the same kind.
        return _messages(found[0], depth - 1)
    if not isinstance(found, dict) or not depth:
        return []
    inner = [text for key in ("error", "errors") for text in _messages(found.get(key), depth - 1)]
    named = (found.get(key) for key in ("type", "code", "message", "detail"))
    own = [str(value) for value in named if isinstance(value, str | int)]
    return inner + own


def redact(text: str, secrets: Collection[str]) -> str:
    """Returns `text` on one line, printable, with every secret replaced, in capitals or not."""
    # The longest first, because one secret may be part of another.
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SECRET_CHARACTERS or secret == text.strip():
            text = re.sub(re.escape(secret), "[secret]", text, flags=re.IGNORECASE)
    return _UNPRINTABLE.sub(" ", text).strip()
