"""Opens a source's client and reads its settings, for `plan` and `verify`. Loads nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.sync.account import require_account_at
from gapless.pipelines.sync.build import build, check_settings
from gapless.sources import Source
from gapless.sources._http.client import Client
from gapless.sources._ledger.session import Session
from gapless.sources._ledger.window import parse_ids


@contextmanager
def open_client(source: Source, target: Target | None = None) -> Iterator[Client]:
    """Opens the source's client. Raises WrongSettings as a sync would, AnotherAccount if `target` is of another."""
    session = Session()
    build(source, session)
    assert session.client is not None
    try:
        if target:
            require_account_at(target, source, session)
        yield session.client
    finally:
        session.client.close()


def settings(source: Source, *wanted: str) -> dict[str, str]:
    """Returns those of these settings that are set, as dlt finds them."""
    from gapless.pipelines.destinations._dlt.config import resolved_settings

    found = resolved_settings(lambda: check_settings(source))
    return {setting.key: setting.value for setting in found if setting.key in wanted and setting.value}


def configured_ids(source: Source) -> list[str]:
    """Returns the ids that a setting names to be read instead of all that is listed."""
    setting = source.stream.only
    return parse_ids(settings(source, setting).get(setting), setting) if setting else []
