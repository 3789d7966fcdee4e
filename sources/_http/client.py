"""The HTTP client of a source: sends one request and returns one checked answer. Knows no vendor and no record.

An answer counts only after its body is decoded into the type that the caller names. Transient failures are
retried here; everything else is an error from errors.py, raised once.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import quote

from gapless.sources._http.auth import added_twice, checked_base_url, path_of, site
from gapless.sources._http.body.content_encoding import Undecodable
from gapless.sources._http.body.decoding import Answer, Malformed, TooMany, decoded, links
from gapless.sources._http.connection.bodies import BodyTooLong, whole_body
from gapless.sources._http.connection.connect import connect
from gapless.sources._http.connection.proxied import ProxyFault, fault
from gapless.sources._http.environment.certificates import tls_context
from gapless.sources._http.environment.plain_http import is_loopback
from gapless.sources._http.environment.proxies import proxies
from gapless.sources._http.error_answers import ErrorAnswers, Where, media, proxy_error
from gapless.sources._http.errors import (
    BadEnvelope,
    BadRequest,
    ForeignHost,
    QuotaSpent,
    SettingError,
    Throttled,
    TooLarge,
    Unavailable,
    VendorError,
    redact,
)
from gapless.sources._http.links import elsewhere, followed, joined
from gapless.sources._http.rate_limit import RateBudget
from gapless.sources._http.retry import Policy, retry_after, retrying
from gapless.sources._http.stats import Attempt, Stats
from gapless.sources._http.transport import Deadline, httpx, parsed, release

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")
R = TypeVar("R")
Params = Mapping[str, str | int]
WHOLE = (200, 201, 203)
"""Statuses of an answer that is whole: a 206 is a part, and what another one announces is not there yet."""


class Client:
    """HTTP to one vendor. Safe to share between threads.

    `budget` limits the requests of several clients together, besides `requests_per_minute` of this one.
    `retry_max_wait`, `retry_budget` and `deadline` (of one attempt) are seconds, `workers` connections at most.
    Raises ValueError for a base URL that is not scheme and host, or a rate below 1.
    """

    def __init__(
        self,
        base_url: str,
        *,
        prefix: str = "",
        auth: httpx.Auth | None = None,
        headers: Mapping[str, str] | None = None,
        requests_per_minute: int = 300,
        budget: RateBudget | None = None,
        retry_max_wait: float = 60.0,
        retry_budget: float = 300.0,
        deadline: float = 60.0,
        workers: int = 8,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        base = checked_base_url(base_url)
        if problem := added_twice(base, prefix):
            raise SettingError("base_url", problem)
        self._home = httpx.URL(base)
        self._root = "/".join(part for part in (base, prefix.strip("/")) if part)
        self._auth = auth
        self._clock, self._sleep = clock, sleep
        self._policy = Policy(budget=retry_budget, max_wait=retry_max_wait)
        self.requests_per_minute = requests_per_minute
        self._rate = RateBudget(requests_per_minute, clock=clock, sleep=self._wait)
        self._budget = budget
        self._deadline = Deadline(deadline, clock)
        longest_wait = max(self._policy.budget, self._policy.max_wait)
        self._error_answers = ErrorAnswers(self._home, self._deadline, longest_wait)
        self._spent: tuple[float, QuotaSpent] | None = None
        own = {"Accept": "application/json", "User-Agent": f"gapless/{_version()}"}
        direct = is_loopback(self._home.host)
        self._http = connect(self._deadline, transport, workers, headers={**own, **(headers or {})}, direct=direct)
        self.stats = Stats()
        self.quotes_vendor = True
        """Whether errors hold the vendor's own words about them."""
        self.watch: Callable[[Attempt], None] = lambda attempt: None
        """Called after each attempt, in the thread that made it; it must not raise."""

    def get(self, path: str, shape: TypeForm[T], params: Params | None = None) -> T:
        """Returns the answer to a GET, decoded into the msgspec type `shape`; raises a VendorError."""
        return self._request("GET", path, params, partial(_body, shape))

    def post(self, path: str, shape: TypeForm[T], json: object, params: Params | None = None) -> T:
        """Returns the answer to a POST with a JSON body. It is retried like a GET, so only for listings."""
        return self._request("POST", path, params, partial(_body, shape), json=json)

    def get_page(self, path: str, shape: TypeForm[T], params: Params | None = None) -> Answer[T]:
        """Like `get`, with the page's URL and its `Link` header; a header that cannot be read is retried."""
        return self._request("GET", path, params, partial(_page, shape))

    def post_page(self, path: str, shape: TypeForm[T], json: object, params: Params | None = None) -> Answer[T]:
        """Like `post`, with the page's URL and its `Link` header."""
        return self._request("POST", path, params, partial(_page, shape), json=json)

    def follow(self, url: str, base: str | None = None) -> str:
        """Returns a link as an absolute URL, which all four methods above take as their path.

        A relative link is resolved against `base`, the URL of the page that holds it (`Answer.url`; RFC 3986,
        section 5), and without one against the API's root. Raises ForeignHost for a link that leads elsewhere, or
        with a user name; links.py says which links of an inner host do not.
        """
        page = httpx.URL(base or self._root + "/")
        found = followed(url, page, self._home, inner=base is not None)
        if found is None:
            detail = redact(elsewhere("next link", joined(page, url), self._home), self._secrets)
            raise ForeignHost(method="GET", path=path_of(page), detail=detail)
        return str(found)

    def close(self) -> None:
        """Closes the client: no further request is possible."""
        self._http.close()

    @property
    def host(self) -> str:
        """Returns the host that the key is for, without a port."""
        return self._home.host

    @property
    def site(self) -> str:
        """Returns scheme, host and port that the key is sent to."""
        return site(self._home)

    @property
    def access(self) -> frozenset[str]:
        """Returns the keys, and the port and the path below which they are used. Secret: it must not be shown."""
        return self._secrets | {self._below_host}

    @property
    def _below_host(self) -> str:
        return f"{self._home.port or ''}{self._home.path}"

    def release(self) -> None:
        """Closes the connections; the next request opens a new one."""
        release(self._http)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _request(
        self,
        method: str,
        path: str,
        params: Params | None,
        read: Callable[[httpx.Response, bytes], R],
        json: object = None,
    ) -> R:
        """Sends a request until it succeeds or the retry budget is spent; `read` decodes the answer."""
        try:
            url = httpx.URL(self._url(path)).copy_merge_params(params or {})
        except (httpx.InvalidURL, ValueError):
            # The path may come from a vendor's answer: cut short and escaped, as it is printed.
            detail = "its path and parameters are not a valid URL"
            raise BadRequest(method=method, path=ascii(path[:100]), detail=detail) from None

        numbers = count(1)

        def send() -> R:
            if self._spent and self._clock() < self._spent[0]:
                raise self._spent[1]
            self.stats.add(requests=1)
            with (
                self.stats.noting_trouble(),
                self._watched(Attempt(method, url.host, path_of(url), next(numbers))) as attempt,
            ):
                return self._attempt(self._http.build_request(method, url, json=json), read, attempt)

        def sleep(seconds: float) -> None:
            self._wait(seconds)
            self.stats.add(retries=1)

        return retrying(self._policy, send, slot=self._slot, clock=self._clock, sleep=sleep)

    def _slot(self) -> float:
        """Waits until this client may send a request, and all that share its budget; returns the seconds waited."""
        return self._rate.take() + (self._budget.take(self._wait) if self._budget else 0.0)

    def _url(self, path: str) -> str:
        # Anything with a scheme must pass `follow`, or a link elsewhere would be read as a path of the vendor.
        if re.match(r"[a-z][a-z0-9+.-]*://", path, re.IGNORECASE):
            return self.follow(path)
        return f"{self._root}/{path.lstrip('/')}" if path else self._root

    @contextmanager
    def _watched(self, attempt: Attempt) -> Iterator[Attempt]:
        began = self._clock()
        try:
            yield attempt
        # Also Ctrl-C: the attempt was made, so it belongs in the trace.
        except BaseException as error:
            attempt.error = type(error).__name__
            raise
        finally:
            attempt.seconds = self._clock() - began
            self.watch(attempt)

    def _attempt(self, request: httpx.Request, read: Callable[[httpx.Response, bytes], R], attempt: Attempt) -> R:
        where: Where = {"method": request.method, "path": path_of(request.url)}
        self._deadline.start()
        try:
            # Streamed, so that the deadline is checked between chunks and an endless error body is cut.
            response = self._http.send(request, auth=self._auth, stream=True)
            attempt.status = response.status_code
            try:
                if not response.is_success:
                    raise self._refused(response, where)
                if response.status_code not in WHOLE:
                    detail = "such an answer is not a whole one"
                    raise BadEnvelope(status=response.status_code, detail=detail, **where)
                body = whole_body(response, self._deadline)
            finally:
                response.close()
        except BodyTooLong as error:
            raise TooLarge(status=attempt.status, detail=str(error), **where) from None
        except Undecodable as error:
            raise BadEnvelope(status=attempt.status, detail=str(error), **where) from None
        except ProxyFault as error:
            if not error.at_proxy:
                raise Unavailable(detail=redact(fault(error), self._secrets), **where) from None
            raise proxy_error(redact(fault(error), self._secrets), error.refused, where) from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            # Without the cause: the frames below hold the request's headers, which some loggers print.
            raise Unavailable(detail=redact(fault(error), self._secrets), **where) from None
        try:
            return read(response, body)
        except TooMany as error:
            raise TooLarge(status=response.status_code, detail=str(error), **where) from None
        except Malformed as error:
            detail = redact(str(error), self._secrets)
        raise BadEnvelope(status=response.status_code, detail=detail, **where)

    def _refused(self, response: httpx.Response, where: Where) -> VendorError:
        """Returns the error for an answer without success, and pauses all workers when the vendor asks for it."""
        seconds = retry_after(response.headers.get("Retry-After"), response.headers.get("Date"))
        quotes_vendor = self.quotes_vendor
        error = self._error_answers.error(response, where, seconds, self._secrets, quotes_vendor=quotes_vendor)
        # Only a 429 is about the key, which all workers share. After a 503 this request alone waits.
        if seconds is not None and isinstance(error, Throttled):
            for budget in filter(None, (self._rate, self._budget)):
                budget.pause(min(seconds, self._policy.max_wait))
        elif seconds is not None and isinstance(error, QuotaSpent):
            self._spent = (self._clock() + seconds, error)
        return error

    @property
    def _secrets(self) -> frozenset[str]:
        # Not stored on the client, so that a dump of its attributes shows no key.
        return getattr(self._auth, "secrets", frozenset())

    def _wait(self, seconds: float) -> None:
        with self.stats.sleeping(seconds):
            self._sleep(seconds)


