"""The DuckDB file: opened once for a whole sync, and the one place that knows when another process has it."""

from __future__ import annotations

import errno
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import TYPE_CHECKING

import duckdb

from gapless.pipelines.config.beside import folder_beside, remove_left
from gapless.pipelines.config.database_file import at_home, odd_name, require_database
from gapless.pipelines.config.folders import real_path, state_folder, temporary_folder
from gapless.pipelines.database_errors import in_words
from gapless.pipelines.destinations._dlt.duckdb_memory import (
    READERS_MEMORY,
    checkpoint,
    limit,
    make_room,
    set_limit,
    tune_for_loads,
)
from gapless.pipelines.destinations.backend import Backend, Compaction
from gapless.pipelines.errors import GaplessError, InUse, WrongSettings, next_step
from gapless.sources import SOURCES
from gapless.sources._ledger.shard import Shard

if TYPE_CHECKING:
    from gapless.pipelines.destinations._catalogs.obstacle import Asked, Dataset, Obstacle
    from gapless.pipelines.destinations._dlt.types import Configuration, DestinationArgument

READERS_TIME = 3.0
"""Seconds to wait for a reader to end: `gapless status` beside a sync takes less than one."""
OTHERS_LOCK = "could not set lock on file"
"""In lower case, the words of DuckDB's IOException when another process has the file open; it has no class of its
own for that."""

READ_ONLY = (
    "set global timezone = 'UTC'",  # else times are printed in the zone of the machine
    "set autoinstall_known_extensions = false",
    "set autoload_known_extensions = false",
    "set python_enable_replacements = false",  # else a query reads variables of this program
    "set enable_external_access = false",
    "set lock_configuration = true",
)
"""Settings of a connection that only reads, in this order: the file may be a stranger's, and its views and macros
could read this user's other files, or write some."""
_opening = Lock()
"""Connections of this process to one file share its settings, which the first of them makes."""

COMPACTION = "compact"
"""The purpose of the folder beside the file in which it is written anew."""
CHOOSE = "Choose another name in DESTINATION__DUCKDB__CREDENTIALS, of the demo with --file."
MARK, MARK_AT = b"DUCK", 8
"""What every DuckDB file has, and at which byte: https://duckdb.org/docs/stable/internals/storage"""


class FileInUse(InUse):
    """Another process has the DuckDB file open. DuckDB lets one process write, or several read."""

    def __init__(self, file: Path, detail: str, read_only: bool) -> None:
        found = re.search(r"held in (.+?) \(PID (\d+)\)", detail)
        who = f"another program ({Path(found[1]).name}, process {found[2]})" if found else "another program"
        super().__init__(
            f"{file} is being written to, by a sync or {who}; DuckDB admits no readers meanwhile."
            " Try again when it has ended, or keep a copy for readers: gapless publish PATH."
            if read_only
            else f"{file} is open in {who}, and DuckDB lets nobody write to it meanwhile. Close it there, or try"
            " again when it has ended; people can read a copy instead: gapless publish PATH."
        )


def connect(file: Path, *, read_only: bool = False, patience: float = 0.0) -> duckdb.DuckDBPyConnection:
    """Returns a connection to the file; one that only reads can reach no other file, and says times in UTC.

    Raises FileInUse when another process still has it after `patience` seconds, duckdb.Error for anything else.
    """
    until = monotonic() + patience
    while True:
        try:
            return _locked_down(file) if read_only else duckdb.connect(str(file))
        except duckdb.IOException as error:
            if OTHERS_LOCK not in str(error).lower():
                raise
            if monotonic() >= until:
                raise FileInUse(file, str(error), read_only) from None
        # DuckDB itself does not wait for a file that is in use.
        sleep(0.05)


def _locked_down(file: Path) -> duckdb.DuckDBPyConnection:
    """Returns a connection that only reads, with the settings READ_ONLY and a limit for its memory."""
    with _opening:
        connection = duckdb.connect(str(file), read_only=True)
        ((done,),) = connection.execute("select current_setting('lock_configuration')").fetchall()
        # A second connection shares what the first one set, and a locked setting cannot be set again.
        if not done:
            set_limit(connection, min(READERS_MEMORY, limit(connection)))
            for setting in READ_ONLY:
                connection.execute(setting)
        return connection


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's text, at most 300 characters."""
    return str(error).strip().split("\n", 1)[0][:300]


def why_not(error: Exception) -> str:
    """Returns why a file cannot be opened, with what ends it where that is known."""
    if "replaying WAL" in str(error):
        return (
            "the write-ahead log beside it (.wal) is damaged, or is that of another file. Move that log away, and"
            " sync again: what only it held is read again"
        )
    return in_words(error) or first_line(error).rstrip("!.")


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

    one_writer = updates_rows = True
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
            _remove_spilled(self.file.with_name(f"{self.file.name}.tmp"))
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


def _remove_spilled(folder: Path) -> None:
    """Removes DuckDB's temporary files that a killed process left in a folder: they hold rows."""
    for left in folder.glob("duckdb_temp_*"):
        left.unlink(missing_ok=True)


def _is_alive(process: str) -> bool:
    """Returns whether there is a process of this number."""
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        pass
    return True


def in_memory() -> AbstractContextManager[duckdb.DuckDBPyConnection]:
    """Returns a DuckDB without a file, which holds no more than it is given and says times in UTC."""
    # More goes to its temporary files, by default in the working directory, where others may be able to read it.
    spill = (state_folder() or temporary_folder()) / "duckdb"
    for left in spill.glob("*/"):
        if not _is_alive(left.name):
            _remove_spilled(left)
    spill.mkdir(mode=0o700, exist_ok=True)
    connection = duckdb.connect(":memory:", config={"temp_directory": str(spill / str(os.getpid()))})
    set_limit(connection)
    # Global, because sessions are cursors of this connection.
    connection.execute("set global timezone = 'UTC'")
    return connection
