"""Parses raw JSON into typed records, or says why a record is invalid.

Declared JSON columns and unknown fields keep the text that the vendor sent; everything else is checked by pydantic.
One invalid record never stops its page. No vendor and no table may enter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Generic, TypeVar

import msgspec
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gapless.sources._schema.columns import FieldType, field_type
from gapless.sources._schema.destination_limits import StorageCheck, TooWide, no_limits
from gapless.sources._schema.fast_decoder import FastDecoder
from gapless.sources._schema.record import Record

R = TypeVar("R", bound=Record)

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list = msgspec.json.Decoder(list[msgspec.Raw])
_value = msgspec.json.Decoder()

NOT_UTF8 = re.compile(r"\\x[89a-f][0-9a-f]")
"""What stands for a byte that is not UTF-8 in the text of a record."""
_ODD_BYTE = re.compile(r"((?<!\\)(?:\\\\)*)\\x[0-9a-f]{2}")
"""The same, or what stands for U+0000, where JSON could not mean it: not behind the first half of `\\\\`."""


@dataclass(frozen=True)
class Unreadable:
    """An invalid record: its JSON, why it does not fit its model (no value is quoted), and its id if it has one."""

    raw: str
    reason: str
    key: str | None


@dataclass
class Parsed(Generic[R]):
    """The valid and the invalid records of a page, each in the page's order."""

    records: list[R] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)


def parse(
    model: type[R],
    raws: Iterable[bytes],
    context: Mapping[str, object] | None = None,
    refuse: StorageCheck = no_limits,
) -> Parsed[R]:
    """Returns the records of a page as instances of `model`, or as msgspec structs with the same attributes.

    `context` holds fields that are not in the vendor's JSON (the parent's id), by their JSON names. A record that
    the destination would `refuse` is invalid, too. The id of an invalid record is read from the JSON name of the
    model's `id_field`.
    """
    parsed: Parsed[R] = Parsed()
    given = context or {}
    fast, key = FastDecoder(model, given), id_name(model)
    page = [*map(bytes, raws)]
    for raw, refused in zip(page, refuse.page(page), strict=True):
        record = None if refused else fast.decode(raw)
        if refused:
            letter = _unreadable(_without(model.excluded_fields, raw), key, refused)
            parsed.unreadable.append(replace(letter, raw="") if isinstance(refused, TooWide) else letter)
        # An empty id goes to `_validate`, which says why it is refused.
        elif record is not None and getattr(record, model.id_field, None) != "":
            parsed.records.append(record)
        else:
            _validate(model, raw, given, key, parsed)
    return parsed


def id_name(model: type[Record]) -> str:
    """Returns the JSON name of the model's id; its `id_field` when the model has no such field."""
    field = model.model_fields.get(model.id_field)
    return (field and field.alias) or model.id_field