def check_environment() -> list[str]:
    """Returns the proxies that requests go through, as a person may read them. Raises NetworkSettingError."""
    named = proxies(parsed)
    tls_context(httpx.create_ssl_context)
    return sorted({str(proxy) for proxy in named.values()})


def segment(value: object) -> str:
    """Returns an id quoted as one segment of a URL path; raises BadRequest for one that would change the path."""
    text = str(value)
    try:
        quoted = quote(text, safe="")
    except UnicodeEncodeError:
        quoted = ""
    # quote() leaves dots alone, and httpx or a proxy would resolve them to another path.
    if quoted in ("", ".", ".."):
        detail = "this id is empty, dots or invalid text, so it cannot be part of a URL path"
        raise BadRequest(method="GET", path=ascii(text), detail=detail)
    return quoted


def _body(shape: TypeForm[T], response: httpx.Response, body: bytes) -> T:
    return decoded(body, media(response), shape)


def _page(shape: TypeForm[T], response: httpx.Response, body: bytes) -> Answer[T]:
    url = response.request.url
    targets = links(response.headers.get_list("Link"))
    try:
        found = {relation: str(url.join(target)) for relation, target in targets.items()}
    except (httpx.InvalidURL, ValueError):
        raise Malformed("expected a Link header with valid URLs, found another text") from None
    return Answer(_body(shape, response, body), str(url), found)


@functools.cache
def _version() -> str:
    try:
        return importlib.metadata.version("gapless")
    except importlib.metadata.PackageNotFoundError:
        return "0"
