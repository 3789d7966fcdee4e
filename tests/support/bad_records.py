"""Kinds of records that no vendor should send, as data: their raw JSON, and what must become of each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.contract.subject import Row, Subject

LOADED = "loaded"
NOT_JSON = "invalid JSON: "
STRANGE = "\ue000\uf026\uf8ff\U0010ffff\ufffe\u202e\x7f\x1b"
DEEP = 300


But = Callable[[Subject], str | None]


def MAY_LACK_A_TIME(subject: Subject) -> str | None:
    fields = subject.source.main.model.model_fields
    return None if fields[subject.source.main.time_column or ""].is_required() else LOADED


def NUMBERS_ARE_IDS(subject: Subject) -> str | None:
    return "id:" if subject.numbered else None


def EXPECTED(subject: Subject) -> str | None:
    """A letter under the id that the listing told, as the record itself cannot be read."""
    return "expected" if subject.one_by_one else None


ANOTHER = "a record with another id came"


def OF_ANOTHER(subject: Subject) -> str | None:
    """As `NUMBERS_ARE_IDS`; of a record that is asked for by its id the letter of the one that the listing told."""
    return ANOTHER if subject.one_by_one else NUMBERS_ARE_IDS(subject)


def SKIPPED(subject: Subject) -> str | None:
    return "skip" if subject.one_by_one else None


@dataclass(frozen=True)
class Kind:
    """`bad` makes a record's raw JSON out of a good one; `outcome` is LOADED or a part of the letter's reason."""

    bad: Callable[[Row, Subject], bytes | None]
    outcome: str
    truth: Callable[[Row, Subject], Row] | None = None
    """What must be loaded, where that is not what any JSON reader makes of it."""
    but: But = field(default=lambda subject: None)
    """The outcome for a source to which another applies."""


def dumped(row: Any) -> bytes:
    return json.dumps(row).encode()


def set_(outcome: str, but: But = lambda subject: None, **values: Any) -> Kind:
    """Fields by role: id, created, text, child, child_text, object, json, number; or as spelt."""
    return Kind(lambda row, v: _changed(row, v, values), outcome, but=but)


def _changed(row: Row, vendor: Subject, values: Row) -> bytes | None:
    row = json.loads(json.dumps(row))
    for role, value in values.items():
        changed = _put(row, vendor, role, value)
        if not changed:
            return None
    return dumped(row)


def _put(row: Row, vendor: Subject, role: str, value: Any) -> bool:
    """Whether the vendor has such a place."""
    child = row.get(vendor.child) or [] if vendor.child else []
    if role == "number":
        place: Any = row
        for key in vendor.number[:-1]:
            place[key] = place.get(key) or [{"id": "x", "channel": "SMS", "direction": "INBOUND"}]
            place = place[key][0] if isinstance(place[key], list) else place[key]
        if vendor.number:
            place[vendor.number[-1]] = value
        return bool(vendor.number)
    if role in ("child_text", "child_key"):
        for item in child[:1]:
            item[vendor.child_text if role == "child_text" else "_dlt_id"] = value
        return bool(child)
    if role == "json" and vendor.json not in row:
        for item in child[:1]:
            item[vendor.json] = value
        return bool(child)
    name = _field(vendor, role)
    if role == "text":
        row |= vendor.with_text(value, row)
    elif name:
        row[name] = value
    return bool(name)


def _field(vendor: Subject, role: str) -> str | None:
    """The field with this role; a field that no role is called like is itself."""
    roles = {"id": vendor.id, "created": vendor.time, "text": vendor.text, "child": vendor.child}
    roles |= {"object": vendor.object, "parent_text": vendor.parent_text, "json": vendor.json}
    return roles.get(role, role)


def spliced(find: bytes, replace: bytes, outcome: str, **values: Any) -> Kind:
    """As `set_`, then bytes that json.dumps would not write."""

    def bad(row: Row, vendor: Subject) -> bytes | None:
        raw = _changed(row, vendor, values)
        return raw and raw.replace(find, replace)

    return Kind(bad, outcome)


def bare(raw: bytes) -> Kind:
    return Kind(lambda row, vendor: raw, "", but=EXPECTED)


def _without(role: str) -> Callable[[Row, Subject], bytes]:
    def bad(row: Row, vendor: Subject) -> bytes:
        return dumped({k: v for k, v in row.items() if k != _field(vendor, role)})

    return bad


def _doubled(row: Row, vendor: Subject) -> bytes:
    return dumped({**row, **vendor.with_text("first", row)})[:-1] + b"}, " + dumped(row)


def _nested(depth: int) -> bytes:
    return b'{"a": [' * (depth // 2) + b"1" + b"]}" * (depth // 2)


UNKNOWN: Row = {f"key {n}": n for n in range(3000)}
KINDS: dict[str, Kind] = {
    "id null": set_("id:", id=None),
    "id missing": Kind(_without("id"), "id:", but=EXPECTED),
    "id empty": set_("id:", id=""),
    "id an object": set_("id:", id={"a": 1}),
    "id true": set_("id:", id=True),
    "id of the other type": set_("id:", NUMBERS_ARE_IDS, id=1.5),
    "id of 70 bits": set_("id:", id=2**70),
    "id of 100,000 characters": set_(LOADED, OF_ANOTHER, id="i" * 100_000),
    "id with NUL": set_(LOADED, OF_ANOTHER, id="i\0d"),
    "id twice, the last counts": Kind(_doubled, LOADED, lambda row, v: row, but=SKIPPED),
    "created missing": Kind(_without("created"), "Field required", but=MAY_LACK_A_TIME),
    "created null": set_("valid datetime", MAY_LACK_A_TIME, created=None),
    "created garbage": set_("datetime", created="yesterday"),
    "created empty": set_("datetime", created=""),
    "created true": set_("boolean", created=True),
    "created an object": set_("datetime", created={}),
    "created in 2099": set_(LOADED, created="2099-01-01T00:00:00Z"),
    "created in year 0": set_("datetime", created="0000-01-01T00:00:00Z"),
    "created in year 1": set_(LOADED, created="0001-01-01T00:00:00Z"),
    "created before year 1 in UTC": set_("datetime", created="0001-01-01T00:00:00+14:00"),
    "created in year 9999": set_(LOADED, created="9999-12-31T23:59:59Z"),
    "created after year 9999 in UTC": set_("datetime", created="9999-12-31T23:59:59-12:00"),
    "created in year 10000": set_("datetime", created="10000-01-01T00:00:00Z"),
    "created as epoch": set_(LOADED, created=1772440000),
    "created as epoch milliseconds": set_(LOADED, created=1772440000123),
    "created as an endless epoch": set_("datetime", created=10**300),
    "created with 9 digits": set_(LOADED, created="2026-03-01T10:00:00.123456789Z"),
    "created without offset": set_(LOADED, created="2026-03-01T10:00:00"),
    "created with a blank": set_(LOADED, created="2026-03-01 10:00:00+02:00"),
    "created on February 30": set_("datetime", created="2026-02-30T10:00:00Z"),
    "text an object": set_("valid string", text={"a": "b"}),
    "text a list": set_("valid string", text=["a"]),
    "text a number": set_("valid string", text=7),
    "text true": set_("valid string", text=True),
    "text with NUL": set_(LOADED, text="a\0b\0"),
    "text with strange characters": set_(LOADED, text=STRANGE),
    "text with half a pair": spliced(b"HALF", b"\\ud83d", NOT_JSON, text="HALF"),
    "text with wrong UTF-8": spliced(b"WRONG", b"\xff\xc3(", NOT_JSON, text="WRONG"),
    "text with a raw NUL": spliced(b"RAW", b"\x00", NOT_JSON, text="RAW"),
    "child text with NUL": set_(LOADED, child_text="\0"),
    "child text with half a pair": spliced(b"HALF", b"\\udc00x", NOT_JSON, child_text="HALF"),
    "child text a number": set_("valid string", child_text=1),
    "child text strange": set_(LOADED, child_text=STRANGE),
    "children null": set_(LOADED, child=None),
    "children an object": set_("valid list", child={"a": 1}),
    "children a text": set_("valid list", child="a"),
    "children a number": set_("valid list", child=3),
    "children with a null": set_("valid", child=[None]),
    "children scalars": set_("valid", child=["a", 1]),
    "children lists": set_("valid", child=[[], []]),
    "children mixed": set_("valid", child=[{}, None, {"id": "c"}]),
    "child without anything": set_(LOADED, child=[{}]),
    "child with our column": set_(LOADED, child_key="mine"),
    "object a text": set_("valid", object="a"),
    "object a list": set_("valid", object=[{"id": "a"}]),
    "object null": set_(LOADED, object=None),
    "object with unknown fields": set_(LOADED, object={"id": "o", "_extra": 1, "x": {"y": [1]}}),
    "number of 65 bits": set_("less than", number=2**63),
    "number of 64 bits": set_(LOADED, number=-(2**63)),
    "number a fraction": set_("valid integer", number=1.5),
    "number a text": set_("valid integer", number="3"),
    "number true": set_("boolean", number=True),
    "number NaN": spliced(b'"NAN"', b"NaN", NOT_JSON, number="NAN"),
    "JSON with 70 bits": set_(LOADED, json=[2**70, -(10**30), 0.1, 1e300]),
    "JSON with NUL": set_(LOADED, json=[{"a\0": "\0"}]),
    "JSON with NaN": spliced(b'"NAN"', b"NaN", NOT_JSON, json=["NAN"]),
    "JSON with Infinity": spliced(b'"NAN"', b"-Infinity", NOT_JSON, json=["NAN"]),
    "JSON with half a pair": spliced(b"HALF", b"\\ud800", NOT_JSON, json=["HALF"]),
    "JSON with half a pair as key": spliced(b"HALF", b"\\ud800", NOT_JSON, json=[{"HALF": 1}]),
    "JSON 300 levels deep": spliced(b'"DEEP"', _nested(DEEP), LOADED, json=["DEEP"]),
    "JSON 5,000 levels deep": spliced(b'"DEEP"', _nested(5000), NOT_JSON, json=["DEEP"]),
    "keys that normalise alike": Kind(lambda row, v: dumped({**row, v.twin: "2020-01-01T00:00:00Z"}), LOADED),
    "keys of ours": set_(LOADED, _dlt_id="x", _dlt_load_id=1, _extra={"a": 1}, _dlt_list_idx=[], _dlt_parent_id="y"),
    "keys in other cases": set_(LOADED, ID="x", Id=2, iD=None),
    "key empty, quoted, long": set_(LOADED, **{"": 1, 'a"b\\': 2, "a.b": 3, "k" * 10_000: 4, "a\0": 5}),
    "3,000 keys": set_(LOADED, **UNKNOWN),
    "unknown 300 levels deep": spliced(b'"DEEP"', _nested(DEEP), LOADED, unheard="DEEP"),
    "unknown key twice": Kind(lambda row, v: dumped(row)[:-1] + b', "x": 1, "x": 2}', NOT_JSON),
    "known key twice": Kind(lambda row, v: dumped(row)[:-1] + b", " + dumped(v.with_text("b"))[1:], NOT_JSON),
    "id twice": Kind(lambda row, v: dumped({v.id: "other"})[:-1] + b", " + dumped(row)[1:], NOT_JSON),
    "JSON with a key twice": spliced(b'"TWICE"', b'{"a": 1, "\\u0061" : 2}', NOT_JSON, json=[["TWICE"]]),
    "child with a key twice": spliced(b'"_dlt_id": "TWICE"', b'"x": 1, "x": 1', NOT_JSON, child_key="TWICE"),
    "an empty object": Kind(lambda row, v: b"{}", "id:", but=EXPECTED),
    "a bare null": bare(b"null"),
    "a bare number": bare(b"7"),
    "a bare text": bare(b'"gone"'),
    "a bare true": bare(b"true"),
    "an empty list": bare(b"[]"),
    "a bare NaN": Kind(lambda row, v: b"NaN", NOT_JSON, but=EXPECTED),
}
OF_20_MB = {"20 MB": set_(LOADED, text="x" * 20_000_000)}
PARENTS: dict[str, Kind] = {
    "parent without a readable text": set_("valid string", parent_text=["a"]),
    "parent with NUL": set_(LOADED, parent_text="a\0"),
    "parent with keys of ours": set_(LOADED, _dlt_id=1, _extra=[]),
    "parent a bare null": Kind(lambda row, v: b"null", ""),
    "parent an empty object": Kind(lambda row, v: b'{"x": []}', "d:"),
    "parent with a key twice": Kind(lambda row, v: dumped(row)[:-1] + b', "x": 1, "x": 2}', NOT_JSON),
    "parent with NaN": spliced(b'"NAN"', b"NaN", NOT_JSON, unheard="NAN"),
}
"""Leads, types and actions; what they hold is read all the same when they have an id."""
