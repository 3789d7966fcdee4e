"""The base of the fake vendors, for tests and the demo: what they share, and what each of them offers.

No sockets (testing.py serves a fake), no wall clock (time is `now`), no chance but `seed`, and no vendor may enter.
"""

from __future__ import annotations

import json
import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar, Literal, Self, TypedDict, cast
from uuid import UUID

from gapless.sources._http.transport import httpx

Row = dict[str, Any]
"""A record as JSON, with the vendor's own names."""

Stamp = Literal["Z", "+02:00", "mixed"]
Endpoint = tuple[str, Callable[[httpx.Request], httpx.Response]]
"""The method of an endpoint, and what answers it."""

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Settings(TypedDict, total=False):
    """Keyword arguments that every fake takes: the time it starts at, the style of times, the seed of chance."""

    now: datetime
    stamp: Stamp
    seed: int


class FakeVendor(ABC):
    """A vendor in memory. `fake.py` of each vendor derives one and calls it `Fake`.

    Every fake offers, besides the methods below: `now` (its time; only `advance` moves it), `page_cap` (records on a
    page at most), `stamp` (how times are written), `failing` (part of a path -> status that it answers with) and
    `requests` (method, path and sorted parameters of each request, oldest first). All of it may be changed. Safe to
    share between threads.
    """

    precision: ClassVar[str] = "milliseconds"
    """Of the vendor's times: "seconds", "milliseconds" or "microseconds"."""

    def __init__(self, page_cap: int, *, now: datetime = START, stamp: Stamp = "Z", seed: int = 0) -> None:
        self.now, self.page_cap, self.stamp = now, page_cap, stamp
        self.failing: dict[str, int] = {}
        self.requests: list[tuple[str, str, tuple[tuple[str, str], ...]]] = []
        self._random = random.Random(seed)
        # Re-entrant: `advance` calls `add_…`, and both take it.
        self._lock = threading.RLock()

    @classmethod
    @abstractmethod
    def demo(cls, *, seed: int = 0, now: datetime = START) -> Self:
        """Returns the fake of `gapless demo`: several pages of a few hundred records from before `now`."""

    @abstractmethod
    def fill(self, parents: int, records: int) -> None:
        """Adds `parents`, and `records` of the recent past to them; a vendor without parents ignores the first."""

    @abstractmethod
    def add(self, *, at: datetime | None = None, **fields: object) -> str | int:
        """Adds one record of the first parent, created `at` (default: now), and returns its id.

        `fields`, by the vendor's JSON names, replace what is made up; they may be invalid. Without any parent one is
        added first.
        """

    @abstractmethod
    def change(self, record_id: Any, **fields: object) -> Row:
        """Gives a record other values in place, also where the vendor has no such edit; returns all of it."""

    @abstractmethod
    def delete(self, record_id: Any) -> None:
        """Removes a record; it stays in `truth` if it was ever served."""

    @abstractmethod
    def advance(self, minutes: float) -> None:
        """Moves `now`: new records come, some of them late, and others change or go, as they do at this vendor."""

    @abstractmethod
    def truth(self) -> dict[str, list[Row]]:
        """Returns whole rows by table: all that exist, and those that are gone but were served before."""

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Notes a request and answers it: `failing` first, then 404, 401, 405, then the endpoint."""
        with self._lock:
            path = request.url.path
            self.requests.append((request.method, path, tuple(sorted(request.url.params.multi_items()))))
            # Before the key is checked, so that a test can let any request fail.
            for part, status in self.failing.items():
                if part in path:
                    return self._refusal(status, request)
            endpoint = self._endpoint(path)
            if endpoint is None:
                return self._no_such_path(request)
            method, answer = endpoint
            if not self._is_authorized(request.headers):
                return self._refusal(401, request)
            return answer(request) if request.method == method else self._refusal(405, request)

    @abstractmethod
    def _endpoint(self, path: str) -> Endpoint | None:
        """Returns the endpoint of a path; None for a path that the vendor does not have."""

    @abstractmethod
    def _is_authorized(self, headers: Mapping[str, str]) -> bool:
        """Returns whether a request has the right keys."""

    @abstractmethod
    def _refusal(self, status: int, request: httpx.Request) -> httpx.Response:
        """Returns the vendor's error body for a status."""

    def _no_such_path(self, request: httpx.Request) -> httpx.Response:
        return self._refusal(404, request)

    def _stamp(self, at: datetime) -> str:
        """Returns a time as text; "mixed" writes odd seconds with an offset and every third without a fraction."""
        moved = self.stamp == "+02:00" or (self.stamp == "mixed" and at.second % 2 == 1)
        local = at.astimezone(timezone(timedelta(hours=2)) if moved else UTC)
        return local.isoformat(timespec=self._precision(at)).replace("+00:00", "Z")

    def _precision(self, at: datetime) -> str:
        whole = self.stamp == "mixed" and at.second % 3 == 0
        return "seconds" if whole else self.precision

    def _uuid(self) -> str:
        # Not uuid4(): with one seed a fake has the same records in every run.
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def _before(self, at: datetime, minutes: float) -> datetime:
        """Returns a time within the `minutes` before `at`."""
        return at - timedelta(minutes=self._random.uniform(0, minutes))


def json_answer(status: int, body: object) -> httpx.Response:
    """Returns an answer with a JSON body, escaped to ASCII, so that a test can serve an unpaired surrogate."""
    return httpx.Response(status, content=json.dumps(body), headers={"content-type": "application/json"})


def positive(text: str | None, default: int) -> int:
    """Returns a query parameter as a number above 0, or the default."""
    return int(text) if text and text.isdecimal() and int(text) > 0 else default


def instant(value: object) -> datetime:
    """Returns a time of a row; START for a test's invalid one, which must sort somewhere."""
    try:
        at = datetime.fromisoformat(cast(str, value))
    except (TypeError, ValueError):
        return START
    return at if at.tzinfo else at.replace(tzinfo=UTC)
