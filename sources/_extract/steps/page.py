"""What travels through a dlt pipe: one item for each page, and a mark beside it with all that belongs to it.

dlt carries the mark past the steps that a user adds, so they see the rows of the resource and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any
from weakref import ReferenceType, ref

from gapless.sources._dlt.internals import DataItemWithMeta
from gapless.sources._dlt.types import State
from gapless.sources._extract.extraction import LEDGER, Extraction
from gapless.sources._extract.steps.unfinished import Pass
from gapless.sources._ledger.left_out import Key
from gapless.sources._ledger.session import LoadItem
from gapless.sources._schema.arrow import ArrowRows, Batch, Table
from gapless.sources._schema.columns import Column
from gapless.sources._schema.record import record_id, record_time

PATIENCE = 600.0
"""Seconds that a step may take for one page after all were read."""


@dataclass(frozen=True)
class Page:
    """The records of one page, before they become columns or rows."""

    table: Table
    records: list[object]


class Mark:
    """Stands beside a page's rows. Weakly referenced: when nobody holds it, the page was filtered out."""

    __slots__ = ("__weakref__", "as_rows", "columns", "derived", "journal", "number")

    def __init__(self, journal: Journal, number: int | None, derived: list[Batch]) -> None:
        self.journal, self.number, self.derived = journal, number, derived
        self.columns: ArrowRows | None = None
        """The page's rows and all below them; None: they were not converted for a user's step."""
        self.as_rows = False
        """Whether a user's step sees nested rows; otherwise it sees Arrow tables."""


@dataclass
class Entry:
    """What one page adds to the ledger and to the state."""

    mark: ReferenceType[Mark]
    ledger: list[Batch]
    state: State | None
    parents: Counter[str] = field(default_factory=Counter)
    """How many records of each parent it has; counted only if a user's step may remove some."""
    keys: list[Key] = field(default_factory=list)
    """The records themselves, of a stream that reads each by a request of its own."""


@dataclass
class Journal:
    """The pages of one resource in one extraction, in the order in which they were read."""

    extraction: Extraction
    table: Table
    owner: str
    """The records' resource, to which the ledger belongs."""
    column: str = ""
    """The column with the id of a record's parent; empty: there are no parents."""
    by_id: bool = False
    """Whether each record is read by a request of its own."""
    done: Pass | None = None
    """The pass that this run begins or goes on with; None: a preview."""
    entries: list[Entry | None] = field(default_factory=list)
    """None: it was taken over."""
    counted: set[int] = field(default_factory=set)
    """Hashes of the ids of counted records: a page may be read twice, to prove that it is the last one."""

    @property
    def parent_column(self) -> Column | None:
        """Returns the column with the id of a record's parent; None: there are no parents."""
        return next((one for one in self.table.schema.columns if one.name == self.column), None)

    def count(self, page: Page, number: int) -> None:
        """Counts the records of a page by their parent, which is empty where there is none."""
        column = self.parent_column
        if entry := self.entries[number]:
            parents = map(str, column.cells(page.records)) if column else [""] * len(page.records)
            found = list(parents)
            ids = [hash(record_id(record)) for record in page.records]  # type: ignore[arg-type]  # to dlt they are objects
            entry.parents = Counter(parent for one, parent in zip(ids, found, strict=True) if one not in self.counted)
            self.counted.update(ids)
            if self.by_id:
                each: Iterable[tuple[str, Any]] = zip(found, page.records, strict=True)
                entry.keys = [(parent, record_id(record), record_time(record)) for parent, record in each]


def items(journal: Journal, steps: Iterable[LoadItem], *, limited: bool) -> Iterator[Any]:
    """Yields one item for each page, and an end: an empty list, which passes all filters and maps of dlt.

    The end comes after all pages, also if a step takes them apart or works in the background. Not if the pipe is
    `limited`, because a limit counts all items: then the last step looks which pages are whole.
    """
    table, ledger = journal.table, {one.model for one in LEDGER}
    done, column = journal.done, journal.parent_column
    rest = (done.rest(step, table, column) for step in steps) if done else steps
    for step in _pages(rest, table):
        batches = [batch for batch in step.batches if batch.records]
        records = [record for batch in batches if batch.table.name == table.name for record in batch.records]
        others = [batch for batch in batches if batch.table.name != table.name]
        derived = [batch for batch in others if batch.table.model not in ledger]
        mark = Mark(journal, len(journal.entries), derived)
        journal.entries.append(
            Entry(ref(mark), [batch for batch in others if batch.table.model in ledger], step.state)
        )
        # A limit counts it as a page, and so would never see the end of a resource that has nothing new.
        page = None if limited and not records and not derived else DataItemWithMeta(mark, Page(table, records))
        # While this frame held the mark, a page that a filter dropped would look as if it were on its way.
        del mark
        if page:
            yield page
        del page
    if not limited:
        yield from _pauses(journal)
    yield DataItemWithMeta(Mark(journal, None, []), [])


def _pauses(journal: Journal) -> Iterator[Any]:
    """Yields nothing new until no step holds a page. Raises TimeoutError after PATIENCE without a page let go."""
    # dlt takes turns: rows of a page that a step takes apart, or holds in the background, may be still to come.
    held, since = -1, monotonic()
    while now := sum(entry is not None and entry.mark() is not None for entry in journal.entries):
        if now != held:
            held, since = now, monotonic()
        elif monotonic() - since > PATIENCE:
            raise TimeoutError(
                f"{journal.table.name}: a step still holds {now} pages, {PATIENCE:g} seconds after the last one came"
                " out of it; a step must not keep what it gets as `meta`"
            )
        yield DataItemWithMeta(None, [])
        # dlt asks again at once, and a step in another thread needs the time.
        sleep(0.001)


def _pages(steps: Iterable[LoadItem], table: Table) -> Iterator[LoadItem]:
    """Yields one step for each page: what has no rows of the table, as a parent's end, joins the page before it."""
    held: LoadItem | None = None
    for step in steps:
        if held is None:
            held = step
        elif _has_rows(held, table) and _has_rows(step, table):
            yield held
            held = step
        else:
            state = held.state if step.state is None else step.state
            held = LoadItem([*held.batches, *step.batches], state)
    if held:
        yield held


def _has_rows(step: LoadItem, table: Table) -> bool:
    return any(batch.records and batch.table.name == table.name for batch in step.batches)
