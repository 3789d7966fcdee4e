"""Which tables and columns a model becomes."""

from __future__ import annotations

import json

from gapless.sources._schema.arrow import Table, to_arrow
from gapless.sources._schema.parse import parse
from gapless.sources._schema.record import Many, Record, Text


class Hop(Record):
    """A server on the way."""

    ip: Text | None = None
    """Its address."""


class Request(Record):
    """What was asked."""

    method: Text | None = None
    """GET or POST.

    No other."""
    hops: Many[Hop] = []
    words: Many[Text] = []
    """A word of the query."""


class Event(Record):
    """What happened.

    More than once, perhaps."""

    id: Text
    request: Request | None = None
    answered: Hop | None = None
    """Where it was answered."""


EVENTS = Table("events", Event, ("id",), "merge")


def test_a_list_in_a_flattened_object_is_a_child_table() -> None:
    """It is neither a column nor left out: `events__request__hops`, below the events; a null object has no rows."""
    assert [(table.name, table.parent) for table in EVENTS.schema.tree()] == [
        ("events", None),
        ("events__request__hops", "events"),
        ("events__request__words", "events"),
    ]
    rows = [
        {"id": "a", "request": {"method": "GET", "hops": [{"ip": "1"}, {"ip": "2", "new": 1}], "words": ["x"]}},
        {"id": "b", "request": None},
        {"id": "c", "request": {"hops": None}},
    ]
    fast = [json.dumps(row).encode() for row in rows]
    for raws in (fast, [raw[:-1] + b', "unknown": 1}' for raw in fast]):  # the second is left to pydantic
        found = to_arrow(EVENTS, parse(Event, raws).records).rows
        parent = found["events"]["_dlt_id"][0].as_py()
        hops = found["events__request__hops"].select(["ip", "_extra", "_dlt_parent_id", "_dlt_list_idx"]).to_pylist()
        assert [list(hop.values()) for hop in hops] == [["1", None, parent, 0], ["2", '{"new": 1}', parent, 1]]
        assert found["events__request__words"]["value"].to_pylist() == ["x"]
        assert found["events"]["request__method"].to_pylist() == ["GET", None, None]
        assert found["events"]["rows_below"].to_pylist() == [3, 0, 0]


def test_docstrings_become_descriptions() -> None:
    """Their first lines: an object's goes before those of its fields, and without one its model's stands in."""
    tables = {table.name: table for table in EVENTS.schema.tree()}
    assert {name: table.description for name, table in tables.items()} == {
        "events": "What happened.",
        "events__request__hops": "A server on the way.",
        "events__request__words": "A word of the query.",
    }
    own = [column for column in tables["events"].columns if column.name not in ("_extra", "gone_at", "rows_below")]
    assert {column.name: column.description for column in own} == {
        "id": "",
        "request__method": "What was asked. GET or POST.",
        "answered__ip": "Where it was answered. Its address.",
    }
    assert tables["events__request__hops"].columns[0].description == "Its address."
    assert tables["events__request__words"].columns[0].description == "A word of the query."
