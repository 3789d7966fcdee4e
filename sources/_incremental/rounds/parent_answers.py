"""What the parents of a round answer: values, and what is read from them. No request is made here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gapless.sources._ledger.session import weight_of
from gapless.sources._ledger.walk_state import Page
from gapless.sources._schema.arrow import Table, digest
from gapless.sources._schema.parse import Parsed, Unreadable, parse
from gapless.sources._schema.record import Record, record_id

WIDE = 8_192
"""Bytes of JSON that count for one record where records bound how much is held."""
PARSED = 4
"""Bytes of memory that a byte of JSON takes as records."""


@dataclass
class Span:
    """The newest (up to now) and the oldest creation time read of one parent, in UTC."""

    newest: datetime | None = None
    oldest: datetime | None = None
    records: int = 0
    """How many records came, readable or not."""
    served: set[str] = field(default_factory=set)
    """`_dlt_id` of its records, if it is read whole and was read before."""
    nameless: bool = False
    """Whether a record's id could not be read, so that it is unknown which one it is."""
    least_total: int | None = None
    """The least total that its pages said: what comes while they are read is the next sync's."""


@dataclass(frozen=True)
class History:
    """A parent's one answer, with all of its records."""

    answer: str
    """Its digest."""
    count: int
    """Records in it."""
    found: Parsed[Record] | None = None
    """None: the digest is that of the last sync."""
    raws: Sequence[bytes] = ()
    """The records' JSON, if it is not."""

    @property
    def records(self) -> Sequence[Record]:
        """Returns the records to load."""
        return self.found.records if self.found else ()

    @property
    def unreadable(self) -> Sequence[Unreadable]:
        """Returns the records that do not fit their model."""
        return self.found.unreadable if self.found else ()


def served_ids(records: Sequence[object], unreadable: Sequence[Unreadable]) -> set[str] | None:
    """Returns the `_dlt_id` of records that are served, readable or not; None if the id of one cannot be read."""
    keys = [*map(record_id, records), *(one.key for one in unreadable)]  # type: ignore[arg-type]  # of a page they are records
    return None if None in keys else {digest(key) for key in keys}


def memory_of(page: Any) -> int:
    """Returns about how many bytes a page takes, decoded."""
    return PARSED * _bytes_of(page)


def size_of(page: Any) -> int:
    """Returns how many records a page has; a wide one counts for as many as its bytes are."""
    return max(len(page.records), _bytes_of(page) // WIDE)


def _bytes_of(page: Any) -> int:
    """Returns the bytes of a page's records as JSON; none of an answer that did not change."""
    bytes_, _ = page.weight if isinstance(page, Page) else weight_of(page.raws)
    return bytes_


def text_of(table: Table, raws: Sequence[bytes], key: str) -> str | None:
    """Returns the JSON of the record with this id among those of an answer."""
    for raw in raws:
        found = parse(table.model, [raw])
        if key in [*map(record_id, found.records), *(one.key for one in found.unreadable)]:
            return raw.decode(errors="backslashreplace")
    return None
