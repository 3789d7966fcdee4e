"""What a destination cannot store, although it is sound JSON: one record refused, or no load would ever succeed."""

from __future__ import annotations

import re
from collections.abc import Callable

Refuse = Callable[[bytes], str | None]
"""Raw JSON of a record -> why the destination cannot keep it to the letter, or None."""

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_LONG_NUMBER = re.compile(rb"[eE][+-]?\d{5,}|\d{9999,}")


def refusal(destination: str) -> Refuse:
    """For a type of destination as dlt names it ("dlt.destinations.postgres")."""
    return _in_postgres if destination.endswith(".postgres") else anything


def anything(raw: bytes) -> str | None:
    return None


def _in_postgres(raw: bytes) -> str | None:
    """Its text and jsonb have no U+0000 (dlt would leave it out in silence); numbers end at some 16,000 digits."""
    if b"\\u0000" in raw and _NUL.search(raw):
        return "holds the character U+0000, which Postgres cannot store"
    if _LONG_NUMBER.search(raw) and _LONG_NUMBER.search(_STRING.sub(b"", raw)):
        return "holds a number of 10,000 digits or more, which Postgres cannot store"
    return None
