"""Results of a person's query: bounded Arrow tables, as CSV or Parquet to download."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 500
"""Rows on the page."""
DOWNLOADED = 100_000
"""Rows of a file."""
MOST_BYTES = 64 * 2**20
"""Of a result in memory."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell of text begins with that a spreadsheet would compute instead of showing it."""


def collect(batches: Iterable[pa.RecordBatch], most: int) -> pa.Table:
    """Returns the first `most` rows of batches, and no more than MOST_BYTES of them."""
    import pyarrow as pa

    taken, rows, size = list[pa.RecordBatch](), 0, 0
    for batch in batches:
        taken.append(batch.slice(0, most - rows))
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= most or size >= MOST_BYTES:
            break
    schema = taken[0].schema if taken else getattr(batches, "schema")  # noqa: B009 - of a reader without rows
    return pa.Table.from_batches(taken, schema)


def from_rows(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Returns a table of rows; a column of values of several types is one of text."""
    import pyarrow as pa

    columns = []
    for index in range(len(names)):
        cells = [row[index] for row in rows]
        try:
            columns.append(pa.array(cells))
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
            columns.append(pa.array([None if cell is None else str(cell) for cell in cells], pa.string()))
    return pa.Table.from_arrays(columns, names=unique(names))


def unique(names: Sequence[str]) -> list[str]:
    """Returns the names of columns, each once: `id`, `id_2`."""
    seen = dict[str, int]()
    for name in names:
        seen[name] = seen.get(name, 0) + 1
    counts = dict[str, int]()
    made = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        made.append(name if counts[name] == 1 else f"{name}_{counts[name]}")
    return made


def to_csv(table: pa.Table) -> bytes:
    """Returns a CSV file in UTF-8. A text that a spreadsheet would take for a formula begins with an apostrophe."""
    import csv

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(map(_cell, table.column_names))
    for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
        writer.writerow(map(_cell, row))
    return text.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if value is None or isinstance(value, bool | int | float):
        return value
    shown = str(value)
    return f"'{shown}" if shown.startswith(FORMULA) else shown


def to_parquet(table: pa.Table) -> bytes:
    """Returns a Parquet file; its cells are as they are."""
    import pyarrow.parquet as pq

    made = io.BytesIO()
    pq.write_table(table.rename_columns(unique(table.column_names)), made, compression="zstd")
    return made.getvalue()
