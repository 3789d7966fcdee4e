"""A load package: each key once, also when its rows are written in several parts."""

from __future__ import annotations

import pytest

from gapless.sources._extract.steps.rows import with_keys
from gapless.sources._ledger.ledger import MERGE, RUNS
from gapless.sources._ledger.package import Package
from gapless.sources._schema.arrow import Batch, Table
from gapless.sources._schema.record import Many, Record, Text


class Egg(Record):
    colour: Text


class Nest(Record):
    id: Text
    eggs: Many[Egg] = []


NESTS = Table("nests", Nest, ("id",), MERGE)


def nests(**eggs: str) -> Batch:
    return Batch(NESTS, [Nest(id=name, eggs=[Egg(colour=one)]) for name, one in eggs.items()])


def written(package: Package) -> dict[str, list[str]]:
    root, below = (arrow for _, arrow in package.tables(NESTS))
    return {"nests": root["id"].to_pylist(), "eggs": below["colour"].to_pylist()}


def test_the_last_row_of_a_key_that_waits() -> None:
    package = Package()
    package.add(nests(robin="blue", wren="white"))
    package.add(nests(robin="red"))
    assert written(package) == {"nests": ["robin", "wren"], "eggs": ["red", "white"]}


def test_a_key_that_was_written_before_is_left_out() -> None:
    """A second row would leave both, as both have the same `_dlt_id`; so would its children."""
    package = Package()
    package.add(nests(robin="blue"))
    assert written(package) == {"nests": ["robin"], "eggs": ["blue"]}
    package.add(nests(robin="red", owl="grey"))
    assert written(package) == {"nests": ["owl"], "eggs": ["grey"]}
    assert written(package) == {"nests": [], "eggs": []}


def test_a_nested_row_without_what_is_never_null() -> None:
    """It is refused where the step is known that removed it: dlt would find it after all requests."""
    row = {column.name: "a" for column in RUNS.schema.columns if column.name != "started_at"}
    with pytest.raises(ValueError, match="runs: a step removed 'started_at', which is never null"):
        with_keys([row], RUNS, "1", set())


def test_a_key_is_written_once_also_as_a_nested_row() -> None:
    """Whichever of several flushes of one package it comes in: dlt's merge would keep both."""
    written = set[str]()
    whole = {column.name: "a" for column in RUNS.schema.columns}
    assert [len(with_keys([whole, whole], RUNS, "1", written)) for _ in range(2)] == [1, 0]
    assert len(with_keys([whole | {name: "b" for name in RUNS.key}], RUNS, "1", written)) == 1
