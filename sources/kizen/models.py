"""Kizen's records: activity types, and logged activities with their fields, associations and mentions.

https://developer.kizen.com/api/activities (LogActivityRead). The listings of types and ids are not documented;
they are what the vendor's own code uses.
"""

from __future__ import annotations

from typing import ClassVar

from gapless.sources._schema.record import Instant, Integer, Json, Many, Record, Text


class Activity(Record):
    """A type of activity."""

    id: Text
    name: Text | None = None
    api_name: Text | None = None
    association_mode: Text | None = None
    n_submissions: Integer | None = None
    """How many were logged; an edit does not change it."""


class Reference(Record):
    """A line of the listing of a type's logged activities."""

    time_field: ClassVar[str] = "logged_at"

    id: Text
    logged_at: Instant | None = None


class ActivityObject(Record):
    """The type of a logged activity, as the record repeats it."""

    id: Text | None = None
    name: Text | None = None
    api_name: Text | None = None
    association_mode: Text | None = None


class Employee(Record):
    """A person of the business."""

    id: Text | None = None
    display_name: Text | None = None
    email: Text | None = None


class Field(Record):
    """One field of a logged activity, with its value."""

    id: Text | None = None
    name: Text | None = None
    display_name: Text | None = None
    field_type: Text | None = None
    custom_field_type: Text | None = None
    value: Json | None = None
    """A scalar, a list, {id, code, name}, {value} or a decimal string."""


class AssociatedEntity(Record):
    """A contact, a company or another object that an activity is about; named by one of two fields."""

    object_api_name: Text | None = None
    """The kind of object, such as `client_client`."""
    entity_id: Text | None = None
    display_name: Text | None = None
    name: Text | None = None


class LoggedActivity(Record):
    """One logged activity with all its parts; only what the key's user may see is served."""

    time_field: ClassVar[str] = "logged_at"
    parent_columns: ClassVar[frozenset[str]] = frozenset({"activity_object__id"})

    id: Text
    notes: Text | None = None
    logged_at: Instant
    """When it was created."""
    completed_at: Instant | None = None
    """Only of an activity that was marked as completed."""
    scheduled_activity_id: Text | None = None
    """Null if the activity was not scheduled before it was logged."""
    activity_object: ActivityObject | None = None
    logged_by: Employee | None = None
    completed_by: Employee | None = None
    fields: Many[Field] = []
    associated_entities: Many[AssociatedEntity] = []
    mentions: Many[Text] = []
    """Ids of employees."""
