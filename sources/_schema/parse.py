"""Raw JSON of one record -> typed record, or the reason why it is none.

A record is unpacked along its model: declared JSON columns and unknown fields stay the vendor's own text, all
else is checked by pydantic. One bad record never stops its page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gapless.sources._schema.columns import Kind, kind_of
from gapless.sources._schema.destination_limits import Refuse, anything
from gapless.sources._schema.fast_decoder import FastRoad
from gapless.sources._schema.record import Record

R = TypeVar("R", bound=Record)

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list = msgspec.json.Decoder(list[msgspec.Raw])
_value = msgspec.json.Decoder()


@dataclass(frozen=True)
class Unreadable:
    """A record that does not fit its model: its JSON, and the reason, which never quotes a value."""

    raw: str
    reason: str
    key: str | None


@dataclass
class Parsed(Generic[R]):
    records: list[R] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)


def parse(
    model: type[R],
    raws: Iterable[bytes],
    context: Mapping[str, Any] | None = None,
    refuse: Refuse = anything,
) -> Parsed[R]:
    """Every record of a page as `model` (or, by the fast road, as a Struct with its attributes), in the page's order.

    `context` holds fields that the vendor's row does not carry (the parent's id), by their JSON names. The id of an
    unreadable record is looked for under the JSON name of the model's `id_field`. What the destination would
    `refuse` is unreadable, too.
    """
    parsed: Parsed[R] = Parsed()
    given = context or {}
    fast, key = FastRoad(model, given), id_name(model)
    for raw in map(bytes, raws):
        refused = refuse(raw)
        record = None if refused else fast.record(raw)
        if refused:
            parsed.unreadable.append(_unreadable(_without(model.excluded_fields, raw), key, refused))
        elif record is not None:
            parsed.records.append(record)
        else:
            _slow_road(model, raw, given, key, parsed)
    return parsed


def id_name(model: type[Record]) -> str:
    """Returns the JSON name of the model's id; "id" for a model without an id of its own."""
    field = model.model_fields.get(model.id_field)
    return (field and field.alias) or model.id_field


def _slow_road(model: type[R], raw: bytes, given: Mapping[str, Any], key: str, parsed: Parsed[R]) -> None:
    raw = _without(model.excluded_fields, raw)
    try:
        parsed.records.append(model.model_validate({**_unpack(model, raw), **given}))
    except ValidationError as error:
        parsed.unreadable.append(_unreadable(raw, key, "; ".join(map(_reason, error.errors()))))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        parsed.unreadable.append(_unreadable(raw, key, f"not readable as JSON: {type(error).__name__}"))


@cache
def _kinds(model: type[Record]) -> dict[str, Kind]:
    return {f.alias or name: kind_of(f) for name, f in model.model_fields.items() if name != "extra"}


def _unpack(model: type[Record], raw: bytes) -> dict[str, Any]:
    kinds, known, extra = _kinds(model), {}, {}
    for key, value in _object.decode(raw).items():
        kind = kinds.get(key)
        if kind is None:
            extra[key] = str(value, "utf-8")
            continue
        known[key] = _cell(kind, value)
        if kind.model and not kind.many and isinstance(known[key], dict) and "_extra" in known[key]:
            extra[key] = known[key].pop("_extra")
    if extra:
        known["_extra"] = _object_text(extra)
    return known


def _cell(kind: Kind, raw: msgspec.Raw) -> Any:
    text = bytes(raw)
    if kind.scalar == "json" and not kind.many:
        return None if text == b"null" else text.decode()
    if text[:1] == b"[" and kind.many:
        return [_cell(Kind(kind.scalar, kind.model), item) for item in _list.decode(text)]
    if text[:1] == b"{" and kind.model:
        return _unpack(kind.model, text)
    return _value.decode(text)


def _without(keys: frozenset[str], raw: bytes) -> bytes:
    if not keys:
        return raw
    try:
        members = {k: str(v, "utf-8") for k, v in _object.decode(raw).items() if k not in keys}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return b'"not an object; left out, as it may hold what must not be kept"'
    return _object_text(members).encode()


def _object_text(members: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(key)}: {text}" for key, text in members.items()) + "}"


def _reason(error: ErrorDetails) -> str:
    return f"{'.'.join(map(str, error['loc']))}: {error['msg']}"


def _unreadable(raw: bytes, key: str, reason: str) -> Unreadable:
    """A record that was no strict JSON comes as a string that holds its text (`_http.lenient_json`)."""
    text = bytes(raw).decode("utf-8", errors="backslashreplace")
    if text.startswith('"') and (inner := json.loads(text)).startswith(("{", "[", '"', "-", "N", "I")):
        text, reason = inner, "not JSON: NaN, half a surrogate pair, wrong UTF-8 or nested too deeply"
    text = text.replace("\0", "\\x00")  # as wrong UTF-8 is written; Postgres has no such character
    try:
        found = json.loads(text)[key]
    except (ValueError, KeyError, TypeError, RecursionError):
        found = None
    readable = isinstance(found, int) or (isinstance(found, str) and found.isprintable() and found)
    return Unreadable(text, reason, str(found) if readable else None)
