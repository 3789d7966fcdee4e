"""A fake Tines tenant in memory: stories, their actions, and the logs of these.

Written from Tines' own pages, never from our client, and held to tests/samples/tines.
No sockets and no wall clock may enter: time is `now`, chance is `seed`.
https://www.tines.com/docs/api/stories/list/
https://www.tines.com/docs/api/stories/actions/list/
https://www.tines.com/docs/api/stories/actions/list-logs/
https://www.tines.com/docs/api/welcome/
"""

from __future__ import annotations

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

ACTIONS = "/api/v1/actions"
STORIES = "/api/v1/stories"
LOGS = re.compile(ACTIONS + r"/(\d+)/logs")
ERROR = 4
# Types of actions at Tines; `type` in a row is `Agents::<kind>Agent`.
KINDS = ["HTTPRequest", "EventTransformation", "Trigger", "SendToStory", "Webhook"]
MESSAGES = {
    2: "Slow answer from https://intel.example.com/lookup",
    3: 'Sending request to https://intel.example.com/lookup with options:\n  {\n    "method": "get"\n  }',
    ERROR: "Unexpected status 502 — giving up after 3 tries",
}
NAMES = ["Phishing triage", "Offboard a leaver", "Rotate a key", "Enrich an alert"]
# An inbound event may have any JSON shape, and is null for an action that started its run.
EVENTS: list[Any] = [
    None,
    {},
    {"webhook": {"alert": {"id": 7, "tags": ["phish", "naïve"], "score": 0.5}}},
    [{"row": 1}, [2, None]],
    "plain text",
    12,
    True,
]


