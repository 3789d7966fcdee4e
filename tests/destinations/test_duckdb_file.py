"""The DuckDB file as dlt's destination: merged from the load package's files, whatever these are called."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pyarrow as pa
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from filelock import FileLock, Timeout

from gapless.pipelines.destinations._dlt.duckdb_client import DuckdbDestination
from gapless.pipelines.destinations.target import Target
from gapless.sources.sequence.fake import SequenceFake
from tests.support.world import World, some

Begin = Callable[[Any], World]
ROWS = [{"id": 1, "a": "one", "b": "kept"}, {"id": 2, "a": "two", "b": "lost"}]


def merged(pipeline: dlt.Pipeline, rows: list[dict[str, Any]]) -> None:
    pipeline.run(
        pa.Table.from_pylist(rows),
        table_name="things",
        primary_key="id",
        write_disposition={"disposition": "merge", "strategy": "delete-insert"},
        loader_file_format="parquet",
    )


def test_a_column_that_a_package_lacks_is_null(tmp_path: Path) -> None:
    """As a staging table would have it: dlt knows the column, the file does not."""
    with duckdb.connect(str(tmp_path / "some.duckdb")) as db:
        pipeline = dlt.pipeline("some", str(tmp_path), destination=DuckdbDestination(db), dataset_name="logs")
        merged(pipeline, ROWS)
        merged(pipeline, [{"id": 2, "a": "new"}])
        assert db.execute("select id, a, b from logs.things order by id").fetchall() == [
            (1, "one", "kept"),
            (2, "new", None),
        ]
        pipeline.deactivate()


def test_a_merge_that_fails_changes_nothing(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "some.duckdb")) as db:
        pipeline = dlt.pipeline("some", str(tmp_path), destination=DuckdbDestination(db), dataset_name="logs")
        merged(pipeline, ROWS)
        db.execute("alter table logs.things alter column a set not null")
        with pytest.raises(PipelineStepFailed):
            merged(pipeline, [{"id": 2, "a": None, "b": "new"}])
        assert db.execute("select count(*), count(*) filter (b = 'lost') from logs.things").fetchall() == [(2, 1)]
        pipeline.deactivate()


ODD = ["a;b", "it's", "[1] *", "tab\t\N{SNOWMAN}"]


@pytest.mark.slow
@pytest.mark.parametrize("odd", some([*ODD, " ".join(ODD)], " ".join(ODD)))
def test_any_folder_will_do(odd: str, world: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The paths of the files stand in SQL, where dlt cuts at a semicolon and DuckDB takes them for patterns."""
    (tmp_path / odd).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / odd))
    fake = SequenceFake(page_cap=8)
    fake.seed(20)
    here = world(fake)
    here.complete(package_records=9)
    here.assert_exact()


def test_nothing_is_staged(world: Begin) -> None:
    """Each row is written once: there are no staging tables in the file."""
    fake = SequenceFake()
    fake.seed(5)
    here = world(fake)
    here.complete()
    assert here.sql("select schema_name from duckdb_schemas() where schema_name like '%staging%'") == []


def test_duckdb_is_tuned_for_packages_while_they_are_written() -> None:
    """One thread and a checkpoint for several packages, for every session; what only reads is left as it is."""
    place = Target.find("duckdb")
    settings = "select current_setting('threads'), current_setting('checkpoint_threshold')"
    with place.locked():
        ((threads, threshold),) = place.connection.execute(settings).fetchall()
        assert (threads, threshold) == (1, "64.0 MiB")
    with place.queried() as reader:
        assert reader is not None
        assert reader.execute(settings).fetchall() != [(1, "64.0 MiB")]


def test_working_files_are_deleted_under_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleted after it is released, they may be those of the sync that took it meanwhile."""
    place, held = Target.find("duckdb"), []
    real = shutil.rmtree

    def rmtree(*args: Any, **kwargs: Any) -> None:
        other = FileLock(place.lock_file)
        try:
            other.acquire(timeout=0)
            other.release()
            held.append(False)
        except Timeout:
            held.append(True)
        real(*args, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with place.locked():
        pass
    assert held == [True, True]
