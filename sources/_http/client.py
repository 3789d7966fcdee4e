"""Asking a vendor: one request in, one checked answer out. Knows no vendor, no paging and no record.

An answer is believed only after its envelope is decoded into the shape the caller names. What passes by
itself is retried here; everything else is an error from errors.py, raised once.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote

from gapless.sources._http.auth import base, origin
from gapless.sources._http.decoding import Malformed, decoded, media_type
from gapless.sources._http.errors import (
    ADVICE,
    BadEnvelope,
    BadRequest,
    ForeignHost,
    Retryable,
    Throttled,
    Unavailable,
    VendorError,
    kind,
    scrub,
    vendor_words,
)
from gapless.sources._http.rate_limit import RateBudget
from gapless.sources._http.retry import Policy, retry_after, retrying
from gapless.sources._http.transport import Deadline, connect, httpx

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")
ERROR_BODY = 65_536  # bytes of an error's body that are read at most


class Stats:
    """What a client has done: `waited` sums the seconds its workers slept, `waiting` of them sleep now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = self.retries = self.waiting = 0
        self.waited = 0.0

    def add(self, *, requests: int = 0, retries: int = 0, waiting: int = 0, waited: float = 0.0) -> None:
        with self._lock:
            self.requests += requests
            self.retries += retries
            self.waiting += waiting
            self.waited += waited

    @contextmanager
    def asleep(self, seconds: float) -> Iterator[None]:
        self.add(waiting=1)
        try:
            yield
        finally:
            self.add(waiting=-1, waited=seconds)


@dataclass
class Attempt:
    """One request as it went, for whoever watches: facts, and nothing of a query, a header or a body."""

    method: str
    host: str
    path: str
    number: int
    """1 for the first, 2 for its first retry, …"""
    status: int | None = None
    """None without an answer."""
    error: str | None = None
    """Its class in errors.py."""
    seconds: float = 0.0


