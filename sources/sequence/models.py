"""Sequence's records: an activity log, its items, and who did what to what.

https://docs.sequencehq.com/reference (Activity Logs, version 2024-07-30). Beyond ids and the creation time nothing
is required here, although the vendor requires more: a record is too good to lose over a missing name.
"""

from __future__ import annotations

from gapless.sources._schema.record import CamelRecord, Instant, Json, Many, Text


class Actor(CamelRecord):
    """Who did it, such as a user or an API client."""

    id: Text | None = None
    entity_type: Text | None = None
    entity_id: Text | None = None
    email: Text | None = None


class Object(CamelRecord):
    """What it was done to."""

    id: Text | None = None
    entity_type: Text | None = None
    entity_id: Text | None = None


class Target(Object):
    """Whom or what it concerns beside the object; it has the same fields."""


class ActivityLogItem(CamelRecord):
    """One thing that happened, as part of a log."""

    id: Text | None = None
    activity_log_id: Text | None = None
    """Need not be the id of the log that holds the item."""
    verb: Text | None = None
    """An open list, such as CREATED."""
    name: Text | None = None
    summary: Text | None = None
    reason: Text | None = None
    # The documents leave its type open, so every JSON shape occurs.
    metadata: Json | None = None
    activity_log_actor: Actor | None = None
    activity_log_object: Object | None = None
    activity_log_target: Target | None = None


class ActivityLog(CamelRecord):
    """What happened together, with one item for each thing."""

    id: Text
    sequence_account_id: Text | None = None
    activity_type: Text | None = None
    api_version: Text | None = None
    origin: Text | None = None
    """Where it was done: API, DASHBOARD and others."""
    trace_id: Text | None = None
    created_at: Instant
    activity_log_items: Many[ActivityLogItem] = []
