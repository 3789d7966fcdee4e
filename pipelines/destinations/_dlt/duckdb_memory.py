"""How much memory DuckDB may hold while it writes: what a load package needs, and more when it turns out not to do.

Its own default is most of the machine's memory, which it then fills with what it might read again. What a statement
needs depends on the rows that are there already, too: a checkpoint reads 2,048 of them at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import duckdb

MEMORY = 100 * 10**6
"""Bytes that DuckDB may hold beside Python's own; more goes to its temporary files."""
CHECKPOINT = 64 * 2**20
"""Bytes of write-ahead log after which DuckDB writes it into the file; its own default is 16 MB, one package."""
READERS_MEMORY = 2 * 2**30
"""Bytes that DuckDB may hold while it only reads: enough to group millions of rows; more goes to temporary files."""
ROOM, ROOM_OF_ONE = 2, 10
"""Bytes that it needs for each byte of JSON of a load package, and of its largest record: measured, 1.5 and 8."""
NO_ROOM = ("failed to pin block", "could not allocate block", "out of memory")
"""In lower case, what DuckDB says where it has no class for it, as when a transaction ends."""
UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def set_limit(connection: duckdb.DuckDBPyConnection, size: int | None = None) -> None:
    """Lets DuckDB hold so many bytes, else MEMORY; `global`, as dlt and the ledger have cursors of their own."""
    with connection.cursor() as cursor:
        cursor.execute(f"set global memory_limit = '{size or MEMORY}B'")


def tune_for_loads(connection: duckdb.DuckDBPyConnection) -> None:
    """Sets what DuckDB does while load packages are merged: one thread, and a checkpoint for several of them."""
    _default()
    with connection.cursor() as cursor:
        # Of a package a second thread costs more than it saves: measured, a fifth of all that DuckDB computes.
        cursor.execute("set global threads = 1")
        # Each checkpoint writes the last row group of a table again, so one for each package costs a quarter more.
        cursor.execute(f"set global checkpoint_threshold = '{CHECKPOINT}B'")


def make_room(connection: duckdb.DuckDBPyConnection, size: int, largest: int) -> None:
    """Lets DuckDB hold what it takes to load `size` bytes of JSON, of which one record has `largest`; never less."""
    needed = MEMORY + ROOM * size + ROOM_OF_ONE * largest
    if needed > limit(connection):
        set_limit(connection, needed)


def with_room(connection: duckdb.DuckDBPyConnection, action: Callable[[], None]) -> None:
    """Calls `action`, again and with twice the memory as long as it fails for want of it, up to DuckDB's default.

    `action` must have no effect when it fails, as a transaction has none.
    """
    while True:
        try:
            return action()
        except Exception as error:
            now, most = limit(connection), _default()
            if not _wants_memory(error) or now >= most:
                raise
            set_limit(connection, min(2 * now, most))


def checkpoint(connection: duckdb.DuckDBPyConnection) -> None:
    """Writes what is in the write-ahead log into the file, with as much memory as that takes."""

    def write() -> None:
        connection.execute("checkpoint")

    with_room(connection, write)


def _wants_memory(error: BaseException | None) -> bool:
    return any(
        isinstance(one, duckdb.OutOfMemoryException)
        or (isinstance(one, duckdb.Error) and any(words in str(one).lower() for words in NO_ROOM))
        for one in _causes(error)
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def limit(connection: duckdb.DuckDBPyConnection) -> int:
    """Returns the limit in bytes, which DuckDB rounds to a tenth of its unit."""
    with connection.cursor() as cursor:
        ((text,),) = cursor.execute("select current_setting('memory_limit')").fetchall()
    number, unit = str(text).split()
    return int(float(number) * UNITS[unit])


@cache
def _default() -> int:
    """Returns most of the memory of this machine, or of the container, as DuckDB finds it.

    It is asked once, before the first load: where memory is gone, another DuckDB may wait for ever.
    """
    with duckdb.connect(":memory:") as connection:
        return limit(connection)
