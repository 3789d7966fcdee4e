"""The DuckDB file: opened once for a whole sync."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from gapless.pipelines.config.beside import folder_beside, remove_left
from gapless.pipelines.config.database_file import at_home, odd_name, require_database
from gapless.pipelines.config.folders import real_path, temporary_folder
from gapless.pipelines.database_errors import in_words
from gapless.pipelines.destinations._dlt.duckdb_memory import checkpoint, make_room, set_limit, tune_for_loads
from gapless.pipelines.destinations.backend import Backend, Compaction
from gapless.pipelines.destinations.duckdb_connections import FileInUse, connect, remove_spilled, why_not
from gapless.pipelines.errors import GaplessError, WrongSettings, next_step
from gapless.sources import SOURCES
from gapless.sources._ledger.shard import Shard

if TYPE_CHECKING:
    from gapless.pipelines.destinations._catalogs.obstacle import Asked, Dataset, Obstacle
    from gapless.pipelines.destinations._dlt.types import Configuration, DestinationArgument

READERS_TIME = 3.0
"""Seconds to wait for a reader to end: `gapless status` beside a sync takes less than one."""
COMPACTION = "compact"
"""The purpose of the folder beside the file in which it is written anew."""
CHOOSE = "Choose another name in DESTINATION__DUCKDB__CREDENTIALS, of the demo with --file."
MARK, MARK_AT = b"DUCK", 8
"""What every DuckDB file has, and at which byte: https://duckdb.org/docs/stable/internals/storage"""


def schema_of_that_name(file: Path) -> str | None:
    """Returns the schema of ours that DuckDB would take a file of this name for: it goes by what is before the first
    dot. None: the name will do."""
    # An open file is a catalog of that name, which hides a schema of the same name.
    name = file.name.lstrip(".").split(".")[0].lower()
    return name if name in (*SOURCES, "activity") else None


def path_problem(path: str) -> str | None:
    """Returns what keeps DuckDB from working with a path."""
    if found := odd_name(Path(path)):
        return found
    if "?" in path:
        return f"{path} has a question mark in its path, and DuckDB would write its log elsewhere"
    if not path.isprintable() and path != path.encode(errors="replace").decode():
        named = sys.getfilesystemencoding()
        why = "" if named == "utf-8" else f" to this process, which reads names as {named}: set LC_ALL=C.UTF-8"
        return f"{path!a} has a path that is not valid UTF-8{why}"
    return None


