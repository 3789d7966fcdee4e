"""Every test runs alone in an empty folder; `world` puts a vendor on loopback before it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from gapless.pipelines.config import DLT_SETTINGS
from gapless.sources._http.testing import serve
from tests.support.world import CREDENTIALS, IN_A_HURRY, OURS, World
from tests.support.world import settings as settings_of

settings.register_profile("same every time", derandomize=True, database=None, deadline=None)
settings.load_profile("same every time")


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder, and no setting of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    for name, value in {**DLT_SETTINGS, "DLT_PROJECT_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("gapless.pipelines.redaction._known", set())
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], World]]:
    """`world(fake)` puts the fake on the loopback interface and the settings that reach it into place."""
    with ExitStack() as stack:

        def begin(fake: Any) -> World:
            name = type(fake).__module__.split(".")[-2]
            here = World(name, fake, tmp_path, monkeypatch).set(
                **{**CREDENTIALS, **IN_A_HURRY, **settings_of([name])}
            )
            return here.set(**{f"{name.upper()}_BASE_URL": stack.enter_context(serve(here.handle))})

        yield begin
