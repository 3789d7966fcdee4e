"""Checks each source: its settings, and its key by the vendor's cheapest request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gapless.pipelines.cli.doctor.check import Check
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.sync.build import build, check_settings, missing_settings
from gapless.sources import SOURCES, Source, left_accounts
from gapless.sources._http.client import Client
from gapless.sources._http.errors import ProxyRefused, ProxyUnavailable, QuotaSpent, VendorError
from gapless.sources._ledger.session import Session

# Seconds. A person waits for the answer, and longer retries would not change it.
PING_SETTINGS = {"gapless_retry_budget": 5.0, "gapless_retry_max_wait": 5.0}


def check_sources(configured: list[str]) -> Iterator[Check]:
    """Checks each source and notes which are configured; if none is, that is a failure, too."""
    left = left_accounts()  # the destination's checks say it of them
    for source in (source for name, source in SOURCES.items() if name not in left):
        for check in _source(source):
            if check.result != "-":
                configured.append(source.name)
            yield check
    if not configured:
        yield Check(
            "sources", "fail", "none is configured", "gapless init asks for keys; to try it without any: gapless demo"
        )


def _source(source: Source) -> Iterator[Check]:
    """Checks the settings of a source and, if they are complete, its key."""
    name = source.name
    try:
        missing = missing_settings(name)
    except WrongSettings as error:
        yield Check(f"{name} settings", "fail", str(error), "Correct that setting.")
        return
    if len(missing) == len(source.needs):
        yield Check(f"{name} settings", "-", f"not configured ({', '.join(missing)} not set)")
    elif missing:
        remedy = f"Set it in the environment, or in lower case under [sources.{name}] in .dlt/secrets.toml."
        yield Check(f"{name} settings", "fail", f"{', '.join(missing)} not set", remedy)
    else:
        with _client(source, {}) as client:
            yield Check(f"{name} settings", "ok", f"{_settings_origin(source)}, sent to {client.site}")
            yield _check_key(source, client)


def checked(source: Source, settings: Mapping[str, str]) -> Check:
    """Checks a key that is not in the configuration yet. Raises WrongSettings for settings that cannot be used."""
    with _client(source, settings) as client:
        return _check_key(source, client)


def _client(source: Source, settings: Mapping[str, object]) -> Client:
    """Returns the client with the settings of a sync, and with `settings` in place of the configured ones."""
    session = Session()
    # Building a source sends nothing.
    build(source, session, **PING_SETTINGS, **settings)
    if session.client is None:
        raise AssertionError("a source sets its client when it is built")
    return session.client


def _settings_origin(source: Source) -> str:
    """Returns where the needed settings come from; never their values."""
    from gapless.pipelines.destinations._dlt.config import resolved_settings

    found = {setting.key: setting.origin for setting in resolved_settings(lambda: check_settings(source))}
    origins = sorted({found[need] for need in source.needs if need in found})
    return f"{', '.join(need.upper() for need in source.needs)} from {' and '.join(origins)}"


def _check_key(source: Source, client: Client) -> Check:
    """Sends the vendor's cheapest request with the configured key."""
    name = f"{source.name} key"
    try:
        source.api.ping(client)
    except VendorError as error:
        return Check(name, "fail", str(error), _remedy(source, error))
    return Check(name, "ok", f"accepted by the vendor at {client.site}")


def _remedy(source: Source, error: VendorError) -> str:
    """Returns what to do, by HTTP status; without one the vendor was not reached."""
    prefix = source.name.upper()
    if isinstance(error, ProxyRefused | ProxyUnavailable):
        return "Correct the variable of that proxy, or name the vendor's host in NO_PROXY."
    if isinstance(error, QuotaSpent):
        return "Wait until then: the first sync after it goes on by itself."
    if error.status in (401, 403):
        return f"Check {', '.join(need.upper() for need in source.needs)}, and that they belong to {prefix}_BASE_URL."
    if error.status is None:
        return f"Check {prefix}_BASE_URL and this machine's network (proxy, DNS)."
    return f"Check {prefix}_BASE_URL, or try again later."
