"""The damage laboratory, in small: two damages by default, each kind on one source with the sweeps.

`python -m tests.lab.damage` does every kind on every source, on DuckDB or on Postgres.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gapless.sources import SOURCES
from gapless.sources.source import Source
from tests.lab.damage.kinds import KINDS, Kind
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


@pytest.mark.sweep
def test_damages_are_seen_and_mended() -> None:
    """Somebody says so, the command that is named mends it, and then nobody says anything any more."""
    with opened(FIFTH) as here:
        assert [found.wrong for found in (here.tried(BY_NAME[name]) for name in USUAL)] == [[]] * len(USUAL)


NAMES = [*SOURCES, FIFTH]


PARTS = 4
"""So many tests of a source have all its kinds, as each takes some seconds and `.ci/run` plays whole tests."""


def kinds(name: str, part: int = 0) -> list[Kind]:
    """Every kind is of one source, and of one part."""
    return list(KINDS[NAMES.index(name) + part * len(NAMES) :: PARTS * len(NAMES)])


@pytest.mark.sweep
@pytest.mark.parametrize(("syncs", "part"), [*((0, part) for part in range(PARTS)), (2, 0)])
@pytest.mark.parametrize("name", NAMES)
def test_every_damage(name: str, syncs: int, part: int) -> None:
    """A share of each source, also when two scheduled syncs come first."""
    with opened(name) as here:
        found = [here.tried(kind, syncs) for kind in kinds(name, part) if kind.applies(here.place)]
    assert {one.kind: one.wrong for one in found if one.wrong} == {}


@pytest.mark.sweep
@pytest.mark.parametrize("name", NAMES)
def test_some_damages_on_postgres(name: str, server: Server) -> None:
    with opened(name, server) as here:
        found = [here.tried(kind) for kind in kinds(name) if kind.applies(here.place)]
    assert {one.kind: one.wrong for one in found if one.wrong} == {}


@pytest.mark.sweep
def test_a_dropped_table_on_postgres(server: Server) -> None:
    """What was below its rows goes with it: there its keys are unique, and no sync would ever end."""
    with opened(FIFTH, server) as here:
        found = here.tried(BY_NAME["the records' table dropped"])
    assert (found.wrong, "sync" in " ".join(found.ran)) == ([], True)
