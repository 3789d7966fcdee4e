"""What Okta says: an event of the System Log, who did it, to what, from where.

https://developer.okta.com/docs/api/openapi/okta-management/management/tag/SystemLog/. Beyond the id and the time
nothing is required here, although the vendor requires more: an event is too good to lose over a missing name.
"""

from __future__ import annotations

from typing import ClassVar

from gapless.sources._schema.record import CamelRecord, Flag, Instant, Integer, Json, Many, Number, Text


class Actor(CamelRecord):
    """Who did it: a user, an app, a client."""

    id: Text | None = None
    type: Text | None = None
    alternate_id: Text | None = None
    display_name: Text | None = None
    detail_entry: Json | None = None


class Target(Actor):
    """What it was done to."""


class UserAgent(CamelRecord):
    raw_user_agent: Text | None = None
    os: Text | None = None
    browser: Text | None = None


class Geolocation(CamelRecord):
    lat: Number | None = None
    lon: Number | None = None


class GeographicalContext(CamelRecord):
    geolocation: Geolocation | None = None
    city: Text | None = None
    state: Text | None = None
    country: Text | None = None
    postal_code: Text | None = None


class EventClient(CamelRecord):
    """Where the request came from that led to the event."""

    user_agent: UserAgent | None = None
    geographical_context: GeographicalContext | None = None
    zone: Text | None = None
    ip_address: Text | None = None
    device: Text | None = None
    id: Text | None = None


class Outcome(CamelRecord):
    result: Text | None = None
    reason: Text | None = None


class Transaction(CamelRecord):
    id: Text | None = None
    type: Text | None = None
    detail: Json | None = None


class AuthenticationContext(CamelRecord):
    authentication_provider: Text | None = None
    authentication_step: Integer | None = None
    credential_provider: Text | None = None
    credential_type: Text | None = None
    issuer: Json | None = None
    external_session_id: Text | None = None
    interface: Text | None = None


class SecurityContext(CamelRecord):
    as_number: Integer | None = None
    as_org: Text | None = None
    isp: Text | None = None
    domain: Text | None = None
    is_proxy: Flag | None = None


class IpAddress(CamelRecord):
    """One hop of the request."""

    ip: Text | None = None
    geographical_context: GeographicalContext | None = None
    version: Text | None = None
    source: Text | None = None


class Request(CamelRecord):
    ip_chain: Many[IpAddress] = []


class LogEvent(CamelRecord):
    """One event; `uuid` identifies it, `published` is when it happened."""

    id_field: ClassVar[str] = "uuid"
    time_field: ClassVar[str] = "published"

    uuid: Text
    published: Instant
    event_type: Text | None = None
    version: Text | None = None
    severity: Text | None = None
    legacy_event_type: Text | None = None
    display_message: Text | None = None
    actor: Actor | None = None
    client: EventClient | None = None
    outcome: Outcome | None = None
    target: Many[Target] = []
    transaction: Transaction | None = None
    debug_context: Json | None = None
    authentication_context: AuthenticationContext | None = None
    security_context: SecurityContext | None = None
    request: Request | None = None
