"""Sequence, as the tests know it."""

from __future__ import annotations

from tests.contract.subject import Subject, columns

SUBJECT = Subject(
    "sequence",
    tables={
        "activity_logs": columns(
            text="id sequence_account_id activity_type api_version origin trace_id", time="created_at", json="_extra",
        ),
        "activity_logs__activity_log_items": columns(
            text="id activity_log_id verb name summary reason"
            " activity_log_actor__id activity_log_actor__entity_type activity_log_actor__entity_id"
            " activity_log_actor__email"
            " activity_log_object__id activity_log_object__entity_type activity_log_object__entity_id"
            " activity_log_target__id activity_log_target__entity_type activity_log_target__entity_id",
            json="metadata _extra",
        ),
    },
    text="origin",
    time="createdAt",
    fill=lambda fake, _, records: fake.seed(records, days=5),
    add=lambda fake, _, **fields: fake.add_log(**fields),
    standing=lambda fake: list(fake._rows.values()),
    camel=True,
    child="activityLogItems",
    child_text="summary",
    json="metadata",
    lists=("items",),
    next_marks=(("pagination", "after"),),
    twin="created_at",
    marks=frozenset({"after", "before"}),
)  # fmt: skip
