"""Sequence's records: an activity log, its items, and who did what to what.

https://docs.sequencehq.com/reference (Activity Logs, version 2024-07-30). Beyond ids and the creation time nothing
is required here, although the vendor requires more: a record is too good to lose over a missing name.
"""

from __future__ import annotations

from typing import ClassVar

from gapless.sources._schema.record import CamelRecord, Instant, Json, Many, Text


class Actor(CamelRecord):
    """Who did it, such as a user or an API client."""

    id: Text | None = None
    """Its own id."""
    entity_type: Text | None = None
    """Kind of the entity behind it, such as USER."""
    entity_id: Text | None = None
    """Id of the entity behind it."""
    email: Text | None = None
    """E-mail address."""


class Object(CamelRecord):
    """What it was done to."""

    id: Text | None = None
    """Its own id."""
    entity_type: Text | None = None
    """Kind of the entity behind it, such as INVOICE or SEQUENCE_USER."""
    entity_id: Text | None = None
    """Id of the entity behind it."""


class Target(Object):
    """Whom or what it concerns beside the object."""


class ActivityLogItem(CamelRecord):
    """One thing that happened, as part of a log."""

    id: Text | None = None
    """Id of the item."""
    activity_log_id: Text | None = None
    """Id of a log; need not be that of the log which holds the item."""
    verb: Text | None = None
    """What was done; an open list, such as CREATED."""
    name: Text | None = None
    """Name of what happened, such as `Invoice Created`."""
    summary: Text | None = None
    """What happened, in a sentence."""
    reason: Text | None = None
    """Why it happened, if the vendor says so."""
    metadata: Json | None = None
    """More about it: the documents leave its type open, so every JSON shape occurs."""
    activity_log_actor: Actor | None = None
    activity_log_object: Object | None = None
    activity_log_target: Target | None = None


class ActivityLog(CamelRecord):
    """What happened together, with one item for each thing."""

    account_columns: ClassVar[frozenset[str]] = frozenset({"sequence_account_id"})

    id: Text
    """Id of the log."""
    sequence_account_id: Text | None = None
    """Id of the account at Sequence that the log belongs to."""
    activity_type: Text | None = None
    """Kind of activity, such as NOTIFICATION."""
    api_version: Text | None = None
    """Version of the vendor's API, such as V1."""
    origin: Text | None = None
    """Where it was done: API, DASHBOARD and others."""
    trace_id: Text | None = None
    """Id of the trace at Sequence."""
    created_at: Instant
    """When the log was created."""
    activity_log_items: Many[ActivityLogItem] = []
