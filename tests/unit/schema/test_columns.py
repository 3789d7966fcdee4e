"""Which tables and columns a model becomes."""

from __future__ import annotations

import json

from gapless.sources._schema.arrow import Table, to_arrow
from gapless.sources._schema.parse import parse
from gapless.sources._schema.record import Many, Record, Text


class Hop(Record):
    ip: Text | None = None


class Request(Record):
    method: Text | None = None
    hops: Many[Hop] = []
    words: Many[Text] = []


class Event(Record):
    id: Text
    request: Request | None = None


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
