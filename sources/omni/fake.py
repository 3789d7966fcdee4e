"""A fake Omni workspace in memory: leads with their action logs.

Written from Omni's own pages, never from our client, and held to tests/samples/omni.
No sockets and no wall clock may enter: time is `now`, chance is `seed`.
https://docs.getomni.ai/api-reference/analytics/get-analytics
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from bisect import bisect_right
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Self, Unpack

from gapless.sources._http.fake_vendor import START, Endpoint, FakeVendor, Row, Settings, instant, json_answer
from gapless.sources._http.transport import httpx

ANALYTICS, LEADS = "/api/v0/analytics", "/api/v1/leads/"
DAWN, DUSK = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"
FIRST, LAST = ["Ada", "Bo", "Chidi", "Dalia", "Émile", "Fen"], ["Marsh", "Okoye", "Lind", "Sørensen", "Vale"]
TOOL = {"name": "update-checklist-item", "description": "Update a lead checklist item with a new value"}
FILE = {"mimeType": "application/pdf", "size": 48213}
# Statuses of logs that are not over yet, with the status that `advance` gives them.
OPEN = {"PENDING": "COMPLETED", "AWAITING_APPROVAL": "CANCELLED"}
QUIET_TYPES = ["SYSTEM_NOTE", "MANUAL_UPDATE", "PORTAL_UPDATE", "PORTAL_SUBMISSION", "API_ACTIVITY"]
TYPES = ["MESSAGE", "FOLLOW_UP_MESSAGE", "TOOL_CALL", "DOCUMENT_UPLOAD", *QUIET_TYPES]
# The documents say only that the structure depends on the type of the action.
INPUTS: list[Any] = [None, {}, {"note": "Called back"}, {"fields": [{"code": "ein", "to": None}], "count": 2}]
CHECKED = {"code": "ein", "required": True, "status": "COMPLETED", "value": "12-3456789", "source": "agent"}
INTERVENTIONS = ["documentOverrides", "escalations", "manualUpdates", "messageEdits", "messageRejects"]


class OmniFake(FakeVendor):
    """One Omni workspace; see FakeVendor for what all fakes offer.

    `page_cap` is the number of leads on a page of analytics; `envelope` wraps logs in {"actionLogs": [...]}
    as Omni's field list has it, instead of the bare array of its sample. A log changes without a sign: there is no
    updatedAt.
    """

    def __init__(
        self,
        *,
        api_key: str = "demo-key",
        page_cap: int = 500,
        envelope: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(page_cap, **settings)
        self.api_key, self.envelope = api_key, envelope
        self._leads: dict[str, Row] = {}
        self._logs: dict[str, dict[str, Row]] = {}  # by lead, in the order of arrival
        self._shown: dict[tuple[str, str], Row] = {}  # as last served: (lead, log)
        self._shown_leads: dict[str, Row] = {}

    @classmethod
    def demo(cls, *, seed: int = 0, now: datetime = START) -> Self:
        """Returns a workspace of 25 leads with 200 logs, ten leads to a page: three pages."""
        fake = cls(seed=seed, now=now, page_cap=10)
        fake.fill(25, 200)
        return fake

    def fill(self, parents: int, records: int) -> None:
        """Adds `parents` leads with `records` logs of the last 30 days."""
        self.seed(parents, logs=records)

    def seed(self, leads: int, *, logs: int, days: float = 30.0) -> None:
        """Adds `leads` created over the last `days`, with `logs` spread over all but the last of them."""
        ids = [self.add_lead(at=self._before(self.now, days * 1440))["leadId"] for _ in range(leads)]
        for index in range(logs):
            at, status = self._before(self.now, days * 1440), None if index % 9 else "PENDING"
            self.add_log(ids[index % max(1, leads - 1)], at=at, status=status)

    def add_lead(self, *, at: datetime | None = None, **fields: object) -> Row:
        """Adds one lead created `at` (default: now), without logs."""
        with self._lock:
            first, last = self._random.choice(FIRST), self._random.choice(LAST)
            lead: Row = {
                "leadId": self._uuid(),
                "firstName": first,
                "lastName": last,
                "email": f"{first}.{last}@example.com".lower(),
                "phoneNumber": f"+1555{self._random.randint(0, 9999999):07d}",
                "createdAt": self._stamp(at or self.now),
                "completedAt": self._stamp(self.now) if self._random.random() < 0.3 else None,
                "optedOutAt": self._stamp(self.now) if self._random.random() < 0.1 else None,
            } | fields
            self._leads[lead["leadId"]] = lead
            self._logs[lead["leadId"]] = {}
            return lead

    def delete_lead(self, lead_id: str) -> None:
        """Deletes a lead: analytics leave it out, its logs are not found."""
        with self._lock:
            del self._leads[lead_id], self._logs[lead_id]

    def add_log(
        self, lead_id: str, *, at: datetime | None = None, status: str | None = None, **fields: object
    ) -> Row:
        """Adds one log of a lead created `at` (default: now); `fields` replace what is made up."""
        with self._lock:
            status = status or self._random.choice(["COMPLETED"] * 6 + ["FAILED", "AWAITING_APPROVAL"])
            row = self._log(at or self.now, status) | fields
            self._logs[lead_id][str(row["id"])] = row
            return row

    def add(self, *, at: datetime | None = None, **fields: Any) -> str:
        """Adds a log of the first lead; returns its id."""
        with self._lock:
            lead = next(iter(self._leads)) if self._leads else self.add_lead()["leadId"]
            log_id: str = self.add_log(lead, at=at, **fields)["id"]
            return log_id

    def change(self, record_id: str, **fields: object) -> Row:
        """Gives a log other values; like at Omni, no time of change tells."""
        with self._lock:
            logs = self._logs[self._lead_of(record_id)]
            logs[record_id] = logs[record_id] | fields
            return logs[record_id]

    def delete(self, record_id: str) -> None:
        """Removes a log, which Omni is not known to do."""
        with self._lock:
            del self._logs[self._lead_of(record_id)][record_id]

    def advance(self, minutes: float, *, newcomers: bool = True) -> None:
        """Moves time: open logs close, new and late ones come, and `newcomers` adds a lead with older logs."""
        with self._lock:
            before, self.now = self.now, self.now + timedelta(minutes=minutes)
            for status in OPEN:
                logs = [row for rows in self._logs.values() for row in rows.values()]
                waiting = [row for row in logs if row.get("status") == status]
                for row in waiting[: len(waiting) // 2 + 1]:
                    self._close(row)
            ids = list(self._leads)
            for _ in range(max(2, int(minutes / 2)) if ids else 0):
                self.add_log(self._random.choice(ids), at=self._before(self.now, minutes))
            for status in ("COMPLETED", "PENDING") if ids else ():
                self.add_log(self._random.choice(ids), at=self._before(before, 30), status=status)
            if newcomers:
                lead = self.add_lead(at=self._before(self.now, minutes))["leadId"]
                for _ in range(3):  # imported with it: older than the lead itself
                    self.add_log(lead, at=self._before(before, 3 * 1440))

    def truth(self) -> dict[str, list[Row]]:
        """Returns leads with the figures of analytics, and logs with the id of their lead."""
        with self._lock:
            # A log that is gone stays in the truth as it was served last: a copy keeps what it has read.
            standing = {(lead, log): row for lead in self._logs for log, row in self._logs[lead].items()}
            logs = [row | {"leadId": lead} for (lead, _), row in (self._shown | standing).items()]
            leads = self._shown_leads | {lead: self._analysed(lead) for lead in self._leads}
            return {"leads": list(leads.values()), "action_logs": logs}

    def _endpoint(self, path: str) -> Endpoint | None:
        if path == ANALYTICS:
            return "GET", lambda request: self._analytics(dict(request.url.params))
        if path.startswith(LEADS) and path.endswith("/action-logs"):
            return "GET", lambda request: self._action_logs(path[len(LEADS) : -len("/action-logs")])
        return None

    def _is_authorized(self, headers: Mapping[str, str]) -> bool:
        return headers.get("x-api-key") == self.api_key

    def _refusal(self, status: int, request: httpx.Request) -> httpx.Response:
        return _refuse(status)

    def _action_logs(self, lead_id: str) -> httpx.Response:
        """Answers with all logs of a lead, in the order of their arrival."""
        if lead_id not in self._logs:
            return _refuse(404)
        self._shown.update(((lead_id, log), row) for log, row in self._logs[lead_id].items())
        rows = list(self._logs[lead_id].values())
        return json_answer(200, {"actionLogs": rows} if self.envelope else rows)

    def _analytics(self, query: dict[str, str]) -> httpx.Response:
        """Answers with a page of leads, oldest first, and with totals over the whole window."""
        try:
            start, end, position = _window(query)
        except ValueError:
            return _refuse(400)
        # With csv the vendor answers with a link to a file, which no client of ours may follow.
        if query.get("format") == "csv":
            return json_answer(200, {"downloadUrl": "https://files.example.com/analytics.csv"})
        keys = sorted((_created(lead), lead_id) for lead_id, lead in self._leads.items())
        keys = [key for key in keys if start <= key[0] <= end]
        rows = {lead_id: self._analysed(lead_id) for _, lead_id in keys}
        first = bisect_right(keys, position)
        page, rest = keys[first : first + self.page_cap], keys[first + self.page_cap :]
        self._shown_leads |= {lead_id: rows[lead_id] for _, lead_id in page}
        token = b64encode(f"{page[-1][0].isoformat()}|{page[-1][1]}".encode()).decode() if rest else None
        echo = {"start": query.get("start"), "end": query.get("end"), "nextToken": token}
        breakdown = [rows[lead_id] for _, lead_id in page]
        totals = {
            "count": len(rows),
            "leadsCompleted": sum(row["completedAt"] is not None for row in rows.values()),
            "leadsOptedOut": sum(row["optedOutAt"] is not None for row in rows.values()),
        }
        totals |= _summed([_figures([]), *rows.values()])
        return json_answer(200, echo | {"totals": totals, "breakdown": breakdown})

    def _analysed(self, lead_id: str) -> Row:
        return self._leads[lead_id] | _figures(list(self._logs[lead_id].values()))

    def _log(self, at: datetime, status: str) -> Row:
        """Returns a new log, with the fields that its type has at Omni."""
        kind = self._random.choice(TYPES)
        closed = status not in OPEN
        row: Row = {
            "id": self._uuid(),
            "type": kind,
            "status": status,
            "summary": f"{kind.replace('_', ' ').capitalize()} for Tall Pine Logistics",
            "createdAt": self._stamp(at),
        }
        if kind == "SYSTEM_NOTE":  # no field but the id is promised
            return row
        # The vendor's clock lets a log end a millisecond before it began.
        end = at + timedelta(seconds=self._random.choice([-0.001, 0.5, 41.2]))
        return row | {
            "input": self._random.choice(INPUTS),
            "output": {"success": status == "COMPLETED"} if closed else None,
            "error": "The channel refused the message" if status == "FAILED" else None,
            "parentActionId": self._uuid() if self._random.random() < 0.2 else None,
            "scheduledAt": self._stamp(at) if self._random.random() < 0.5 else None,
            "completedAt": self._stamp(end) if closed else None,
            "tool": {"id": self._uuid()} | TOOL if kind == "TOOL_CALL" else None,
            "messages": [self._message() for _ in range(("MESSAGE" in kind) * self._random.randint(1, 2))],
        }

    def _message(self) -> Row:
        """Returns a message with up to two documents."""
        channel = self._random.choice(["EMAIL", "SMS"])
        files = ["lease.pdf", "Übersicht 2026.xlsx"][: self._random.randint(0, 2)]
        return {
            "id": self._uuid(),
            "channel": channel,
            "direction": self._random.choice(["INBOUND", "OUTBOUND"]),
            "subject": "Finishing up your application" if channel == "EMAIL" else None,
            "body": "Hi,<br><br>two papers are still missing…",
            "documents": [{"id": self._uuid(), "filename": name} | FILE for name in files],
        }

    def _close(self, row: Row) -> None:
        """Closes an open log in place; like at Omni, nothing in it says that it changed."""
        status = OPEN[row["status"]]
        output = {"success": True, "summary": "Done"} if status == "COMPLETED" else row.get("output")
        self.change(row["id"], status=status, completedAt=self._stamp(self.now), output=output)

    def _lead_of(self, log_id: str) -> str:
        return next(lead_id for lead_id, rows in self._logs.items() if log_id in rows)


def _window(query: dict[str, str]) -> tuple[datetime, datetime, tuple[datetime, str]]:
    """Returns `start`, `end` and position of a query to analytics; ValueError for what the page calls invalid."""
    known = {"start", "end", "format", "token"}
    # An unknown parameter is refused, as the vendor documents it; a client must not invent one.
    if query.keys() - known or query.get("format", "json") not in ("json", "csv"):
        raise ValueError
    start, end = _instant(query.get("start", DAWN)), _instant(query.get("end", DUSK))
    if start > end:
        raise ValueError
    at, _, lead_id = b64decode(query["token"]).decode().partition("|") if "token" in query else (DAWN, "", "")
    return start, end, (_instant(at), lead_id)


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _created(lead: Row) -> datetime:
    return instant(lead["createdAt"])


def _figures(logs: list[Row]) -> Row:
    """Returns what analytics say of a lead beyond its own facts: what its logs add up to."""
    messages = [(each, log) for log in logs for each in log.get("messages") or ()]
    sent = [(str(each["channel"]).lower(), str(each["direction"]), log) for each, log in messages]
    traffic = _traffic(sent)
    done = [log for log in logs if log.get("type") == "TOOL_CALL" and log.get("status") == "COMPLETED"]
    edits = sum(log.get("type") == "MANUAL_UPDATE" for log in logs)
    by_source = {"bySource": {"agent": len(done), "imported": 0, "manual": 0, "portal": 0}}
    return {
        "totalMessages": len(sent),
        "inboundMessages": traffic["inbound"],
        "outboundMessages": traffic["outbound"],
        "lastInboundAt": traffic["lastInboundAt"],
        "lastOutboundAt": traffic["lastOutboundAt"],
        "channels": {name: _traffic([each for each in sent if each[0] == name]) for name in ("sms", "email")},
        "completion": {"totalRequired": 8 if logs else 0, "totalCompleted": len(done)} | by_source,
        "interventions": dict.fromkeys(INTERVENTIONS, 0) | {"manualUpdates": edits},
        "checklist": [CHECKED | {"updatedAt": log.get("completedAt")} for log in done],
    }


def _traffic(sent: list[tuple[str, str, Row]]) -> Row:
    """Returns counts and last times of messages, given as (channel, direction, their log)."""
    inward = [str(log.get("createdAt")) for _, way, log in sent if way == "INBOUND"]
    outward = [str(log.get("createdAt")) for _, way, log in sent if way == "OUTBOUND"]
    last = {"lastInboundAt": max(inward, default=None), "lastOutboundAt": max(outward, default=None)}
    return {"inbound": len(inward), "outbound": len(outward)} | last


def _summed(rows: list[Row]) -> Row:
    """Returns the numbers of all rows added up, name by name and level by level, for the first row's names."""
    sums: Row = {}
    for name, first in rows[0].items():
        if isinstance(first, int | dict):
            values = [row[name] for row in rows]
            sums[name] = sum(values) if isinstance(first, int) else _summed(values)
    return sums


def _refuse(status: int) -> httpx.Response:
    # Omni documents its statuses but not the body of an error.
    return json_answer(status, {"error": HTTPStatus(status).phrase})


Fake = OmniFake
