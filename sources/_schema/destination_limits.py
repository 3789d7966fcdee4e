"""Valid JSON that a destination cannot store: such a record becomes a dead letter, or no load would ever succeed.

Names of destinations may enter, vendors and tables not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

RECORD_MB = 100
"""Millions of bytes of JSON that one record may have, unless a setting says otherwise."""

# After an even number of backslashes: `\\u0000` is an escaped backslash and five harmless characters.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"')  # possessive, or each character of a long text costs 80 bytes
_LONG_NUMBER = re.compile(rb"[eE][+-]?\d{5,}|\d{9999,}")
_SHORT = r"\\u0000|[eE][+-]?\d{5,}\s*(?:[,\]}]|$)"
SUSPICIOUS = _SHORT + r"|\d{1000}"
"""JSON that needs a closer look: Arrow searches a page in a seventh of the time that Python takes for its records.

What follows an exponent ends it: without that the pattern would find a part of nearly every hexadecimal id.
"""
_DIGITS = 9_999
"""Bytes of the shortest record that can hold a number that is too long; in others it costs a third more to look."""


class TooWide(str):
    """Why a record is refused of which a dead letter cannot keep the text either."""

    __slots__ = ()


@dataclass(frozen=True)
class StorageCheck:
    """Says why a destination cannot store a record exactly, given its raw JSON."""

    reason: Callable[[bytes], str | None] | None = None
    """Returns why, or None when it can; it need not see what is not SUSPICIOUS. None: it stores every record."""
    megabytes: float | None = None
    """Records with more than so many million bytes are refused, too."""

    def __call__(self, raw: bytes) -> str | None:
        """Returns why the record cannot be stored, or None when it can."""
        return self._width(raw) or (self.reason(raw) if self.reason else None)

    def page(self, raws: Sequence[bytes]) -> list[str | None]:
        """Returns that of each record of a page."""
        if self.reason is None or len(raws) < 2:  # Arrow costs as much for one as for fifty
            return [self(raw) for raw in raws]
        import pyarrow.compute as pc  # noqa: PLC0415 - it takes long, and other destinations need none of it

        pattern = _SHORT if max(map(len, raws)) < _DIGITS else SUSPICIOUS
        looks = pc.match_substring_regex(pa.array(raws, pa.large_binary()), pattern).to_pylist()
        return [self(raw) if look else self._width(raw) for raw, look in zip(raws, looks, strict=True)]

    def _width(self, raw: bytes) -> TooWide | None:
        if self.megabytes is None or len(raw) <= self.megabytes * 1e6:
            return None
        return TooWide(
            f"has more than {self.megabytes:g} MB of JSON, so it is neither loaded nor kept here: raise"
            " GAPLESS_MAX_RECORD_MB (256 at most) to load it"
        )


no_limits = StorageCheck()


def storage_check(destination_type: str) -> StorageCheck:
    """Returns the check for a type of destination as dlt names it ("dlt.destinations.postgres")."""
    return StorageCheck(_check_postgres) if destination_type.endswith(".postgres") else no_limits


def bounded(check: StorageCheck, megabytes: float) -> StorageCheck:
    """Returns the check, which refuses records of more than so many million bytes, too."""
    return replace(check, megabytes=megabytes)


def _check_postgres(raw: bytes) -> str | None:
    # Postgres ends a text at U+0000, and a number at some 16,000 digits.
    if b"\\u0000" in raw and _NUL.search(raw):
        return "holds the character U+0000, which Postgres cannot store"
    # Searched twice: to cut the strings out costs more, and is needed only where the first search finds something.
    if _LONG_NUMBER.search(raw) and _LONG_NUMBER.search(_STRING.sub(b"", raw)):
        return "holds a number of 10,000 digits or more, which Postgres cannot store"
    return None
