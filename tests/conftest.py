"""Every test runs alone in an empty folder; `world` puts a vendor on loopback before it."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from gapless.pipelines.config import DLT_SETTINGS
from gapless.pipelines.views import refresh
from gapless.sources import SOURCES
from gapless.sources._http.testing import serve
from tests.support import postgres, remembered, shared
from tests.support.databases import DATABASES, DuckDB
from tests.support.scheduler import Scheduler
from tests.support.share import Share
from tests.support.world import CREDENTIALS, IN_A_HURRY, OURS, World
from tests.support.world import settings as settings_of

settings.register_profile("same every time", derandomize=True, database=None, deadline=None)
settings.load_profile("same every time")


def pytest_configure(config: pytest.Config) -> None:
    shared.begin()
    remembered.begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    shared.end()


def pytest_report_header() -> str | None:
    return Share.of_settings().header or None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sweeps and slow tests take long: `.ci/run` has 25 minutes, and plays a part of what `-m` and `-k` leave."""
    sweeps = [item for item in items if item.get_closest_marker("sweep")]
    for item in sweeps:
        item.add_marker(pytest.mark.timeout(1200), append=False)
    slow = [item for item in items if item.get_closest_marker("slow") and not item.get_closest_marker("sweep")]
    share = Share.of_settings()
    left_out = {*sweeps, *slow} - {*share.of_sweeps(sweeps), *share.of_slow(slow)}
    config.hook.pytest_deselected(items=[*left_out])
    items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish() -> None:
    """The garbage collector runs more rarely and leaves alone what was imported: it took a seventh of each sync."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """For `-n auto`: one more than there are cores, as some tests wait."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduler:
    return Scheduler(config, log)


def pytest_runtest_setup() -> None:
    """Before any fixture, also those that last: a command of an earlier test made the umask its own."""
    os.umask(0o022)


@pytest.fixture(autouse=True)
def _without_comments(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables have no comments, as to set 500 of them takes a fifth of a second of each first sync.

    Tests of comments are marked `described`; fixtures that last, and processes that a test starts, have them.
    """
    if "described" not in request.keywords:
        monkeypatch.setattr(refresh, "describe", lambda *_: None)
        monkeypatch.setattr(refresh, "is_described", lambda *_: True)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder, working files that are not in one's home, and no setting of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    state = str(tmp_path_factory.getbasetemp() / "state")
    for name, value in {**DLT_SETTINGS, "DLT_PROJECT_DIR": str(tmp_path), "XDG_STATE_HOME": state}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("gapless.pipelines.redaction._known", set())
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def destination() -> str:
    """Where the tests' data goes; tests/contract has more."""
    return DuckDB.name


@pytest.fixture
def world(destination: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], World]]:
    """`world(fake)` puts the fake on the loopback interface and the settings that reach it into place."""
    begun: list[World] = []
    with ExitStack() as stack:

        def begin(fake: Any) -> World:
            name = type(fake).__module__.split(".")[-2]
            database = DATABASES[destination](tmp_path)
            here = World(name, fake, tmp_path, monkeypatch, database).set(
                **{**CREDENTIALS, **IN_A_HURRY, **settings_of([name]), **database.settings}
            )
            begun.append(here)
            here.set(**{f"{name.upper()}_BASE_URL": stack.enter_context(serve(here.handle))})
            for needs in ([need.upper() for need in source.needs] for source in SOURCES.values()):
                if not all(map(os.environ.get, needs)):  # some keys of a source, but not all, would be an error
                    for need in needs:
                        monkeypatch.delenv(need, raising=False)
            return here

        yield begin
    assert sum(here.never_fired() for here in begun) == 0, "an interception met no request: see World.intercept"


@pytest.fixture(scope="session")
def server() -> postgres.Server:
    """A Postgres for the whole run: take a `database()` of it, and leave the server itself alone."""
    return postgres.shared()


@pytest.fixture(scope="session")
def own_server() -> Iterator[postgres.OwnServer]:
    """A Postgres that a test may crash."""
    with postgres.running() as started:
        yield started
