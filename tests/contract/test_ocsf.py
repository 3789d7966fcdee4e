"""`activity.ocsf`: each source's records are events that the published schema of OCSF knows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.subject import Subject
from tests.support.ocsf import event, problems, schema
from tests.support.world import World

GOOD: dict[str, Any] = {
    "class_uid": 3004, "class_name": "Entity Management", "category_uid": 3, "type_uid": 300403, "activity_id": 3,
    "activity_name": "Update", "time": 1, "severity_id": 1, "status_id": 99, "status": "PENDING", "entity__uid": "1",
    "metadata__version": "1.8.0", "metadata__product__name": "x", "actor__app_name": "x", "account": "not OCSF's",
    "status_detail": None,
}  # fmt: skip


@pytest.mark.slow
def test_every_record_is_an_event(subject: Subject, synced: World) -> None:
    """One for each row of the timeline that has a time, with what its class requires and numbers that it knows."""
    with synced._open() as db:
        cursor = db.execute("select * from activity.ocsf")
        names = [column[0] for column in cursor.description]
        events = [event(dict(zip(names, row, strict=True))) for row in cursor.fetchall()]
        ((rows,),) = db.execute("select count(*) from activity.timeline where occurred_at is not null").fetchall()
    wrong = {problem for one in events for problem in problems(one)}
    assert (wrong, len(events)) == (set(), rows)
    assert rows > 0
    assert len({one["metadata"]["uid"] for one in events}) == rows
    assert {one["metadata"]["version"] for one in events} == {schema()["version"]}


def test_a_good_event_is_good() -> None:
    assert problems(event(GOOD)) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"time": None}, "time is required"),
        ({"entity__uid": None}, "entity is required"),
        ({"entity__uid": None, "entity__type": "lead"}, "entity.: one of"),
        ({"metadata__product__name": None}, "metadata.product is required"),
        ({"activity_id": 42}, "activity_id: 42 is not one of"),
        ({"type_uid": 1}, "type_uid"),
        ({"severity_id": 7}, "severity_id: 7 is not one of"),
        ({"api__operation": "x"}, "api is no attribute"),
        ({"class_uid": 4711}, "class_uid: 4711 is no class"),
        ({"category_uid": 6}, "category_uid"),
        ({"activity_name": "Create"}, "activity_id 3 is not 'Create'"),
        ({"status_id": 1}, "status_id 1 is not 'PENDING'"),
        ({"status": None}, "status_id 99 is not None"),
        ({"message": 7}, "message: 7 is no string_t"),
    ],
)
def test_a_bad_event_is_found(change: dict[str, Any], problem: str) -> None:
    """The check above can fail."""
    found = problems(event({**GOOD, **change}))
    assert any(one.startswith(problem) for one in found), found
