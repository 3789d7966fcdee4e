"""Decodes ordinary records fast: a strict msgspec decoder, derived from the pydantic model.

It accepts declared fields, exact types and RFC 3339 times with an offset, and nothing else. Other records go to
pydantic (parse.py), which also finds unknown fields and reasons. For a record that it accepts, pydantic would give
the same columns: tests/unit/schema/test_fast_decoder.py compares the two. No vendor may enter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from threading import Lock
from typing import Annotated, Any, Optional

import msgspec

from gapless.sources._schema.columns import FieldType, field_type, type_name
from gapless.sources._schema.record import INT64, Record

SCALARS: dict[type_name, Any] = {
    "text": str,
    # A longer number fits in no destination's integer, so pydantic reads the record and names the field.
    "bigint": Annotated[int, msgspec.Meta(ge=-INT64, le=INT64 - 1)],
    "double": float,
    "bool": bool,
    "timestamp": Annotated[datetime, msgspec.Meta(tz=True)],
    "json": msgspec.Raw,
}


_FINER_THAN_MICROSECONDS = re.compile(rb'\.\d{7,}[Zz+\-"]')
"""msgspec rounds such times, pydantic (and Python) cuts the digits off."""
_EDGES = (1, 9999)
"""Years of which a time may be outside the calendar in UTC."""

_BUILDS = Lock()
"""Held while a decoder is built: two threads that build one of the same structs at once end the process (msgspec 0.22
reads what the other has half written)."""


class FastDecoder:
    """Decodes records of `model`; the fields in `given` (by JSON name) are not in the JSON and are set here."""

    def __init__(self, model: type[Record], given: Mapping[str, object]) -> None:
        names = {field.alias or name: name for name, field in model.model_fields.items()}
        self._given = {names[key]: value for key, value in given.items()}
        with _BUILDS:
            self._decoder = _decoder(model, frozenset(self._given))
        self._has_excluded_fields = bool(model.excluded_fields)
        self._times = _times_of(model)

    def decode(self, raw: bytes) -> Any:
        """Returns the record as a msgspec struct with the model's attributes, or None when pydantic must read it."""
        if self._has_excluded_fields or _FINER_THAN_MICROSECONDS.search(raw):
            return None
        try:
            record = self._decoder.decode(raw)
            if any(_at_edge(record, path) for path in self._times):
                return None
            if not raw.isascii():  # msgspec checks the texts that it decodes, and not raw JSON columns
                raw.decode()
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        for name, value in self._given.items():
            setattr(record, name, value)
        return record


@cache
def _times_of(model: type[Record]) -> tuple[tuple[str, ...], ...]:
    """Returns the path of attributes to each time of a record, through objects and lists."""
    found: list[tuple[str, ...]] = []
    for name, type_ in ((name, field_type(f)) for name, f in model.model_fields.items() if name != "extra"):
        if type_.model:
            found += [(name, *path) for path in _times_of(type_.model)]
        elif type_.scalar == "timestamp":
            found.append((name,))
    return tuple(found)


def _at_edge(value: Any, path: Sequence[str]) -> bool:
    """Returns whether a time at the end of `path` is in one of the years at the edges of the calendar."""
    if value is None:
        return False
    if isinstance(value, list):
        return any(_at_edge(one, path) for one in value)
    return _at_edge(getattr(value, path[0]), path[1:]) if path else value.year in _EDGES


@cache
def _decoder(model: type[Record], given: frozenset[str]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_struct(model, given))


@cache
def _struct(model: type[Record], given: frozenset[str] = frozenset()) -> type[msgspec.Struct]:
    """Returns the model as a struct with the same attributes; a missing or null nested list is None there."""
    own = {name: field for name, field in model.model_fields.items() if name != "extra"}
    return msgspec.defstruct(
        model.__name__,
        [_field(name, field_type(field), field.is_required() and name not in given) for name, field in own.items()],
        rename={name: field.alias or name for name, field in own.items()},
        # Such a record goes to pydantic, which keeps the fields in `_extra`.
        forbid_unknown_fields=True,
        kw_only=True,
        gc=False,  # records hold no cycles, so Python need not look for any
        namespace={"extra": None, "gone_at": None, "id_field": model.id_field, "time_field": model.time_field},
    )


def _field(name: str, type_: FieldType, required: bool) -> tuple[str, Any] | tuple[str, Any, Any]:
    one: Any = _struct(type_.model) if type_.model else SCALARS[type_.scalar or "text"]
    is_json = type_.scalar == "json" and not type_.many
    if type_.many:
        one = Optional[list[one]]  # noqa: UP045 - the type is made at run time, and `|` cannot join it
    elif type_.nullable and not is_json:
        one = Optional[one]  # noqa: UP045
    if required:
        return name, one
    return name, one, msgspec.Raw(b"null") if is_json else None
