"""The fast decoder and pydantic give a record the same columns, or the fast decoder leaves it to pydantic.

Documents are made from each vendor's models and then bent: JSON that is right, nearly right and wrong.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from gapless.sources import SOURCES
from gapless.sources._schema import parse as parsing
from gapless.sources._schema.arrow import Table, to_arrow
from gapless.sources._schema.columns import FieldType, field_type
from gapless.sources._schema.fast_decoder import FastDecoder
from gapless.sources._schema.privacy import Privacy
from gapless.sources._schema.record import Instant, Many, Record, Text, record_id, record_time
from tests.support.world import some

TABLES = [table for source in SOURCES.values() for table in source.tables]
OPEN = [table for table in TABLES if not table.model.excluded_fields]
"""A model with excluded fields is never decoded fast."""
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


def _value(type_: FieldType) -> st.SearchStrategy[Any]:
    one = _document(type_.model) if type_.model else RIGHT[type_.scalar or "text"]
    some = st.lists(one, max_size=3) if type_.many else one
    return st.one_of(some, some, some, st.none(), NEARLY)


def _document(model: type[Record]) -> st.SearchStrategy[dict[str, Any]]:
    fields = {f.alias or name: f for name, f in model.model_fields.items() if name != "extra"}
    needed = {name: _value(field_type(f)) for name, f in fields.items() if f.is_required()}
    others = {name: _value(field_type(f)) for name, f in fields.items() if not f.is_required()}
    unknown = st.dictionaries(st.sampled_from(["new", "_extra", "_dlt_id", "extra"]), ANYTHING, max_size=1)
    known = st.fixed_dictionaries(needed, optional=others)
    return st.one_of(known, known, st.builds(lambda one, other: {**other, **one}, known, unknown))


def _rows(table: Table, records: list[Any]) -> dict[str, list[dict[str, Any]]]:
    return {name: rows.to_pylist() for name, rows in to_arrow(table, records).rows.items()}


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
@pytest.mark.parametrize("examples", some([20, 200], 20))
def test_both_decoders_give_the_same_columns(table: Table, examples: int) -> None:
    """Whatever the fast decoder accepts, pydantic accepts, and every cell of every table is the same."""
    settings(max_examples=examples, deadline=None)(given(data=st.data())(_decoded_alike))(table=table)


def _decoded_alike(table: Table, data: st.DataObject) -> None:
    document = data.draw(_document(table.model))
    raw = json.dumps(document, ensure_ascii=data.draw(st.booleans())).encode("utf-8", "surrogatepass")
    fast = FastDecoder(table.model, {}).decode(raw)
    slow = parsing.Parsed[Any]()
    parsing._validate(table.model, raw, {}, parsing.id_name(table.model), slow)
    if (
        fast is not None and getattr(fast, table.model.id_field, None) != ""
    ):  # an empty id is refused whoever decodes it
        assert not slow.unreadable, slow.unreadable
        assert _rows(table, [fast]) == _rows(table, slow.records)


@pytest.mark.parametrize("table", OPEN, ids=lambda table: table.name)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_an_ordinary_record_is_decoded_fast(table: Table, data: st.DataObject) -> None:
    """A document with every field, each of its type, is not left to pydantic."""
    raw = json.dumps(data.draw(_ordinary(table.model))).encode()
    assert FastDecoder(table.model, {}).decode(raw) is not None, raw


def _ordinary(model: type[Record]) -> st.SearchStrategy[dict[str, Any]]:
    def value(type_: FieldType) -> st.SearchStrategy[Any]:
        time = st.just("2024-02-29T12:00:00.5+02:00")
        scalar = time if type_.scalar == "timestamp" else RIGHT[type_.scalar or "text"]
        one = _ordinary(type_.model) if type_.model else scalar
        return st.lists(one, max_size=1) if type_.many else one

    fields = model.model_fields.items()
    return st.fixed_dictionaries({f.alias or n: value(field_type(f)) for n, f in fields if n != "extra"})


class Event(Record):
    """A record of a vendor that has other names for the id and the time, one of them an alias in JSON."""

    id_field = "event_uuid"
    time_field = "published"

    parent_columns = frozenset({"calendar_id"})

    event_uuid: Text = Field(alias="uuid")
    calendar_id: Text | None = None
    published: Instant
    title: Text | None = None


EVENTS = Table("events", Event, ("event_uuid",), "merge")


@pytest.mark.parametrize("more", ["", ', "unknown": 1'], ids=["strict", "pydantic"])
def test_a_model_names_its_id_and_its_time(more: str) -> None:
    """Either decoder's record gives them, and the table knows their columns."""
    raw = b'{"uuid": "e-1", "published": "2026-03-02T09:00:00+02:00"%s}' % more.encode()
    (event,) = parsing.parse(Event, [raw]).records
    assert isinstance(event, Event) == bool(more)
    assert (record_id(event), record_time(event)) == ("e-1", datetime(2026, 3, 2, 7, tzinfo=UTC))
    assert (EVENTS.id_column, EVENTS.time_column) == ("event_uuid", "published")


