"""Results of a person's query: bounded Arrow tables, as CSV or Parquet to download."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
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


def collect(batches: Iterable[pa.RecordBatch], most: int, require_time: Callable[[], None]) -> pa.Table:
    """Returns the first `most` rows of batches, and no more than MOST_BYTES of them.

    Raises what `require_time` does, which is asked after each batch.
    """
    import pyarrow as pa

    taken, rows, size = list[pa.RecordBatch](), 0, 0
    for batch in batches:
        require_time()
        taken.append(batch.slice(0, most - rows))
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= most or size >= MOST_BYTES:
            break
    schema = taken[0].schema if taken else getattr(batches, "schema")  # noqa: B009 - of a reader without rows
    return pa.Table.from_batches(taken, schema)


def cells(column: pa.ChunkedArray) -> list[Any]:
    """Returns the cells of a column as Python has them; if it cannot hold one, all as DuckDB's text."""
    try:
        found: list[Any] = column.to_pylist()
    # Of a time before the year 1 or after 9999, infinity, and nanoseconds.
    except (ValueError, OverflowError, NotImplementedError):
        found = as_text(column).to_pylist()
    return found


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns a column of the texts that DuckDB shows for its cells."""
    import duckdb
    import pyarrow as pa

    with duckdb.connect() as connection:
        found = connection.from_arrow(pa.table({"cell": column})).project("cell::varchar as cell")
        return found.to_arrow_table().column(0)


def from_rows(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Returns a table of rows; a column of values of several types is one of text."""
    import pyarrow as pa

    columns = []
    for index in range(len(names)):
        cells = [row[index] for row in rows]
        try:
            columns.append(pa.array(cells))
        # OverflowError: an integer of more than 64 bits.
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


def to_csv(table: pa.Table, require_time: Callable[[], None]) -> bytes:
    """Returns a CSV file in UTF-8. A text that a spreadsheet would take for a formula begins with an apostrophe.

    Raises what `require_time` does, which is asked for each row.
    """
    import csv

    text = io.StringIO()
    # As RFC 4180 has it.
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(map(_cell, table.column_names))
    for row in zip(*map(cells, table.columns), strict=True):
        require_time()
        writer.writerow(map(_cell, row))
    return text.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    # Before the search for formulas: -5 is a number.
    if value is None or isinstance(value, bool | int | float):
        return value
    shown = str(value)
    return f"'{shown}" if shown.startswith(FORMULA) else shown


def to_parquet(table: pa.Table, require_time: Callable[[], None]) -> bytes:
    """Returns a Parquet file; its cells are as they are, or texts if Parquet has no such type.

    Raises what `require_time` does, which is asked at the end.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = io.BytesIO()
    columns = [column if _in_parquet(column) else as_text(column) for column in table.columns]
    # A query may return two columns `id`, which readers of Parquet cannot tell apart.
    pq.write_table(pa.table(columns, names=unique(table.column_names)), made, compression="zstd")
    require_time()
    return made.getvalue()


def _in_parquet(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.write_table(pa.table({"cell": column.slice(0, 0)}), io.BytesIO())
    # Such as an interval and a union.
    except pa.ArrowNotImplementedError:
        return False
    return True
