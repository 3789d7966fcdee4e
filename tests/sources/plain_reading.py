"""Reads the fakes in the plain way that the vendors' pages describe, without our client and without sockets."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx2 as httpx

from gapless.sources.kizen.fake import KizenFake
from gapless.sources.omni.fake import OmniFake
from gapless.sources.sequence.fake import SequenceFake
from gapless.sources.tines.fake import TinesFake

Fake = OmniFake | SequenceFake | KizenFake | TinesFake


Row = dict[str, Any]


SAMPLES = Path(__file__).parents[1] / "samples"


HEADERS: dict[type[Fake], dict[str, str]] = {
    OmniFake: {"x-api-key": "demo-key"},
    SequenceFake: {"authorization": "Basic ZGVtby1pZDpkZW1vLXNlY3JldA==", "sequence-version": "2024-07-30"},
    KizenFake: {"x-api-key": "demo-key", "x-business-id": "demo-business", "x-user-id": "demo-user"},
    TinesFake: {"authorization": "Bearer demo-key"},
}


FIRST = {
    OmniFake: "/api/v0/analytics",
    SequenceFake: "/api/activity-logs",
    KizenFake: "/api/activities",
    TinesFake: "/api/v1/actions",
}


FAKES = list(HEADERS)


TIMES = {OmniFake: ["createdAt"], SequenceFake: ["createdAt"], KizenFake: ["logged_at"], TinesFake: ["created_at"]}


def client(fake: Fake, **headers: str) -> httpx.Client:
    known = HEADERS[type(fake)] | {name.replace("_", "-"): value for name, value in headers.items()}
    transport = httpx.MockTransport(fake.handle)
    return httpx.Client(transport=transport, base_url="https://vendor.test", headers=known)


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_text())


def omni_leads(fake: OmniFake) -> list[Row]:
    http, rows = client(fake), []
    params: dict[str, str] = {}
    while True:
        page = http.get("/api/v0/analytics", params=params).json()
        rows += page["breakdown"]
        if page["nextToken"] is None:
            return rows
        params = {"token": page["nextToken"]}


def omni_logs(fake: OmniFake) -> list[Row]:
    http, rows = client(fake), []
    for lead in omni_leads(fake):
        answer = http.get(f"/api/v1/leads/{lead['leadId']}/action-logs").json()
        logs = answer["actionLogs"] if isinstance(answer, dict) else answer
        rows += [log | {"leadId": lead["leadId"]} for log in logs]
    return rows


def sequence_logs(fake: SequenceFake, **params: str) -> list[Row]:
    http, rows = client(fake), []
    while True:
        page = http.get("/api/activity-logs", params={"limit": "100", **params}).json()
        rows += page["items"]
        if not page["pagination"].get("after"):
            return rows
        params["after"] = page["pagination"]["after"]


def kizen_logged(fake: KizenFake) -> list[Row]:
    http, ids = client(fake), []
    for kind in http.get("/api/activities", params={"page_size": "1000"}).json()["results"]:
        url = f"/api/activities/{kind['id']}/responses"
        while url:
            page = http.post(url, json={}).json()
            ids += [row["id"] for row in page["results"]]
            url = page["next"]
    return [http.get(f"/api/activities/logged/{each}").json() for each in ids]


def tines_logs(fake: TinesFake) -> list[Row]:
    http, rows = client(fake), []
    for action in http.get("/api/v1/actions", params={"per_page": "500"}).json()["agents"]:
        url = f"/api/v1/actions/{action['id']}/logs?per_page=500"
        while url:
            page = http.get(url).json()
            added = {"action_id": action["id"], "story_id": action["story_id"]}
            rows += [row | added for row in page["action_logs"]]
            url = page["meta"]["next_page"]
    return rows


READ: dict[type[Fake], tuple[Any, str]] = {
    OmniFake: (omni_logs, "action_logs"),
    SequenceFake: (sequence_logs, "activity_logs"),
    KizenFake: (kizen_logged, "logged_activities"),
    TinesFake: (tines_logs, "action_logs"),
}


def by_id(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: str(row["id"]))


def same_rows(fake: Fake) -> bool:
    read, table = READ[type(fake)]
    return by_id(read(fake)) == by_id(fake.truth()[table])
