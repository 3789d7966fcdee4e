"""Turns cells as a destination's driver returns them into values of the ledger. No query may enter."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any


def instant(value: datetime | str | None) -> datetime | None:
    """Returns a cell of `select` as a time in UTC; SQLite stores times as texts."""
    return datetime.fromisoformat(value).replace(tzinfo=UTC) if isinstance(value, str) else value


def json_text(value: Any) -> Any:
    """Returns a JSON cell as its text; Postgres returns it decoded."""
    return json.dumps(value) if isinstance(value, dict | list) else value
