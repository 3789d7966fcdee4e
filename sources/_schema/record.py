"""The base class of all models, and the types that a field can have. Knows no vendor and no table."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Protocol, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

T = TypeVar("T")
INT64 = 2**63
EXACT = 2**53
"""From it on a number with a decimal point does not hold every integer."""
DIGITS = re.compile(r"\s*[+-]?\d+(\.\d*)?\s*")
"""pydantic would take such a text for seconds since 1970: 20260301 for a day in August of that year."""


def _in_utc(value: datetime) -> datetime:
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError("a datetime within the years 1 to 9999 in UTC was expected") from None


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        # To Python True is the integer 1, and pydantic would take it for a number or for a time.
        raise ValueError("a boolean was found where a number or a time was expected")
    return value


def _whole_number(value: object) -> object:
    # JSON has one kind of number: 3.0 is the integer 3, and some servers write it so.
    if isinstance(value, float) and value.is_integer():
        if abs(value) >= EXACT:
            raise ValueError("a number from 2^53 on with a decimal point was found, and its last digits are lost")
        return int(value)
    return _no_bool(value)


def _is_time(value: object) -> object:
    """Returns what can be read as one time only. Raises ValueError for digits that may be a date, or a count."""
    if isinstance(value, str) and DIGITS.fullmatch(value):
        raise ValueError("a datetime in ISO 8601 was expected, and a text of digits was found")
    value = _no_bool(value)
    if isinstance(value, int | float) and not any(least <= abs(value) < 10 * least for least in (10**9, 10**12)):
        raise ValueError("a datetime was expected; a number is one with 10 digits (seconds) or 13 (milliseconds)")
    return value


def _empty_if_null(value: object) -> object:
    return [] if value is None else value


GONE_AT = "gone_at"
"""The column that says since when a record, or a parent, is known not to be served any more; null: it may be."""
ROWS_BELOW = "rows_below"
"""The column that says how many rows a record was loaded with in the tables below its own; null: nobody counted."""


class JsonColumn:
    """Marks a field whose value is stored whole, as the JSON text that the vendor sent."""


Json = Annotated[str, JsonColumn()]
"""A value of any type: one JSON column. It is never parsed, so that no digit of a number changes."""

Instant = Annotated[datetime, BeforeValidator(_is_time), AfterValidator(_in_utc)]
"""A point in time, from ISO 8601, or from seconds or milliseconds since 1970, which are told apart by their digits.

Without an offset it is UTC, as dlt reads it, too.
"""

# Strict: a number where a text is documented becomes a dead letter and not a text that nobody sent.
Text = Annotated[str, Field(strict=True)]
Integer = Annotated[int, Field(strict=True, ge=-INT64, lt=INT64), BeforeValidator(_whole_number)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False), BeforeValidator(_no_bool)]
Flag = Annotated[bool, Field(strict=True)]

Many = Annotated[list[T], BeforeValidator(_empty_if_null)]
"""A nested list, which becomes a child table; null and a missing field are an empty list."""


class Record(BaseModel):
    """Base of the models: one class per table or flattened object. Only what a row cannot do without is required.

    Fields that the vendor sends and the model does not declare go to `extra`, as one JSON text (column `_extra`).
    """

    # Built on first use, because a command that reads no record would pay for all models.
    model_config = ConfigDict(extra="ignore", validate_default=False, defer_build=True)

    extra: Json | None = Field(default=None, alias="_extra")

    excluded_fields: ClassVar[frozenset[str]] = frozenset()
    """JSON names of fields that must not reach any table, not even `_extra` or a dead letter."""

    id_field: ClassVar[str] = "id"
    """The attribute that identifies a record at the vendor; the JSON name comes from the field's alias."""

    parent_columns: ClassVar[frozenset[str]] = frozenset()
    """Columns, besides the id, by which rows are joined: the parent's id. Hashing them for privacy is refused."""

    account_columns: ClassVar[frozenset[str]] = frozenset()
    """Columns, besides id and time, that never change and that two accounts do not share, such as a global id."""

    time_field: ClassVar[str] = "created_at"
    """The attribute that holds the time of creation, by which a source is incremental."""

    gone_at: ClassVar[None] = None
    """What the column GONE_AT of a record that is served holds."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        """Raises TypeError when a model names an id or a time that is no field of it."""
        for declared in ("id_field", "time_field"):
            name = cls.__dict__.get(declared)
            if name is not None and name not in cls.model_fields:
                raise TypeError(f"{cls.__name__}.{declared} is {name!r}, and the model has no such field")


class HasId(Protocol):
    """A record that `parse` made: an instance of a model, or of the msgspec struct made from it."""

    id_field: ClassVar[str]
    time_field: ClassVar[str]


def record_id(record: HasId) -> str:
    """Returns the id of a record that `parse` made, as text."""
    return str(getattr(record, record.id_field))


def record_time(record: HasId) -> datetime | None:
    """Returns the creation time of a record that `parse` made, in UTC; None when it has none."""
    time: datetime | None = getattr(record, record.time_field, None)
    return time


class CamelRecord(Record):
    """Base for a vendor whose JSON names are camelCase; attributes and columns are snake_case."""

    model_config = ConfigDict(alias_generator=to_camel)
