"""Wide records: bytes end a load package, and DuckDB may hold what one needs; once 100 MB were all it had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gapless.pipelines.destinations._dlt import duckdb_client, duckdb_memory
from gapless.pipelines.destinations._dlt.duckdb_client import VECTOR_BYTES, cut_row_groups
from gapless.sources import SOURCES
from tests.contract.subject import subject
from tests.support.world import World, some

Begin = Callable[[Any], World]
JSON = [name for name in SOURCES if subject(name).json]
WIDTHS = [(1500, 10_000), (500, 100_000), (8, 3_000_000), (1, 40_000_000)]
"""Records, and the characters of one value of each."""


def wide(name: str, count: int, size: int) -> Any:
    it = subject(name)
    fake = it.filled(1, 1)
    for number in range(count):
        it.add_one(fake, **{it.text: f"{number} " + "x" * size})
    return fake


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "width"), some([(name, width) for name in SOURCES for width in WIDTHS], ("tines", WIDTHS[1]))
)
def test_wide_records_load(name: str, width: tuple[int, int], world: Begin) -> None:
    """In as many packages as they need, each row whole."""
    here = world(wide(name, *width))
    outcome = here.complete()
    here.assert_exact()
    assert outcome.packages > 1 or width[0] * width[1] < 40e6 or len(here.fake.requests) < 4


@pytest.mark.slow
def test_duckdb_gets_more_memory_when_it_needs_it(world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a statement takes depends on the rows that are there already, too: nobody can tell beforehand."""
    for name, value in {"MEMORY": 12 * 2**20, "ROOM": 0, "ROOM_OF_ONE": 0}.items():
        monkeypatch.setattr(duckdb_memory, name, value)
    grown: list[int] = []
    with_room = duckdb_memory.with_room

    def noted(connection: Any, action: Callable[[], None]) -> None:
        before = duckdb_memory.limit(connection)
        with_room(connection, action)
        grown.append(duckdb_memory.limit(connection) - before)

    monkeypatch.setattr(duckdb_client, "with_room", noted)
    here = world(wide("tines", 200, 100_000))
    here.complete()
    here.assert_exact()
    assert max(grown) > 0


@pytest.mark.sweep
@pytest.mark.parametrize("name", some(SOURCES, "kizen"))
def test_a_record_that_does_not_fit_is_a_dead_letter(name: str, world: Begin) -> None:
    """The rest loads; with more room its record is loaded, too, and the letter is closed."""
    fake, it = wide(name, 2, 3_000_000), subject(name)
    here = world(fake).set(GAPLESS_MAX_RECORD_MB="2")
    outcome = here.sync()
    assert (outcome.outcome, len(outcome.failures)) == ("partial", 2)
    letters = "select raw_json, reason from dead_letters where healed_at is null"
    assert [(raw, "GAPLESS_MAX_RECORD_MB" in reason) for raw, reason in here.sql(letters)] == [(None, True)] * 2
    assert len(here.sql(f"select 1 from {it.main}")) == 1
    here.set(GAPLESS_MAX_RECORD_MB="100").complete()
    here.assert_exact()


@pytest.mark.parametrize(("rows", "size", "groups"), [(100, 100_000, 3), (3, VECTOR_BYTES * 2, 3), (5_000, 100, 1)])
def test_row_groups_are_cut_by_bytes(rows: int, size: int, groups: int, tmp_path: Path) -> None:
    """All rows stay, in their order; ordinary ones stay as they are, and the file is not written again."""
    file, texts = tmp_path / "a.parquet", [f"{number} " + "x" * size for number in range(rows)]
    pq.write_table(pa.table({"text": texts}), file, compression="none", use_dictionary=False)
    before = file.stat().st_ino
    cut_row_groups(file)
    with pq.ParquetFile(file) as found:
        assert found.num_row_groups == groups
        assert found.read().column("text").to_pylist() == texts
    assert (file.stat().st_ino == before) is (groups == 1)
    assert [one.name for one in tmp_path.iterdir()] == ["a.parquet"]
