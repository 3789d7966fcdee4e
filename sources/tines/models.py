"""Tines' records: stories, their actions, and the logs of an action.

https://www.tines.com/docs/api/stories/actions/list-logs/, https://www.tines.com/api/actions/list/
and https://www.tines.com/docs/api/stories/list/.
"""

from __future__ import annotations

from typing import ClassVar

from gapless.sources._schema.record import Flag, Instant, Integer, Json, Record, Text


class Story(Record):
    """One story: a workflow of actions."""

    account_columns: ClassVar[frozenset[str]] = frozenset({"guid"})

    id: Integer
    """Id of the story."""
    name: Text | None = None
    """Name of the story."""
    description: Text | None = None
    """What a user wrote about the story."""
    user_id: Integer | None = None
    """Id of the user who made the story."""
    team_id: Integer | None = None
    """Id of the team that the story belongs to."""
    folder_id: Integer | None = None
    """Id of the folder that the story is in."""
    guid: Text | None = None
    """Globally unique id of the story."""
    slug: Text | None = None
    """Name of the story with underscores."""
    mode: Text | None = None
    """Mode of the story; only LIVE ones are listed."""
    disabled: Flag | None = None
    """Whether the story is disabled."""
    priority: Flag | None = None
    """Whether the story has high priority."""
    keep_events_for: Integer | None = None
    """Seconds for which the story's events are kept at the vendor."""
    tags: Json | None = None
    """Words by which the story is found, as a list."""
    entry_agent_id: Integer | None = None
    """Id of the action that other stories send to."""
    exit_agents: Json | None = None
    """Actions that end the story, as a list of objects."""
    send_to_story_enabled: Flag | None = None
    """Whether other stories can send to it."""
    send_to_story_access_source: Text | None = None
    """From where it can be sent to: STS, STS_AND_WORKBENCH, WORKBENCH or OFF."""
    send_to_story_access: Text | None = None
    """Who can send to it: TEAM, GLOBAL or SPECIFIC_TEAMS."""
    send_to_story_skill_use_requires_confirmation: Flag | None = None
    """Whether the workbench asks before it runs the story."""
    shared_team_slugs: Json | None = None
    """Teams that can send to it, as a list, if only some can."""
    published: Flag | None = None
    """Whether the story is published."""
    locked: Flag | None = None
    """Whether the story is locked."""
    created_at: Instant | None = None
    """When the story was created."""
    updated_at: Instant | None = None
    """When the story's row at the vendor was last updated."""
    edited_at: Instant | None = None
    """When somebody last edited the story."""


class Action(Record):
    """One action of a story; its settings (`options`) are never stored."""

    account_columns: ClassVar[frozenset[str]] = frozenset({"guid"})

    id: Integer
    """Id of the action."""
    type: Text | None = None
    """Kind of action, such as Agents::HTTPRequestAgent."""
    name: Text | None = None
    """Name of the action."""
    description: Text | None = None
    """What a user wrote about the action."""
    story_id: Integer | None = None
    """Id of the story that the action belongs to."""
    team_id: Integer | None = None
    """Id of the team that the action belongs to."""
    group_id: Integer | None = None
    """Id of the group that the action belongs to."""
    user_id: Integer | None = None
    """Id of the user who owns the action."""
    guid: Text | None = None
    """Globally unique id of the action."""
    disabled: Flag | None = None
    """Whether the action is disabled."""
    schedule: Json | None = None
    """When the action runs, as cron; null for one that runs when an event arrives."""
    created_at: Instant | None = None
    """When the action was created."""
    updated_at: Instant | None = None
    """When the action was last updated."""
    last_event_at: Instant | None = None
    """When the last event was received; the vendor documents `last_receive_at` in the same words."""
    last_error_log_at: Instant | None = None
    """When the action last failed."""
    last_check_at: Instant | None = None
    """When the action last ran by its schedule."""
    last_receive_at: Instant | None = None
    """When the last event was received."""
    logs_count: Integer | None = None
    """Logs that are still stored."""
    sources: Json | None = None
    """Ids of the actions whose events this one receives."""
    receivers: Json | None = None
    """Ids of the actions that receive its events."""
    position: Json | None = None
    """Where the action stands in the diagram of its story: x and y."""

    excluded_fields: ClassVar[frozenset[str]] = frozenset({"options"})
    """`options` may hold secrets, so it is dropped first of all."""


class ActionLog(Record):
    """One log of an action. It never changes, and it is deleted at Tines after the time of retention."""

    parent_columns: ClassVar[frozenset[str]] = frozenset({"action_id", "story_id"})

    id: Integer
    """Id of the log; newer logs have higher ones."""
    action_id: Integer
    """Id of the action, which is not in the vendor's row."""
    story_id: Integer | None = None
    """Id of the action's story, which is not in the vendor's row."""
    level: Integer | None = None
    """Severity: 2 warning, 3 info, 4 error."""
    message: Text | None = None
    """Text of the log."""
    created_at: Instant
    """When the log was created; whole seconds."""
    inbound_event: Json | None = None
    """The event that started the action, of any JSON shape; null if it started its run."""
