"""Sends one JSON document to a URL that is no vendor's, such as a webhook, within a few seconds.

Knows nothing of what the document says. The address may itself be a secret: an error names its scheme and host only.
"""

from __future__ import annotations

import threading
import time

from gapless.sources._http.auth import origin
from gapless.sources._http.connection.connect import connect
from gapless.sources._http.connection.proxied import fault
from gapless.sources._http.environment.plain_http import is_loopback, plain_http_problem
from gapless.sources._http.errors import BadRequest, Unavailable, VendorError, error_class
from gapless.sources._http.retry import Policy, retrying
from gapless.sources._http.transport import Deadline, httpx


def site(url: str) -> str:
    """Returns scheme and host of an address.

    Raises ValueError, without quoting it, for no http or https URL, and for one whose token could be read on the way.
    """
    try:
        scheme, host, port = origin(url.strip())
    except httpx.InvalidURL:
        scheme, host, port = "", b"", None
    if scheme not in ("http", "https") or not host:
        raise ValueError("expected a URL such as https://hooks.example.com/…")
    if problem := plain_http_problem(scheme, host.decode()):
        raise ValueError(problem)
    return f"{scheme}://{host.decode()}" + (f":{port}" if port else "")


def deliver(url: str, document: object, seconds: float = 10.0) -> None:
    """Posts `document` as JSON within `seconds`, retrying meanwhile; raises a VendorError when that fails.

    The request runs in a thread of its own, because the look-up of a host name has no timeout.
    """
    # The list is how the thread answers: empty is success, and it begins with what is true if it never ends.
    errors: list[VendorError] = [_timed_out(url, seconds)]
    thread = threading.Thread(target=_post, args=(url, document, seconds, errors), daemon=True)
    try:
        thread.start()
    except RuntimeError:  # as everywhere, what is said must not end what is done
        raise Unavailable(method="POST", path=site(url), detail="no thread could be started for it") from None
    thread.join(seconds)
    if error := next(iter(errors), None):
        raise error


def _timed_out(url: str, seconds: float) -> VendorError:
    return Unavailable(method="POST", path=site(url), detail=f"no answer within {seconds:g} s")


def _post(url: str, document: object, seconds: float, errors: list[VendorError]) -> None:
    """Empties `errors` on success, and else puts the last error there."""
    deadline = Deadline(seconds, time.monotonic)
    deadline.start()

    def send() -> None:
        try:
            response = http.post(url.strip(), json=document)
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise Unavailable(method="POST", path=site(url), detail=fault(error)) from None
        if not response.is_success:
            raise _error(url, response.status_code)

    # No authentication: the token is in the URL itself.
    with connect(deadline, None, 1, direct=is_loopback(httpx.URL(url.strip()).host)) as http:
        try:
            # Room for a few tries within the time, as nobody waits longer for a message.
            policy = Policy(budget=seconds, max_wait=seconds / 4)
            retrying(policy, send, slot=lambda: 0.0, clock=time.monotonic, sleep=time.sleep)
            errors.clear()
        except VendorError as error:
            errors[:] = [error]


def _error(url: str, status: int) -> VendorError:
    """Returns the error of an answer without success."""
    if status < 400:
        return BadRequest(method="POST", path=site(url), status=status, detail="redirects are not followed")
    return error_class(status)(method="POST", path=site(url), status=status, detail="the message was not accepted")
