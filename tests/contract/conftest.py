"""Every test that takes a `subject` runs for every registered source, and for the fifth one of tests/fifth."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any

import pytest

from gapless.sources import SOURCES, Source
from tests.contract import subject as subjects
from tests.contract.subject import Subject
from tests.support import lakes
from tests.support.databases import DATABASES
from tests.support.postgres import Server
from tests.support.world import World, some

ROOT = Path(__file__).resolve().parents[2]
FIFTH = {
    file.parent.name: Source.at(f"tests.fifth.{file.parent.name}")
    for file in sorted((ROOT / "tests" / "fifth").glob("*/facts.toml"))
}
NAMES = [*SOURCES, *(name for name in FIFTH if name not in SOURCES)]
Begin = Callable[[Any], World]


everywhere = pytest.mark.everywhere
"""A test that is cheap: every source on every destination."""


def elsewhere(first: int) -> pytest.MarkDecorator:
    """A test that is dear: every source on DuckDB, and on each other destination one, from the `first` on in turn."""
    return pytest.mark.elsewhere(first)


def of(*names: str) -> pytest.MarkDecorator:
    """A test that is dear on DuckDB, too: for other sources it runs with the sweeps."""
    return pytest.mark.usual(*names)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "subject" not in metafunc.fixturenames:
        return
    marks = {mark.name: mark for mark in metafunc.definition.iter_markers()}
    default, *others = DATABASES
    usual = marks["usual"].args if "usual" in marks else NAMES
    items = [pytest.param(*each.values, default, marks=each.marks, id=each.values[0]) for each in some(NAMES, *usual)]
    if "everywhere" in marks:
        items += [_on(*pair) for pair in product(NAMES, others)]
    if "elsewhere" in marks:
        names = islice(cycle(NAMES), *marks["elsewhere"].args, None)
        items += [_on(next(names), each) for each in others]
    at_hand = [item for item in items if DATABASES[item.values[-1]].at_hand()]
    if "destination" in metafunc.fixturenames:
        metafunc.parametrize(("name", "destination"), at_hand)
    else:
        metafunc.parametrize("name", some(NAMES, *usual))


def _on(name: str, destination: str) -> Any:
    marks = [pytest.mark.sweep, *DATABASES[destination].marks]
    return pytest.param(name, destination, marks=marks, id=f"{name}-{destination}")


@pytest.fixture(autouse=True)
def _registered(_alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fifth source, too, here and in the processes that a test starts."""
    for name, source in FIFTH.items():
        monkeypatch.setitem(SOURCES, name, source)
    packages = [source.package for source in SOURCES.values() if not source.package.startswith("gapless.")]
    monkeypatch.setenv("GAPLESS_SOURCES", ",".join(packages))


@pytest.fixture
def subject(name: str, _registered: None) -> Subject:
    return subjects.subject(name)


@pytest.fixture
def synced(subject: Subject, world: Begin) -> World:
    """A vendor with 4 parents and 24 records, and the database after the first sync of it."""
    here = world(subject.filled())
    here.synced()
    return here


@pytest.fixture(params=["postgres", pytest.param("ducklake", marks=pytest.mark.sweep)])
def writers(request: pytest.FixtureRequest) -> str:
    """A destination that shards write to at once."""
    return str(request.param)


@pytest.fixture
def sharded(subject: Subject, world: Begin, server: Server, writers: str, monkeypatch: pytest.MonkeyPatch) -> World:
    """A vendor with 8 parents and 24 records, for shards of a sync into an empty Postgres or DuckLake."""
    if not subject.source.split_by:
        pytest.skip("its declaration names nothing by which a sync could be split into shards")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url := server.database())
    here = world(subject.filled(8, 24))
    lakes.point(here, url)
    return here
