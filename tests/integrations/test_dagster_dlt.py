"""dagster-dlt's `@dlt_assets` takes the sources as they are: the page's file, run by Dagster."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from gapless.sources.tines.fake import TinesFake
from tests.support.oracle import mismatches
from tests.support.world import World

pytest.importorskip("dagster_dlt", reason="needs dagster-dlt, which .ci/run installs")
PAGE = (Path(__file__).resolve().parents[2] / "pipelines" / "docs" / "DLT.md").read_text()
(SCRIPT,) = re.findall(r"^```python\n(# assets\.py\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
RECORDS, PARENTS, STORIES = "dlt_tines_action_logs", "dlt_tines_actions", "dlt_tines_stories"
pytestmark = pytest.mark.filterwarnings("default")
"""dagster-dlt warns of what Dagster calls a preview."""


@pytest.fixture
def here(world: Callable[[Any], World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    fake = TinesFake(page_cap=8)
    fake.seed(5, logs=24)
    return world(fake)


def materialized(*only: str) -> dict[str, Any]:
    """Runs the page's assets, all or some; returns the metadata of each that was made."""
    told: dict[str, Any] = {}
    exec(compile(SCRIPT, "assets.py", "exec", dont_inherit=True), told)
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            [told["tines_assets"]], resources=told["defs"].resources, selection=list(only) or None, instance=instance
        )
    assert done.success
    return {
        made.asset_key.path[-1]: made.materialization.metadata for made in done.get_asset_materialization_events()
    }


def missing(world: World, *tables: str) -> list[str]:
    truth = world.fake.truth()
    with duckdb.connect(str(world.folder / "mine.duckdb"), read_only=True) as db:
        return mismatches(db, "tines", {table: truth[table] for table in tables or truth})


def test_an_asset_of_each_resource(here: World) -> None:
    """All at once, and once more; each knows its columns and how many rows came."""
    made = materialized()
    assert set(made) == {RECORDS, PARENTS, STORIES}
    assert missing(here) == []
    assert made[RECORDS]["rows_loaded"].value == 24
    assert "created_at" in {column.name for column in made[RECORDS]["dagster/column_schema"].value.columns}
    here.fake.advance(60)
    materialized()
    assert missing(here) == []


def test_some_assets(here: World) -> None:
    """The records without their parents' rows, then the parents; together they are all."""
    assert set(materialized(RECORDS)) == {RECORDS}
    assert missing(here, "action_logs") == []
    assert set(materialized(PARENTS, STORIES)) == {PARENTS, STORIES}
    assert missing(here) == []
