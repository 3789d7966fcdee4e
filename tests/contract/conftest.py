"""Every test that takes a `subject` runs for every registered source, and for the fifth one of tests/fifth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gapless.sources import SOURCES, Source
from tests.contract import subject as subjects
from tests.contract.subject import Subject, copied
from tests.support.world import World, some

ROOT = Path(__file__).resolve().parents[2]
FIFTH = {
    file.parent.name: Source.at(f"tests.fifth.{file.parent.name}")
    for file in sorted((ROOT / "tests" / "fifth").glob("*/facts.toml"))
}
NAMES = [*SOURCES, *(name for name in FIFTH if name not in SOURCES)]
Begin = Callable[[Any], World]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "subject" in metafunc.fixturenames:
        chosen = next(metafunc.definition.iter_markers("usual"), None)
        metafunc.parametrize("name", some(NAMES, *(chosen.args if chosen else NAMES)))


def of(*names: str) -> pytest.MarkDecorator:
    """A test that is dear: for other sources it runs with the sweeps."""
    return pytest.mark.usual(*names)


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


@dataclass(frozen=True)
class Prepared:
    """What a first sync left, made once a process."""

    fake: Any
    file: bytes
    requests: int


_prepared: dict[str, Prepared] = {}


@pytest.fixture
def synced(subject: Subject, world: Begin) -> World:
    """A vendor with 4 parents and 24 records, and the database after the first sync of it."""
    known = _prepared.get(subject.name)
    here = world(copied(known.fake) if known else subject.filled())
    file = here.folder / "gapless.duckdb"
    if known:
        file.write_bytes(known.file)
        here.fake.requests[:] = known.fake.requests
    else:
        here.complete()
        _prepared[subject.name] = Prepared(copied(here.fake), file.read_bytes(), len(here.fake.requests))
    return here
