"""Tines' records: actions, and the logs of an action.

https://www.tines.com/docs/api/stories/actions/list-logs/ and https://www.tines.com/api/actions/list/.
"""

from __future__ import annotations

from typing import ClassVar

from gapless.sources._schema.record import Flag, Instant, Integer, Json, Record, Text


class Action(Record):
    """One action of a story; its settings (`options`) are never stored."""

    id: Integer
    type: Text | None = None
    name: Text | None = None
    description: Text | None = None
    story_id: Integer | None = None
    team_id: Integer | None = None
    group_id: Integer | None = None
    user_id: Integer | None = None
    guid: Text | None = None
    disabled: Flag | None = None
    schedule: Json | None = None
    """Null for an action that runs when an event arrives."""
    created_at: Instant | None = None
    updated_at: Instant | None = None
    last_event_at: Instant | None = None
    last_error_log_at: Instant | None = None
    last_check_at: Instant | None = None
    last_receive_at: Instant | None = None
    logs_count: Integer | None = None
    """Logs that are still stored."""
    sources: Json | None = None
    """Ids of the actions before this one."""
    receivers: Json | None = None
    """Ids of the actions after this one."""
    position: Json | None = None

    excluded_fields: ClassVar[frozenset[str]] = frozenset({"options"})
    """`options` may hold secrets, so it is dropped first of all."""


class ActionLog(Record):
    """One log of an action. It never changes, and it is deleted at Tines after the time of retention."""

    parent_columns: ClassVar[frozenset[str]] = frozenset({"action_id", "story_id"})

    id: Integer
    action_id: Integer
    """The action is not in the vendor's row, and neither is the story."""
    story_id: Integer | None = None
    level: Integer | None = None
    """2 warning, 3 info, 4 error."""
    message: Text | None = None
    created_at: Instant
    inbound_event: Json | None = None
    """The event that started the action, of any JSON shape; null if it started its run."""
