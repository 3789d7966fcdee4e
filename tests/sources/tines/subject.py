"""Tines, as the tests know it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.contract.subject import Row, Subject, columns


def _fill(fake: Any, actions: int, logs: int) -> None:
    """The fake's own `seed` spreads them over the time that the vendor keeps logs, which is longer."""
    ids = [fake.add_action(at=fake.now - timedelta(days=90))["id"] for _ in range(actions)]
    for index in range(logs):
        fake.add_log(ids[index % max(1, actions - 1)], at=fake._before(fake.now, 5 * 24 * 60))


def _standing(fake: Any) -> list[Row]:
    return [
        row | {"action_id": action, "story_id": fake._actions[action]["story_id"]}
        for action, rows in fake._logs.items()
        for row in rows
    ]


SUBJECT = Subject(
    "tines",
    tables={
        "actions": columns(
            number="id story_id team_id group_id user_id logs_count", text="type name description guid",
            flag="disabled", json="schedule sources receivers position _extra",
            time="created_at updated_at last_event_at last_error_log_at last_check_at last_receive_at",
        ),
        "stories": columns(
            number="id user_id team_id folder_id keep_events_for entry_agent_id",
            text="name description guid slug mode send_to_story_access_source send_to_story_access",
            flag="disabled priority send_to_story_enabled send_to_story_skill_use_requires_confirmation published"
            " locked",
            json="tags exit_agents shared_team_slugs _extra",
            time="created_at updated_at edited_at",
        ),
        "action_logs": columns(
            number="id action_id story_id level", text="message", time="created_at", json="inbound_event _extra",
        ),
    },
    text="message",
    time="created_at",
    fill=_fill,
    add=lambda fake, action, **fields: fake.add_log(action, **fields),
    add_parent=lambda fake, **fields: fake.add_action(**fields),
    delete_parent=lambda fake, action: fake.delete_action(action),
    standing=_standing,
    given=("action_id", "story_id"),
    never_kept={"actions": frozenset({"options"})},
    json="inbound_event",
    number=("level",),
    lists=("agents", "action_logs", "stories"),
    next_marks=(("meta", "next_page_number"), ("meta", "next_page")),
    twin="createdAt",
    marks=frozenset({"next_page", "previous_page", "current_page"}),
)  # fmt: skip
