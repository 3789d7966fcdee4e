"""Compares a DuckLake with the truth through gapless's own connection: its catalog or its files are on a server."""

from __future__ import annotations

from gapless.pipelines.destinations.target import Target
from tests.support.oracle import mismatches
from tests.support.world import World


def differences(here: World) -> list[str]:
    """In what the lake differs from the vendor's records."""
    target = Target.find("ducklake")
    with target.opened():
        return mismatches(target.connection, here.name, here.fake.truth())


def assert_kept_up(here: World) -> None:
    """A first sync in several packages, an idle one, and one of what is new: exact."""
    here.complete(package_records=12)
    assert differences(here) == []
    here.complete()
    here.fake.advance(45)
    here.complete()
    assert differences(here) == []
