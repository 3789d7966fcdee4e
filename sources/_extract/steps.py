"""The first and the last step of a resource's pipe: between them are the user's own.

`ToColumns` gives the user's steps rows instead of pages. `Settle` sees only what is really going to be loaded: dlt
places it behind every filter and limit. There all rows are written with what is below them, and once the package is
full, the ledger and the state. So neither can say more than the rows that are loaded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import dlt
import pyarrow as pa

from gapless.sources._dlt.internals import (
    DataItemWithMeta,
    ItemTransform,
    LimitItem,
    YieldMapItem,
    incremental_of,
)
from gapless.sources._dlt.tables import ROW_ID
from gapless.sources._extract.extraction import LEDGER
from gapless.sources._extract.page import Entry, Journal, Mark, Page
from gapless.sources._extract.rows import Row, nested_rows, with_keys
from gapless.sources._extract.writer import Writer
from gapless.sources._ledger.ledger import COVERAGE
from gapless.sources._ledger.package import Package, ToArrow, without
from gapless.sources._schema.arrow import ArrowRows, Batch, Table, digest

FILTERED, INCREMENTAL = "filtered", "incremental"
"""Keys of a resource's state: how many records the user's steps removed, and what dlt itself keeps."""
FLUSH_ROWS = 5_000
"""Root rows that are written at once: as many as dlt holds back itself, so that memory stays flat."""


class ToColumns(ItemTransform[Any, Any]):
    """Turns pages into Arrow tables or nested rows, if a user's step or a preview needs them."""

    def __init__(self, to_arrow: ToArrow, rows: bool) -> None:
        super().__init__(lambda item: item)
        self._to_arrow, self._rows, self._needed = to_arrow, rows, rows

    def bind(self, pipe: Any) -> ToColumns:
        """Returns the step for one run of a pipe."""
        bound = ToColumns(self._to_arrow, self._rows)
        ours = (ToColumns, Settle, LimitItem)
        others = [step for step in pipe.steps[1:] if not isinstance(step, ours)]
        counts = any(isinstance(step, LimitItem) and step.count_rows for step in pipe.steps)
        bound._needed = self._rows or bool(others) or counts
        return bound

    def __call__(self, item: Any, meta: Any = None) -> Any:
        """Returns the page's rows, and keeps in the mark what is below them."""
        if not isinstance(item, Page) or not isinstance(meta, Mark):
            return item
        if not self._needed and meta.journal.extraction.load_id is not None:
            return item
        meta.columns = self._to_arrow(item.table, item.records)
        if self._rows:
            return DataItemWithMeta(meta, nested_rows(item.table.schema, meta.columns))
        return DataItemWithMeta(meta, pa.Table.from_batches([meta.columns.rows[item.table.name]]))


