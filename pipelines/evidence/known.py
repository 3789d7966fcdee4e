"""A reader that knows which columns are there: a question about one that somebody took away has no answer.

What is missing is a gap of its own (`damaged`), so that no answer of this reader makes a source complete.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

from gapless.pipelines.destinations.reader import Reader, Rows
from gapless.pipelines.evidence.structure import needed_columns
from gapless.sources import Source

WORD = re.compile(r"[a-z_][a-z0-9_]*")


class Known:
    """Reads the dataset of one source, between two changes of its tables."""

    def __init__(self, reader: Reader, source: Source) -> None:
        self._reader, self._source = reader, source
        self.appends = reader.appends

    def rows(self, dataset: str, select: str, *tables: str) -> Rows | None:
        """Returns what `Reader.rows` says; None also where a column is missing that the question names."""
        if dataset == self._source.name:
            # Another table of the question may have a column of that name.
            here = {column for table in tables for column in self._real.get(table, ())}
            gone = {column for table in tables for column in self._missing.get(table, ())} - here
            if not gone.isdisjoint(WORD.findall(select)):
                return None
        return self._reader.rows(dataset, select, *tables)

    def columns(self, dataset: str, tables: Sequence[str]) -> dict[str, set[str]]:
        """Returns what `Reader.columns` says."""
        return self._reader.columns(dataset, tables)

    @cached_property
    def _real(self) -> dict[str, set[str]]:
        if self.appends:  # nobody takes a column out of files
            return {}
        found = self._reader.columns(self._source.name, [*needed_columns(self._source)])
        # Some engines write names in capitals, as Snowflake does.
        return {table: {column.lower() for column in columns} for table, columns in found.items()}

    @cached_property
    def _missing(self) -> dict[str, set[str]]:
        needed = needed_columns(self._source)
        return {table: needed[table] - columns for table, columns in self._real.items()}