def test_an_invalid_record_is_found_by_its_own_id() -> None:
    """The JSON name of the model's id is read, and no other member that happens to be called `id`."""
    (bad,) = parsing.parse(Event, [b'{"id": 7, "uuid": "e-2", "published": "never"}']).unreadable
    assert (bad.key, bad.reason.split(":")[0]) == ("e-2", "published")


def test_a_model_cannot_name_a_field_that_it_lacks() -> None:
    """A slip of the pen ends when the model is written, not when its first bad record comes."""
    with pytest.raises(TypeError, match=r"Slip.time_field is 'publishd', and the model has no such field"):

        class Slip(Event):
            time_field = "publishd"


def test_a_table_without_a_creation_time_says_so() -> None:
    """`created_at` is the default, and not every model has it."""

    class Team(Record):
        id: Text

    (team,) = parsing.parse(Team, [b'{"id": "t"}']).records
    assert (Table("teams", Team, ("id",), "merge").time_column, record_time(team)) == (None, None)


@pytest.mark.parametrize(("column", "allowed"), [("title", True), ("event_uuid", False), ("calendar_id", False)])
def test_ids_cannot_be_hashed(column: str, allowed: bool) -> None:
    """Neither a record's own id nor its parent's, because rows are joined by them; the model says which they are."""
    rule = f"events.{column}=hash"
    if allowed:
        assert (
            Privacy.parse(rule, "a key of 16 characters", [EVENTS.schema], "X_PRIVACY").actions["events", column]
            == "hash"
        )
    else:
        with pytest.raises(ValueError, match=f"X_PRIVACY: events.{column} cannot be hashed"):
            Privacy.parse(rule, "key", [EVENTS.schema], "X_PRIVACY")


def test_two_rules_for_one_place() -> None:
    """The second one would win without a word, and the value could be stored in clear."""
    with pytest.raises(ValueError, match="two rules for one place"):
        Privacy.parse("events.title=hash, events.title=keep", "a" * 16, [EVENTS.schema], "X_PRIVACY")
    with pytest.raises(ValueError, match="fewer than 16"):
        Privacy.parse("events.title=hash", " " * 16, [EVENTS.schema], "X_PRIVACY")


class Stay(Record):
    """A part of a visit."""

    left: Instant | None = None


class Visit(Event):
    """A record with times in an object, in a list of objects and in a plain list."""

    stay: Stay | None = None
    stays: Many[Stay] = []
    calls: Many[Instant] = []


@pytest.mark.parametrize("year", ["0001", "9999", "2024"])
@pytest.mark.parametrize(
    "where", ['"published": {}', '"stay": {{"left": {}}}', '"stays": [{{}}, {{"left": {}}}]', '"calls": [{}]']
)
def test_a_time_at_the_edge_of_the_calendar_is_left_to_pydantic(year: str, where: str) -> None:
    """Wherever it stands: in UTC it may have no year. A text that looks like one is decoded fast."""
    at = '"2024-01-01T00:00:00Z"'
    raw = f'{{"uuid": "v", "title": "0001-01", "published": {at}, {where.format(at.replace("2024", year))}}}'
    assert (FastDecoder(Visit, {}).decode(raw.encode()) is None) == (year != "2024")


def test_an_object_that_is_missing_makes_its_columns_null() -> None:
    """Among rows that have it: the cells of all rows are read at once only where none is missing."""
    table = Table("visits", Visit, ("event_uuid",), "merge")
    at = datetime(2024, 1, 1, tzinfo=UTC)
    records = [Visit(uuid=str(n), published=at, stay=Stay(left=at) if n % 700 else None) for n in range(1_400)]
    rows = _rows(table, records)["visits"]
    assert [(row["event_uuid"], row["stay__left"]) for row in rows] == [
        (str(n), at if n % 700 else None) for n in range(1_400)
    ]
