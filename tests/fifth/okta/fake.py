"""A fake Okta organization in memory, with its System Log.

Written from Okta's own pages, never from our client, and held to tests/fifth/samples.
No sockets and no wall clock may enter: time is `now`, chance is `seed`.
https://developer.okta.com/docs/reference/system-log-query/
https://developer.okta.com/docs/reference/error-codes/
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Self, Unpack
from uuid import NAMESPACE_URL, uuid5

from gapless.sources._http.fake_vendor import START, Endpoint, FakeVendor, Row, Settings, instant, json_answer
from gapless.sources._http.transport import httpx

LOGS = "/api/v1/logs"
PEOPLE = [("00u1", "ada@example.com", "Ada Marsh"), ("00u2", "bo@example.com", "Bo Sørensen")]
HAPPENINGS = [
    ("user.session.start", "User login to Okta", "AppInstance"),
    ("application.lifecycle.update", "Update app", "AppInstance"),
    ("group.user_membership.add", "Add user to group membership", "UserGroup"),
    ("policy.evaluate_sign_on", "Evaluation of sign-on policy", "PolicyEntity"),
]
DETAILS: list[Any] = [None, {"methodTypeUsed": "Password"}, {"changed": ["label", None], "count": 2}]
REFUSALS = {
    400: ("E0000001", "Api validation failed"),
    401: ("E0000011", "Invalid token provided"),
    404: ("E0000007", "Not found: Resource not found"),
    405: ("E0000022", "The endpoint does not support the provided HTTP method"),
    429: ("E0000047", "API call exceeded rate limit due to too many requests."),
}


class OktaFake(FakeVendor):
    """One Okta organization; see FakeVendor for what all fakes offer. Events are kept 90 days."""

    def __init__(self, *, api_token: str = "demo-token", page_cap: int = 1000, **settings: Unpack[Settings]) -> None:
        super().__init__(page_cap, **settings)
        self._authorization = f"SSWS {api_token}"
        self._rows: dict[str, Row] = {}
        self._shown: dict[str, Row] = {}  # as last served
        self._cursors: dict[str, tuple[datetime, str]] = {}  # handed out: the last event before it

    @classmethod
    def demo(cls, *, seed: int = 0, now: datetime = START) -> Self:
        """Returns an organization of 300 events over a month: three pages."""
        fake = cls(seed=seed, now=now, page_cap=100)
        fake.fill(0, 300)
        return fake

    def fill(self, parents: int, records: int) -> None:
        self.seed(records)

    def seed(self, events: int, *, days: float = 30.0) -> None:
        """Adds events of the last `days`; every seventh was published at the time of the one before."""
        at = self.now
        for index in range(events):
            at = at if index % 7 == 6 else self._before(self.now, days * 24 * 60)
            self.add_log(at=at)

    def add_log(self, *, at: datetime | None = None, **fields: Any) -> Row:
        """Adds one event published `at` (default: now); `fields` replace what is made up, also by invalid values."""
        with self._lock:
            row = self._event(at or self.now) | fields
            self._rows[str(row["uuid"])] = row
            return row

    def add(self, *, at: datetime | None = None, **fields: Any) -> Any:
        return self.add_log(at=at, **fields)["uuid"]

    def change(self, record_id: Any, **fields: Any) -> Row:
        with self._lock:
            row = self._rows.pop(str(record_id)) | fields
            self._rows[str(row["uuid"])] = row
            return row

    def delete(self, record_id: Any) -> None:
        with self._lock:
            del self._rows[str(record_id)]

    def advance(self, minutes: float) -> None:
        """Moves time: a new event every two minutes, and one that was delayed by up to half an hour."""
        with self._lock:
            before, self.now = self.now, self.now + timedelta(minutes=minutes)
            for _ in range(max(1, int(minutes / 2))):
                self.add_log(at=self._before(self.now, minutes))
            self.add_log(at=self._before(before, 30))

    def cursors_expire(self) -> None:
        """Refuses every next link handed out so far."""
        with self._lock:
            self._cursors.clear()

    def truth(self) -> dict[str, list[Row]]:
        with self._lock:
            return {"log_events": list((self._shown | self._rows).values())}

    def _endpoint(self, path: str) -> Endpoint | None:
        return ("GET", self._list) if path == LOGS else None

    def _is_authorized(self, headers: Mapping[str, str]) -> bool:
        return headers.get("authorization") == self._authorization

    def _refusal(self, status: int, request: httpx.Request) -> httpx.Response:
        return _refuse(status)

    def _list(self, request: httpx.Request) -> httpx.Response:
        query = dict(request.url.params)
        order, limit = query.get("sortOrder", "ASCENDING"), query.get("limit", "100")
        if order not in ("ASCENDING", "DESCENDING") or not limit.isdecimal() or int(limit) > 1000:
            return _refuse(400, "sortOrder, limit")
        try:
            until = datetime.fromisoformat(query["until"]) if "until" in query else self.now
            since = datetime.fromisoformat(query["since"]) if "since" in query else until - timedelta(days=7)
        except ValueError:
            return _refuse(400, "'since', 'until': must be a valid date-time or empty.")
        if query.get("after") not in (None, *self._cursors):
            return _refuse(400, "after")
        keys = self._between(since, until, order, self._cursors.get(query.get("after", "")))
        size = min(int(limit), self.page_cap)
        page, more = keys[:size], len(keys) > size
        polling = "until" not in query and order == "ASCENDING"  # its pages never end
        rows = [self._rows[key] for _, key in page]
        self._shown.update((str(row["uuid"]), row) for row in rows)
        answer = json_answer(200, rows)
        answer.headers.update({"link": self._links(request, page[-1] if page and (more or polling) else None)})
        return answer

    def _between(
        self, since: datetime, until: datetime, order: str, after: tuple[datetime, str] | None
    ) -> list[tuple[datetime, str]]:
        kept = max(since, self.now - timedelta(days=90))
        published = ((instant(row["published"]), key) for key, row in self._rows.items())
        keys = sorted(key for key in published if kept <= key[0] <= until)
        if order == "DESCENDING":
            return [key for key in reversed(keys) if after is None or key < after]
        return [key for key in keys if after is None or key > after]

    def _links(self, request: httpx.Request, last: tuple[datetime, str] | None) -> str:
        links = f'<{request.url}>; rel="self"'
        if last is None:
            return links
        token = str(uuid5(NAMESPACE_URL, f"{last} {request.url}"))
        self._cursors[token] = last
        return f'{links}, <{request.url.copy_set_param("after", token)}>; rel="next"'

    def _event(self, at: datetime) -> Row:
        kind, message, target = self._random.choice(HAPPENINGS)
        user, login, name = self._random.choice(PEOPLE)
        failed = self._random.random() < 0.2
        place = {
            "geolocation": {"lat": 37.7749, "lon": -122.4194},
            "city": "San Francisco",
            "country": "United States",
        }
        row: Row = {
            "uuid": self._uuid(),
            "published": self._stamp(at),
            "eventType": kind,
            "version": "0",
            "severity": "WARN" if failed else "INFO",
            "legacyEventType": f"core.{kind}",
            "displayMessage": message,
            "actor": {"id": user, "type": "User", "alternateId": login, "displayName": name},
            "client": {
                "zone": "OFF_NETWORK",
                "device": "Computer",
                "ipAddress": "192.0.2.7",
                "geographicalContext": place,
            },
            "outcome": {"result": "FAILURE", "reason": "INVALID_CREDENTIALS"} if failed else {"result": "SUCCESS"},
            "target": [self._target(target) for _ in range(self._random.randint(0, 2))],
            "transaction": {"type": "WEB", "id": self._uuid(), "detail": {}},
            "debugContext": {"debugData": {"requestUri": "/login/do-login"}},
            "authenticationContext": {"authenticationStep": 0, "externalSessionId": self._uuid()},
            "securityContext": {"asNumber": 64500, "isProxy": False},
            "request": {"ipChain": [{"ip": "192.0.2.7", "version": "V4", "geographicalContext": place}]},
        }
        if self._random.random() < 0.3:  # a job's event has no client, and documents allow null
            row |= {"client": None, "request": None, "target": None, "securityContext": None}
        return row

    def _target(self, kind: str) -> Row:
        return {
            "id": self._uuid(),
            "type": kind,
            "displayName": "Café intranet",
            "detailEntry": self._random.choice(DETAILS),
        }


def _refuse(status: int, what: str = "") -> httpx.Response:
    code, summary = REFUSALS.get(status, ("E0000009", "Internal Server Error"))
    body = {"errorCode": code, "errorSummary": f"{summary}: {what}" if what else summary, "errorCauses": []}
    return json_answer(status, body)


Fake = OktaFake
