"""A span of creation times, half open as everywhere in dlt: `since` belongs to it, `until` does not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from json import loads

import dlt


@dataclass(frozen=True)
class Window:
    since: datetime | None = None
    until: datetime | None = None

    def __bool__(self) -> bool:
        return self.since is not None or self.until is not None

    def contains(self, instant: datetime | None) -> bool:
        """Whether a record created at `instant` belongs here; one without a creation time always does."""
        if instant is None:
            return True
        return (self.since is None or instant >= self.since) and (self.until is None or instant < self.until)


EVERYTHING = Window()


def instant(text: str, setting: str) -> datetime:
    """An ISO 8601 date or time; without an offset it is UTC. Raises ValueError, naming the setting."""
    try:
        value = datetime.fromisoformat(str(text).strip())
    except ValueError:
        raise ValueError(f"{setting}: {text!r} is no ISO 8601 time such as 2026-01-31 or 2026-01-31T08:00Z") from None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def optional_instant(text: str | None, setting: str) -> datetime | None:
    return instant(text, setting) if text else None


def chosen(asked: Window, initial_value: datetime | None, end_value: datetime | None) -> Window:
    """The span to read instead of what is new: asked for, configured by `end_value`, or an outer scheduler's.

    Empty: none of them, so read what is new.
    """
    if asked:
        return asked
    if end_value:
        return Window(initial_value, end_value)
    interval = dlt.current.interval()
    return Window(*(bound.astimezone(UTC) for bound in interval)) if interval else Window()


def names(value: str | list[str] | None) -> list[str]:
    """A list of ids as TOML, JSON or the environment write it ("a, b"); each once, in its order."""
    found = loads(value) if isinstance(value, str) and value.lstrip().startswith("[") else value
    parts = found.replace(",", " ").split() if isinstance(found, str) else found or []
    return list(dict.fromkeys(str(part) for part in parts))
