"""Compares a DuckLake with the truth through gapless's own connection: its catalog or its files are on a server."""

from __future__ import annotations

from typing import Any

from gapless.pipelines.destinations.target import Target
from tests.support.oracle import mismatches
from tests.support.world import World


def point(here: World, catalog: str) -> None:
    """Has the lake's catalog in a Postgres database, and its files beside the vendor's."""
    settings = {"CATALOG": catalog, "STORAGE__BUCKET_URL": str(here.folder / "lake")}
    here.set(**{f"DESTINATION__DUCKLAKE__CREDENTIALS__{name}": value for name, value in settings.items()})


def asked(here: World, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query, or none of a statement."""
    target = Target.find("ducklake")
    with target.opened(), target.connection as connection:
        connection.execute(f"set search_path = '{here.name}'")
        return connection.execute(query).fetchall()


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
