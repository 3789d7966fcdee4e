"""What a record may say: the base model and the kinds of column a field can be. Knows no vendor."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

T = TypeVar("T")
INT64 = 2**63


def _in_utc(value: datetime) -> datetime:
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError("a datetime within the years 1 to 9999 in UTC was expected") from None


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a boolean was found where a number or a time was expected")
    return value


def _whole_number(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return _no_bool(value)


def _empty_if_null(value: Any) -> Any:
    return [] if value is None else value


class JsonColumn:
    """Marks a field whose value is kept whole, as the vendor's own JSON text."""


Json = Annotated[str, JsonColumn()]
"""A polymorphic value: one JSON column, never parsed, so that not a digit of it can change."""

Instant = Annotated[datetime, BeforeValidator(_no_bool), AfterValidator(_in_utc)]
"""A point in time, ISO 8601 or epoch; one without an offset is UTC, which is dlt's rule too."""

Text = Annotated[str, Field(strict=True)]
Integer = Annotated[int, Field(strict=True, ge=-INT64, lt=INT64), BeforeValidator(_whole_number)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False), BeforeValidator(_no_bool)]
Flag = Annotated[bool, Field(strict=True)]

Many = Annotated[list[T], BeforeValidator(_empty_if_null)]
"""A nested list, which becomes a child table; null and absent are an empty one."""


class Record(BaseModel):
    """One class per table or flattened object. Only what a row cannot do without is required.

    What the vendor sends beyond the declared fields stands in `extra`, as one JSON text (column `_extra`).
    """

    model_config = ConfigDict(extra="ignore", validate_default=False, defer_build=True)

    extra: Json | None = Field(default=None, alias="_extra")

    excluded_fields: ClassVar[frozenset[str]] = frozenset()
    """The vendor's fields that must not reach any table, not even `_extra` or a dead letter."""

    id_field: ClassVar[str] = "id"
    """The attribute that identifies a record at the vendor; the JSON name comes from the field's alias."""

    time_field: ClassVar[str] = "created_at"
    """The attribute that holds the time of creation, by which a source is incremental."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        """Raises TypeError when a model names an id or a time that is no field of it."""
        for declared in ("id_field", "time_field"):
            name = cls.__dict__.get(declared)
            if name is not None and name not in cls.model_fields:
                raise TypeError(f"{cls.__name__}.{declared} is {name!r}, and the model has no such field")


def record_id(record: Any) -> str:
    """Returns the id of a record that `parse` made, as text."""
    return str(getattr(record, record.id_field))


def record_time(record: Any) -> datetime | None:
    """Returns the creation time of a record that `parse` made, in UTC; None when it has none."""
    time: datetime | None = getattr(record, record.time_field, None)
    return time


class CamelRecord(Record):
    """A record of a vendor that writes camelCase."""

    model_config = ConfigDict(alias_generator=to_camel)
