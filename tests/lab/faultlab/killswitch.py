"""Dies, or stops so that its folder may be copied, at the N-th side effect.

Runs inside the child only: it wraps what Python can see of the outside world.

Counted, before and after each: files opened for writing, their writes, flushes and closes (also those that Arrow
makes through Python), `os.write`, renames, removals, folders made and removed, sends and receives on sockets,
statements and transactions of DuckDB, connections, statements and transactions of psycopg2. What these two do inside
of one call cannot be counted; a kill `inside` seconds after the N-th side effect may land in there.
"""

from __future__ import annotations

import builtins
import functools
import io
import itertools
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import duckdb
import psycopg2
import psycopg2.extensions
from psycopg2.sql import Composable


class Connection(psycopg2.extensions.connection):
    """psycopg2's own is C's and cannot be changed."""


class Cursor(psycopg2.extensions.cursor):
    """As `Connection`."""


FUNCTIONS = {
    os: "write open replace rename remove unlink mkdir rmdir truncate fsync symlink link",
    socket.socket: "connect send sendall recv recv_into",
}
STATEMENTS = {
    duckdb.DuckDBPyConnection: "execute executemany begin commit rollback checkpoint close",
    psycopg2: "connect",
    Connection: "commit rollback reset close",
    Cursor: "execute executemany copy_expert",
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
Note = Callable[[str], None]


class Killswitch:
    """Counts, notes in `log` (a file descriptor) what it counted last, and kills this process at number `at`."""

    def __init__(
        self, log: int, at: int | None = None, inside: float = 0.0, every: bool = False, stops: Sequence[int] = ()
    ) -> None:
        self._log, self._at, self._inside, self._every, self._stops = log, at, inside, every, frozenset(stops)
        self._numbers = itertools.count(1)
        self._write = os.write

    def note(self, what: str) -> None:
        number = next(self._numbers)
        if number == self._at:
            self._write(self._log, f"{number} {what}\n".encode())
            if not self._inside:
                self._die()
            threading.Thread(target=self._die, daemon=True).start()
        elif number in self._stops:
            self._write(self._log, f"{number} {what}\n".encode())
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # all threads, and this one before it goes on
        elif self._every:
            self._write(self._log, f"{number} {what}\n".encode())

    def _die(self) -> None:
        time.sleep(self._inside)
        os.kill(os.getpid(), signal.SIGKILL)

    def arm(self) -> None:
        for owner, names in FUNCTIONS.items():
            for name in names.split():
                self._wrap(owner, name, "socket" if owner is socket.socket else "os")
        for owner, names in STATEMENTS.items():
            for name in names.split():
                self._wrap(owner, name, "sql")
        made = {"connection_factory": Connection, "cursor_factory": Cursor}
        psycopg2.connect = functools.partial(psycopg2.connect, **made)
        self._files()

    def _wrap(self, owner: Any, name: str, layer: str) -> None:
        real = getattr(owner, name, None)
        if real is None:
            return

        @functools.wraps(real)
        def counted(*args: Any, **kwargs: Any) -> Any:
            if name == "open" and not (len(args) > 1 and args[1] & WRITING):
                return real(*args, **kwargs)
            what = f"{layer}.{name} {_told(layer, args)}"
            self.note(f"before {what}")
            try:
                return real(*args, **kwargs)
            finally:
                self.note(f"after {what}")

        setattr(owner, name, counted)
        if owner is os:
            shutil.__dict__.update({name: counted} if name in shutil.__dict__ else {})

    def _files(self) -> None:
        """Python's files, whose writes happen in C: every one opened for writing gets counted methods of its own."""
        real = io.open

        def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if not set(mode) & set("wax+") or isinstance(file, int):
                return real(file, mode, *args, **kwargs)
            what = f"file {_kind(file)}"
            self.note(f"before open {what}")
            handle = real(file, mode, *args, **kwargs)
            self.note(f"after open {what}")
            for name in ("write", "flush", "close"):
                setattr(handle, name, self._counted(getattr(handle, name), f"{name} {what}"))
            return handle

        builtins.open = io.open = opened

    def _counted(self, real: Callable[..., Any], what: str) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:
            self.note(f"before {what}")
            try:
                return real(*args)
            finally:
                self.note(f"after {what}")

        return counted


def _told(layer: str, args: tuple[Any, ...]) -> str:
    """What was touched, without names that change from run to run."""
    if layer == "sql" and len(args) > 1:
        text = args[1].as_string(args[0]) if isinstance(args[1], Composable) else str(args[1])
        return " ".join(text.split()[:2])
    return _kind(args[0]) if layer == "os" and isinstance(args[0], str | os.PathLike) else ""


def _kind(file: Any) -> str:
    name = os.path.basename(str(file))
    return name.rsplit(".", 1)[-1][:20] if "." in name else "folder"
