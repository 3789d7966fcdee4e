"""Writes the files of a DuckLake anew without deleted rows, by its own functions, and deletes the old ones."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import duckdb

from gapless.pipelines.destinations._dlt.duckdb_memory import with_room
from gapless.pipelines.errors import GaplessError, summarize

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

STEPS = (
    "ducklake_flush_inlined_data({})",
    "ducklake_rewrite_data_files({}, delete_threshold => 0.0)",
    "ducklake_merge_adjacent_files({})",
    # What an older snapshot shows is kept as long as it is there.
    "ducklake_expire_snapshots({}, older_than => now())",
    "ducklake_cleanup_old_files({}, cleanup_all => true)",
)
"""In this order; each is a transaction of its own, and done again it changes nothing."""


def compact(connection: DuckDBPyConnection, lake: str) -> tuple[int, int]:
    """Returns the bytes of all data files before and after.

    Raises GaplessError when a step fails; the rows are as they were then.
    """
    try:
        before = _size(connection, lake)
        for step in STEPS:
            with_room(connection, partial(_call, connection, step.format(f"'{lake}'")))
        return before, _size(connection, lake)
    except duckdb.Error as error:
        raise GaplessError(f"the DuckLake is not compacted, its rows are as before: {summarize(error)}") from error


def _call(connection: DuckDBPyConnection, step: str) -> None:
    connection.execute(f"call {step}")


def _size(connection: DuckDBPyConnection, lake: str) -> int:
    tables = [f'"__ducklake_metadata_{lake}".ducklake_{kind}_file' for kind in ("data", "delete")]
    sizes = " + ".join(f"(select coalesce(sum(file_size_bytes), 0) from {table})" for table in tables)
    ((size,),) = connection.execute(f"select {sizes}").fetchall()
    return int(size)
