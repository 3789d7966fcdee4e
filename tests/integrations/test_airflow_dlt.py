"""dlt's own `PipelineTasksGroup` for Airflow takes the sources as they are: the page's file, run by Airflow."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

# pytest finds fixtures among the names of a module; ruff takes them for unused, and their arguments for others.
from tests.contract.conftest import NAMES, _registered, subject  # noqa: F401 - fixtures
from tests.in_dlt.conftest import User, user  # noqa: F401 - a fixture
from tests.integrations.test_airflow import _home  # noqa: F401 - a fixture: Airflow's home, before it is imported
from tests.support.oracle import instant
from tests.support.world import some

PAGE = (Path(__file__).resolve().parents[2] / "pipelines" / "docs" / "DLT.md").read_text()
(SCRIPT,) = re.findall(r"^```python\n(# dlt_dags\.py\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
MODES = ("none", "serialize", "parallel", "parallel-isolated")
WAYS = [(name, mode) for mode in MODES for name in NAMES]
pytestmark = pytest.mark.filterwarnings("default")
"""Airflow's own parts warn of each other."""


@pytest.fixture
def dag_file(user: User, monkeypatch: pytest.MonkeyPatch, _home: dict[str, str]) -> Iterator[Path]:  # noqa: F811 - the fixture
    """What the group sets in the environment for good is taken back, and so is the file in the DAG folder."""
    for name in ("DLT_DATA_DIR", "DLT_PROJECT_DIR", "DLT_LOCAL_DIR"):
        monkeypatch.setenv(name, str(user.world.folder))
    file = Path(_home["AIRFLOW__CORE__DAGS_FOLDER"]) / "dlt_dags.py"
    yield file
    file.unlink()


def ran(user: User, mode: str, file: Path) -> dict[str, str]:  # noqa: F811 - the fixture
    """Does what `airflow dags test` does with the page's file, for any source and mode; returns each task's state."""
    from airflow.dag_processing.dagbag import DagBag

    name, package = user.subject.name, user.subject.source.package
    text = SCRIPT.replace("/srv/audit.duckdb", str(user.file())).replace('"serialize"', f'"{mode}"')
    file.write_text(text.replace("gapless.sources.tines", package).replace("tines", name))
    bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    assert bag.import_errors == {}
    ended = bag.dags[f"dlt_{name}"].test()
    return {task.task_id.rpartition(".")[2]: str(task.state) for task in ended.get_task_instances()}


@pytest.mark.parametrize(("name", "mode"), some(WAYS, *zip(NAMES, MODES, strict=False)))
def test_a_task_for_each_resource(user: User, mode: str, dag_file: Path) -> None:  # noqa: F811 - the fixture
    """All is there once, after a first run and after one when something had changed."""
    for number in range(2):
        found = ran(user, mode, dag_file)
        assert {*found.values()} == {"success"}
        resources = len(user.source().resources)
        assert sum(not task.endswith("_start") and not task.endswith("_end") for task in found) == (
            1 if mode == "none" else resources
        )
        assert user.differences() == []
        if number == 0:
            user.fake.advance(60)
            newest = max(user.subject.records(user.fake), key=lambda row: instant(row[user.subject.time]))
            user.subject.edit(user.fake, newest[user.subject.id], "edited")
            user.subject.add_one(user.fake, at=user.fake.now - timedelta(minutes=50))
