"""Decides which error an answer without success is, and what a person reads of it. Sends and waits for nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypedDict

from gapless.sources._http.auth import origin, path_of
from gapless.sources._http.body.decoding import media_type
from gapless.sources._http.connection.bodies import error_body
from gapless.sources._http.connection.connect import LOCATION
from gapless.sources._http.connection.proxied import PROXY
from gapless.sources._http.errors import (
    ADVICE,
    VENDOR_SAYS,
    BadRequest,
    ForeignHost,
    ProxyRefused,
    ProxyUnavailable,
    QuotaSpent,
    Retryable,
    Throttled,
    VendorError,
    error_class,
    redact,
    vendor_message,
)
from gapless.sources._http.links import elsewhere, joined
from gapless.sources._http.retry import left_alone
from gapless.sources._http.transport import Deadline, httpx

PROXY_ADVICE = {
    407: "it wants a user name and a password, or refuses those in its variable",
    403: "it does not let this host be asked; have it allowed there, or name the host in NO_PROXY",
}
"""What to do about a proxy's own answer."""

REDIRECTS = (301, 302, 303, 307, 308)
"""Statuses that lead to another address (RFC 9110, 15.4)."""
NOT_MODIFIED = (
    "it says that nothing has changed (304 Not Modified), which gapless never asks, so no records came; a cache or a"
    " proxy on the way may answer in the vendor's place"
)
UNEXPECTED = "a status that no record comes with; check the source's base_url setting"


class Where(TypedDict):
    """Which request failed: arguments of every class in errors.py."""

    method: str
    path: str


@dataclass(frozen=True)
class ErrorAnswers:
    """Reads the answers without success of the vendor at `home`.

    A 429 that asks for a longer wait than `longest_wait`, in seconds, is a spent quota.
    """

    home: httpx.URL
    deadline: Deadline
    longest_wait: float

    def error(
        self,
        response: httpx.Response,
        where: Where,
        wait: float | None,
        secrets: Collection[str],
        *,
        quotes_vendor: bool,
    ) -> VendorError:
        """Returns the error for an answer; `wait` is what it asks for, in seconds."""
        status = response.status_code
        # Without encryption a proxy can answer in the vendor's place, which answers its errors in JSON.
        own = status in (403, 407) or status >= 500
        if own and (proxy := response.extensions.get(PROXY)) and (status == 407 or "json" not in media(response)):
            return proxy_error(f"the proxy {proxy} answered {status} in place of the vendor", status, where)
        if status in REDIRECTS:
            return self._redirect(response, where, secrets)
        if status < 400:
            return BadRequest(status=status, detail=NOT_MODIFIED if status == 304 else UNEXPECTED, **where)
        error = error_class(status)
        message = vendor_message(error_body(response, self.deadline), media(response), secrets)
        says = f"{VENDOR_SAYS}{message}" if message and quotes_vendor else ""
        if error is Throttled and wait is not None and wait > self.longest_wait:
            return QuotaSpent(status=status, detail=f"{ADVICE[QuotaSpent]}: {left_alone(wait)}{says}", **where)
        detail = f"{ADVICE[error]}{says}"
        if issubclass(error, Retryable):
            return error(retry_after=wait, status=status, detail=detail, **where)
        return error(status=status, detail=detail, **where)

    def _redirect(self, response: httpx.Response, where: Where, secrets: Collection[str]) -> VendorError:
        target = joined(response.url, response.extensions.get(LOCATION, ""))
        if target is None or origin(target) != origin(self.home):
            detail = redact(elsewhere("redirect", target, self.home), secrets)
            return ForeignHost(status=response.status_code, detail=detail, **where)
        # Not even on the same host: it means that the base URL is out of date, and httpx would turn a POST into a
        # GET.
        detail = f"redirects are not followed (to {path_of(target)[:100]}); check the source's base_url setting"
        return BadRequest(status=response.status_code, detail=redact(detail, secrets), **where)


def proxy_error(what: str, status: int | None, where: Where) -> VendorError:
    """Returns the error for a request that a proxy refused with `status`, or that did not get through it (None)."""
    if status is None or status >= 500:
        return ProxyUnavailable(detail=what, **where)
    advice = PROXY_ADVICE[407 if status == 407 else 403]
    return ProxyRefused(detail=f"{what}; {advice}", **where)


def media(response: httpx.Response) -> str:
    """Returns the media type that an answer names, without its parameters; "" without one."""
    return media_type(response.headers.get("Content-Type", ""))
