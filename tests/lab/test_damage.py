"""The damage laboratory, in small: two damages by default, all of them with the sweeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gapless.sources import SOURCES
from gapless.sources.source import Source
from tests.lab.damage.kinds import KINDS
from tests.lab.damage.trial import Lab, lab
from tests.support.postgres import Server

FIFTH = "okta"
BY_NAME = {kind.name: kind for kind in KINDS}
USUAL = ("a column dropped", "one deleted and another doubled")


@contextmanager
def opened(name: str, server: Server | None = None) -> Iterator[Lab]:
    with lab(name, server) as here:
        yield here


@pytest.fixture(autouse=True)
def _fifth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, FIFTH, Source.at(f"tests.fifth.{FIFTH}"))


def test_there_are_many_kinds() -> None:
    """At least sixty, each with a name of its own."""
    assert len(BY_NAME) == len(KINDS) >= 60


def test_damages_are_seen_and_mended() -> None:
    """Somebody says so, the command that is named mends it, and then nobody says anything any more."""
    with opened(FIFTH) as here:
        assert [found.wrong for found in (here.tried(BY_NAME[name]) for name in USUAL)] == [[]] * len(USUAL)


@pytest.mark.sweep
@pytest.mark.parametrize("syncs", [0, 2])
@pytest.mark.parametrize("name", [*SOURCES, FIFTH])
def test_every_damage(name: str, syncs: int) -> None:
    """Of every source, also when two scheduled syncs come first."""
    with opened(name) as here:
        found = [here.tried(kind, syncs) for kind in KINDS if kind.applies(here.place)]
    assert {one.kind: one.wrong for one in found if one.wrong} == {}


@pytest.mark.sweep
@pytest.mark.parametrize("name", [*SOURCES, FIFTH])
def test_every_damage_on_postgres(name: str, server: Server) -> None:
    with opened(name, server) as here:
        found = [here.tried(kind) for kind in KINDS if kind.applies(here.place)]
    assert {one.kind: one.wrong for one in found if one.wrong} == {}
