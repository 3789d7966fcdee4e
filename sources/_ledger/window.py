"""Time spans of creation times, and the settings that name them. Spans are half open, as in dlt."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from json import loads

import dlt

from gapless.sources._http.errors import SettingError

IDS = 'must be ids, such as "a, b" or ["a", "b"]'
"""What is wrong with a setting that names ids."""
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True)
class Window:
    """Creation times from `since` (included) to `until` (excluded), in UTC; None: no limit on that side."""

    since: datetime | None = None
    until: datetime | None = None

    def __bool__(self) -> bool:
        return self.since is not None or self.until is not None

    def __str__(self) -> str:
        since = self.since.isoformat() if self.since else "the beginning"
        return f"{since} to {self.until.isoformat() if self.until else 'now'}"

    def contains(self, instant: datetime | None) -> bool:
        """Returns whether a record created at `instant` is in the window; one without a creation time always is."""
        if instant is None:
            return True
        return (self.since is None or instant >= self.since) and (self.until is None or instant < self.until)


EVERYTHING = Window()
OLDEST = datetime.min.replace(tzinfo=UTC)


def instant(text: str, setting: str) -> datetime:
    """Parses an ISO 8601 date or time into UTC; without an offset it is UTC. Raises ValueError naming the setting."""
    try:
        # A caller in Python may give a datetime, as to dlt's own incremental.
        value = datetime.fromisoformat(str(text).strip())
    except ValueError:
        example = "2026-01-31 or 2026-01-31T08:00Z"
        raise ValueError(f"{setting}: {text!r} is not an ISO 8601 time such as {example}") from None
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{setting}: {text!r} is not within the years 1 to 9999 in UTC") from None


def earlier(time: datetime, lag: timedelta) -> datetime:
    """Returns the time that is `lag` before, but none before the year 1."""
    return time - lag if time - OLDEST > lag else OLDEST


def optional_instant(text: str | None, setting: str) -> datetime | None:
    """Parses a setting that may be empty. Returns and raises as `instant`; None for an empty setting."""
    return instant(text, setting) if text else None


LONGEST = timedelta(days=36_500)
"""The longest time to keep records for: a hundred years."""


def retention(text: str, setting: str, lag: timedelta) -> timedelta:
    """Parses how long records are kept: 400d, 60w or 36h. Raises ValueError, naming the setting, for anything else.

    Also for a time within the look-back `lag`: what it reads again would be erased and read for ever.
    """
    found = re.fullmatch(r"(\d{1,6})\s*([hdw])", str(text).strip().lower(), re.ASCII)
    if found is None:
        raise ValueError(f"{setting}: {text!r} is no time to keep records for; expected days, such as 400d")
    kept = int(found[1]) * {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}[found[2]]
    if not kept:
        raise ValueError(
            f"{setting}: {text!r} would keep nothing; expected days, such as 400d, or nothing to keep all"
        )
    if kept > LONGEST:
        raise ValueError(f"{setting}: {text!r} is longer than {LONGEST.days:,} days; expected less, such as 400d")
    if kept <= lag:
        raise ValueError(
            f"{setting}: {text!r} is not longer than the look-back, {lag}: what each sync reads again would be erased"
        )
    return kept


def effective_window(
    requested: Window, initial_value: datetime | None, end_value: datetime | None, *, scheduled: bool = True
) -> Window:
    """Returns the window to read: the requested one, the one configured by `end_value`, or an outer scheduler's.

    Returns an empty window if there is none of them: then the sync reads what is new. Without `scheduled` no
    scheduler counts.
    """
    if requested:
        return requested
    # A fixed end would stop the watermark there for ever, so it is read as a window.
    if end_value:
        return Window(initial_value, end_value)
    interval = dlt.current.interval() if scheduled else None
    return Window(*(bound.astimezone(UTC) for bound in interval)) if interval else Window()


def parse_ids(value: object, setting: str) -> list[str]:
    """Returns the ids of a setting written in TOML, in JSON or as "a, b"; each once, in order.

    A number alone is one id. Raises SettingError, with the name of the `setting`, for anything else.
    """
    ids: object = value
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            ids = loads(value)
        except ValueError:
            raise SettingError(setting, IDS) from None
    parts = ids.replace(",", " ").split() if isinstance(ids, str) else ids if isinstance(ids, list) else [ids]
    if any(isinstance(part, bool | float | list | dict) for part in parts):
        raise SettingError(setting, IDS)
    found = list(dict.fromkeys(str(part) for part in parts if part is not None))
    # Without any all would be read, and whoever wrote it wanted few.
    if not found and value is not None and value != "":
        raise SettingError(setting, f"{IDS}, and names none")
    return found


def as_named(ids: Iterable[str], known: Callable[[list[str]], Container[str]]) -> list[str]:
    """Returns the ids that a person typed as a vendor names them, each once, in order.

    A UUID with capital letters is the same in small ones, in which it is written (RFC 9562): read as it was typed it
    would be a second parent with the same records. `known` returns which of these are here just as they were typed.
    """
    ids = [*ids]
    small = {one: one.lower() for one in ids if UUID.fullmatch(one) and one != one.lower()}
    here = known([*small]) if small else ()
    return list(dict.fromkeys(one if one in here else small.get(one, one) for one in ids))
