"""Omni's records: leads, and the action logs of a lead with their messages and documents.

https://docs.getomni.ai (Get Lead Action Logs, Get Analytics). Every field but an id may be absent.
"""

from __future__ import annotations

from typing import ClassVar

from gapless.sources._schema.record import CamelRecord, Instant, Integer, Json, Many, Text


class Lead(CamelRecord):
    """A lead: one line of the analytics' breakdown."""

    id_field: ClassVar[str] = "lead_id"

    lead_id: Text
    first_name: Text | None = None
    last_name: Text | None = None
    email: Text | None = None
    phone_number: Text | None = None
    created_at: Instant | None = None
    completed_at: Instant | None = None
    opted_out_at: Instant | None = None
    """When the lead asked not to be contacted any more; null if never."""
    total_messages: Integer | None = None
    """Figures over the whole history of the lead, as the analytics say them."""
    inbound_messages: Integer | None = None
    outbound_messages: Integer | None = None
    last_inbound_at: Instant | None = None
    last_outbound_at: Instant | None = None
    # Figures by channel and by source, whose names the vendor may add to: kept whole.
    channels: Json | None = None
    completion: Json | None = None
    interventions: Json | None = None
    checklist: Json | None = None


class Tool(CamelRecord):
    """The tool of a log that is a call of one."""

    id: Text | None = None
    name: Text | None = None
    description: Text | None = None


class Document(CamelRecord):
    """A file of a message."""

    id: Text | None = None
    filename: Text | None = None
    mime_type: Text | None = None
    size: Integer | None = None
    """Bytes."""


class Message(CamelRecord):
    """A message that a log sent or received."""

    id: Text | None = None
    channel: Text | None = None
    """EMAIL or SMS in the documents."""
    direction: Text | None = None
    """INBOUND or OUTBOUND."""
    subject: Text | None = None
    body: Text | None = None
    documents: Many[Document] = []


class ActionLog(CamelRecord):
    """One action in the history of a lead. Types and statuses are open lists, so both are plain text."""

    parent_columns: ClassVar[frozenset[str]] = frozenset({"lead_id"})

    id: Text
    lead_id: Text
    """The lead whose history holds it; not in the vendor's row."""
    type: Text | None = None
    status: Text | None = None
    """PENDING and AWAITING_APPROVAL change later, without a time of change."""
    summary: Text | None = None
    # Their structure depends on the type, so they are kept whole.
    input: Json | None = None
    output: Json | None = None
    error: Text | None = None
    parent_action_id: Text | None = None
    """The action that triggered this one."""
    scheduled_at: Instant | None = None
    """For an action of the future."""
    created_at: Instant | None = None
    completed_at: Instant | None = None
    """Can be a millisecond before `created_at`: the vendor's clock."""
    tool: Tool | None = None
    messages: Many[Message] = []
