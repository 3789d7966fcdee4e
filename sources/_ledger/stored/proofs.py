"""Holds the coverage of many parents in little memory. No query may enter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from gapless.sources._ledger.ledger import Coverage
from gapless.sources._ledger.markers import LOST
from gapless.sources._ledger.stored.cells import json_text

FETCH_SIZE = 10_000
"""Rows fetched per batch, so that a ledger of a million parents is not held in memory."""
IN_DOUBT = -1
"""Stands for the number of a row whose load broke off."""


class StoredProofs(Mapping[str, Coverage]):
    """Coverage by parent, kept as columns: a million of its rows as they are would take two gigabytes."""

    def __init__(self, stream: str, names: Sequence[str] = ()) -> None:
        """Takes the columns of the rows to come, beside stream and parent."""
        self._stream, self._names = stream, names
        self._batches: list[pa.RecordBatch] = []
        self._places: dict[str, int] = {}
        """Number of a row, counted over batches of FETCH_SIZE; IN_DOUBT: it is in `_doubted`."""
        self._doubted: dict[str, tuple[str | None, str | None]] = {}
        """What such rows note as missing, and as lost."""
        self._waiting: list[Sequence[Any]] = []

    def add(self, parent: str, cells: Sequence[Any]) -> None:
        """Adds a row of the table; of two rows of a parent the last one counts."""
        self._places[parent] = len(self._batches) * FETCH_SIZE + len(self._waiting)
        self._waiting.append(cells)
        if len(self._waiting) == FETCH_SIZE:
            by_name = zip(self._names, zip(*self._waiting, strict=True), strict=True)
            columns = [pa.array([*map(json_text, cells)] if name == "missing" else cells) for name, cells in by_name]
            self._batches.append(pa.RecordBatch.from_arrays(columns, [*self._names]))
            self._waiting = []

    def add_in_doubt(self, parent: str, cells: Sequence[Any]) -> None:
        """Adds a row of a load that broke off: it proves nothing, and only its note of missing intervals counts."""
        row = dict(zip(self._names, map(json_text, cells), strict=True))
        error = str(row.get("error") or "")
        self._doubted[parent] = row.get("missing"), error if error.startswith(LOST) else None
        self._places[parent] = IN_DOUBT

    def __getitem__(self, parent: str) -> Coverage:
        """Returns the coverage of a parent. Raises KeyError."""
        if self._places[parent] == IN_DOUBT:
            missing, error = self._doubted[parent]
            # As a parent that was never read to its end.
            return Coverage(stream=self._stream, parent=parent, missing=missing, error=error)
        batch, row = divmod(self._places[parent], FETCH_SIZE)
        facts = {"stream": self._stream, "parent": parent}
        if batch < len(self._batches):
            return Coverage.model_validate(facts | self._batches[batch].slice(row, 1).to_pylist()[0])
        cells = map(json_text, self._waiting[row])
        return Coverage.model_validate(facts | dict(zip(self._names, cells, strict=True)))

    def __iter__(self) -> Iterator[str]:
        """Yields the parents."""
        return iter(self._places)

    def __len__(self) -> int:
        """Returns the number of parents."""
        return len(self._places)

    def __contains__(self, parent: object) -> bool:
        """Returns whether a parent has coverage."""
        return parent in self._places
