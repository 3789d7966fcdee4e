"""What a sync costs does not grow with what is stored, for every source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.conftest import NAMES, of
from tests.contract.subject import Subject
from tests.support.history import duckdb_reads, grow, postgres_reads
from tests.support.world import World

ROWS = {"duckdb": 260_000, "postgres": 30_000}
"""Rows of a history: more than DuckDB reads at once, and so many that no plan of Postgres reads them by mistake."""
FEW = {"duckdb": 123_000, "postgres": 500}
"""Rows that may be read of twice the history beside those of once; DuckDB reads them by 122,880."""


@pytest.fixture
def grown(subject: Subject, world: Callable[[Any], World], destination: str) -> Callable[[], World]:
    """A database with a history that a sync has met, and another sync after it."""
    here = world(subject.filled())
    here.synced()
    # Whoever lists a parent reads all that is stored of it; the history is another one's.
    column, first = subject.source.stream.column, subject.parents(here.fake)[0]
    quiet = f"{column} <> '{first}'" if column else "1 = 1"
    rows, done = ROWS.get(destination, 0), [0]

    def more() -> World:
        grow(here, subject.main, subject.column(subject.time), subject.id_column, done[0] * rows, rows, quiet)
        done[0] += 1
        here.complete()  # it reads all, as somebody else has written
        here.complete()
        return here

    return more


@pytest.mark.slow
@pytest.mark.everywhere
@of(NAMES[0], NAMES[3])
@pytest.mark.parametrize("new", [0, 6])
def test_a_sync_reads_no_history(
    new: int, grown: Callable[[], World], subject: Subject, destination: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of twice the history not more is read, whether the vendor has news or not."""
    if destination not in ROWS or (new and destination == "duckdb"):
        pytest.skip("all rows are counted there; in DuckDB a merge reads the column of a key, as it has no indexes")
    reads = []
    for _ in range(2):
        here = grown()
        for _ in range(new):
            subject.add_one(here.fake)
        if destination == "duckdb":
            reads.append(duckdb_reads(here, subject.main, here.complete, monkeypatch))
        else:
            reads.append(postgres_reads(here, subject.main, here.complete))
    assert reads[1] - reads[0] < FEW[destination]