class DuckdbFile(Backend):
    """A DuckDB file. Its identity is its path."""

    one_writer = updates_rows = compacts_whole = True
    # A merge costs less the more it merges; more than this, and memory would show it.
    package_bytes = 32 * 2**20

    def datasets(self, reader: Asked) -> list[str]:
        """Returns the datasets that are there and have the tables of a ledger."""
        from gapless.pipelines.destinations._catalogs.left import datasets

        return datasets(reader)

    @classmethod
    def obstacles(cls, reader: Asked, dataset: Dataset) -> Iterator[Obstacle]:
        """Yields what somebody changed of a dataset's tables so that a sync cannot write."""
        from gapless.pipelines.destinations._catalogs.duckdb_catalog import obstacles

        return obstacles(reader, dataset)

    @classmethod
    def of(cls, name: str, identity: str, config: Configuration, settings: Mapping[str, object]) -> Backend:
        """Returns the file that the configuration names; a database in memory is left to dlt."""
        path = getattr(config.credentials, "database", None)
        if not isinstance(path, str) or path == ":memory:":
            return Backend(name, identity, config, settings)
        return cls(name, str(at_home(real_path(path))))

    @property
    def file(self) -> Path:
        """Returns the file, which may not be there yet."""
        return Path(self.identity)

    def check(self) -> None:
        """Raises WrongSettings when DuckDB cannot tell the file from a schema, or cannot work with its path."""
        if name := schema_of_that_name(self.file):
            raise WrongSettings(
                f"the file {self.file} is called like the schema {name}, and DuckDB cannot tell the file from"
                f" the schema. {CHOOSE}"
            )
        if problem := path_problem(self.identity):
            raise WrongSettings(f"the file {problem}. {CHOOSE}")
        require_database(self.file, MARK, MARK_AT, f"DESTINATION__{self.name.upper()}__CREDENTIALS")

    def exists(self) -> bool:
        """Returns whether the file is there and has anything in it."""
        return self.file.exists() and not self._is_empty

    @property
    def _is_empty(self) -> bool:
        """Returns whether it is a file of no bytes, as is left where the disk was full when it was made."""
        return self.file.is_file() and not self.file.stat().st_size

    @contextmanager
    def opened(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Opens the file for writing. Raises FileInUse, and GaplessError when it cannot be written.

        It stays open for the whole sync: closing it compresses what was just staged, a third of all the time.
        """
        with self._connected() as connection:
            remove_left(self.file, COMPACTION)
            remove_spilled(self.file.with_name(f"{self.file.name}.tmp"))
            tune_for_loads(connection)
            yield connection
            # Closing does it too, but not with more memory than there is, and says nothing when it fails.
            checkpoint(connection)

    @contextmanager
    def _connected(self) -> Iterator[duckdb.DuckDBPyConnection]:
        was_there = os.path.lexists(self.file)
        try:
            connection = self._connect_new() if self._is_empty else connect(self.file, patience=READERS_TIME)
        except (duckdb.Error, OSError) as error:
            if self._is_empty and not was_there:
                self.file.unlink()  # DuckDB made it, and opens none that is empty
            if next_step(error):  # a want of memory, which another file does not end
                raise
            raise GaplessError(
                f"cannot open {self.file} for writing: {why_not(error)}. Another file:"
                " DESTINATION__DUCKDB__CREDENTIALS=PATH."
            ) from None
        with connection:
            set_limit(connection)
            yield connection

    def _connect_new(self) -> duckdb.DuckDBPyConnection:
        """Returns a connection to an empty file, which DuckDB does not open before a database is written into it.

        The file stays the same: its owner chose its mode, or the link to it, or mounted it.
        """
        try:
            return connect(self.file)  # it says whether another process is making it just now
        except duckdb.IOException:
            _fill(self.file)
            return connect(self.file)

    def compact(self, datasets: Sequence[str]) -> Compaction | None:
        """Writes the whole file anew, whatever the datasets are, as it holds the deleted rows of all of them."""
        from gapless.pipelines.destinations._compaction.duckdb_database import compact

        if not self.exists():
            return None
        with folder_beside(self.file, COMPACTION) as folder, self._connected() as connection:
            before = self.file.stat().st_size
            compact(connection, self.file, folder)
            return Compaction(before, self.file.stat().st_size)

    def make_room(self, connection: duckdb.DuckDBPyConnection, size: int, largest: int) -> None:
        """Raises DuckDB's limit if a load package needs it."""
        make_room(connection, size, largest)

    def settle(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Writes what is in the write-ahead log into the file: until then DuckDB holds all of it in memory."""
        checkpoint(connection)

    @contextmanager
    def queried(self, connection: duckdb.DuckDBPyConnection | None) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yields a connection in UTC, of the open file or for reading only. Raises Locked while a sync writes."""
        connection = self._of_the_open_file(connection) if connection else self._read_only()
        try:
            yield connection
        except duckdb.Error as error:
            if not (damage := in_words(error)):
                raise
            raise GaplessError(f"cannot read {self.file}: {damage}") from None
        finally:
            connection.close()

    @staticmethod
    def _of_the_open_file(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
        cursor = connection.cursor()
        cursor.execute("set timezone = 'UTC'")
        return cursor

    def _read_only(self) -> duckdb.DuckDBPyConnection:
        try:
            return connect(self.file, read_only=True)
        except duckdb.Error as error:
            if next_step(error):  # as above
                raise
            if self.file.exists():
                raise GaplessError(
                    f"cannot read {self.file}: {why_not(error)}. Choose another with"
                    " DESTINATION__DUCKDB__CREDENTIALS=PATH."
                ) from None
            # It went since the caller looked: `gapless doctor` removes a file that it made itself.
            raise FileInUse(self.file, "", read_only=True) from None

    def dlt_destination(self, shard: Shard, connection: duckdb.DuckDBPyConnection | None) -> DestinationArgument:
        """Returns dlt's destination for the open file, or for its path."""
        from gapless.pipelines.destinations._dlt.duckdb_client import DuckdbDestination

        return DuckdbDestination(connection or str(self.file))


def duckdb_file(path: Path) -> DuckdbFile:
    """Returns dlt's default destination with this file. Raises WrongSettings for one that may be planted."""
    real_path(path)
    return DuckdbFile("duckdb", str(path))


def _fill(file: Path) -> None:
    """Writes a database without tables into a file of no bytes; it has none again when that fails."""
    with tempfile.TemporaryDirectory(dir=temporary_folder()) as folder:
        made = Path(folder) / "new.duckdb"
        duckdb.connect(str(made)).close()
        content = made.read_bytes()
    with file.open("r+b", buffering=0) as there:
        try:
            if there.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(there.fileno())
        except OSError:
            there.truncate(0)
            raise
