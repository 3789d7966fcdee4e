"""Several sources in one pipeline: their tables stay apart, because two vendors both have action logs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest

from gapless.sources import SOURCES
from tests.contract import subject as subjects
from tests.contract.conftest import NAMES
from tests.support.world import World

pytestmark = pytest.mark.usefixtures("_registered")


def pipeline(name: str, file: Path) -> dlt.Pipeline:
    to = dlt.destinations.duckdb(str(file))
    return dlt.pipeline(name, destination=to, dataset_name="logs", pipelines_dir=str(file.parent / name))


@pytest.mark.sweep
def test_all_in_one_pipeline_and_dataset(world: Callable[[Any], World], tmp_path: Path) -> None:
    """The first one has the plain names, the others their name in front, at every run; all rows are there once."""
    fakes = {name: world(subjects.subject(name).filled()).fake for name in NAMES}
    file = tmp_path / "all.duckdb"
    mine = pipeline("all", file)
    for limit in (1, None, None):
        sources = [SOURCES[name].build() for name in NAMES]
        mine.run([source.add_limit(limit) if limit else source for source in sources])
    plain = sorted(NAMES)[0]
    with duckdb.connect(str(file), read_only=True) as db:
        tables = {name for (name,) in db.execute("select table_name from duckdb_tables()").fetchall()}
        for name in NAMES:
            prefix = "" if name == plain else f"{name}_"
            for table, records in fakes[name].truth().items():
                key = subjects.subject(name).keys[table]
                held = db.execute(f"select {key}::varchar from logs.{prefix}{table} order by 1").fetchall()
                json_key = subjects.subject(name).id if table == subjects.subject(name).main else None
                wanted = sorted(str(record[json_key or subjects.subject(name).parent_id]) for record in records)
                assert [one for (one,) in held] == wanted, (name, table)
            assert f"{prefix}coverage" in tables


@pytest.mark.sweep
def test_one_after_the_other(world: Callable[[Any], World], tmp_path: Path) -> None:
    """Whoever came first keeps the plain names."""
    first, second = NAMES[0], NAMES[1]
    for name in (first, second):
        world(subjects.subject(name).filled())
    file = tmp_path / "all.duckdb"
    mine = pipeline("all", file)
    for name in (second, first, second):
        mine.run(SOURCES[name].build())
    with duckdb.connect(str(file), read_only=True) as db:
        tables = {name for (name,) in db.execute("select table_name from duckdb_tables()").fetchall()}
    assert {
        SOURCES[second].main.name,
        "coverage",
        f"{first}_{SOURCES[first].main.name}",
        f"{first}_coverage",
    } <= tables


@pytest.mark.sweep
def test_a_dataset_each(world: Callable[[Any], World], tmp_path: Path) -> None:
    """It needs no other names."""
    first, second = NAMES[0], NAMES[1]
    for name in (first, second):
        world(subjects.subject(name).filled())
    apart = pipeline("apart", tmp_path / "b.duckdb")
    apart.config.use_single_dataset = False
    apart.run([SOURCES[first].build(), SOURCES[second].build()])
    with duckdb.connect(str(tmp_path / "b.duckdb"), read_only=True) as db:
        tables = {name for (name,) in db.execute("select table_name from duckdb_tables()").fetchall()}
    assert {SOURCES[second].main.name, SOURCES[first].main.name} <= tables
