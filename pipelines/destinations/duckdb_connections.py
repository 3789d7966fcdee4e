"""Connections to DuckDB: to a file, for writing or only for reading, and to none.

The one place that knows when another process has the file.
"""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Lock
from time import monotonic, sleep

import duckdb

from gapless.pipelines.config.folders import state_folder, temporary_folder
from gapless.pipelines.database_errors import in_words
from gapless.pipelines.destinations._dlt.duckdb_memory import READERS_MEMORY, limit, set_limit
from gapless.pipelines.errors import InUse

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
            remove_spilled(left)
    spill.mkdir(mode=0o700, exist_ok=True)
    connection = duckdb.connect(":memory:", config={"temp_directory": str(spill / str(os.getpid()))})
    set_limit(connection)
    # Global, because sessions are cursors of this connection.
    connection.execute("set global timezone = 'UTC'")
    return connection


def remove_spilled(folder: Path) -> None:
    """Removes DuckDB's temporary files that a killed process left in a folder: they hold rows."""
    for left in folder.glob("duckdb_temp_*"):
        left.unlink(missing_ok=True)
