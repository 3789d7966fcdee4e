"""A fake Kizen business in memory: types of activities, and what was logged.

Written from Kizen's own pages, never from our client, and held to tests/samples/kizen.
No sockets and no wall clock may enter: time is `now`, chance is `seed`.
https://developer.kizen.com/api/activities
https://developer.kizen.com/docs/concepts/activities/activities-data-model
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, Self, Unpack

from gapless.sources._http.fake_vendor import (
    START,
    Endpoint,
    FakeVendor,
    Row,
    Settings,
    instant,
    json_answer,
    positive,
)
from gapless.sources._http.transport import httpx

TYPES = "/api/activities"
RESPONSES = re.compile(TYPES + r"/([^/]+)/responses")
LOGGED = re.compile(TYPES + r"/logged/([^/]+)")
# How activities of a type are tied to objects; the words are the vendor's.
MODES = ["all_objects_associated", "selected_objects_associated", "no_objects_associated"]
NAMES = ["Discovery Call", "Site Visit", "Café Meeting", "Account Review"]
PEOPLE = ["Ada Marsh", "Bo Lind", "Émile Vale"]
# name, field_type, custom_field_type, value: every form of value that the documents name.
FIELDS: list[tuple[str, str, str | None, Any]] = [
    ("outcome", "dropdown", None, {"id": "0b7c2d0e", "code": "won", "name": "Won"}),
    ("summary", "longtext", None, "Asked for a second offer"),
    ("guests", "integer", None, 4),
    ("follow_up", "checkbox", None, True),
    ("budget", "money", None, "1250.50"),
    ("topics", "dynamictags", None, [{"id": "5a1f", "name": "pricing"}, {"id": "5a20", "name": "déjà vu"}]),
    ("stage", "activity_custom_field", "status", {"value": "Qualified"}),
    ("met_on", "date", None, None),
]


class KizenFake(FakeVendor):
    """One Kizen business; see FakeVendor for what all fakes offer.

    `page_cap` is 1000 at Kizen; `order` is the undocumented order of responses; `envelope` serves them as a page, as
    one without its count, or as a bare list. An edit changes neither `logged_at` nor `n_submissions`.
    """

    precision = "microseconds"

    def __init__(
        self,
        *,
        api_key: str = "demo-key",
        business_id: str = "demo-business",
        user_id: str = "demo-user",
        page_cap: int = 1000,
        order: Literal["newest", "oldest"] = "newest",
        envelope: Literal["page", "uncounted", "bare"] = "page",
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(page_cap, **settings)
        self.order, self.envelope = order, envelope
        self._credentials = {"x-api-key": api_key, "x-business-id": business_id, "x-user-id": user_id}
        self._types: dict[str, Row] = {}
        self._logged: dict[str, dict[str, Row]] = {}  # by type, in the order of arrival
        self._shown: dict[str, Row] = {}  # as last served
        self._shown_types: dict[str, Row] = {}
        self._people = [
            {"id": self._uuid(), "display_name": name, "email": f"{name.split()[1].lower()}@example.com"}
            for name in PEOPLE
        ]

    @classmethod
    def demo(cls, *, seed: int = 0, now: datetime = START) -> Self:
        """Returns a business of 4 types with 120 logged activities, ten to a page: three or four pages each."""
        fake = cls(seed=seed, now=now, page_cap=10)
        fake.fill(4, 120)
        return fake

    def fill(self, parents: int, records: int) -> None:
        """Adds `parents` types with `records` activities of the last 30 days."""
        self.seed(parents, logged=records)

    def seed(self, types: int, *, logged: int, days: float = 30.0) -> None:
        """Adds `types`, with `logged` activities of the last `days` spread over them."""
        ids = [self.add_type(name=NAMES[index % len(NAMES)])["id"] for index in range(types)]
        for index in range(logged):
            self.add_logged(ids[index % types], at=self._before(self.now, days * 1440))

    def add_type(self, **fields: object) -> Row:
        """Adds one activity type, with nothing logged."""
        with self._lock:
            name = str(fields.get("name", f"Check-in {len(self._types)}"))
            kind: Row = {
                "id": self._uuid(),
                "name": name,
                "api_name": name.lower().replace(" ", "_").replace("é", "e"),
                "description": "",
                "is_editable": True,
                "association_mode": self._random.choice(MODES),
            }
            kind |= fields
            self._types[kind["id"]] = kind
            self._logged[kind["id"]] = {}
            return kind

    def delete_type(self, type_id: str) -> None:
        """Deletes a type with all that was logged; what was ever served stays in `truth`."""
        with self._lock:
            del self._types[type_id], self._logged[type_id]

    def add_logged(self, type_id: str, *, at: datetime | None = None, **fields: object) -> Row:
        """Logs one activity of a type `at` (default: now); `fields` replace what is made up."""
        with self._lock:
            row = self._activity(self._types[type_id], at or self.now) | fields
            self._logged[type_id][str(row["id"])] = row
            return row

    def add(self, *, at: datetime | None = None, **fields: object) -> str:
        """Logs an activity of the first type; returns its id."""
        with self._lock:
            kind = next(iter(self._types)) if self._types else self.add_type()["id"]
            record_id: str = self.add_logged(kind, at=at, **fields)["id"]
            return record_id

    def change(self, record_id: str, **fields: object) -> Row:
        """Gives a logged activity other values; neither its time nor the count of its type changes."""
        with self._lock:
            rows = self._logged[self._type_of(record_id)]
            rows[record_id] = rows[record_id] | fields
            return rows[record_id]

    def edit(self, logged_id: str) -> Row:
        """Edits a logged activity as a user would: other notes, and one field fewer."""
        with self._lock:
            row = self._logged[self._type_of(logged_id)][logged_id]
            return self.change(logged_id, notes=f"{row['notes']} (edited)", fields=row.get("fields", [])[:-1])

    def delete(self, record_id: str) -> None:
        """Removes a logged activity, which lowers the count of its type."""
        with self._lock:
            del self._logged[self._type_of(record_id)][record_id]

    def advance(self, minutes: float, *, newcomers: bool = True) -> None:
        """Moves time: a type's newest record is edited, new and late ones come; `newcomers` adds a type with some."""
        with self._lock:
            before, self.now = self.now, self.now + timedelta(minutes=minutes)
            ids = list(self._types)
            used = [rows for rows in self._logged.values() if rows]
            # The newest one, because a client sees edits within its look-back only.
            if used:
                self.edit(str(max(self._random.choice(used).values(), key=_logged_at)["id"]))
            for _ in range(max(2, int(minutes / 5)) if ids else 0):
                self.add_logged(self._random.choice(ids), at=self._before(self.now, minutes))
            for _ in range(2 if ids else 0):
                self.add_logged(self._random.choice(ids), at=self._before(before, 30))
            if newcomers:
                kind = self.add_type()["id"]
                for _ in range(3):
                    self.add_logged(kind, at=self._before(before, 7 * 1440))

    def truth(self) -> dict[str, list[Row]]:
        """Returns types with their counts, and whole logged activities."""
        with self._lock:
            types = self._shown_types | {kind: self._counted(kind) for kind in self._types}
            # A record that is gone stays in the truth as it was served last: a copy keeps what it has read.
            standing = {str(row["id"]): row for rows in self._logged.values() for row in rows.values()}
            logged = list((self._shown | standing).values())
            return {"activities": list(types.values()), "logged_activities": logged}

    def _endpoint(self, path: str) -> Endpoint | None:
        responses, logged = RESPONSES.fullmatch(path), LOGGED.fullmatch(path)
        if responses:
            return "POST", partial(self._responses, responses[1])
        if logged:
            return "GET", lambda request: self._one(logged[1])
        return ("GET", lambda request: self._list(request.url)) if path == TYPES else None

    def _is_authorized(self, headers: Mapping[str, str]) -> bool:
        return all(headers.get(name) == value for name, value in self._credentials.items())

    def _no_such_path(self, request: httpx.Request) -> httpx.Response:  # a trailing slash ends here, too
        """Answers as the web server does, in HTML: the API has no such path."""
        return httpx.Response(404, html="<!doctype html><title>Not Found</title><h1>Not Found</h1>")

    def _refusal(self, status: int, request: httpx.Request) -> httpx.Response:
        if status == 401:
            return _refuse(401, "authentication_failed", "Invalid credentials.")
        if status == 405:
            return _refuse(405, "method_not_allowed", f'Method "{request.method}" not allowed.')
        return _refuse(status, "error", "This resource is failing.")

    def _one(self, logged_id: str) -> httpx.Response:
        """Answers with one whole record."""
        row = next((rows[logged_id] for rows in self._logged.values() if logged_id in rows), None)
        if row is None:
            return _refuse(404, "not_found", "Not found.")
        self._shown[logged_id] = row
        return json_answer(200, row)

    def _list(self, url: httpx.URL) -> httpx.Response:
        """Answers with a page of types."""
        page = self._page(url, [self._counted(kind) for kind in self._types])
        if page is None:
            return _refuse(404, "not_found", "Invalid page.")
        self._shown_types |= {row["id"]: row for row in page["results"]}
        return json_answer(200, page)

    def _responses(self, identifier: str, request: httpx.Request) -> httpx.Response:
        """Lists one type, named by id or api_name; a body may carry filters, and {} lists all."""
        # A type is found by its id and by its api_name.
        kind = next((i for i, row in self._types.items() if identifier in (i, row["api_name"])), None)
        if kind is None:
            return _refuse(404, "not_found", "Not found.")
        try:
            json.loads(request.content or b"{}")
        except ValueError:
            return _refuse(400, "parse_error", "JSON parse error.")
        rows = sorted(self._logged[kind].values(), key=_logged_at, reverse=self.order == "newest")
        # The listing has only these fields: all else takes a request per record.
        rows = [{name: row[name] for name in ("id", "logged_at", "logged_by", "notes")} for row in rows]
        page = self._page(request.url, rows)
        if page is None:
            return _refuse(404, "not_found", "Invalid page.")
        if self.envelope == "uncounted":
            del page["count"]
        return json_answer(200, rows if self.envelope == "bare" else page)

    def _page(self, url: httpx.URL, rows: list[Row]) -> Row | None:
        """Returns the requested page of `rows`, with absolute links to the host of the request; None past the end."""
        size = min(positive(url.params.get("page_size"), 100), self.page_cap)
        number, pages = positive(url.params.get("page"), 1), max(1, -(-len(rows) // size))
        if number > pages:
            return None

        def link(page: int) -> str | None:
            return str(url.copy_merge_params({"page": page})) if 1 <= page <= pages else None

        links = {"next": link(number + 1), "previous": link(number - 1)}
        return {"count": len(rows)} | links | {"results": rows[(number - 1) * size : number * size]}

    def _counted(self, type_id: str) -> Row:
        """Returns a type with its count, which the listing of types has and a record has not."""
        return self._types[type_id] | {"n_submissions": len(self._logged[type_id])}

    def _activity(self, kind: Row, at: datetime) -> Row:
        """Returns a new logged activity of a type, with a random choice of fields."""
        person, done = self._random.choice(self._people), self._random.random() < 0.3
        row: Row = {
            "id": self._uuid(),
            "notes": self._random.choice(["", "Went well — call again", "No-show"]),
            "activity_object": {name: kind[name] for name in ("id", "name", "api_name", "association_mode")},
            "associated_entities": [self._entity() for _ in range(self._random.randint(0, 2))],
            "logged_at": self._stamp(at),
            "logged_by": person,
            "completed_at": self._stamp(at) if done else None,
            "completed_by": person if done else None,
            "scheduled_activity_id": self._uuid() if done else None,
            "mentions": [each["id"] for each in self._people[: self._random.randint(0, 2)]],
        }
        if self._random.random() < 0.9:  # the field list itself is optional
            row["fields"] = [
                {
                    "id": self._uuid(),
                    "name": name,
                    "display_name": name.replace("_", " ").title(),
                    "field_type": field_type,
                    "custom_field_type": custom,
                    "value": value,
                }
                for name, field_type, custom, value in self._random.sample(FIELDS, self._random.randint(1, 8))
            ]
        return row

    def _entity(self) -> Row:
        # Objects name themselves by one of two fields in the documents, so a record may lack either.
        shown_as = self._random.choice(["display_name", "display_name", "name"])
        company = self._random.choice(["Tall Pine Logistics", "Blue Fern Bakery"])
        return {"object_api_name": "client_client", "entity_id": self._uuid(), shown_as: company}

    def _type_of(self, logged_id: str) -> str:
        return next(kind for kind, rows in self._logged.items() if logged_id in rows)


def _logged_at(row: Row) -> datetime:
    return instant(row["logged_at"])


def _refuse(status: int, code: str, detail: str) -> httpx.Response:
    return json_answer(status, {"detail": detail, "code": code})


Fake = KizenFake
