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
    """Id of the lead."""
    first_name: Text | None = None
    """First name."""
    last_name: Text | None = None
    """Last name."""
    email: Text | None = None
    """E-mail address."""
    phone_number: Text | None = None
    """Phone number, such as +15551234567."""
    created_at: Instant | None = None
    """When the lead was created."""
    completed_at: Instant | None = None
    """When the lead was completed; null: not yet."""
    opted_out_at: Instant | None = None
    """When the lead asked not to be contacted any more; null if never."""
    total_messages: Integer | None = None
    """Messages in both directions, over the whole history of the lead, as the analytics count them."""
    inbound_messages: Integer | None = None
    """Messages that the lead sent, over its whole history."""
    outbound_messages: Integer | None = None
    """Messages that were sent to the lead, over its whole history."""
    last_inbound_at: Instant | None = None
    """When the lead last sent a message."""
    last_outbound_at: Instant | None = None
    """When a message was last sent to the lead."""
    # Kept whole: the vendor may add channels, sources and kinds.
    channels: Json | None = None
    """Messages in each direction and the times of the last ones, by channel (sms, email)."""
    completion: Json | None = None
    """How many checklist items are required and completed, and by which source."""
    interventions: Json | None = None
    """How often people stepped in, by kind, such as escalations and messageEdits."""
    checklist: Json | None = None
    """Items of the checklist, each with code, required, status, value, updatedAt and source."""


class Tool(CamelRecord):
    """The tool, if the log is a call of one."""

    id: Text | None = None
    """Id of the tool."""
    name: Text | None = None
    """Name of the tool, such as update-checklist-item."""
    description: Text | None = None
    """What the tool does."""


class Document(CamelRecord):
    """A file that is attached to a message."""

    id: Text | None = None
    """Id of the document."""
    filename: Text | None = None
    """Name of the file."""
    mime_type: Text | None = None
    """MIME type, such as application/pdf."""
    size: Integer | None = None
    """Size in bytes."""


class Message(CamelRecord):
    """A message that a log sent or received."""

    id: Text | None = None
    """Id of the message."""
    channel: Text | None = None
    """Channel: EMAIL or SMS in the documents."""
    direction: Text | None = None
    """INBOUND (from the lead) or OUTBOUND."""
    subject: Text | None = None
    """Subject of an e-mail."""
    body: Text | None = None
    """Text of the message; an e-mail's may hold HTML."""
    documents: Many[Document] = []


class ActionLog(CamelRecord):
    """One action in the history of a lead. Types and statuses are open lists, so both are plain text."""

    parent_columns: ClassVar[frozenset[str]] = frozenset({"lead_id"})

    id: Text
    """Id of the log."""
    lead_id: Text
    """The lead whose history holds it; not in the vendor's row."""
    type: Text | None = None
    """Kind of action, such as MESSAGE, FOLLOW_UP_MESSAGE, TOOL_CALL or MANUAL_UPDATE."""
    status: Text | None = None
    """COMPLETED, CANCELLED, FAILED; PENDING and AWAITING_APPROVAL change later, without a time of change."""
    summary: Text | None = None
    """What was done, in short."""
    input: Json | None = None
    """What the action was given; its structure depends on the type."""
    output: Json | None = None
    """What the action resulted in; its structure depends on the type."""
    error: Text | None = None
    """Why the action failed; null if it did not."""
    parent_action_id: Text | None = None
    """The action that triggered this one."""
    scheduled_at: Instant | None = None
    """When the action was to begin; the vendor documents it for actions of the future."""
    created_at: Instant | None = None
    """When the action was created."""
    completed_at: Instant | None = None
    """When the action was completed; can be a millisecond before `created_at`: the vendor's clock."""
    tool: Tool | None = None
    messages: Many[Message] = []
