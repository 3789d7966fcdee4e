"""Nothing is guessed: a value that may mean two things is an invalid record, and no other value."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from gapless.sources._http.body.lenient_json import quote_if_invalid
from gapless.sources._schema.arrow import digest
from gapless.sources._schema.parse import parse, readable_time
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
    assert found.unreadable[0].reason.startswith("created_at: a datetime")


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


BROKEN = {
    "NaN stands where a number was expected": b'{"id": "1", "x": NaN}',
    "-Infinity stands where a number was expected": b'{"id": "1", "x": [-Infinity]}',
    "half of a surrogate pair": b'{"id": "1", "x": "\\ud83d"}',
    "bytes that are not UTF-8": b'{"id": "1", "x": "\xff\xc3("}',
    "a key stands twice in one object": b'{"id": "1", "x": {"a": 1, "\\u0061": 2}}',
    "nested too deeply": b'{"id": "1", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "Invalid control character at character 19": b'{"id": "1", "x": "\x00"}',
}
"""Why strict JSON refuses a record."""


@pytest.mark.parametrize(("said", "raw"), BROKEN.items(), ids=BROKEN)
def test_why_a_record_is_no_json(said: str, raw: bytes) -> None:
    """The one thing that is wrong with it is said, and no list of what may be."""
    quoted = quote_if_invalid(raw.decode(errors="surrogateescape")).encode()
    (bad,) = parse(Named, [quoted]).unreadable
    assert bad.reason.startswith(f"invalid JSON: {said}"), bad.reason
    assert " and " not in bad.reason


@pytest.mark.parametrize(
    "odd", [b"NaN", b'"\xff\xc3("', b'"\\\\xe9 \xe9"', b'"\x00"', b'"\\ud83d"', b'{"a": 1, "a": 2}', b"1" * 5000]
)
def test_an_invalid_record_is_found_again_by_its_id_and_time(odd: bytes) -> None:
    """Whatever is wrong elsewhere in it, a walk reads back to it and what is served right closes its dead letter."""
    raw = b'{"id": 1, "created_at": "2026-03-02T08:00:00Z", "x": ' + odd + b"}"
    quoted = quote_if_invalid(raw.decode(errors="surrogateescape")).encode()
    found = parse(Entry, [quoted])
    for bad in found.unreadable:
        at = readable_time(Entry, bad.raw)
        assert (bad.key, at) == ("1", datetime(2026, 3, 2, 8, tzinfo=UTC))
    assert len(found.unreadable) == 1 or odd[:1] == b"1"


@pytest.mark.parametrize("written", [b'"caf\xe9"', b'"a\x00"'])
def test_an_id_with_an_odd_byte_is_none(written: bytes) -> None:
    """It could be taken for another record's."""
    quoted = quote_if_invalid((b'{"id": ' + written + b"}").decode(errors="surrogateescape")).encode()
    (bad,) = parse(Named, [quoted]).unreadable
    assert bad.key is None


@pytest.mark.parametrize("raw", [b"7", b'"gone"', b"[]", b"null", b"true"])
def test_what_is_no_object(raw: bytes) -> None:
    """The kind of value is said in the words of JSON, and no class of Python's."""
    (bad,) = parse(Named, [raw]).unreadable
    assert bad.reason.startswith("a JSON object was expected, found `")
    assert "Error" not in bad.reason


@pytest.mark.parametrize(
    ("parts", "row_id"),
    [
        (("a",), "G6PFI-dw8zE8yRqx"),
        (("ä\n",), "xfrBXUe5EkZhQgEN"),
        ((7,), "J4mgXVKfeVNYbAgD"),
        (("a", "bc"), "2A81e5Rn1J8ZPTuW"),
        (("ab", "c"), "b6cAcKoECoqkt-Dk"),
        ((datetime(2026, 1, 1, tzinfo=UTC),), "3CAbaMHqrmVFq7Vb"),
    ],
)
def test_a_key_has_the_same_id_for_ever(parts: tuple[object, ...], row_id: str) -> None:
    """The id of a row is that of earlier versions, or a record that is read again would be there twice."""
    assert digest(*parts) == row_id
