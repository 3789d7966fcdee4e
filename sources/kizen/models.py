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
    """Id of the type."""
    name: Text | None = None
    """Name of the type, such as a call or a meeting."""
    api_name: Text | None = None
    """Name of the type in the vendor's API."""
    association_mode: Text | None = None
    """How the type is associated with other objects, in the vendor's words."""
    n_submissions: Integer | None = None
    """How many were logged; an edit does not change it."""


class Reference(Record):
    """A line of the listing of a type's logged activities."""

    time_field: ClassVar[str] = "logged_at"

    id: Text
    """Id of the logged activity."""
    logged_at: Instant | None = None
    """When it was created."""


class ActivityObject(Record):
    """The type of the activity, as the record repeats it."""

    id: Text | None = None
    """Id of the type, as in the table of types."""
    name: Text | None = None
    """Name of the type."""
    api_name: Text | None = None
    """Name of the type in the vendor's API."""
    association_mode: Text | None = None
    """How the type is associated with other objects, in the vendor's words."""


class Employee(Record):
    """A person of the business."""

    id: Text | None = None
    """Id of the person."""
    display_name: Text | None = None
    """Name of the person, as it is shown."""
    email: Text | None = None
    """E-mail address."""


class Field(Record):
    """A field of a logged activity, with its value."""

    id: Text | None = None
    """Id of the field."""
    name: Text | None = None
    """Name of the field."""
    display_name: Text | None = None
    """Name of the field, as it is shown."""
    field_type: Text | None = None
    """Kind of field."""
    custom_field_type: Text | None = None
    """Kind of custom field; null for other fields."""
    value: Json | None = None
    """Value: a scalar, a list, {id, code, name}, {value} or a decimal string."""


class AssociatedEntity(Record):
    """A contact, a company or another object that an activity is about; named by one of two fields."""

    object_api_name: Text | None = None
    """Kind of object, such as `client_client`."""
    entity_id: Text | None = None
    """Id of the contact, company or other object."""
    display_name: Text | None = None
    """Its name, as it is shown; some kinds have `name` instead."""
    name: Text | None = None
    """Its name; some kinds have `display_name` instead."""


class LoggedActivity(Record):
    """One logged activity with all its parts; only what the key's user may see is served."""

    time_field: ClassVar[str] = "logged_at"
    parent_columns: ClassVar[frozenset[str]] = frozenset({"activity_object__id"})

    id: Text
    """Id of the logged activity."""
    notes: Text | None = None
    """Notes on the activity."""
    logged_at: Instant
    """When it was created."""
    completed_at: Instant | None = None
    """When it was completed; only of an activity that was marked as completed."""
    scheduled_activity_id: Text | None = None
    """Id of the activity as it was scheduled; null if it was not scheduled before it was logged."""
    activity_object: ActivityObject | None = None
    logged_by: Employee | None = None
    """The person who logged it."""
    completed_by: Employee | None = None
    """The person who completed it."""
    fields: Many[Field] = []
    associated_entities: Many[AssociatedEntity] = []
    mentions: Many[Text] = []
    """Id of an employee who is mentioned."""
