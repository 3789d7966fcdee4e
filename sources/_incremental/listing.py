"""What a vendor lists, as its `api.py` yields it: pages of raw records, parents, and what `verify` compares of both.

Shapes only: no request is made here and nothing is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from gapless.sources._http.client import Client
from gapless.sources._schema.arrow import Table
from gapless.sources._schema.parse import id_name, parse
from gapless.sources._schema.record import record_id, record_time


class RawPage(Protocol):
    """One page of a listing; any object of an `api.py` with these two will do."""

    @property
    def records(self) -> Sequence[bytes]:
        """The records' JSON, in the vendor's order."""

    @property
    def total(self) -> int | None:
        """How many records the vendor says the whole listing has; None: it does not say."""


class CursorPage(RawPage, Protocol):
    """A page of a listing that is paged by cursors."""

    @property
    def after(self) -> str | None:
        """The next page's cursor; None: this page is the last."""


@dataclass(frozen=True)
class Answer:
    """A `RawPage` for an `api.py` whose answer is a plain list."""

    records: Sequence[bytes]
    total: int | None = None


@dataclass(frozen=True)
class Parents:
    """What a vendor's records hang on and are read by: leads, actions, types of activity."""

    table: Table
    noun: str
    """What a person calls them, in the plural; a sync can be split by them."""
    pages: Callable[[Client], Iterator[RawPage]]
    count: str | None = None
    """Attribute (and column) that says how many records a parent has."""
    reads_empty: bool = True
    """Whether a parent is read whose count is 0."""
    label: str | None = None
    """SQL over the table's columns: what a person calls one of them."""

    def id(self, parent: Any) -> str:
        """Returns the id of a parent as text."""
        return record_id(parent)

    def named(self, key: str) -> Any:
        """Returns a parent of which only the id is known. Raises ValueError for an id that cannot be one."""
        return self.table.model.model_validate({id_name(self.table.model): _number(self.table, key)})

    def is_read(self, parent: Any) -> bool:
        """Returns whether its records are asked for: not if the vendor says that it has none."""
        return self.reads_empty or self.count is None or getattr(parent, self.count) != 0

    def condition(self) -> str:
        """Returns `is_read` as SQL over the parents' table."""
        return "1 = 1" if self.reads_empty or self.count is None else f"coalesce({self.count}, 1) <> 0"


def _number(table: Table, key: str) -> str | int:
    columns = {column.name: column.data_type for column in table.schema.columns}
    return int(key) if columns[table.id_column] == "bigint" else key


@dataclass(frozen=True)
class ListedParent:
    """One parent as `verify` and `plan` see it; a listing without parents is one parent with the id ""."""

    id: str
    count: int | None = None
    """How many records it has, as the listing of parents says."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """Fields that its records do not carry, by JSON name."""
    record: Any = None


@dataclass(frozen=True)
class ListedPage:
    """One page of a parent's records as `verify` and `plan` see it."""

    times: dict[str, datetime | None]
    """Creation time by id."""
    raws: Sequence[bytes]
    nameless: int = 0
    """Records whose id cannot be read."""
    total: int | None = None
    """How many records all pages have; None: the vendor does not say."""
    last: bool = True
    """Whether no page comes after it, as far as the page itself says."""


def listed_page(table: Table, page: RawPage, given: Mapping[str, Any] | None = None) -> ListedPage:
    """Returns the ids and times of a page's records."""
    found = parse(table.model, page.records, given)
    times = {record_id(record): record_time(record) for record in found.records}
    times |= {bad.key: None for bad in found.unreadable if bad.key}
    nameless = sum(bad.key is None for bad in found.unreadable)
    last = getattr(page, "after", None) is None
    return ListedPage(times, [bytes(raw) for raw in page.records], nameless, page.total, last)
