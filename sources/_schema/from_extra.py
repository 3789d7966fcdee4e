"""Takes fields out of an `_extra` that was written before the model named them.

A field whose value does not fit the model stays in `_extra`: nothing is lost. No table and no SQL may enter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from pydantic import ValidationError

from gapless.sources._schema.columns import FieldType
from gapless.sources._schema.parse import cell, field_types, object_text
from gapless.sources._schema.record import Record

Path = tuple[str, ...]
"""Attributes from a record to a field, through flattened objects."""
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass
class Fields:
    """What an `_extra` holds: known fields, and the rest."""

    values: dict[Path, object] = field(default_factory=dict)
    """Values of scalars, JSON as text."""
    lists: dict[Path, list[object]] = field(default_factory=dict)
    """The items of nested lists, which are rows of child tables."""
    rest: str | None = None
    """JSON of the fields that the model does not name; None: there are none."""

    @property
    def found(self) -> bool:
        """Returns whether the model names any of the fields."""
        return bool(self.values or self.lists)


def known_fields(model: type[Record], extra: str) -> Fields:
    """Returns the fields of an `_extra` by today's model; all are rest if it is no JSON object."""
    found = Fields()
    try:
        members = _object.decode(extra)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):  # a hash, for one
        return Fields(rest=extra)
    rest = _take(model, members, (), found)
    found.rest = object_text(rest) if rest else None
    return found


def _take(model: type[Record], members: dict[str, msgspec.Raw], path: Path, found: Fields) -> dict[str, str]:
    """Adds the fields that the model names to `found`; returns the others as JSON."""
    attributes = {one.alias or name: name for name, one in model.model_fields.items() if name != "extra"}
    types, rest = field_types(model), dict[str, str]()
    for key, raw in members.items():
        type_, text = types.get(key), bytes(raw).decode()
        if type_ is None:
            rest[key] = text
        elif type_.model and not type_.many and text[:1] == "{":
            if left := _take(type_.model, _object.decode(text), (*path, attributes[key]), found):
                rest[key] = object_text(left)
        elif not _set(model, attributes[key], type_, raw, path, found):
            rest[key] = text
    return rest


def _set(model: type[Record], name: str, type_: FieldType, raw: msgspec.Raw, path: Path, found: Fields) -> bool:
    """Adds one field to `found`; returns False if its value is not of its type."""
    model.model_rebuild()  # it is built on first use
    # Required fields are missing in it, and nobody reads them.
    record = model.model_construct()
    try:
        model.__pydantic_validator__.validate_assignment(record, name, cell(type_, raw))
    except (ValidationError, msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        return False
    value = getattr(record, name)
    if type_.many:
        found.lists[*path, name] = value
    elif type_.model is None:
        found.values[*path, name] = value
    return type_.many or type_.model is None or value is None
