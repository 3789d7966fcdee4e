"""Turns cells as a destination's driver returns them into values of the ledger. No query may enter."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple


def instant(value: datetime | str | None) -> datetime | None:
    """Returns a cell of `select` as a time in UTC; SQLite stores times as texts."""
    return datetime.fromisoformat(value).replace(tzinfo=UTC) if isinstance(value, str) else value


def json_text(value: Any) -> Any:
    """Returns a JSON cell as its text; Postgres returns it decoded."""
    return json.dumps(value) if isinstance(value, dict | list) else value


class Bounds(NamedTuple):
    """The least and the most that a column holds in some rows, both included: times, or the ids of loads."""

    column: str
    least: object
    most: object

    @classmethod
    def of(cls, column: str | None, values: Iterable[object]) -> Bounds | None:
        """Returns the bounds of these values; None without a column or a value, or where one is null."""
        found = [*values]
        if column is None or not found or None in found:
            return None
        return cls(column, min(found), max(found))  # type: ignore[type-var]  # of one column
