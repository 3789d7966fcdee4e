"""Where a sync works: a destination, the part of a split sync, the lock, and working files that nobody misses.

Working files are one folder per destination, readable by its owner alone, emptied under the lock before and after
each sync: state comes back from the destination, so a crash leaves nothing that the next sync would believe.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from gapless.pipelines.config import apply_dlt_defaults, working_root
from gapless.pipelines.destinations.backend import Backend, Check, FileFormat
from gapless.pipelines.destinations.file_lock import locked
from gapless.pipelines.errors import WrongSettings
from gapless.sources._ledger.shard import Shard

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from gapless.pipelines.destinations._dlt.types import DestinationArgument

DEFAULT_FILE = "gapless.duckdb"


@dataclass
class _Open:
    """What is open while a target is locked."""

    connection: DuckDBPyConnection | None = None
    """To the DuckDB file, or to the DuckDB with the DuckLake."""
    check: Check | None = None
    """Raises GaplessError when the lock of the database server is lost."""


@dataclass(frozen=True)
class Target:
    """A destination and which part of a split sync works there. Two are equal when they write the same data."""

    backend: Backend
    shard: Shard = field(default_factory=Shard)
    _open: _Open = field(default_factory=_Open, compare=False, repr=False)

    @classmethod
    def find(cls, destination: str, shard: Shard | None = None, accept_append: bool = False) -> Target:
        """Returns the destination of this name in dlt's configuration.

        Raises WrongSettings when there is no such destination, its credentials are missing, it can only append and
        that is not accepted, or shards cannot write to it at once.
        """
        from gapless.pipelines.destinations.resolve import find

        apply_dlt_defaults()
        backend = find(destination, Path.cwd() / DEFAULT_FILE, accept_append)
        if shard and not shard.whole and backend.one_writer:
            raise WrongSettings(
                f"{backend.file or destination} has one writer at a time, so shards cannot write to it at once. Give"
                " a database server or a warehouse as --destination, or leave out --shard."
            )
        return cls(backend, shard or Shard())

    @classmethod
    def of_file(cls, file: Path) -> Target:
        """Returns the target that is this DuckDB file, whatever dlt's configuration says."""
        from gapless.pipelines.destinations.duckdb_file import duckdb_file

        return cls(duckdb_file(file))

    @property
    def destination(self) -> str:
        """Returns the destination's name in dlt's configuration."""
        return self.backend.name

    @property
    def identity(self) -> str:
        """Returns what tells two destinations apart, without a secret."""
        return self.backend.identity

    @property
    def file(self) -> Path | None:
        """Returns the DuckDB file; other destinations have none."""
        return self.backend.file

    @property
    def appends(self) -> bool:
        """Returns whether nothing is replaced there: a record that changed is there once per change."""
        return self.backend.appends

    @property
    def file_format(self) -> FileFormat:
        """Returns the format of load files that dlt is told to write."""
        return self.backend.file_format

    @property
    def dlt_destination(self) -> DestinationArgument:
        """Returns what `dlt.pipeline(destination=)` takes."""
        return self.backend.dlt_destination(self.shard, self._open.connection)

    @property
    def connection(self) -> DuckDBPyConnection:
        """Returns a new connection to the DuckDB file or the DuckLake, which must be open here."""
        if self._open.connection is None:
            raise AssertionError("only an open DuckDB file or DuckLake has a connection")
        return self.backend.session(self._open.connection)

    @property
    def working_folder(self) -> Path:
        """Returns the folder for dlt's working files, one for each destination and shard."""
        mark = blake2b(self.identity.encode(), digest_size=8).hexdigest()
        part = "" if self.shard.whole else f"-{self.shard.number}-of-{self.shard.of}"
        return working_root() / f"{mark}{part}"

    @property
    def lock_file(self) -> Path:
        """Returns the lock's file: beside the database's file, so that everyone who shares that shares the lock."""
        if file := self.backend.lock_beside:
            return file.with_name(file.name + ".lock")
        return self.working_folder.with_suffix(".lock")

    def queried(self) -> AbstractContextManager[DuckDBPyConnection | None]:
        """Yields a DuckDB connection for readers, or None where dlt must be asked. See `Backend.queried`."""
        return self.backend.queried(self._open.connection)

    def check(self) -> None:
        """Raises GaplessError when the lock was lost while locked."""
        if self._open.check:
            self._open.check()

    @contextmanager
    def locked(self) -> Iterator[Path]:
        """Holds every lock, with the destination open; yields an empty working folder, which is removed at the end.

        Raises Locked when another sync is writing, GaplessError when something cannot be opened or written.
        """
        # In this order: the lock in a file costs nothing, and an open DuckDB file is in the way of readers.
        with self.lock() as folder, self.opened(), self.backend.guarded(self.shard) as check:
            self._open.check = check
            try:
                yield folder
            finally:
                self._open.check = None

    @contextmanager
    def lock(self) -> Iterator[Path]:
        """Holds the lock in a file; yields the empty working folder. Raises Locked, GaplessError."""
        # A shard shares the lock of the whole, so that a sync of everything cannot run beside it.
        whole = replace(self, shard=Shard()).lock_file
        working_root().mkdir(mode=0o700, exist_ok=True)
        with locked(self.lock_file, whole, str(self.file or self.destination)):
            try:
                shutil.rmtree(self.working_folder, ignore_errors=True)
                self.working_folder.mkdir(mode=0o700)
                yield self.working_folder
            finally:
                shutil.rmtree(self.working_folder, ignore_errors=True)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Keeps the DuckDB file or the DuckLake open, before any request. Raises GaplessError when it cannot be."""
        with self.backend.opened() as connection:
            self._open.connection = connection
            try:
                yield
            finally:
                self._open.connection = None
