"""A fake Sequence account in memory, with its activity log.

Written from Sequence's own pages, never from our client, and held to tests/samples/sequence.
No sockets and no wall clock may enter: time is `now`, chance is `seed`.
https://docs.sequencehq.com/reference/2024-07-30/activity-stream/list-all-activity-logs
https://docs.sequencehq.com/reference/authentication
"""

from __future__ import annotations

from base64 import b64encode
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, Self, Unpack
from uuid import UUID, uuid5

from gapless.sources._http.fake_vendor import START, Endpoint, FakeVendor, Row, Settings, instant, json_answer
from gapless.sources._http.transport import httpx

Key = tuple[datetime, str]

VERSION = "2024-07-30"
LOGS = "/api/activity-logs"
SPACE = UUID("0184421e-a9cc-711b-af93-bf0511d4d833")
HAPPENINGS = [
    ("CREATED", "Invoice Created", "Invoice INV-{n} was created for Blue Fern Bakery", "INVOICE"),
    ("UPDATED", "Schedule Updated", "Billing schedule {n} moved to monthly", "BILLING_SCHEDULE"),
    ("SENT", "Invoice Sent", "Invoice INV-{n} was sent to Tall Pine Logistics", "INVOICE"),
    ("ARCHIVED", "Price Archived", "Price {n} is no longer offered", "PRICE"),
    ("PAID", "Payment Received", "£{n}.50 arrived from Café Ørsted", "PAYMENT"),
]
# The schema leaves `metadata` untyped, so every JSON shape occurs.
METADATA: list[list[Any]] = [
    [],
    ["retried"],
    [{"key": "currency", "value": "GBP"}, {"key": "amount", "value": 1250.5}],
    [1, 2.5, None, True, "mixed"],
    [{"before": {"status": "DRAFT"}, "after": {"status": "FINAL", "lines": [1, 2]}}],
]

REFUSALS = {
    401: ("unauthorized", "Invalid API credentials"),
    404: ("not_found", "No such resource"),
    405: ("method_not_allowed", "Only GET is served here"),
}


