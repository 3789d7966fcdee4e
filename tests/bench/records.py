"""The work: Sequence logs of about 2.3 KB with three items each, and Omni leads with their action logs, as bytes.

The same seed makes the same bytes, so every contender reads and every check expects the same. What was written is
digested while it is written: `Truth` is held against what a contender loaded, never against another contender.
The shapes are the vendors' (tests/samples, sources/*/models.py); no server and no clock may enter.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any

import msgspec

Row = dict[str, Any]

NEWEST = datetime(2026, 1, 1, tzinfo=UTC)
"""Of the history; in the past, as a time yet to come proves nothing to a careful reader."""
SPACING = timedelta(seconds=60)
"""Between two Sequence logs: an hour of look-back is 60 of them, less than a page."""


@dataclass
class Truth:
    """Counts and checksums of what the vendor serves; `asked.py` works out the same in DuckDB."""

    logs: int = 0
    items: int = 0
    log_sum: int = 0
    """Over (id, createdAt in milliseconds, trace id or summary)."""
    item_sum: int = 0
    """Over (id, a text, another text)."""

    def log(self, *values: object) -> None:
        self.logs += 1
        self.log_sum += fingerprint(*values)

    def item(self, *values: object) -> None:
        self.items += 1
        self.item_sum += fingerprint(*values)

    def to_json(self) -> dict[str, int]:
        return asdict(self)


def fingerprint(*values: object) -> int:
    return int(md5("|".join(map(str, values)).encode(), usedforsecurity=False).hexdigest()[:12], 16)


def sequence_logs(count: int, truth: Truth, *, newer: int = 0, seed: int = 1) -> Iterator[bytes]:
    """`count` logs as JSON, newest first: the last of history at NEWEST, or the `newer` ones after it."""
    chance = random.Random(f"{seed} sequence {newer}")
    uuid, account = _uuids(chance), str(seed)
    for index in range(count):
        at = NEWEST + SPACING * (newer - index)
        log = _sequence_log(chance, uuid, at, account, index)
        truth.log(log["id"], int(at.timestamp() * 1000), log["traceId"])
        for item in log["activityLogItems"]:
            truth.item(item["id"], item["summary"], item["activityLogActor"]["email"])
        yield msgspec.json.encode(log)


def _sequence_log(chance: random.Random, uuid: Callable[[], str], at: datetime, account: str, index: int) -> Row:
    return {
        "id": uuid(),
        "sequenceAccountId": account,
        "activityType": "NOTIFICATION",
        "apiVersion": "V1",
        "origin": "API",
        "traceId": f"{chance.getrandbits(128):032x}",
        "createdAt": _stamp(at),
        "activityLogItems": [_sequence_item(chance, uuid, index) for _ in range(3)],
    }


def _sequence_item(chance: random.Random, uuid: Callable[[], str], index: int) -> Row:
    email = f"user{index % 100}@example.com"
    return {
        "id": uuid(),
        "activityLogId": uuid(),
        "verb": "CREATED",
        "name": "Invoice Created",
        "summary": f"A new invoice was created for customer {index}",
        "reason": "New billing cycle started",
        "metadata": [{"key": "amount", "value": chance.random() * 1000}, {"key": "currency", "value": "GBP"}],
        "activityLogActor": {"id": uuid(), "entityType": "USER", "entityId": uuid(), "email": email},
        "activityLogObject": {"id": uuid(), "entityType": "INVOICE", "entityId": uuid()},
        "activityLogTarget": {"id": uuid(), "entityType": "SEQUENCE_USER", "entityId": uuid()},
    }


def omni_leads(count: int, *, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """Each lead's id, and its line of the analytics' breakdown as JSON."""
    chance = random.Random(f"{seed} leads")
    uuid = _uuids(chance)
    for index in range(count):
        lead = {
            "leadId": uuid(),
            "firstName": "Ada",
            "lastName": "Lind",
            "email": f"lead{index}@example.com",
            "phoneNumber": "+15550000000",
            "createdAt": _stamp(NEWEST - SPACING * (count - index)),
            "completedAt": None,
            "optedOutAt": None,
            "totalMessages": 2,
            "channels": {"sms": {"inbound": 1, "outbound": 1}},
            "completion": {"totalRequired": 8, "totalCompleted": 1},
            "checklist": [{"code": "ein", "required": True, "status": "COMPLETED"}],
        }
        yield lead["leadId"], msgspec.json.encode(lead)


def omni_logs(count: int, truth: Truth, *, newer: bool = False, seed: int = 1) -> Iterator[bytes]:
    """`count` action logs as JSON, every one closed, with a message and what the agent said and did."""
    chance = random.Random(f"{seed} omni {newer}")
    uuid = _uuids(chance)
    for index in range(count):
        at = NEWEST + timedelta(seconds=index * 10 if newer else -index * 10)
        log, message = _omni_log(chance, uuid, at, index)
        truth.log(log["id"], int(at.timestamp() * 1000), log["summary"])
        truth.item(message["id"], message["subject"], message["body"])
        yield msgspec.json.encode(log)


def _omni_log(chance: random.Random, uuid: Callable[[], str], at: datetime, index: int) -> tuple[Row, Row]:
    message = {
        "id": uuid(),
        "channel": "EMAIL",
        "direction": "OUTBOUND",
        "subject": "Finishing up your application",
        "body": f"Hi, paper {index} is still missing. Please send it when you can. " * 4,
        "documents": [{"id": uuid(), "filename": "lease.pdf", "mimeType": "application/pdf", "size": 48213}],
    }
    log = {
        "id": uuid(),
        "type": "MESSAGE",
        "status": "COMPLETED",
        "summary": f"Message {index} was sent",
        "input": {"note": "Called back", "fields": [{"code": "ein", "to": chance.random()}]},
        "output": {"success": True},
        "error": None,
        "parentActionId": None,
        "scheduledAt": _stamp(at),
        "createdAt": _stamp(at),
        "completedAt": _stamp(at + timedelta(seconds=2)),
        "tool": {"id": uuid(), "name": "update-checklist-item", "description": "Update a checklist item"},
        "messages": [message],
    }
    return log, message


def _uuids(chance: random.Random) -> Callable[[], str]:
    def uuid() -> str:
        digits = f"{chance.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"

    return uuid


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
