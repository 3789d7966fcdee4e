"""Okta, as the tests know it."""

from __future__ import annotations

from tests.contract.subject import Subject, columns

SUBJECT = Subject(
    "okta",
    tables={
        "log_events": columns(
            text="uuid event_type version severity legacy_event_type display_message"
            " actor__id actor__type actor__alternate_id actor__display_name"
            " client__user_agent__raw_user_agent client__user_agent__os client__user_agent__browser"
            " client__zone client__ip_address client__device client__id"
            " client__geographical_context__city client__geographical_context__state"
            " client__geographical_context__country client__geographical_context__postal_code"
            " outcome__result outcome__reason transaction__id transaction__type"
            " authentication_context__authentication_provider authentication_context__credential_provider"
            " authentication_context__credential_type authentication_context__external_session_id"
            " authentication_context__interface"
            " security_context__as_org security_context__isp security_context__domain",
            time="published",
            real="client__geographical_context__geolocation__lat client__geographical_context__geolocation__lon",
            number="authentication_context__authentication_step security_context__as_number",
            flag="security_context__is_proxy",
            json="actor__detail_entry transaction__detail debug_context authentication_context__issuer _extra",
        ),
        "log_events__target": columns(text="id type alternate_id display_name", json="detail_entry _extra"),
        "log_events__request__ip_chain": columns(
            text="ip version source geographical_context__city geographical_context__state"
            " geographical_context__country geographical_context__postal_code",
            real="geographical_context__geolocation__lat geographical_context__geolocation__lon",
            json="_extra",
        ),
    },
    text="displayMessage",
    time="published",
    fill=lambda fake, _, records: fake.seed(records, days=5),
    add=lambda fake, _, **fields: fake.add_log(**fields),
    standing=lambda fake: list(fake._rows.values()),
    id="uuid",
    camel=True,
    with_children={"target": [{"id": "t"}], "securityContext": {"asNumber": 1}, "actor": {"id": "a"}},
    child="target",
    child_text="displayName",
    object="actor",
    json="debugContext",
    number=("securityContext", "asNumber"),
    tells_total=False,
    twin="Published",
)
