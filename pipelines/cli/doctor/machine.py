"""Checks the machine around a sync: its network, where messages go, the libraries, the clock."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from datetime import UTC, datetime

from gapless.pipelines.cli.doctor.check import Check
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.observability import telemetry, webhook
from gapless.pipelines.observability.post import site
from gapless.sources._http.client import check_environment
from gapless.sources._http.environment.errors import NetworkSettingError

CHECKED_LIBRARIES = ("dlt", "duckdb", "sqlglot", "httpx2", "pydantic", "pyarrow")
"""Libraries whose newer versions are known to break something, or change much."""
EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
"""A clock before this is wrong, as this program is newer."""


def network() -> Check:
    """Checks the variables that every request depends on."""
    try:
        proxies = check_environment()
    except NetworkSettingError as error:
        return Check("network", "fail", str(error), "Correct that variable, or unset it.")
    return Check("network", "ok", f"through {', '.join(proxies)}" if proxies else "no proxy is set")


def watchers() -> Iterator[Check]:
    """Checks where messages, traces and metrics go, if they go anywhere. Sends none."""
    try:
        hook = webhook.configured()
    except WrongSettings as error:
        yield Check("webhook", "fail", str(error), f"Correct {webhook.URL} or {webhook.ON}.")
    else:
        if hook:
            yield Check("webhook", "ok", f"messages go to {site(hook.url)}")
    for text in telemetry.problems():
        yield Check("telemetry", "fail", text, "Correct the variable OTEL_… of it.")


def versions() -> Iterator[Check]:
    """Compares the installed libraries with the versions that gapless declares."""
    from packaging.requirements import Requirement

    try:
        lines = importlib.metadata.requires("gapless") or []
    except importlib.metadata.PackageNotFoundError:
        yield Check("versions", "-", "gapless is not installed, so nothing says which versions it needs")
        return
    # A marker belongs to an extra, which need not be installed.
    needed = [need for need in map(Requirement, lines) if need.name in CHECKED_LIBRARIES and not need.marker]
    for need in needed:
        found = importlib.metadata.version(need.name)
        good = need.specifier.contains(found, prereleases=True)
        remedy = "" if good else f'pip install "{need.name}{need.specifier}"'
        yield Check(need.name, "ok" if good else "fail", f"{found} (known to work: {need.specifier})", remedy)


def clock() -> Check:
    """Checks the clock, because watermarks never pass the current time: a slow clock would hold them back."""
    now = datetime.now(UTC)
    if now < EARLIEST:
        return Check("clock", "fail", f"{now:%Y-%m-%d %H:%M} UTC is in the past", "Set this machine's clock.")
    return Check("clock", "ok", f"{now:%Y-%m-%d %H:%M} UTC")
