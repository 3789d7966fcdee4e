"""The fast road and pydantic's road of a record: the same columns, or the record takes pydantic's road.

Documents are made from each vendor's models and then bent: JSON that is right, nearly right and wrong.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gapless.sources import SOURCES
from gapless.sources._schema import parse as roads
from gapless.sources._schema.arrow import Table, flatten
from gapless.sources._schema.columns import Kind, kind_of
from gapless.sources._schema.fast_decoder import FastRoad
from gapless.sources._schema.record import Record

TABLES = [table for source in SOURCES.values() for table in source.module.TABLES]
OPEN = [table for table in TABLES if not table.model.excluded_fields]
"""A model that must not keep some fields has no fast road."""
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8))])


def _instant(at: datetime, zone: timezone, digits: int) -> str:
    text = at.replace(tzinfo=zone).isoformat(timespec="seconds")
    fraction = f".{at.microsecond:06d}000"[: digits + 1] if digits else ""
    return f"{text[:19]}{fraction}{text[19:]}".replace("+00:00", "Z" if digits % 2 else "+00:00")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
INSTANTS = st.builds(
    _instant,
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)),
    ZONES,
    st.integers(0, 9),
)
RIGHT: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "bool": st.booleans(),
    "timestamp": INSTANTS,
    "json": ANYTHING,
}
USUAL = {
    "timestamp": st.just("2024-02-29T12:00:00.5+02:00"),
    "text": st.text(st.characters(exclude_categories=["Cs", "Nd"])),
    "json": st.just({"a": [1, None]}),
}
NEARLY = st.sampled_from(
    [
        *(2**63, -(2**63) - 1, 1.0, 2.5, "", "1", 0, True, [], {}, None, "\ud800", "\0", "2024-01-01"),
        *("2024-02-30T00:00:00Z", "2024-01-01T00:00:00", "2024-01-01 00:00:00Z", "2024-01-01T00:00:60Z"),
        "2024-01-01T00:00:00.1234567Z",
    ]
)


def _value(kind: Kind) -> st.SearchStrategy[Any]:
    one = _document(kind.model) if kind.model else RIGHT[kind.scalar or "text"]
    some = st.lists(one, max_size=3) if kind.many else one
    return st.one_of(some, some, some, st.none(), NEARLY)


def _document(model: type[Record]) -> st.SearchStrategy[dict[str, Any]]:
    fields = {f.alias or name: f for name, f in model.model_fields.items() if name != "extra"}
    needed = {name: _value(kind_of(f)) for name, f in fields.items() if f.is_required()}
    others = {name: _value(kind_of(f)) for name, f in fields.items() if not f.is_required()}
    unknown = st.dictionaries(st.sampled_from(["new", "_extra", "_dlt_id", "extra"]), ANYTHING, max_size=1)
    known = st.fixed_dictionaries(needed, optional=others)
    return st.one_of(known, known, st.builds(lambda one, other: {**other, **one}, known, unknown))


def _rows(table: Table, records: list[Any]) -> dict[str, list[dict[str, Any]]]:
    return {name: rows.to_pylist() for name, rows in flatten(table, records).rows.items()}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_both_roads_lead_to_the_same_columns(table: Table, data: st.DataObject) -> None:
    """Whatever the fast road takes, pydantic takes, and every cell of every table is the same."""
    document = data.draw(_document(table.model))
    raw = json.dumps(document, ensure_ascii=data.draw(st.booleans())).encode("utf-8", "surrogatepass")
    fast = FastRoad(table.model, {}).record(raw)
    slow = roads.Parsed[Any]()
    roads._slow_road(table.model, raw, {}, "id", slow)
    if fast is not None:
        assert not slow.unreadable, slow.unreadable
        assert _rows(table, [fast]) == _rows(table, slow.records)


@pytest.mark.parametrize("table", OPEN, ids=lambda table: table.name)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_an_ordinary_record_takes_the_fast_road(table: Table, data: st.DataObject) -> None:
    """A document with every field, each of its type, is not left to the slow one."""
    raw = json.dumps(data.draw(_ordinary(table.model))).encode()
    assume(b'"0001-' not in raw and b'"9999-' not in raw)  # Hypothesis takes constants from our own code
    assert FastRoad(table.model, {}).record(raw) is not None, raw


def _ordinary(model: type[Record]) -> st.SearchStrategy[dict[str, Any]]:
    def value(kind: Kind) -> st.SearchStrategy[Any]:
        ours = st.just("2024-02-29T12:00:00.5+02:00")
        one = (
            _ordinary(kind.model) if kind.model else ours if kind.scalar == "timestamp" else RIGHT[kind.scalar or ""]
        )
        return st.lists(one, max_size=1) if kind.many else one

    fields = model.model_fields.items()
    return st.fixed_dictionaries({f.alias or n: value(kind_of(f)) for n, f in fields if n != "extra"})