def readable_id(model: type[Record], raw: bytes) -> str | None:
    """Returns the id in the JSON of a record that may be invalid; None if it cannot be read."""
    try:
        found = _value.decode(_object.decode(raw).get(id_name(model), b"null"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return str(found) if isinstance(found, str | int) and found != "" else None


def valid_id(model: type[Record], raw: bytes) -> str | None:
    """Returns the id in the JSON of a record; None if it cannot be read, or is no text where the model has one."""
    found = readable_id(model, raw)
    field = model.model_fields.get(model.id_field)
    is_text = field is not None and field.annotation is str
    if found is None or (is_text and not isinstance(_value.decode(_object.decode(raw)[id_name(model)]), str)):
        return None
    return found


def readable_time(model: type[Record], raw: str) -> datetime | None:
    """Returns the creation time in the JSON of a record that may be invalid, in UTC; None if it cannot be read."""
    field = model.model_fields.get(model.time_field)
    try:
        at = datetime.fromisoformat(str(_members(raw)[(field and field.alias) or model.time_field]))
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, KeyError, OverflowError):
        return None


def _validate(model: type[R], raw: bytes, given: Mapping[str, object], key: str, parsed: Parsed[R]) -> None:
    # First of all: an excluded field may hold a secret, and a dead letter keeps the whole record.
    raw = _without(model.excluded_fields, raw)
    try:
        record = model.model_validate({**_unpack(model, raw), **given})
        if getattr(record, model.id_field, None) == "":  # two such records would be one row
            reason = f"{key}: an empty text was found where an id was expected"
            parsed.unreadable.append(_unreadable(raw, key, reason))
        else:
            parsed.records.append(record)
    except ValidationError as error:
        parsed.unreadable.append(_unreadable(raw, key, "; ".join(map(_reason, error.errors()))))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        parsed.unreadable.append(_unreadable(raw, key, _broken(error)))


def _broken(error: Exception) -> str:
    """Returns what is wrong with a record that cannot be taken apart; no value of it is quoted."""
    if isinstance(error, msgspec.ValidationError):
        return str(error).replace("Expected `object`, got", "a JSON object was expected, found")
    if isinstance(error, msgspec.DecodeError):
        return f"invalid JSON: {error}"
    if isinstance(error, UnicodeDecodeError):
        return "invalid JSON: bytes that are not UTF-8"
    deep = isinstance(error, RecursionError)
    return f"invalid JSON: {'nested too deeply' if deep else 'a number of more digits than can be read'}"


def _not_strict(text: str) -> str:
    """Returns why strict JSON refuses the text of a record, which came as a JSON string (_http/body/lenient_json.py).

    No value of it is quoted.
    """
    found: list[str] = []

    def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len({key for key, _ in pairs}) < len(pairs):
            found.append("a key stands twice in one object")
        return dict(pairs)

    def constant(name: str) -> None:
        found.append(f"{name} stands where a number was expected")

    try:
        whole = json.loads(text, object_pairs_hook=members, parse_constant=constant, parse_int=len, parse_float=len)
        json.dumps(whole, ensure_ascii=False).encode()
    except RecursionError:
        found.append("nested too deeply")
    except UnicodeEncodeError:
        found.append("half of a surrogate pair (\\ud800 to \\udfff) without its other half")
    except json.JSONDecodeError as error:
        broken = f"{error.msg.removesuffix(' at').rstrip(': ')} at character {error.pos + 1:,}"
        found.append("bytes that are not UTF-8" if NOT_UTF8.search(text) else broken)
    return f"invalid JSON: {' and '.join(dict.fromkeys(found)) or 'nested too deeply'}"


@cache
def field_types(model: type[Record]) -> dict[str, FieldType]:
    """Returns what the fields of a model become, by their JSON names."""
    return {f.alias or name: field_type(f) for name, f in model.model_fields.items() if name != "extra"}


def _unpack(model: type[Record], raw: bytes) -> dict[str, object]:
    types = field_types(model)
    known: dict[str, object] = {}
    extra: dict[str, str] = {}
    for key, value in _object.decode(raw).items():
        type_ = types.get(key)
        if type_ is None:
            extra[key] = str(value, "utf-8")
            continue
        found = known[key] = cell(type_, value)
        if type_.model and not type_.many and isinstance(found, dict) and "_extra" in found:
            extra[key] = found.pop("_extra")  # a flattened object has no `_extra` column of its own
    if extra:
        known["_extra"] = object_text(extra)
    return known


def cell(type_: FieldType, raw: msgspec.Raw) -> object:
    """Returns the value of a field as pydantic takes it. Raises msgspec's errors and those of Unicode."""
    text = bytes(raw)
    if type_.scalar == "json" and not type_.many:
        return None if text == b"null" else text.decode()
    if text[:1] == b"[" and type_.many:
        return [cell(FieldType(type_.scalar, type_.model), item) for item in _list.decode(text)]
    if text[:1] == b"{" and type_.model:
        return _unpack(type_.model, text)
    return _value.decode(text)


def _without(keys: frozenset[str], raw: bytes) -> bytes:
    if not keys:
        return raw
    try:
        members = {k: str(v, "utf-8") for k, v in _object.decode(raw).items() if k not in keys}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return b'"not a JSON object; left out, because it may hold an excluded field"'
    return object_text(members).encode()


def object_text(members: Mapping[str, str]) -> str:
    """Returns a JSON object of members whose values are JSON."""
    return "{" + ", ".join(f"{json.dumps(key)}: {text}" for key, text in members.items()) + "}"


def _reason(error: ErrorDetails) -> str:
    return f"{'.'.join(map(str, error['loc']))}: {error['msg'].removeprefix('Value error, ')}"


def _unreadable(raw: bytes, key: str, reason: str) -> Unreadable:
    text = bytes(raw).decode("utf-8", errors="backslashreplace")
    # N and I are NaN and Infinity, which Python's JSON writes and strict JSON refuses.
    if text.startswith('"') and (inner := json.loads(text)).startswith(("{", "[", '"', "-", "N", "I")):
        text, reason = inner, _not_strict(inner)
    text = text.replace("\0", "\\x00")  # written like invalid UTF-8, because Postgres has no such character
    found = _members(text).get(key)
    readable = isinstance(found, int) or (isinstance(found, str) and found.isprintable() and found)
    return Unreadable(text, reason, str(found) if readable else None)


def _members(text: str) -> dict[str, object]:
    """Returns the members of a record whose JSON may be invalid elsewhere; none where nothing can be read.

    A text with a byte that is not UTF-8 has an unprintable character in its place, so that it is taken for no id.
    """
    try:
        found = json.loads(_ODD_BYTE.sub("\\1\0", text), strict=False, parse_int=_integer)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _integer(digits: str) -> int | None:
    """Returns None for more digits than Python reads."""
    try:
        return int(digits)
    except ValueError:
        return None
