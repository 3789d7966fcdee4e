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
    """Its own id."""
    type: Text | None = None
    """Kind of entity, such as User."""
    alternate_id: Text | None = None
    """Another id of it, such as a user's login."""
    display_name: Text | None = None
    """Name, as it is shown."""
    detail_entry: Json | None = None
    """More about it, by the kind of entity."""


class Target(Actor):
    """What it was done to."""


class UserAgent(CamelRecord):
    """The program that sent the request."""

    raw_user_agent: Text | None = None
    """The user agent as it was sent."""
    os: Text | None = None
    """Operating system, such as Windows 10."""
    browser: Text | None = None
    """Browser, such as CHROME."""


class Geolocation(CamelRecord):
    """Coordinates."""

    lat: Number | None = None
    """Latitude in degrees."""
    lon: Number | None = None
    """Longitude in degrees."""


class GeographicalContext(CamelRecord):
    """Where the address is."""

    geolocation: Geolocation | None = None
    city: Text | None = None
    """City, such as Seattle."""
    state: Text | None = None
    """Name of the state or province."""
    country: Text | None = None
    """Name of the country."""
    postal_code: Text | None = None
    """Postal code."""


class EventClient(CamelRecord):
    """The client that sent the request."""

    user_agent: UserAgent | None = None
    geographical_context: GeographicalContext | None = None
    zone: Text | None = None
    """Name of the network zone."""
    ip_address: Text | None = None
    """IP address."""
    device: Text | None = None
    """Kind of device, such as Computer."""
    id: Text | None = None
    """Id of the OAuth client, or of the agent whose token was used."""


class Outcome(CamelRecord):
    """How it went."""

    result: Text | None = None
    """SUCCESS, FAILURE, SKIPPED, ALLOW, DENY, CHALLENGE, UNKNOWN and others."""
    reason: Text | None = None
    """Why, such as INVALID_CREDENTIALS."""


class Transaction(CamelRecord):
    """The request or job that the event is part of."""

    id: Text | None = None
    """Id of the transaction."""
    type: Text | None = None
    """Kind: WEB or JOB."""
    detail: Json | None = None
    """More about it, of any JSON shape."""


class AuthenticationContext(CamelRecord):
    """How the actor was authenticated."""

    authentication_provider: Text | None = None
    """System that proved the identity, such as ACTIVE_DIRECTORY."""
    authentication_step: Integer | None = None
    """Number of the step in the authentication, from 0."""
    credential_provider: Text | None = None
    """Service that provided the credential."""
    credential_type: Text | None = None
    """Kind of credential, such as IWA."""
    issuer: Json | None = None
    """Who issued the credential."""
    external_session_id: Text | None = None
    """Id of the session; all events of a sign-in share it."""
    interface: Text | None = None
    """Third-party interface through which the actor signed in, if any."""


class SecurityContext(CamelRecord):
    """The network that the request came from."""

    as_number: Integer | None = None
    """Number of the autonomous system."""
    as_org: Text | None = None
    """Organization of the autonomous system."""
    isp: Text | None = None
    """Internet service provider."""
    domain: Text | None = None
    """Domain of the IP address."""
    is_proxy: Flag | None = None
    """Whether the IP address is that of a proxy."""


class IpAddress(CamelRecord):
    """One hop of the request."""

    ip: Text | None = None
    """IP address."""
    geographical_context: GeographicalContext | None = None
    version: Text | None = None
    """Version of the address: V4 or V6."""
    source: Text | None = None
    """Details on the source of the address."""


class Request(CamelRecord):
    """The request that led to the event."""

    ip_chain: Many[IpAddress] = []


class LogEvent(CamelRecord):
    """One event; `uuid` identifies it, `published` is when it happened."""

    id_field: ClassVar[str] = "uuid"
    time_field: ClassVar[str] = "published"

    uuid: Text
    """Id of the event."""
    published: Instant
    """When it happened."""
    event_type: Text | None = None
    """Kind of event, such as user.session.start."""
    version: Text | None = None
    """Version indicator of the event."""
    severity: Text | None = None
    """DEBUG, INFO, WARN or ERROR."""
    legacy_event_type: Text | None = None
    """Kind of event in the older Events API."""
    display_message: Text | None = None
    """The event in words."""
    actor: Actor | None = None
    client: EventClient | None = None
    outcome: Outcome | None = None
    target: Many[Target] = []
    transaction: Transaction | None = None
    debug_context: Json | None = None
    """What Okta notes to debug the event; its names may change."""
    authentication_context: AuthenticationContext | None = None
    security_context: SecurityContext | None = None
    request: Request | None = None
