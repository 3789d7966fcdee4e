"""The first step of a resource's pipe: it gives the user's steps rows instead of pages, where they need them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from gapless.sources._dlt.internals import DataItemWithMeta, ItemTransform, LimitItem
from gapless.sources._extract.extraction import Extraction
from gapless.sources._extract.steps.page import Mark, Page
from gapless.sources._extract.steps.rows import nested_rows
from gapless.sources._extract.steps.settle import Settle
from gapless.sources._ledger.package import ToArrow


class ToColumns(ItemTransform[Any, Any]):
    """Turns pages into Arrow tables or nested rows, if a user's step or a preview needs them."""

    def __init__(self, begin: Callable[[Any], Extraction], to_arrow: ToArrow, rows: bool) -> None:
        super().__init__(lambda item: item)
        self._begin, self._to_arrow, self._rows, self._needed = begin, to_arrow, rows, rows
        self.extraction: Extraction | None = None
        """Set once the step is bound."""

    def bind(self, pipe: Any) -> ToColumns:
        """Returns the step for one run of a pipe, and begins the extraction. Raises what that raises."""
        # Here and not where pages are read: that may be another thread, in which dlt cannot resolve settings.
        bound = ToColumns(self._begin, self._to_arrow, self._rows)
        bound.extraction = self._begin(pipe)
        ours = (ToColumns, Settle, LimitItem)
        others = [step for step in pipe.steps[1:] if not isinstance(step, ours)]
        # Such a limit would take a page for one row.
        counts = any(isinstance(step, LimitItem) and step.count_rows for step in pipe.steps)
        bound._needed = self._rows or bool(others) or counts
        return bound

    def __call__(self, item: Any, meta: Any = None) -> Any:
        """Returns the page's rows, and keeps in the mark what is below them."""
        if not isinstance(item, Page) or not isinstance(meta, Mark):
            return item
        if not self._needed and meta.journal.extraction.load_id is not None:
            return item
        assert meta.number is not None
        meta.columns = self._to_arrow(item.table, item.records)
        meta.journal.count(item, meta.number)
        meta.as_rows = self._rows
        if self._rows:
            return DataItemWithMeta(meta, nested_rows(item.table.schema, meta.columns))
        return DataItemWithMeta(meta, pa.Table.from_batches([meta.columns.rows[item.table.name]]))


def extraction_of(pipe: Any) -> Extraction:
    """Returns the extraction that began when this pipe of ours was bound."""
    (found,) = [step.extraction for step in pipe.steps if isinstance(step, ToColumns)]
    assert found
    return found
