"""The last step of a resource's pipe: `Settle` sees only what is really going to be loaded.

dlt places it behind every filter and limit. There all rows are written with what is below them, and once the package
is full, the ledger and the state. So neither can say more than the rows that are loaded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from typing import Any, ClassVar

import dlt
import pyarrow as pa

from gapless.sources._dlt.internals import (
    DataItemWithMeta,
    ForkPipe,
    ItemTransform,
    LimitItem,
    YieldMapItem,
    incremental_of,
)
from gapless.sources._dlt.tables import ROW_ID
from gapless.sources._dlt.types import State
from gapless.sources._extract.extraction import LEDGER, STATE_TABLE
from gapless.sources._extract.steps.page import Journal, Mark, Page
from gapless.sources._extract.steps.rows import Row, cell, with_keys
from gapless.sources._extract.writer import Writer
from gapless.sources._ledger.ledger import COVERAGE, Coverage
from gapless.sources._ledger.left_out import LEFT_OUT, LeftOut
from gapless.sources._ledger.package import Package, ToArrow, without
from gapless.sources._ledger.walk_state import WALK_KEYS
from gapless.sources._schema.arrow import ArrowRows, Batch, Table, digest

FILTERED = "filtered"
"""Key of a resource's state: how many records the user's steps removed."""
ELSEWHERE = "a step sent rows to another table, or lost what dlt carries beside them; it must return rows alone"
FLUSH_ROWS = 5_000
"""Root rows that are written at once: as many as dlt holds back itself, so that memory stays flat."""


class Settle(ItemTransform[Any, Any]):
    """Writes the rows of all pages that come here; at the end of the package the ledger and the state."""

    placement_affinity: ClassVar[float] = 1.5  # behind dlt's LimitItem, 1.1

    def __init__(self, derived: tuple[Table, ...], to_arrow: ToArrow, records: bool) -> None:
        super().__init__(lambda item: item)
        self._derived, self._to_arrow, self._records = derived, to_arrow, records
        self._limit: Any = None
        self._tears = self._ended = False
        self._package, self._rows, self._keys = Package(to_arrow), list[Row](), set[str]()
        self._came, self._next = set[int](), 0
        self._read, self._kept = Counter[str](), Counter[str]()
        self._listings: dict[str, Any] = {}
        self._loaded, self._met = set[str](), set[str]()
        self._left: LeftOut | None = None
        self._state: State | None = None
        self._writer: Writer | None = None

    def bind(self, pipe: Any) -> Settle:
        """Returns the step for one run of a pipe. Raises ValueError for a limit of 0 or a transformer."""
        bound = Settle(self._derived, self._to_arrow, self._records)
        bound._limit = next((step for step in pipe.steps if isinstance(step, LimitItem)), None)
        if bound._limit and bound._limit.max_items == 0:
            raise ValueError(f"{pipe.name}: add_limit(0) reads nothing; give at least 1, or leave the limit out")
        if any(isinstance(step, ForkPipe) and step.has_pipe(pipe) for step in pipe.steps):
            raise ValueError(
                f"{pipe.name}: one resource cannot be loaded and feed a transformer at once; give the transformer a"
                f" second source: pipeline.run([source(), source().resources[{pipe.name!r}] | transformer])"
            )
        # Rows of a page that is taken apart can be cut by the limit.
        bound._tears = any(isinstance(step, YieldMapItem) for step in pipe.steps)
        for incremental in filter(None, map(incremental_of, pipe.steps)):
            # dlt would drop what is older than the newest row of the last run, which may have been limited.
            incremental.start_value = incremental.initial_value
        return bound

    def __call__(self, item: Any, meta: Any = None) -> Any:
        """Returns what dlt must write now, None if that is nothing yet."""
        if not isinstance(meta, Mark):
            if isinstance(item, list) and not item:
                return None
            raise TypeError(ELSEWHERE)
        journal = meta.journal
        if journal.extraction.load_id is None:
            # The end of a preview, and pages without rows, are nothing to look at.
            return None if meta.number is None or len(item) == 0 else DataItemWithMeta(None, item)
        if self._ended:
            return None
        if meta.number is None:
            self._take(journal, len(journal.entries), stopped=self._limit is not None)
            return self._end(journal, cut=False)
        self._add(item, meta)
        # A page that is taken apart may still have rows to come.
        end = meta.number if self._tears else max(self._came) + 1
        # At once: a page that is still on its way looks like a filtered one as soon as the limit has dropped it.
        self._take(journal, end, stopped=True)
        if self._limit and self._limit.exhausted:
            return self._end(journal, cut=True)
        full = self._package.waiting(journal.table) + len(self._rows) >= FLUSH_ROWS
        return self._flush(journal) if full else None

    def _add(self, item: Any, mark: Mark) -> None:
        """Keeps the rows of a page, or a part of it, until they are written."""
        assert mark.number is not None
        table, column = mark.journal.table, mark.journal.column
        self._came.add(mark.number)
        if isinstance(item, Page):
            self._add_page(item, mark)
            return
        assert mark.columns is not None
        # By the name, because pandas need not be installed.
        if type(item).__module__.startswith("pandas") and not mark.as_rows:
            item = pa.Table.from_pandas(item, preserve_index=False)
        if isinstance(item, pa.Table | pa.RecordBatch):
            item = _as_declared(item, table)
            _need(item.column_names, ROW_ID, table)
            ids = item.column(ROW_ID).to_pylist()
            _of_page(ids, mark, table)
            below = without(table.name, mark.columns, {*mark.columns.ids}.difference(ids))
            for root in item.combine_chunks().to_batches() if isinstance(item, pa.Table) else [item]:
                self._package.add_columns(table, ArrowRows(ids, {**below, table.name: root}))
            parents = item.column(column).to_pylist() if column in item.column_names else [""] * item.num_rows
        elif not mark.as_rows:
            raise TypeError(
                f"{table.name}: a step made {type(item).__name__} of an Arrow table, which would part the rows"
                " from those below them; build the source with rows=True for steps that work on rows"
            )
        else:
            rows = [row for row in (item if isinstance(item, list) else [item]) if row is not None]
            _need_rows(rows, table)
            self._rows += rows
            ids = [digest(*(row[name] for name in table.key)) for row in rows]
            parents = [cell(row, mark.journal.parent_column) for row in rows]
            if self._derived:
                _of_page(ids, mark, table)
        self._kept.update(str(parent) for one, parent in zip(ids, parents, strict=True) if one not in self._met)
        self._met.update(ids)
        if mark.journal.by_id:
            self._loaded.update(ids)
        for batch in mark.derived:
            (of,) = batch.table.model.parent_columns
            own = {*ids}
            self._package.add(Batch(batch.table, [row for row in batch.records if digest(getattr(row, of)) in own]))

    def _add_page(self, page: Page, mark: Mark) -> None:
        """Keeps a page that no step has seen."""
        journal, number = mark.journal, mark.number
        for batch in (Batch(journal.table, page.records), *mark.derived):
            self._package.add(batch)
        entry = journal.entries[number] if number is not None else None
        if entry and number is not None and self._left_out(journal):
            # A step of an earlier run removed some of them.
            journal.count(page, number)
            self._kept.update(entry.parents)
            self._loaded.update(digest(key) for _, key, _ in entry.keys)

    def _left_out(self, journal: Journal) -> LeftOut:
        if self._left is None:
            state, plain = dlt.current.resource_state(), journal.extraction.prefix + journal.owner
            counts = not journal.extraction.fresh and state.get(STATE_TABLE, plain) == journal.table.name
            self._left = LeftOut(state if counts and journal.by_id else {})
        return self._left

    def _take(self, journal: Journal, end: int, *, stopped: bool) -> None:
        """Takes over ledger and state of the pages before `end`: of those that came, or that a filter removed."""
        while self._next < end:
            entry = journal.entries[self._next]
            assert entry is not None
            # A step may hold an earlier page, or rows of it, that a limit will drop.
            held, came = entry.mark() is not None, self._next in self._came and not self._tears
            if stopped and held and not came:
                return
            self._read.update(entry.parents)
            self._left_out(journal).update(entry.keys, self._loaded)
            for batch in entry.ledger:
                self._package.add(self._counted(journal, batch))
            if entry.state is not None:
                self._state = entry.state
            journal.entries[self._next] = None
            self._came.discard(self._next)
            self._next += 1

    def _counted(self, journal: Journal, batch: Batch) -> Batch:
        """Returns coverage with the number of filtered records; a row about a whole listing waits for the end."""
        left, gone = self._left_out(journal), self._read - self._kept
        if batch.table.model is not Coverage or not (self._read or left or self._filtered_before()):
            return batch
        rows = [row for row in batch.records if isinstance(row, Coverage)]
        # How many records of a listing were filtered is known at its end only.
        self._listings |= {row.stream: row for row in rows if row.parent == ""}

        def counted(row: Coverage) -> Coverage:
            if not journal.by_id and row.parent not in self._read:
                return row
            number = left.count(row.parent) if journal.by_id else gone[row.parent]
            return row.model_copy(update={FILTERED: number or None})

        return Batch(batch.table, [counted(row) for row in rows if row.parent])

    @staticmethod
    def _filtered_before() -> int:
        return int(dlt.current.resource_state().get(FILTERED, 0))

    def _end(self, journal: Journal, *, cut: bool) -> Iterator[Any]:
        """Yields what is left, then the ledger of the pages that came; sets the state that they lead to.

        `cut` says that a limit ended the run.
        """
        self._ended, writer = True, self._writer_of(journal)
        yield from self._flush(journal)
        filtered = self._filtered_before() + sum((self._read - self._kept).values())
        self._set_state(journal, filtered, cut=cut)
        listings = [row.model_copy(update={FILTERED: filtered or None}) for row in self._listings.values()]
        self._package.add(Batch(COVERAGE, listings))
        for table in (*self._derived, *LEDGER):
            # Only the records' resource makes the ledger's tables: they are its own, for dlt's drop and refresh.
            if self._records or self._package.waiting(table):
                yield from writer.tree(journal.extraction.table(table), self._package.tables(table))
        for table in LEDGER:
            # dlt gives a table to the resource that wrote to it last, and would drop it with that one.
            name = journal.extraction.table(table).name
            dlt.current.source_schema().tables[name]["resource"] = journal.owner
        journal.extraction.report()

    def _set_state(self, journal: Journal, filtered: int, *, cut: bool) -> None:
        state = dlt.current.resource_state()
        if self._state is not None:
            # What is left is dlt's, or the user's own steps have put it there.
            for key in (*WALK_KEYS, FILTERED, STATE_TABLE):
                state.pop(key, None)
            state.update(self._state)
            if journal.table.name != journal.extraction.prefix + journal.owner:
                state[STATE_TABLE] = journal.table.name
        if filtered:
            state[FILTERED] = filtered
        if (left := self._left_out(journal)) or LEFT_OUT in state:
            state |= {LEFT_OUT: left.to_json(), STATE_TABLE: journal.table.name}
        if journal.done:
            journal.done.update(state, str(journal.extraction.load_id), cut=cut)
            if cut:
                state[STATE_TABLE] = journal.table.name

    def _flush(self, journal: Journal) -> Iterator[Any]:
        """Yields the rows that wait, with all that is below them."""
        table, writer = journal.table, self._writer_of(journal)
        if self._rows:
            # Across flushes, because a package that held a key twice would keep both rows.
            rows = with_keys(self._rows, table, str(journal.extraction.load_id), self._keys)
            self._rows = []
            yield writer.item(table, table.schema, rows)
        yield from writer.tree(table, self._package.tables(table))

    def _writer_of(self, journal: Journal) -> Writer:
        self._writer = self._writer or Writer(journal.extraction, journal.table)
        return self._writer


def _as_declared(item: pa.Table | pa.RecordBatch, table: Table) -> pa.Table | pa.RecordBatch:
    """Returns a page with its columns in the types that the source declares: pandas has types of its own."""
    for field in table.schema.arrow_schema:
        at = item.schema.get_field_index(field.name)
        if at >= 0 and item.schema.field(at).type != field.type:
            with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):  # then dlt says what does not fit
                item = item.set_column(at, field, item.column(at).cast(field.type))
    return item


def _need(names: Container[str], name: str, table: Table) -> None:
    if name not in names:
        raise ValueError(f"{table.name}: a step removed {name!r}, which tells one record from another; keep it")


def _of_page(ids: Iterable[str], mark: Mark, table: Table) -> None:
    assert mark.columns is not None
    if not {*mark.columns.ids}.issuperset(ids):
        raise ValueError(
            f"{table.name}: a step put rows of several pages together, or changed their ids, so what belongs to them"
            " would be lost; let each item stay one, or load first and put together afterwards"
        )


def _need_rows(rows: list[Row], table: Table) -> None:
    for row in rows:
        if isinstance(row, DataItemWithMeta):
            raise TypeError(ELSEWHERE)
        if not isinstance(row, dict):
            raise TypeError(f"{table.name}: a step made {type(row).__name__} of a row; it must return a dictionary")
        for name in table.key:
            _need(row, name, table)
