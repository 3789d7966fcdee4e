"""Takes what was erased out of what a sync has read: the one place that every record passes before it is a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from gapless.sources._ledger.erasure.tombstones import Tombstones
from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, Coverage, DeadLetter
from gapless.sources._ledger.session import LoadItem
from gapless.sources._schema.arrow import Batch

Hides = Callable[[Sequence[Any]], list[bool]]
"""Returns of each row of a batch whether it must not be written."""


def visible(steps: Iterator[LoadItem], erased: Tombstones) -> Iterator[LoadItem]:
    """Returns the steps of a sync without what was erased; where nothing was, the steps themselves."""
    return (replace(step, batches=[*_shown(step.batches, erased)]) for step in steps) if erased else steps


def _shown(batches: Sequence[Batch], erased: Tombstones) -> Iterator[Batch]:
    for batch in batches:
        hides = _rule(batch, erased) if batch.records else None
        hidden = hides(batch.records) if hides else ()
        if any(hidden):
            yield replace(batch, records=[row for row, hid in zip(batch.records, hidden, strict=True) if not hid])
        else:
            yield batch


def _rule(batch: Batch, erased: Tombstones) -> Hides | None:
    """Returns what decides about the rows of a batch; None: all may be written."""
    subjects, model = erased.subjects, batch.table.model
    assert subjects
    if model is subjects.main.model:
        return erased.hidden
    if model is DEAD_LETTERS.model:
        return partial(_letters, erased)
    if not erased.names:
        return None
    if subjects.parents and model is subjects.parents.model:
        return erased.hidden_parents
    if model is COVERAGE.model:
        return partial(_coverage, erased)
    return partial(_derived, erased, *model.parent_columns) if len(model.parent_columns) == 1 else None


def _coverage(erased: Tombstones, rows: Sequence[Coverage]) -> list[bool]:
    return [erased.hides_parent(row.parent) for row in rows]


def _letters(erased: Tombstones, rows: Sequence[DeadLetter]) -> list[bool]:
    return [erased.hides_letter(row.stream, row.kind, row.key, row.parent, row.raw_json) for row in rows]


def _derived(erased: Tombstones, column: str, rows: Sequence[Any]) -> list[bool]:
    """Decides about rows that were made of records, by the column with the record's id."""
    return [erased.hides_record(str(getattr(row, column))) for row in rows]
