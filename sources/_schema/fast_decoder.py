"""The fast road from raw JSON to records: a strict msgspec decoder, derived from the pydantic model.

It takes only what fits to the letter: declared fields, exact types, RFC 3339 times with an offset. Whatever does
not, it refuses, and the record takes pydantic's road (parse.py), which also finds the unknown fields and the reasons.
What it takes, it gives the same columns as pydantic's road would: tests/unit/schema/test_fast_decoder.py holds the
two together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Optional

import msgspec

from gapless.sources._schema.columns import Kind, kind_of, type_name
from gapless.sources._schema.record import INT64, Record

SCALARS: dict[type_name, Any] = {
    "text": str,
    "bigint": Annotated[int, msgspec.Meta(ge=-INT64, le=INT64 - 1)],
    "double": float,
    "bool": bool,
    "timestamp": Annotated[datetime, msgspec.Meta(tz=True)],
    "json": msgspec.Raw,
}


_FINER_THAN_MICROSECONDS = re.compile(rb'\.\d{7,}[Zz+\-"]')
"""msgspec would round them, pydantic (and Python) cut them off."""
_FIRST_YEAR, _LAST_YEAR = b'"0001-', b'"9999-'
"""What no longer is a date in UTC cannot be read back. Looked for apart: one pattern for both is ten times slower."""


class FastRoad:
    """Decodes records of `model`; the fields `given` (by JSON name) are not in them and are set here."""

    def __init__(self, model: type[Record], given: Mapping[str, Any]) -> None:
        names = {field.alias or name: name for name, field in model.model_fields.items()}
        self._given = {names[key]: value for key, value in given.items()}
        self._decoder = _decoder(model, frozenset(self._given))
        self._closed = bool(model.excluded_fields)

    def record(self, raw: bytes) -> Any:
        """The record, or None when it must take pydantic's road."""
        if self._closed or _FINER_THAN_MICROSECONDS.search(raw) or _FIRST_YEAR in raw or _LAST_YEAR in raw:
            return None
        try:
            record = self._decoder.decode(raw)
            if not raw.isascii():
                raw.decode()
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        for name, value in self._given.items():
            setattr(record, name, value)
        return record


@cache
def _decoder(model: type[Record], given: frozenset[str]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_struct(model, given))


@cache
def _struct(model: type[Record], given: frozenset[str] = frozenset()) -> type[msgspec.Struct]:
    """The model as a Struct with the same attributes; a nested list that is absent or null is None."""
    own = {name: field for name, field in model.model_fields.items() if name != "extra"}
    return msgspec.defstruct(
        model.__name__,
        [_field(name, kind_of(field), field.is_required() and name not in given) for name, field in own.items()],
        rename={name: field.alias or name for name, field in own.items()},
        forbid_unknown_fields=True,
        kw_only=True,
        gc=False,
        namespace={"extra": None},
    )


def _field(name: str, kind: Kind, required: bool) -> tuple[str, Any] | tuple[str, Any, Any]:
    one: Any = _struct(kind.model) if kind.model else SCALARS[kind.scalar or "text"]
    json = kind.scalar == "json" and not kind.many
    if kind.many:
        one = Optional[list[one]]  # noqa: UP045 - made at run time, where `|` has no type to stand beside
    elif kind.nullable and not json:
        one = Optional[one]  # noqa: UP045
    if required:
        return name, one
    return name, one, msgspec.Raw(b"null") if json else None
