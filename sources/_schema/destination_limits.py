"""Valid JSON that a destination cannot store: such a record becomes a dead letter, or no load would ever succeed.

Names of destinations may enter, vendors and tables not.
"""

from __future__ import annotations

import re
from collections.abc import Callable

StorageCheck = Callable[[bytes], str | None]
"""Returns why the destination cannot store a record (its raw JSON) exactly, or None when it can."""
RECORD_MB = 100
"""Millions of bytes of JSON that one record may have, unless a setting says otherwise."""

# After an even number of backslashes: `\\u0000` is an escaped backslash and five harmless characters.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"')  # possessive, or each character of a long text costs 80 bytes
_LONG_NUMBER = re.compile(rb"[eE][+-]?\d{5,}|\d{9999,}")


def storage_check(destination_type: str) -> StorageCheck:
    """Returns the check for a type of destination as dlt names it ("dlt.destinations.postgres")."""
    return _check_postgres if destination_type.endswith(".postgres") else no_limits


class TooWide(str):
    """Why a record is refused of which a dead letter cannot keep the text either."""

    __slots__ = ()


def bounded(check: StorageCheck, megabytes: float) -> StorageCheck:
    """Returns the check, which refuses records of more than so many million bytes, too."""

    def checked(raw: bytes) -> str | None:
        if len(raw) > megabytes * 1e6:
            return TooWide(
                f"has more than {megabytes:g} MB of JSON, so it is neither loaded nor kept here: raise"
                " GAPLESS_MAX_RECORD_MB (256 at most) to load it"
            )
        return check(raw)

    return checked


def no_limits(raw: bytes) -> str | None:
    """Returns None: the destination stores every record."""
    return None


def _check_postgres(raw: bytes) -> str | None:
    # dlt would remove U+0000 without a word; Postgres ends a number at some 16,000 digits.
    if b"\\u0000" in raw and _NUL.search(raw):
        return "holds the character U+0000, which Postgres cannot store"
    # Searched twice: to cut the strings out costs more, and is needed only where the first search finds something.
    if _LONG_NUMBER.search(raw) and _LONG_NUMBER.search(_STRING.sub(b"", raw)):
        return "holds a number of 10,000 digits or more, which Postgres cannot store"
    return None