class Settle(ItemTransform[Any, Any]):
    """Writes the rows of all pages that come here; at the end of the package the ledger and the state."""

    placement_affinity: ClassVar[float] = 1.5  # behind dlt's LimitItem, 1.1

    def __init__(self, derived: tuple[Table, ...], to_arrow: ToArrow, records: bool) -> None:
        super().__init__(lambda item: item)
        self._derived, self._to_arrow, self._records = derived, to_arrow, records
        self._limit: Any = None
        self._tears = self._ended = False
        self._package, self._rows, self._keys = Package(to_arrow), list[Row](), set[str]()
        self._came, self._kept = set[int](), Counter[str]()
        self._writer: Writer | None = None

    def bind(self, pipe: Any) -> Settle:
        """Returns the step for one run of a pipe. Raises ValueError for a limit of 0."""
        bound = Settle(self._derived, self._to_arrow, self._records)
        bound._limit = next((step for step in pipe.steps if isinstance(step, LimitItem)), None)
        if bound._limit and bound._limit.max_items == 0:
            raise ValueError(f"{pipe.name}: add_limit(0) reads nothing; give at least 1, or leave the limit out")
        # Rows of a page that is taken apart can be cut by the limit.
        bound._tears = any(isinstance(step, YieldMapItem) for step in pipe.steps)
        for incremental in filter(None, map(incremental_of, pipe.steps)):
            # dlt would drop what is older than the newest row of the last run, which may have been limited.
            incremental.start_value = incremental.initial_value
        return bound

    def __call__(self, item: Any, meta: Any = None) -> Any:
        """Returns what dlt must write now, None if that is nothing yet."""
        if not isinstance(meta, Mark):
            return item
        journal = meta.journal
        if journal.extraction.load_id is None:
            # The end of a preview, and pages without rows, are nothing to look at.
            return None if meta.number is None or len(item) == 0 else DataItemWithMeta(None, item)
        if self._ended:
            return None
        if meta.number is None:
            return self._end(journal, len(journal.entries), stopped=False)
        self._add(item, meta)
        if self._limit and self._limit.exhausted:
            return self._end(journal, meta.number if self._tears else max(self._came) + 1, stopped=True)
        full = self._package.waiting(journal.table) + len(self._rows) >= FLUSH_ROWS
        return self._flush(journal) if full else None

    def _add(self, item: Any, mark: Mark) -> None:
        """Keeps the rows of a page, or a part of it, until they are written."""
        assert mark.number is not None
        journal, entry = mark.journal, mark.journal.entries[mark.number]
        table, column = journal.table, journal.column
        self._came.add(mark.number)
        if isinstance(item, Page):
            self._package.add(Batch(table, item.records))
            self._kept.update(entry.parents)
            return
        assert mark.columns is not None
        if isinstance(item, pa.Table | pa.RecordBatch):
            for root in item.combine_chunks().to_batches() if isinstance(item, pa.Table) else [item]:
                ids = root.column(ROW_ID).to_pylist()
                below = without(table.name, mark.columns, {*mark.columns.ids}.difference(ids))
                self._package.add_columns(table, ArrowRows(ids, {**below, table.name: root}))
            parents = item.column(column).to_pylist() if column in item.column_names else [""] * item.num_rows
        else:
            rows = item if isinstance(item, list) else [item]
            self._rows += rows
            parents = [row.get(column, "") if column else "" for row in rows]
        self._kept.update(map(str, parents))

    def _end(self, journal: Journal, end: int, *, stopped: bool) -> Iterator[Any]:
        """Yields what is left, then the ledger of the pages that came; sets the state that they lead to."""
        self._ended, writer = True, self._writer_of(journal)
        yield from self._flush(journal)
        taken = list(self._taken(journal.entries[:end], stopped))
        read = Counter[str]()
        for entry in taken:
            read.update(entry.parents)
        # Without a step of the user every page came whole.
        filtered = read - self._kept
        self._set_state(taken, sum(filtered.values()))
        for batch in (batch for entry in taken for batch in entry.batches):
            self._package.add(self._without_filtered(batch, journal, read, filtered))
        for table in (*self._derived, *LEDGER):
            # Only the records' resource makes the ledger's tables: they are its own, for dlt's drop and refresh.
            if self._records or self._package.waiting(table):
                yield from writer.tree(journal.extraction.table(table), self._package.tables(table))
        for table in LEDGER:
            # dlt gives a table to the resource that wrote to it last, and would drop it with that one.
            name = journal.extraction.table(table).name
            dlt.current.source_schema().tables[name]["resource"] = journal.owner
        journal.extraction.report()

    def _taken(self, entries: list[Entry], stopped: bool) -> Iterator[Entry]:
        """Yields the pages whose ledger and state count: those that came, and those that a filter removed."""
        for number, entry in enumerate(entries):
            # A step that works in the background may hold an earlier page, which the limit will drop.
            if stopped and number not in self._came and entry.mark() is not None:
                return
            yield entry

    def _set_state(self, taken: list[Entry], filtered: int) -> None:
        state = dlt.current.resource_state()
        before = state.get(FILTERED, 0)
        for entry in taken:
            if entry.state is not None:
                # dlt keeps a reference to this dictionary, so it is changed in place.
                state_of_dlt = {key: value for key, value in state.items() if key == INCREMENTAL}
                state.clear()
                state.update({**entry.state, **state_of_dlt})
        if before + filtered:
            state[FILTERED] = before + filtered

    def _without_filtered(self, batch: Batch, journal: Journal, read: Counter[str], filtered: Counter[str]) -> Batch:
        """Returns a batch of another table as it holds for the rows that were kept."""
        if batch.table == COVERAGE and (total := dlt.current.resource_state().get(FILTERED)):
            return Batch(COVERAGE, [_counted(row, total, read, filtered) for row in batch.records])
        if batch.table in self._derived and filtered:
            (column,) = batch.table.model.parent_columns
            written = self._keys | self._package.taken(journal.table)
            return Batch(batch.table, [row for row in batch.records if digest(getattr(row, column)) in written])
        return batch

    def _flush(self, journal: Journal) -> Iterator[Any]:
        """Yields the rows that wait, with all that is below them."""
        table, writer = journal.table, self._writer_of(journal)
        if self._rows:
            rows = with_keys(self._rows, table, str(journal.extraction.load_id), self._keys)
            self._rows = []
            yield writer.item(table, table.schema, rows)
        yield from writer.tree(table, self._package.tables(table))

    def _writer_of(self, journal: Journal) -> Writer:
        self._writer = self._writer or Writer(journal.extraction, journal.table)
        return self._writer


def _counted(row: Any, total: int, read: Counter[str], filtered: Counter[str]) -> Any:
    """Returns a row of coverage with the number of filtered records; one listing counts all that it ever read."""
    if row.parent == "":
        return row.model_copy(update={FILTERED: total})
    return row.model_copy(update={FILTERED: filtered[row.parent] or None}) if row.parent in read else row
