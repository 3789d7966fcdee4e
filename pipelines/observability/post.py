"""Telling somebody who is no vendor: one POST of a document, within seconds in all. Knows not what it says.

The address is a secret itself, as those of webhooks are: an error names its host and nothing else of it.
"""

from __future__ import annotations

import threading
import time

from gapless.sources._http.auth import origin
from gapless.sources._http.errors import BadRequest, Unavailable, VendorError, kind
from gapless.sources._http.retry import Policy, retrying
from gapless.sources._http.transport import Deadline, connect, httpx


def site(url: str) -> str:
    """Scheme and host of an address; raises ValueError, without the address, when it is none of http(s)."""
    try:
        scheme, host, port = origin(url.strip())
    except httpx.InvalidURL:
        scheme, host, port = "", b"", None
    if scheme not in ("http", "https") or not host:
        raise ValueError("expected a URL such as https://hooks.example.com/…")
    return f"{scheme}://{host.decode()}" + (f":{port}" if port else "")


def deliver(url: str, document: object, seconds: float = 10.0) -> None:
    """Raises a VendorError when nobody took it in time; what passes by itself is tried again meanwhile.

    In a thread of its own, because looking up a host's name has no timeout.
    """
    failed: list[VendorError] = [_late(url, seconds)]
    thread = threading.Thread(target=_post, args=(url, document, seconds, failed), daemon=True)
    thread.start()
    thread.join(seconds)
    if error := next(iter(failed), None):
        raise error


def _late(url: str, seconds: float) -> VendorError:
    return Unavailable(method="POST", path=site(url), detail=f"no answer within {seconds:g} s")


def _post(url: str, document: object, seconds: float, failed: list[VendorError]) -> None:
    deadline = Deadline(seconds, time.monotonic)
    deadline.start()

    def send() -> None:
        try:
            response = http.post(url.strip(), json=document)
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise Unavailable(method="POST", path=site(url), detail=type(error).__name__) from None
        if not response.is_success:
            raise _refusal(url, response.status_code)

    with connect(deadline, None, 1) as http:
        try:
            policy = Policy(budget=seconds, max_wait=seconds / 4)
            retrying(policy, send, slot=lambda: 0.0, clock=time.monotonic, sleep=time.sleep)
            failed.clear()
        except VendorError as error:
            failed[:] = [error]


def _refusal(url: str, status: int) -> VendorError:
    if status < 400:
        return BadRequest(method="POST", path=site(url), status=status, detail="a redirect, none is followed")
    return kind(status)(method="POST", path=site(url), status=status, detail="it was not taken")