class SequenceFake(FakeVendor):
    """One Sequence account; see FakeVendor for what all fakes offer.

    `page_cap` below 100 serves shorter pages than requested; `end` says how the last page writes its missing cursor.
    """

    def __init__(
        self,
        *,
        client_id: str = "demo-id",
        client_secret: str = "demo-secret",
        page_cap: int = 100,
        default_limit: int = 20,
        end: Literal["absent", "null", "empty"] = "absent",
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(page_cap, **settings)
        self.default_limit, self.end = default_limit, end
        self._credentials = "Basic " + b64encode(f"{client_id}:{client_secret}".encode()).decode()
        self._account = self._uuid()
        self._rows: dict[str, Row] = {}
        self._keys: list[Key] = []  # oldest first: (createdAt, id)
        self._shown: dict[str, Row] = {}  # as last served
        self._cursors: dict[str, tuple[str, Key | None]] = {}  # handed out: its sortOrder, its place

    @classmethod
    def demo(cls, *, seed: int = 0, now: datetime = START) -> Self:
        """Returns an account of 450 logs over a month: five full pages."""
        fake = cls(seed=seed, now=now)
        fake.fill(0, 450)
        return fake

    def fill(self, parents: int, records: int) -> None:
        """Adds `records` logs of the last 30 days; there are no parents."""
        self.seed(records)

    def seed(self, logs: int, *, days: float = 30.0) -> None:
        """Adds `logs` rows over the last `days`; every seventh shares its neighbour's createdAt."""
        # Two logs of one moment are common in a batch, and a cursor must not skip the second.
        moments = sorted(self.now - timedelta(days=self._random.uniform(0, days)) for _ in range(logs))
        for index, moment in enumerate(moments):
            self.add_log(at=moments[index - 1] if index % 7 == 6 else moment)

    def add_log(self, *, at: datetime | None = None, **fields: object) -> Row:
        """Adds one log created `at` (default: now); `fields` replace what is made up, also by invalid values."""
        with self._lock:
            row = self._log(_whole_milliseconds(at or self.now)) | fields
            self._put(row)
            return row

    def add(self, *, at: datetime | None = None, **fields: object) -> str:
        """Adds a log; returns its id."""
        record_id: str = self.add_log(at=at, **fields)["id"]
        return record_id

    def change(self, record_id: str, **fields: object) -> Row:
        """Gives a log other values and moves it if its time changed."""
        with self._lock:
            self._put(self._rows[record_id] | fields)
            return self._rows[record_id]

    def delete(self, record_id: str) -> None:
        """Removes a log."""
        with self._lock:
            self._keys.remove((_created(self._rows.pop(record_id)), record_id))

    def advance(self, minutes: float) -> None:
        """Moves time: a new log every two minutes, and one or two late ones, up to half an hour old."""
        with self._lock:
            before, self.now = self.now, self.now + timedelta(minutes=minutes)
            for _ in range(max(1, int(minutes / 2))):
                self.add_log(at=self.now - timedelta(minutes=self._random.uniform(0, minutes)))
            for _ in range(self._random.randint(1, 2)):
                self.add_log(at=before - timedelta(minutes=self._random.uniform(0.1, 30)))

    def cursors_expire(self) -> None:
        """Refuses every cursor handed out so far."""
        with self._lock:
            self._cursors.clear()

    def truth(self) -> dict[str, list[Row]]:
        """Returns whole logs: those that exist, and those that were served before they went."""
        with self._lock:
            return {"activity_logs": list((self._shown | self._rows).values())}

    def _endpoint(self, path: str) -> Endpoint | None:
        if path == LOGS:
            return "GET", self._versioned(lambda request: self._list(dict(request.url.params)))
        if path.startswith(LOGS + "/"):
            return "GET", self._versioned(lambda request: self._one(path.removeprefix(LOGS + "/")))
        return None

    def _is_authorized(self, headers: Mapping[str, str]) -> bool:
        return headers.get("authorization") == self._credentials

    def _refusal(self, status: int, request: httpx.Request) -> httpx.Response:
        return _refuse(status, *REFUSALS.get(status, ("failing", "This resource is failing")))

    def _versioned(
        self, answer: Callable[[httpx.Request], httpx.Response]
    ) -> Callable[[httpx.Request], httpx.Response]:
        """Returns the endpoint with a check of the version header."""

        def checked(request: httpx.Request) -> httpx.Response:
            version = request.headers.get("sequence-version")
            if version is None:  # the oldest version answers, and it has no activity logs
                return _refuse(404, "not_found", "No such resource in this API version")
            return answer(request) if version == VERSION else _refuse(400, "bad_request", "Unknown Sequence-Version")

        return checked

    def _one(self, log_id: str) -> httpx.Response:
        row = self._rows.get(log_id)
        if row is None:
            return _refuse(404, "not_found", "No such activity log")
        self._show([row])
        return json_answer(200, row)

    def _list(self, query: dict[str, str]) -> httpx.Response:
        """Answers with a page beside a cursor, with the total over all pages."""
        # The default order and limit are those of the documents.
        order, limit = query.get("sortOrder", "DESC").upper(), query.get("limit", str(self.default_limit))
        if order not in ("ASC", "DESC"):
            return _refuse(400, "bad_request", "sortOrder must be ASC or DESC")
        if not limit.isdecimal() or not 1 <= int(limit) <= 100:
            return _refuse(400, "bad_request", "limit must be between 1 and 100")
        token, position = query.get("after") or query.get("before"), None
        if token:
            bound, position = self._cursors.get(token, ("", None))
            # By the documents a cursor looks bound to its order, so under another one it is refused.
            if bound != order:
                return _refuse(400, "bad_request", "Invalid cursor")
        keys = self._matching(query)
        older = (order == "DESC") == (not query.get("before") or "after" in query)
        page = _slice(keys, position, min(int(limit), self.page_cap), older=older)
        pagination = {"totalResultSize": len(keys)} | self._links(keys, page, order)
        rows = [self._rows[log_id] for _, log_id in (page[::-1] if order == "DESC" else page)]
        return json_answer(200, {"items": self._show(rows), "pagination": pagination})

    def _matching(self, query: dict[str, str]) -> list[Key]:
        """Returns the keys of the logs that the filters by object let through, oldest first."""
        wanted = {
            name: query[parameter]
            for parameter, name in (("activityLogObjectId", "id"), ("activityLogObjectEntityId", "entityId"))
            if parameter in query
        }
        if not wanted:
            return self._keys
        return [key for key in self._keys if _about(self._rows[key[1]], wanted)]

    def _links(self, keys: list[Key], page: list[Key], order: str) -> dict[str, str | None]:
        """Returns the cursors out of `page` on both sides, an end written as `end` says."""
        older = page[0] if page and page[0] != keys[0] else None
        newer = page[-1] if page and page[-1] != keys[-1] else None
        sides = {"after": older, "before": newer} if order == "DESC" else {"after": newer, "before": older}
        links: dict[str, str | None] = {}
        for side, key in sides.items():
            if key is not None:
                # The sample's cursor is the base64 of a UUID and tells nothing, so neither does this one.
                links[side] = b64encode(str(uuid5(SPACE, f"{order} {key}")).encode()).decode()
                self._cursors[links[side] or ""] = (order, key)
            elif self.end != "absent":
                links[side] = None if self.end == "null" else ""
        return links

    def _show(self, rows: list[Row]) -> list[Row]:
        self._shown.update((str(row["id"]), row) for row in rows)
        return rows

    def _put(self, row: Row) -> None:
        log_id = str(row["id"])
        if log_id in self._rows:
            self.delete(log_id)
        self._rows[log_id] = row
        insort(self._keys, (_created(row), log_id))

    def _log(self, at: datetime) -> Row:
        """Returns a new log with one to four items."""
        row: Row = {
            "id": self._uuid(),
            "sequenceAccountId": self._account,
            "activityType": self._random.choice(["NOTIFICATION", "USER_ACTION", "SYSTEM"]),
            "origin": self._random.choice(["API", "DASHBOARD", "SCHEDULER"]),
            "createdAt": self._stamp(at),
            "activityLogItems": [self._item() for _ in range(self._random.randint(1, 4))],
        }
        if self._random.random() < 0.8:
            # Both are optional.
            row |= {"apiVersion": "V1", "traceId": f"{self._random.getrandbits(128):032x}"}
        return row

    def _item(self) -> Row:
        """Returns a new item: who did what to what."""
        verb, name, summary, kind = self._random.choice(HAPPENINGS)
        number = self._random.randint(100, 999)
        actor = {"id": self._uuid(), "entityType": self._random.choice(["USER", "API_CLIENT"])}
        if actor["entityType"] == "USER":
            email = self._random.choice(["ada@example.com", "bo@example.com"])
            actor |= {"entityId": self._uuid(), "email": email}
        item: Row = {
            "id": self._uuid(),
            "activityLogId": self._uuid(),  # not the log's id: it is not in the vendor's sample either
            "verb": verb,
            "name": name,
            "summary": summary.format(n=number),
            "metadata": self._random.choice(METADATA),
            "activityLogActor": actor,
            # By its number: what is said of INV-304 twice is about one invoice.
            "activityLogObject": {
                "id": self._uuid(),
                "entityType": kind,
                "entityId": str(uuid5(SPACE, f"{kind} {number}")),
            },
        }
        if self._random.random() < 0.5:
            item["reason"] = "New billing cycle started"
            target = {"id": self._uuid(), "entityType": "SEQUENCE_USER", "entityId": self._uuid()}
            item["activityLogTarget"] = target
        return item

    def _precision(self, at: datetime) -> str:
        """Returns the precision of a time: whole seconds are written without a fraction."""
        return "milliseconds" if at.microsecond else "seconds"


def _slice(keys: list[Key], position: Key | None, limit: int, *, older: bool) -> list[Key]:
    """Returns at most `limit` keys next to `position` on one side, oldest first; None: from the outer end."""
    if older:
        stop = len(keys) if position is None else bisect_left(keys, position)
        return keys[max(0, stop - limit) : stop]
    start = 0 if position is None else bisect_right(keys, position)
    return keys[start : start + limit]


def _created(row: Row) -> datetime:
    return instant(row.get("createdAt"))


def _about(row: Row, wanted: dict[str, str]) -> bool:
    """Returns whether an item of the log has an object with all the `wanted` values."""
    return any(wanted.items() <= item["activityLogObject"].items() for item in row["activityLogItems"])


def _whole_milliseconds(at: datetime) -> datetime:
    """Returns a time without its microseconds, which Sequence does not write."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _refuse(status: int, kind: str, message: str) -> httpx.Response:
    return json_answer(status, {"error": {"type": kind, "message": message}})


Fake = SequenceFake
