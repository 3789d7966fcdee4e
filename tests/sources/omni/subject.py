"""Omni, as the tests know it."""

from __future__ import annotations

from typing import Any

from tests.contract.subject import Row, Subject, columns


def _standing(fake: Any) -> list[Row]:
    return [row | {"leadId": lead} for lead, logs in fake._logs.items() for row in logs.values()]


SUBJECT = Subject(
    "omni",
    tables={
        "action_logs": columns(
            text="id lead_id type status summary error parent_action_id tool__id tool__name tool__description",
            time="scheduled_at created_at completed_at", json="input output _extra",
        ),
        "action_logs__messages": columns(text="id channel direction subject body", json="_extra"),
        "action_logs__messages__documents": columns(text="id filename mime_type", number="size", json="_extra"),
        "leads": columns(
            text="lead_id first_name last_name email phone_number",
            time="created_at completed_at opted_out_at last_inbound_at last_outbound_at",
            number="total_messages inbound_messages outbound_messages",
            json="channels completion interventions checklist _extra",
        ),
    },
    derived={"status_changes": columns(text="record_id status", time="seen_at")},
    text="summary",
    time="createdAt",
    fill=lambda fake, parents, records: fake.seed(parents, logs=records, days=5),
    add=lambda fake, lead, **fields: fake.add_log(lead, **fields),
    add_parent=lambda fake, **fields: fake.add_lead(**fields),
    delete_parent=lambda fake, lead: fake.delete_lead(lead),
    standing=_standing,
    parent_id="leadId",
    camel=True,
    given=("leadId",),
    with_children={"messages": [{"id": "m", "channel": "SMS", "direction": "INBOUND", "body": "b"}], "output": {}},
    child="messages",
    child_text="body",
    object="tool",
    parent_text="firstName",
    json="output",
    number=("messages", "documents", "size"),
    lists=("breakdown",),
    next_marks=(("nextToken",),),
    twin="created_at",
    marks=frozenset({"nextToken"}),
    not_served=frozenset({"child without anything"}),
)  # fmt: skip
