"""Several pipelines in one dataset: what one has loaded, the others know, though each has a state of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from gapless.sources import SOURCES
from tests.contract import subject as subjects
from tests.contract.conftest import NAMES, of
from tests.in_dlt.conftest import User
from tests.support.world import World


@pytest.mark.sweep
@pytest.mark.usefixtures("_registered")
def test_two_vendors(world: Callable[[Any], World], tmp_path: Path) -> None:
    """Each in a pipeline of its own: the second one's tables begin with its name, at every run."""
    first, second = NAMES[0], NAMES[3]
    fakes = {name: world(subjects.subject(name).filled()).fake for name in (first, second)}
    file = str(tmp_path / "all.duckdb")
    for name in (first, second, first, second):
        mine = dlt.pipeline(
            f"of_{name}", destination=dlt.destinations.duckdb(file), dataset_name="logs",
            pipelines_dir=str(tmp_path / name),
        )  # fmt: skip
        mine.run(SOURCES[name].build())
    with duckdb.connect(file, read_only=True) as db:
        for name, prefix in ((first, ""), (second, f"{second}_")):
            for table, records in fakes[name].truth().items():
                assert db.execute(f"select count(*) from logs.{prefix}{table}").fetchall() == [(len(records),)]


def second(user: User) -> Any:
    """A pipeline of another name, into the same dataset."""
    folder, to = str(user.world.folder / "elsewhere"), dlt.destinations.duckdb(str(user.file()))
    return dlt.pipeline("second", destination=to, dataset_name=user.subject.name, pipelines_dir=folder)


def move(user: User) -> None:
    """Has the settings name another address of the vendor, as another account does."""
    setting = f"{user.subject.prefix}_BASE_URL"
    user.world.set(**{setting: os.environ[setting].replace("127.0.0.1", "localhost")})


@pytest.mark.slow
@of(NAMES[1])
def test_another_account(user: User) -> None:
    """The rows of two accounts would mix: refused before a request, whichever pipeline loaded them."""
    user.pipeline().run(user.source())
    move(user)
    user.fake.requests.clear()
    with pytest.raises(PipelineStepFailed, match=r"holds the rows of 127\.0\.0\.1.* a run of the same pipeline with"):
        second(user).run(user.source())
    assert user.fake.requests == []


@pytest.mark.sweep
@pytest.mark.parametrize("name", [NAMES[0]])  # the links of another one's pages name its first address
def test_the_same_account_at_another_address(user: User) -> None:
    """The remedy that is named: the pipeline that loaded the rows drops them."""
    user.pipeline().run(user.source())
    move(user)
    user.pipeline().run(user.source(), refresh="drop_sources")
    second(user).run(user.source())
    assert user.differences() == []
