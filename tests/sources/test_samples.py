"""The fakes are held to the vendors' own samples.

Samples stand as the vendors print them, names replaced. Kizen prints schemas and Tines' list of actions a
field list, so those samples are built from them; so are the checklist and the figures below a lead in Omni's
analytics.
"""

from __future__ import annotations

from typing import Any

import pytest

from gapless.sources.kizen.fake import KizenFake
from gapless.sources.omni.fake import OmniFake
from gapless.sources.sequence.fake import SequenceFake
from gapless.sources.tines.fake import TinesFake
from tests.sources.plain_reading import (
    client,
    kizen_logged,
    omni_leads,
    sample,
)


def kinds(value: Any, path: str = "", opaque: frozenset[str] = frozenset()) -> set[tuple[str, str]]:
    """Every (path, JSON kind) in a value; below an opaque path any shape is right."""
    if path in opaque:
        return {(path, "any")}
    if isinstance(value, dict):
        inner = (kinds(each, f"{path}.{name}", opaque) for name, each in value.items())
        return {(path, "object")}.union(*inner)
    if isinstance(value, list):
        return {(path, "array")}.union(*(kinds(each, f"{path}[]", opaque) for each in value))
    name = {bool: "boolean", int: "number", float: "number", str: "string", type(None): "null"}[type(value)]
    return {(path, name)}


# endpoint -> paths whose shape the vendor leaves open
OPAQUE = {
    "omni/get_lead_action_logs": {"[].input", "[].output"},
    "omni/get_analytics": set(),
    "sequence/list_activity_logs": {".items[].activityLogItems[].metadata"},
    "sequence/get_activity_log": {".activityLogItems[].metadata"},
    "kizen/list_activities": set(),
    "kizen/list_responses": set(),
    "kizen/get_logged_activity": {".fields[].value"},
    "tines/list_actions": {".agents[].options"},
    "tines/list_stories": set(),
    "tines/list_logs": {".action_logs[].inbound_event"},
}


# path -> the other kind its documentation allows, where the sample shows only one
OTHERWISE = {
    "omni/get_lead_action_logs": {
        "[].error": "string",
        "[].parentActionId": "string",
        "[].scheduledAt": "null",
        "[].completedAt": "null",
        "[].tool": "null",
        "[].messages[].subject": "null",
    },
    "omni/get_analytics": {
        ".start": "null",
        ".end": "null",
        ".nextToken": "string",
        ".breakdown[].completedAt": "null",
        ".breakdown[].optedOutAt": "string",
        ".breakdown[].lastInboundAt": "null",
        ".breakdown[].lastOutboundAt": "null",
        ".breakdown[].channels.sms.lastInboundAt": "null",
        ".breakdown[].channels.sms.lastOutboundAt": "null",
        ".breakdown[].channels.email.lastInboundAt": "null",
        ".breakdown[].channels.email.lastOutboundAt": "null",
    },
    "kizen/list_responses": {".next": "string", ".previous": "string"},
    "kizen/get_logged_activity": {
        ".completed_at": "null",
        ".completed_by": "null",
        ".scheduled_activity_id": "null",
    },
    "tines/list_actions": {
        ".agents[].schedule": "null",
        ".agents[].description": "null",
        ".agents[].last_check_at": "string",
        ".agents[].last_event_at": "null",
        ".agents[].last_error_log_at": "string",
    },
    "tines/list_stories": {".stories[].description": "string"},
    "tines/list_logs": {
        ".meta.next_page": "string",
        ".meta.next_page_number": "number",
        ".meta.previous_page": "string",
    },
}


# what the sample cannot show because its list is empty, by the page's field list
BEYOND = {
    "omni/get_lead_action_logs": {"[].messages[].documents[]"},
}


def omni_answers() -> dict[str, list[Any]]:
    fake = OmniFake.demo()
    http, ids = client(fake), [lead["leadId"] for lead in omni_leads(fake)]
    urls = ["/api/v0/analytics", "/api/v0/analytics?start=2026-01-01&end=2027-01-01"]
    return {
        "omni/get_analytics": [http.get(url).json() for url in urls],
        "omni/get_lead_action_logs": [http.get(f"/api/v1/leads/{each}/action-logs").json() for each in ids],
    }


def sequence_answers() -> dict[str, list[Any]]:
    http = client(SequenceFake.demo())
    first = http.get("/api/activity-logs?limit=100").json()
    after = {"limit": "100", "after": first["pagination"]["after"]}
    return {
        "sequence/list_activity_logs": [first, http.get("/api/activity-logs", params=after).json()],
        "sequence/get_activity_log": [http.get(f"/api/activity-logs/{row['id']}").json() for row in first["items"]],
    }


def kizen_answers() -> dict[str, list[Any]]:
    fake = KizenFake.demo()
    http, url = client(fake), "/api/activities/discovery_call/responses"
    return {
        "kizen/list_activities": [http.get("/api/activities").json()],
        "kizen/list_responses": [http.post(f"{url}?page={page}", json={}).json() for page in (1, 2)],
        "kizen/get_logged_activity": kizen_logged(fake),
    }


def tines_answers() -> dict[str, list[Any]]:
    http = client(TinesFake.demo())
    actions = http.get("/api/v1/actions").json()
    urls = [f"/api/v1/actions/{each['id']}/logs" for each in actions["agents"]]
    return {
        "tines/list_actions": [actions],
        "tines/list_stories": [http.get("/api/v1/stories").json()],
        "tines/list_logs": [http.get(f"{url}?page={page}").json() for url in urls for page in (1, 2)],
    }


ANSWERS = {
    "omni": omni_answers,
    "sequence": sequence_answers,
    "kizen": kizen_answers,
    "tines": tines_answers,
}


@pytest.mark.parametrize("name", OPAQUE)
def test_a_fake_has_the_keys_and_kinds_of_the_vendors_sample(name: str) -> None:
    """Every key of the sample is served with its JSON kind, and no key or kind beyond the documents."""
    opaque = frozenset(OPAQUE[name])
    shown = kinds(sample(name), "", opaque)
    allowed = shown | set(OTHERWISE.get(name, {}).items())
    served = set[tuple[str, str]]().union(
        *(kinds(answer, "", opaque) for answer in ANSWERS[name.partition("/")[0]]()[name])
    )
    beyond = tuple(BEYOND.get(name, ()))
    strange = {each for each in served - allowed if not (beyond and each[0].startswith(beyond))}
    assert strange == set()
    assert {path for path, _ in shown} <= {path for path, _ in served}


def test_an_omni_document_has_the_fields_of_the_page() -> None:
    """The sample shows no attached document, so the page's field list is the measure."""
    logs = [log for log in OmniFake.demo().truth()["action_logs"] if log.get("messages")]
    documents = [each for log in logs for message in log["messages"] for each in message["documents"]]
    expected = {
        ("", "object"),
        (".id", "string"),
        (".filename", "string"),
        (".mimeType", "string"),
        (".size", "number"),
    }
    assert documents
    assert set().union(*(kinds(each) for each in documents)) == expected
