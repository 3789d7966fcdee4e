"""Goes through all that a sync needs, in the order in which it needs it."""

from __future__ import annotations

from collections.abc import Iterator

from gapless.pipelines.cli.doctor import machine
from gapless.pipelines.cli.doctor.check import Check
from gapless.pipelines.cli.doctor.destination import check_destination
from gapless.pipelines.cli.doctor.keys import check_sources
from gapless.pipelines.config.misnamed import absent, misnamed
from gapless.pipelines.sync.unknown import unknown_settings
from gapless.sources import SOURCES


def checks(destination: str) -> Iterator[Check]:
    """Yields each check as soon as it is done. Raises nothing: what goes wrong is a failed check."""
    network = machine.network()
    yield network
    for line in absent():
        yield Check("settings", "-", line)
    configured: list[str] = []
    yield from (
        check_sources(configured) if network.result == "ok" else [Check("sources", "-", "not checked: see network")]
    )
    for line in unknown_settings(SOURCES):
        yield Check("settings", "fail", line, "Correct its name, or take it out.")
    for line in misnamed():
        yield Check("settings", "fail", line, "Rename it, or take it away.")
    yield from check_destination(destination, configured)
    yield from machine.watchers()
    yield from machine.versions()
    yield machine.clock()
