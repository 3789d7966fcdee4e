"""Values for what a vendor lists: pages of raw records, parents, and what `verify` compares of both.

Shapes only: no request is made here and nothing is loaded.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from gapless.sources._http.client import Client
from gapless.sources._http.errors import Incomplete
from gapless.sources._incremental.listing_end import ListingEnd
from gapless.sources._schema.arrow import Table
from gapless.sources._schema.parse import parse, readable_time
from gapless.sources._schema.record import Record, record_id, record_time

Stored = Callable[[Table, Sequence[str], Iterable[str]], Iterator[tuple[Any, ...]]]
"""Yields columns of the stored rows of a table whose first column is among the ids. See `ParentSync.stored`."""
LISTED_READINGS = 3
"""How often `verify` reads a listing from its first page until it proves to be read to its end."""


class RawPage(Protocol):
    """One page of a listing; any object of an `api.py` with these two will do."""

    @property
    def records(self) -> Sequence[bytes]:
        """Returns the records' JSON, in the vendor's order."""

    @property
    def total(self) -> int | None:
        """Returns how many records the vendor says the whole listing has; None: it does not say."""


class CursorPage(RawPage, Protocol):
    """A page of a listing that is paged by cursors."""

    @property
    def after(self) -> str | None:
        """Returns the next page's cursor; None: this page is the last."""


@dataclass(frozen=True)
class PlainPage:
    """A `RawPage` for an `api.py` whose answer is a plain list."""

    records: Sequence[bytes]
    total: int | None = None


@dataclass(frozen=True)
class Parents:
    """What a vendor's records belong to and are read by, such as leads, actions or types of activity."""

    table: Table
    noun: str
    """What people call them, in the plural; a sync can be split by them."""
    pages: Callable[[Client], Iterator[RawPage]]
    count: str | None = None
    """Attribute and column with the number of a parent's records."""
    reads_empty: bool = True
    """Whether a parent with a count of 0 is read."""
    label: str | None = None
    """SQL over the table's columns: what people call one of them."""

    def id(self, parent: Record) -> str:
        """Returns the id of a parent as text."""
        return record_id(parent)

    def named(self, key: str) -> Record:
        """Returns a parent with only its id set; all else is null, also what the model requires.

        Raises ValueError for an invalid id.
        """
        model = self.table.model
        required = [name for name, field in model.model_fields.items() if field.is_required()]
        parent = model.model_construct(**dict.fromkeys(required))
        model.__pydantic_validator__.validate_assignment(parent, model.id_field, _number(self.table, key))
        return parent

    def is_read(self, parent: Record) -> bool:
        """Returns whether a parent's records are read: not if the vendor says that it has none."""
        return self.reads_empty or self.count is None or getattr(parent, self.count) != 0

    def condition(self) -> str:
        """Returns `is_read` as an SQL condition on the parents' table."""
        # An unknown count is not zero, as in `is_read`.
        return "1 = 1" if self.reads_empty or self.count is None else f"coalesce({self.count}, 1) <> 0"


def _number(table: Table, key: str) -> str | int:
    columns = {column.name: column.data_type for column in table.schema.columns}
    return int(key) if columns[table.id_column] == "bigint" else key


@dataclass(frozen=True)
class ListedParent:
    """One parent as `verify` and `plan` see it; a listing without parents is one parent with the id ""."""

    id: str
    count: int | None = None
    """How many records it has, according to the listing of parents."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """Fields that its records do not carry, by JSON name."""
    record: Record | None = None
    whole: bool = True
    """Whether `record` is what the vendor lists; otherwise it has only an id."""


@dataclass(frozen=True)
class ListedPage:
    """One page of a parent's records as `verify` and `plan` see it."""

    times: dict[str, datetime | None]
    """Creation time by id, in UTC; None: unknown."""
    raws: Sequence[bytes]
    nameless: Sequence[str] = ()
    """The JSON of records whose id cannot be read."""
    total: int | None = None
    """How many records all pages have; None: the vendor does not say."""
    last: bool = True
    """Whether it is the last page, as far as the page itself says."""
    answer: str | None = None
    """The digest by which a sync sees that nothing changed, as in `coverage`; None: it compares no whole answers."""


def each_once(
    read: Callable[[], Iterator[ListedPage]], path: str, expected: int | None = None
) -> Iterator[ListedPage]:
    """Yields the pages that `read` requests, each id once, until they prove to be the whole listing.

    Pages may overlap, so that nothing is missed. `expected` is the number of records according to another listing.
    Raises Incomplete, with `path`, if no reading proved to be complete: what such a listing lacks may be served.
    """
    end, met, why = ListingEnd(), array("q"), None
    for reading in range(LISTED_READINGS):
        before, earlier = set[str](), {*met}
        longest, last = 0, 0
        for page in read():
            end.see([*page.times], page.total, nameless=page.nameless)
            # Hashes take 8 bytes an id, however long the listing is.
            new = {key: at for key, at in page.times.items() if key not in before and hash(key) not in earlier}
            met.extend(map(hash, new))
            # Nameless records cannot be told apart, so only the first reading counts them.
            yield replace(page, times=new, nameless=() if reading else page.nameless)
            before, longest, last = set(page.times), max(longest, last), len(page.raws)
            if end.endless:
                break
        why = end.why_again(expected)
        # Without a total a shorter last page is the one sign of an end; a full one is read once more, then believed.
        if why is None and end.total is None and longest and not 0 < last < longest and not reading:
            why = "its last page is a full or an empty one"
        if why is None:
            return
        end = end.again()
    detail = f"{why}; read {LISTED_READINGS} times, so what it lacks may be served"
    raise Incomplete(method="GET", path=path, detail=detail)


def listed_page(table: Table, page: RawPage, given: Mapping[str, Any] | None = None) -> ListedPage:
    """Returns the ids and times of a page's records."""
    found = parse(table.model, page.records, given)
    times = {record_id(record): record_time(record) for record in found.records}
    times |= {bad.key: readable_time(table.model, bad.raw) for bad in found.unreadable if bad.key}
    nameless = [bad.raw for bad in found.unreadable if bad.key is None]
    last = getattr(page, "after", None) is None
    return ListedPage(times, [bytes(raw) for raw in page.records], nameless, page.total, last)