class TinesFake(FakeVendor):
    """One Tines tenant; see FakeVendor for what all fakes offer.

    `list_key` names the list of actions ("agents" is seen, some specifications say "actions"); `order` is the
    undocumented order of logs; `page_cap` is 500 at Tines; `retention` is how long a log is kept.
    """

    precision = "seconds"

    def __init__(
        self,
        *,
        api_key: str = "demo-key",
        page_cap: int = 500,
        order: Literal["newest", "oldest"] = "newest",
        list_key: Literal["agents", "actions"] = "agents",
        retention: timedelta = timedelta(days=7),
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(page_cap, **settings)
        self.api_key, self.order, self.list_key, self.retention = api_key, order, list_key, retention
        self._last_id = 700
        self._stories: dict[int, Row] = {}
        self._actions: dict[int, Row] = {}
        self._logs: dict[int, list[Row]] = {}  # by action, in the order of arrival
        self._shown: dict[tuple[int, str], Row] = {}  # as last served: (action, log)
        self._shown_actions: dict[int, Row] = {}

    @classmethod
    def demo(cls, *, seed: int = 0, now: datetime = START) -> Self:
        """Returns a tenant of 9 actions, 8 of them with 250 logs in all, 20 to a page: two pages each."""
        fake = cls(seed=seed, now=now, page_cap=20)
        fake.fill(9, 250)
        return fake

    def fill(self, parents: int, records: int) -> None:
        """Adds `parents` actions with `records` logs within the time of retention."""
        self.seed(parents, logs=records)

    def seed(self, actions: int, *, logs: int) -> None:
        """Adds `actions`, with `logs` of the time of retention spread over all but the last of them."""
        ids = [self.add_action(at=self.now - timedelta(days=90))["id"] for _ in range(actions)]
        for index in range(logs):
            self.add_log(ids[index % max(1, actions - 1)], at=self._within(self.now, self.retention))

    def add_action(self, *, at: datetime | None = None, **fields: object) -> Row:
        """Adds one action created `at` (default: now), without logs."""
        with self._lock:
            action = self._action(self._stamp(at or self.now)) | fields
            self._actions[action["id"]] = action
            self._stories.setdefault(action["story_id"], self._story(action["story_id"]))
            self._logs[action["id"]] = []
            return action

    def delete_action(self, action_id: int) -> None:
        """Deletes an action with its logs; what was ever served stays in `truth`."""
        with self._lock:
            del self._actions[action_id], self._logs[action_id]

    def delete_story(self, story_id: int) -> None:
        """Takes a story off the listing; its actions stay."""
        with self._lock:
            del self._stories[story_id]

    def add_log(self, action_id: int, *, at: datetime | None = None, **fields: object) -> Row:
        """Adds one log of an action created `at` (default: now); `fields` replace what is made up."""
        with self._lock:
            level = self._random.choice([3, 3, 3, 2, ERROR])
            row = {
                "id": self._next_id(),
                "level": level,
                "message": MESSAGES[level],
                "created_at": self._stamp(at or self.now),
                "inbound_event": self._random.choice(EVENTS),
            } | fields
            self._logs[action_id].append(row)
            return row

    def add(self, *, at: datetime | None = None, **fields: object) -> int:
        """Adds a log of the first action; returns its id."""
        with self._lock:
            action = next(iter(self._actions)) if self._actions else self.add_action()["id"]
            log_id: int = self.add_log(action, at=at, **fields)["id"]
            return log_id

    def change(self, record_id: int, **fields: object) -> Row:
        """Gives a log other values, which Tines never does."""
        with self._lock:
            rows, index = self._find(record_id)
            rows[index] = rows[index] | fields
            return rows[index]

    def delete(self, record_id: int) -> None:
        """Removes a log, as retention does."""
        with self._lock:
            rows, index = self._find(record_id)
            del rows[index]

    def advance(self, minutes: float, *, newcomers: bool = True) -> None:
        """Moves time: new and late logs come, those past retention go, and `newcomers` adds an action with logs."""
        with self._lock:
            before, past = self.now, timedelta(minutes=minutes)
            self.now += past
            ids = list(self._actions)
            for _ in range(max(2, int(minutes / 2)) if ids else 0):
                self.add_log(self._random.choice(ids), at=self._within(self.now, past))
            for _ in range(2 if ids else 0):
                self.add_log(self._random.choice(ids), at=self._within(before, timedelta(minutes=30)))
            if newcomers:
                action = self.add_action(at=self._within(self.now, past))["id"]
                for _ in range(3):
                    self.add_log(action, at=self._within(before, self.retention / 2))
            # Tines deletes logs after the time of retention, whether anybody read them or not.
            oldest = self.now - self.retention
            for rows in self._logs.values():
                rows[:] = [row for row in rows if _created(row) >= oldest]

    def truth(self) -> dict[str, list[Row]]:
        """Returns actions with their figures, and logs with the ids of their action and story."""
        with self._lock:
            actions = self._shown_actions | {action: self._counted(action) for action in self._actions}
            # A log that is gone stays in the truth as it was served last: a copy keeps what it has read.
            standing = {(action, str(row["id"])): row for action in self._logs for row in self._logs[action]}
            logs = [
                row | {"action_id": action, "story_id": actions[action]["story_id"]}
                for (action, _), row in (self._shown | standing).items()
            ]
            return {"actions": list(actions.values()), "action_logs": logs, "stories": list(self._stories.values())}

    def _endpoint(self, path: str) -> Endpoint | None:
        if path == ACTIONS:
            return "GET", lambda request: self._list(request.url)
        if path == STORIES:
            return "GET", lambda request: self._list_stories(request.url)
        of_action = LOGS.fullmatch(path)
        return ("GET", partial(self._list_logs, int(of_action[1]))) if of_action else None

    def _is_authorized(self, headers: Mapping[str, str]) -> bool:
        # Both headers are documented.
        return headers.get("authorization") == f"Bearer {self.api_key}" or headers.get("x-user-token") == self.api_key

    def _refusal(self, status: int, request: httpx.Request) -> httpx.Response:
        return json_answer(status, {"errors": [{"message": httpx.codes.get_reason_phrase(status)}]})

    def _list(self, url: httpx.URL) -> httpx.Response:
        """Answers with a page of actions, by id; story, team and group filter it."""
        rows = [self._counted(action) for action in sorted(self._actions)]
        for name in {"story_id", "team_id", "group_id"} & url.params.keys():
            rows = [row for row in rows if str(row[name]) == url.params[name]]
        page, meta = self._page(url, rows)
        self._shown_actions |= {row["id"]: row for row in page}
        return json_answer(200, {self.list_key: page, "meta": meta})

    def _list_stories(self, url: httpx.URL) -> httpx.Response:
        """Answers with a page of stories, by id."""
        page, meta = self._page(url, [self._stories[story] for story in sorted(self._stories)])
        return json_answer(200, {"stories": page, "meta": meta})

    def _list_logs(self, action: int, request: httpx.Request) -> httpx.Response:
        """Answers with a page of an action's logs in `order`, filtered by `level` if that is given."""
        if action not in self._actions:
            return self._refusal(404, request)
        url = request.url
        level = url.params.get("level")
        rows = [row for row in self._logs[action] if level is None or str(row["level"]) == level]
        rows.sort(key=lambda row: (_created(row), str(row["id"])), reverse=self.order == "newest")
        page, meta = self._page(url, rows)
        self._shown |= {(action, str(row["id"])): row for row in page}
        return json_answer(200, {"action_logs": page, "meta": meta})

    def _page(self, url: httpx.URL, rows: list[Row]) -> tuple[list[Row], Row]:
        """Returns the requested page of `rows`, and its meta with absolute links to the host of the request."""
        size = min(positive(url.params.get("per_page"), 20), self.page_cap)
        number, pages = positive(url.params.get("page"), 1), max(1, -(-len(rows) // size))

        def link(page: int) -> str | None:
            # A page past the end still links to itself.
            inside = 1 <= page <= pages or page == number
            return str(url.copy_merge_params({"per_page": size, "page": page})) if inside else None

        return rows[(number - 1) * size : number * size], {
            "current_page": link(number),
            "previous_page": link(number - 1),
            "next_page": link(number + 1),
            "next_page_number": number + 1 if number < pages else None,
            "per_page": size,
            "pages": pages,
            "count": len(rows),
        }

    def _counted(self, action: int) -> Row:
        """Returns an action with the figures that come from its logs."""
        logs = self._logs[action]
        errors = [row for row in logs if row["level"] == ERROR]
        last = {"last_event_at": _last(logs), "last_error_log_at": _last(errors)}
        return self._actions[action] | last | {"logs_count": len(logs), "blended_events_count": len(logs)}

    def _action(self, at: str) -> Row:
        """Returns a new action with all fields of the documents."""
        number, kind = self._next_id(), self._random.choice(KINDS)
        scheduled = kind == "HTTPRequest"
        return {
            "id": number,
            "type": f"Agents::{kind}Agent",
            "user_id": 1,
            # May hold secrets at Tines, so a client must drop it; a test looks for this value everywhere.
            "options": {"url": "https://intel.example.com/lookup", "headers": {"x-key": "in-the-options"}},
            "name": f"{kind} {number}",
            "description": self._random.choice([None, "Looks an address up"]),
            "schedule": [{"cron": "*/5 * * * *", "timezone": "Europe/Dublin"}] if scheduled else None,
            "last_check_at": at if scheduled else None,
            "last_receive_at": at,
            "created_at": at,
            "updated_at": at,
            "disabled": False,
            "guid": f"{self._random.getrandbits(128):032x}",
            "group_id": None,
            "position": {"x": 60 * (number % 9), "y": 120},
            "story_id": self._random.randint(41, 44),
            "story_mode": "LIVE",
            "nested_group_id": None,
            "team_id": 6,
            "sources": [number - 1],
            "receivers": [],
            "monitor_failures": True,
            "monitor_all_events": False,
            "monitor_no_events_emitted": None,
        }

    def _story(self, number: int) -> Row:
        """Returns a story with all fields of the documents."""
        name, made = NAMES[number % len(NAMES)], self._stamp(self.now - timedelta(days=200))
        return {
            "name": name,
            "user_id": 1,
            "description": None if number % 2 else f"{name}, step by step",
            "keep_events_for": int(self.retention.total_seconds()),
            "disabled": False,
            "priority": False,
            "send_to_story_enabled": False,
            "send_to_story_access_source": "OFF",
            "send_to_story_access": None,
            "shared_team_slugs": [],
            "send_to_story_skill_use_requires_confirmation": True,
            "entry_agent_id": None,
            "exit_agents": [],
            "team_id": 6,
            "tags": ["soc"],
            "guid": f"{number:032x}",
            "slug": name.lower().replace(" ", "_"),
            "created_at": made,
            "updated_at": made,
            "edited_at": made,
            "mode": "LIVE",
            "id": number,
            "folder_id": None,
            "published": True,
            "locked": False,
        }

    def _find(self, log_id: int) -> tuple[list[Row], int]:
        """Returns the list that holds a log, and its position there."""
        places = ((rows, index) for rows in self._logs.values() for index in range(len(rows)))
        return next((rows, index) for rows, index in places if rows[index]["id"] == log_id)

    def _within(self, at: datetime, span: timedelta) -> datetime:
        """Returns a time in the `span` before `at`."""
        return at - span * self._random.random()

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id


def _created(row: Row) -> datetime:
    return instant(row["created_at"])


def _last(rows: list[Row]) -> str | None:
    """Returns the newest time of creation, as it is written; None without rows."""
    return max(rows, key=_created)["created_at"] if rows else None


Fake = TinesFake
