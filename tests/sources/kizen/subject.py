"""Kizen, as the tests know it."""

from __future__ import annotations

from tests.contract.subject import Subject, columns

SUBJECT = Subject(
    "kizen",
    tables={
        "activities": columns(text="id name api_name association_mode", number="n_submissions", json="_extra"),
        "logged_activities": columns(
            text="id notes scheduled_activity_id"
            " activity_object__id activity_object__name activity_object__api_name activity_object__association_mode"
            " logged_by__id logged_by__display_name logged_by__email"
            " completed_by__id completed_by__display_name completed_by__email",
            time="logged_at completed_at", json="_extra",
        ),
        "logged_activities__fields": columns(
            text="id name display_name field_type custom_field_type", json="value _extra",
        ),
        "logged_activities__associated_entities": columns(
            text="object_api_name entity_id display_name name", json="_extra",
        ),
        "logged_activities__mentions": columns(text="value"),
    },
    text="notes",
    time="logged_at",
    fill=lambda fake, parents, records: fake.seed(parents, logged=records, days=5),
    add=lambda fake, kind, **fields: fake.add_logged(kind, **fields),
    add_parent=lambda fake, **fields: fake.add_type(**fields),
    delete_parent=lambda fake, kind: fake.delete_type(kind),
    standing=lambda fake: [row for rows in fake._logged.values() for row in rows.values()],
    with_children={"fields": [{"id": "f", "name": "n", "value": 1}]},
    child="fields",
    child_text="name",
    object="logged_by",
    json="value",
    lists=("results",),
    next_marks=(("next",),),
    twin="loggedAt",
    marks=frozenset({"next", "previous", "mentions"}),
)  # fmt: skip
