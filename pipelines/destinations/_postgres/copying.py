"""Copies rows from the parquet files of a load package into tables of Postgres, as CSV, the way that costs the least.

An empty text is quoted and a null is not, so `COPY` tells them apart. A quoted text keeps every character.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

BATCH_ROWS = 4_000
"""Rows that are text at once: the text of a whole package would double the memory it takes."""
READ_BYTES = 2**18
"""Bytes that psycopg2 takes at once. Its default of 8 kB costs a call of Python's for each."""
AS_TEXT = csv.WriteOptions(include_header=False, quoting_style="needed")
"""Quotes every text, and nothing else."""
Rows = Iterable[pa.RecordBatch]


def read_files(files: Iterable[Path], columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yields the rows of parquet files in small batches; `columns` are those that are read, else all."""
    for file in files:
        with pq.ParquetFile(file) as found:
            yield from found.iter_batches(batch_size=BATCH_ROWS, columns=columns)


def rows_of(batches: Rows, column: str, ids: pa.Array, *, wanted: bool) -> Iterator[pa.RecordBatch]:
    """Yields the rows of which `column` is one of `ids`, or those of which it is none of them."""
    for batch in batches:
        mask = pc.is_in(batch.column(column), value_set=ids)
        yield batch.filter(mask if wanted else pc.invert(mask))


def copy_rows(cursor: Cursor, table: str, batches: Rows, quoted: Callable[[str], str]) -> None:
    """Copies rows into a table, by one statement for all batches with the same columns.

    `table` is its name in SQL, `quoted` makes one of a column's. Raises psycopg2.Error.
    """
    batches = (batch for batch in batches if batch.num_rows)
    following = next(batches, None)
    while following is not None:
        text = _Text(following, batches)
        columns = ", ".join(map(quoted, following.schema.names))
        cursor.copy_expert(f"copy {table} ({columns}) from stdin with (format csv)", text, READ_BYTES)
        following = text.other


class _Text:
    """Batches with the same columns as a file to read from: their rows as CSV, made when they are read."""

    def __init__(self, first: pa.RecordBatch, batches: Iterator[pa.RecordBatch]) -> None:
        self._columns, self._batches, self._text = first.schema.names, batches, _as_text(first)
        self.other: pa.RecordBatch | None = None
        """The first batch with other columns, at which this file ends."""

    def read(self, size: int) -> bytes:
        """Returns at most `size` bytes; none at the end."""
        while not (read := self._text.read(size)) and self.other is None:
            batch = next(self._batches, None)
            if batch is None:
                break
            if batch.schema.names == self._columns:
                self._text = _as_text(batch)
            else:
                self.other = batch
        return bytes(read)


def _as_text(batch: pa.RecordBatch) -> pa.BufferReader:
    text = pa.BufferOutputStream()
    csv.write_csv(batch, text, AS_TEXT)
    return pa.BufferReader(text.getvalue())
