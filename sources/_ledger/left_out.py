"""Remembers the records that a user's step removed, of a stream that reads each record by a request of its own.

Otherwise the next listing would take them for new ones, and request them again.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from gapless.sources._dlt.types import State
from gapless.sources._schema.arrow import digest

LEFT_OUT = "left_out"
"""The key of a resource's state: creation times of these records by their id, by the id of their parent."""
Key = tuple[str, str, datetime | None]
"""Parent, id and creation time of a record."""


class LeftOut:
    """The records that are left out so far; `state` is the resource's, as far as it counts."""

    def __init__(self, state: State) -> None:
        self._times: dict[str, dict[str, str | None]] = {
            parent: dict(times) for parent, times in state.get(LEFT_OUT, {}).items()
        }

    def __bool__(self) -> bool:
        return bool(self._times)

    def update(self, read: Iterable[Key], loaded: set[str]) -> None:
        """Notes which of the records in `read` were not loaded; `loaded` holds digests of ids."""
        for parent, key, time in read:
            own = self._times.setdefault(parent, {})
            # A changed step may let a record through that it removed before.
            own.pop(key, None)
            if digest(key) not in loaded:
                own[key] = time.isoformat() if time else None
            if not own:
                del self._times[parent]

    def count(self, parent: str) -> int | None:
        """Returns how many records of a parent are left out; None if there are none."""
        return len(self._times.get(parent, ())) or None

    def to_json(self) -> dict[str, dict[str, str | None]]:
        """Returns what the state holds of them."""
        return self._times


def left_out_times(state: State) -> dict[str, datetime | None]:
    """Returns the creation times of the records that are left out, by their id."""
    return {
        key: datetime.fromisoformat(time) if time else None
        for times in state.get(LEFT_OUT, {}).values()
        for key, time in times.items()
    }