class Client:
    """HTTP to one vendor: key, rate budget, retries, deadline, envelope check. Safe to share between threads.

    Times are seconds. Raises ValueError for a base URL that is not scheme and host.
    """

    def __init__(
        self,
        base_url: str,
        *,
        prefix: str = "",
        auth: httpx.Auth | None = None,
        headers: Mapping[str, str] | None = None,
        requests_per_minute: int = 300,
        retry_max_wait: float = 60.0,
        retry_budget: float = 300.0,
        deadline: float = 60.0,
        workers: int = 8,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._home = httpx.URL(base(base_url))
        self._root = "/".join(part for part in (base(base_url), prefix.strip("/")) if part)
        self._auth = auth
        self._clock, self._sleep = clock, sleep
        self._policy = Policy(budget=retry_budget, max_wait=retry_max_wait)
        self.requests_per_minute = requests_per_minute
        self._rate = RateBudget(requests_per_minute, clock=clock, sleep=self._nap)
        self._deadline = Deadline(deadline, clock)
        own = {"Accept": "application/json", "User-Agent": f"gapless/{_version()}"}
        self._http = connect(self._deadline, transport, workers, headers={**own, **(headers or {})})
        self.stats = Stats()
        self.watch: Callable[[Attempt], None] = lambda attempt: None
        """Told of every attempt when it has ended, in the thread that made it; it must not raise."""

    def get(self, path: str, shape: TypeForm[T], params: Mapping[str, str | int] | None = None) -> T:
        """The answer to a GET, decoded into the msgspec type `shape`; raises a VendorError."""
        return self._ask("GET", path, shape, params)

    def post(self, path: str, shape: TypeForm[T], json: object, params: Mapping[str, str | int] | None = None) -> T:
        """As `get`, for the listings that vendors serve by POST; it is retried alike, so only for reading."""
        return self._ask("POST", path, shape, params, json=json)

    def follow(self, url: str) -> str:
        """A vendor's next-link, absolute or relative to the API's root, as a path for `get` and `post`.

        Raises ForeignHost when it leaves the base URL's origin or carries a user or password.
        """
        try:
            found: httpx.URL | None = httpx.URL(self._root + "/").join(url)
        except (httpx.InvalidURL, ValueError):
            found = None
        if found is None or origin(found) != origin(self._home) or found.userinfo:
            raise ForeignHost(method="GET", path=_path(self._home), detail=self._elsewhere("next-link", found))
        return str(found)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _ask(
        self, method: str, path: str, shape: TypeForm[T], params: Mapping[str, str | int] | None, **body: Any
    ) -> T:
        try:
            url = httpx.URL(self._url(path)).copy_merge_params(params or {})
        except (httpx.InvalidURL, ValueError):
            detail = "its path and parameters cannot be written as a URL"
            raise BadRequest(method=method, path=ascii(path[:100]), detail=detail) from None

        numbers = count(1)

        def send() -> T:
            self.stats.add(requests=1)
            with self._watched(Attempt(method, url.host, _path(url), next(numbers))) as attempt:
                return self._once(self._http.build_request(method, url, **body), shape, attempt)

        def again(seconds: float) -> None:
            self._nap(seconds)
            self.stats.add(retries=1)

        return retrying(self._policy, send, slot=self._rate.take, clock=self._clock, sleep=again)

    def _url(self, path: str) -> str:
        if re.match(r"https?://", path, re.IGNORECASE):
            return self.follow(path)
        return f"{self._root}/{path.lstrip('/')}" if path else self._root

    @contextmanager
    def _watched(self, attempt: Attempt) -> Iterator[Attempt]:
        began = self._clock()
        try:
            yield attempt
        except BaseException as error:
            attempt.error = type(error).__name__
            raise
        finally:
            attempt.seconds = self._clock() - began
            self.watch(attempt)

    def _once(self, request: httpx.Request, shape: TypeForm[T], attempt: Attempt) -> T:
        """One attempt."""
        facts: dict[str, Any] = {"method": request.method, "path": _path(request.url)}
        self._deadline.start()
        try:
            response = self._http.send(request, auth=self._auth, stream=True)
            attempt.status = response.status_code
            try:
                if not response.is_success:
                    raise self._refusal(response, facts)
                body = b"".join(self._deadline.check(response.iter_bytes()))
            finally:
                response.close()
        except (httpx.TransportError, httpx.DecodingError) as error:
            # Without the cause: the frames below hold the request's headers, which some loggers print.
            raise Unavailable(detail=scrub(_fault(error), self._secrets), **facts) from None
        try:
            return decoded(body, _media(response), shape)
        except Malformed as error:
            detail = scrub(str(error), self._secrets)
        raise BadEnvelope(status=response.status_code, detail=detail, **facts)

    def _refusal(self, response: httpx.Response, facts: dict[str, Any]) -> VendorError:
        """The error that an answer without success stands for."""
        facts["status"] = status = response.status_code
        if status < 400:
            return self._redirect(response, facts)
        error = kind(status)
        words = vendor_words(self._error_body(response), _media(response), self._secrets)
        facts["detail"] = f"{ADVICE[error]}; it says: {words}" if words else ADVICE[error]
        if not issubclass(error, Retryable):
            return error(**facts)
        asked = retry_after(response.headers.get("Retry-After"), response.headers.get("Date"))
        if error is Throttled and asked is not None:
            self._rate.pause(min(asked, self._policy.max_wait))
        return error(retry_after=asked, **facts)

    def _redirect(self, response: httpx.Response, facts: dict[str, Any]) -> VendorError:
        try:
            target: httpx.URL | None = response.url.join(response.headers.get("Location", ""))
        except (httpx.InvalidURL, ValueError):
            target = None
        if target is None or origin(target) != origin(self._home):
            return ForeignHost(detail=self._elsewhere("redirect", target), **facts)
        detail = f"a redirect to {_path(target)[:100]}, none is followed; check the source's base_url setting"
        return BadRequest(detail=scrub(detail, self._secrets), **facts)

    def _elsewhere(self, what: str, found: httpx.URL | None) -> str:
        there = "no URL" if found is None else _site(found)
        detail = f"the {what} leads to {there}, the key belongs to {_site(self._home)}"
        return scrub(f"{detail}; if the vendor has moved, change the source's base_url setting", self._secrets)

    def _error_body(self, response: httpx.Response) -> bytes:
        body = b""
        try:
            for chunk in self._deadline.check(response.iter_bytes()):
                body += chunk
                if len(body) > ERROR_BODY:
                    break
        except (httpx.TransportError, httpx.DecodingError):
            pass  # the status has already said what happened
        return body

    @property
    def _secrets(self) -> frozenset[str]:
        return getattr(self._auth, "secrets", frozenset())  # asked for each time: kept, a dump would show them

    def _nap(self, seconds: float) -> None:
        with self.stats.asleep(seconds):
            self._sleep(seconds)


def segment(value: object) -> str:
    """An id as one segment of a path; raises BadRequest for one that would change the path."""
    text = str(value)
    try:
        quoted = quote(text, safe="")
    except UnicodeEncodeError:
        quoted = ""
    if quoted in ("", ".", ".."):
        detail = "this id is empty, dots or not valid text, and cannot stand in a path"
        raise BadRequest(method="GET", path=ascii(text), detail=detail)
    return quoted


@functools.cache
def _version() -> str:
    try:
        return importlib.metadata.version("gapless")
    except importlib.metadata.PackageNotFoundError:
        return "0"


def _site(url: httpx.URL) -> str:
    there = f"{url.scheme}://{url.netloc.decode()}"  # netloc leaves user and password out
    return f"{there} with a user name" if url.userinfo else there


def _path(url: httpx.URL) -> str:
    return url.raw_path.split(b"?")[0].decode("ascii")


def _media(response: httpx.Response) -> str:
    return media_type(response.headers.get("Content-Type", ""))


def _fault(error: httpx.RequestError) -> str:
    """What went wrong on the wire; a library's message is repeated only where it cannot quote either side."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
    told = isinstance(error, httpx.NetworkError | httpx.TimeoutException) and str(error)
    return f"{name}: {told}" if told else name
