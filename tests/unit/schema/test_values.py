"""Nothing is guessed: a value that may mean two things is an invalid record, and no other value."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from gapless.sources._schema.parse import parse
from gapless.sources._schema.record import Instant, Integer, Record


class Entry(Record):
    id: Integer
    created_at: Instant | None = None


class Named(Record):
    id: str


@pytest.mark.parametrize("wrong", ["20260301", "20260301120000", "1772438400", "-5", " 12.5 ", 20260301, 0, 5, 1e15])
def test_digits_are_no_time(wrong: object) -> None:
    """A date without dashes would be a day in 1970, and one with a time the year 2612."""
    found = parse(Entry, [json.dumps({"id": 1, "created_at": wrong}).encode()])
    assert (found.records, len(found.unreadable)) == ([], 1)
    assert found.unreadable[0].reason.startswith("created_at: Value error, a datetime")


@pytest.mark.parametrize("value", [1772438400, 1772438400.0, 1772438400000, "2026-03-02T08:00:00Z"])
def test_seconds_and_milliseconds_are(value: object) -> None:
    """They are told apart by their digits."""
    (record,) = parse(Entry, [json.dumps({"id": 1, "created_at": value}).encode()]).records
    assert record.created_at == datetime(2026, 3, 2, 8, tzinfo=UTC)


def test_an_integer_that_a_float_does_not_hold() -> None:
    """9007199254740993.0 is another record's id once it was a float."""
    texts = ["9007199254740993.0", "9007199254740992.0", "9007199254740993", "3.0"]
    found = parse(Entry, [f'{{"id": {text}}}'.encode() for text in texts])
    assert [record.id for record in found.records] == [2**53 + 1, 3]
    assert ["2^53" in bad.reason for bad in found.unreadable] == [True, True]


def test_an_empty_id_is_none() -> None:
    """Two such records would be one row."""
    found = parse(Named, [b'{"id": ""}', b'{"id": "", "more": 1}', b'{"id": " "}'])
    assert ([record.id for record in found.records], [bad.key for bad in found.unreadable]) == ([" "], [None, None])
