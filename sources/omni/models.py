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
    total_messages: Integer | None = None
    inbound_messages: Integer | None = None
    outbound_messages: Integer | None = None
    last_inbound_at: Instant | None = None
    last_outbound_at: Instant | None = None
    channels: Json | None = None
    completion: Json | None = None
    interventions: Json | None = None
    checklist: Json | None = None


class Tool(CamelRecord):
    id: Text | None = None
    name: Text | None = None
    description: Text | None = None


class Document(CamelRecord):
    id: Text | None = None
    filename: Text | None = None
    mime_type: Text | None = None
    size: Integer | None = None
    """Bytes."""


class Message(CamelRecord):
    id: Text | None = None
    channel: Text | None = None
    direction: Text | None = None
    subject: Text | None = None
    body: Text | None = None
    documents: Many[Document] = []


class ActionLog(CamelRecord):
    parent_columns: ClassVar[frozenset[str]] = frozenset({"lead_id"})

    id: Text
    lead_id: Text
    """The lead whose history holds it; not in the vendor's row."""
    type: Text | None = None
    status: Text | None = None
    summary: Text | None = None
    input: Json | None = None
    output: Json | None = None
    error: Text | None = None
    parent_action_id: Text | None = None
    scheduled_at: Instant | None = None
    created_at: Instant | None = None
    completed_at: Instant | None = None
    tool: Tool | None = None
    messages: Many[Message] = []
