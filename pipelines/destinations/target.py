"""Where a sync works: a destination, the part of a split sync, the lock, and disposable working files.

Working files are one folder per destination and part of it, readable by its owner alone, emptied under the lock
before and after each sync: state comes back from the destination, so a crash leaves nothing that the next sync would
believe.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from gapless.pipelines.config import apply_dlt_defaults
from gapless.pipelines.config.folders import private_files, working_root
from gapless.pipelines.destinations.backend import Backend, Check, FileFormat, Part
from gapless.pipelines.destinations.file_lock import locked
from gapless.pipelines.errors import WrongSettings
from gapless.sources._ledger.shard import WHOLE, Shard

if TYPE_CHECKING:
    import dlt
    from duckdb import DuckDBPyConnection

    from gapless.pipelines.destinations._dlt.types import DestinationArgument

DEFAULT_FILE = "gapless.duckdb"
DEMO_FILE = "gapless-demo.duckdb"
SMALL = 34 * 2**20
"""Bytes of a load package, of records of ordinary width, that every destination takes as it is."""


@dataclass
class _Open:
    """What is open while a target is locked."""

    connection: DuckDBPyConnection | None = None
    """To the DuckDB file, or to the DuckDB with the DuckLake."""
    check: Check | None = None
    """Raises GaplessError when the lock of the database server is lost."""
    room: tuple[int, int] = (0, 0)
    """Bytes of the largest load package so far, and of the largest record."""
    known: set[str] = field(default_factory=set)
    """Datasets whose layout was looked at."""


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
        that is not accepted, shards cannot write to it at once, or somebody else can write a file of settings.
        """
        from gapless.pipelines.destinations._dlt.config import refuse_foreign
        from gapless.pipelines.destinations.resolve import find

        apply_dlt_defaults()
        refuse_foreign()
        backend = find(destination, Path.cwd() / DEFAULT_FILE, accept_append)
        if shard and not shard.whole and backend.one_writer:
            raise WrongSettings(
                f"{backend.file or destination} has one writer at a time, so shards cannot write to it at once. Leave"
                " out --shard, or give as --destination a database server, a warehouse or a DuckLake whose catalog is"
                " in Postgres."
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
        """Returns a text that differs for each destination, without a secret."""
        return self.backend.identity

    @property
    def file(self) -> Path | None:
        """Returns the DuckDB file; other destinations have none."""
        return self.backend.file

    @property
    def known_layouts(self) -> set[str]:
        """Returns the datasets whose layout was looked at, to add to: once for each command is enough."""
        return self._open.known

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

    def pipeline(self, dataset: str, folder: Path | str) -> dlt.Pipeline:
        """Returns a pipeline into a dataset, which has its name, with working files in `folder`; deactivate it."""
        import dlt

        return dlt.pipeline(
            dataset, pipelines_dir=str(folder), destination=self.dlt_destination, dataset_name=dataset
        )

    @property
    def connection(self) -> DuckDBPyConnection:
        """Returns a new connection to the DuckDB file or the DuckLake, which must be open here."""
        if self._open.connection is None:
            raise AssertionError("only an open DuckDB file or DuckLake has a connection")
        return self.backend.session(self._open.connection)

    def working_folder(self, *sources: str) -> Path:
        """Returns the folder for dlt's working files, one for each destination and part of it."""
        return self._file(self._part(sources).mark)

    @property
    def lock_file(self) -> Path:
        """Returns the lock's file: beside the database's file, so that everyone who shares that shares the lock."""
        if file := self.backend.lock_beside:
            return file.with_name(file.name + ".lock")
        return self._file(".lock")

    def note_file(self, source: str, shard: Shard) -> Path:
        """Returns the file in which it is noted that a sync of a source, or of its shard, could not write here."""
        part = "" if shard.whole else f"-{shard.number}of{shard.of}"
        return self._file(f"-{source}{part}.unwritten")

    def note_files(self, source: str, shard: Shard = WHOLE) -> dict[Path, Shard]:
        """Returns the notes that there are of a shard, or of a whole source and all its shards."""
        own = self.note_file(source, shard)
        found = {own: shard} if own.exists() else {}
        for path in sorted(own.parent.glob(f"{own.stem}-*of*.unwritten")) if shard.whole else ():
            with suppress(ValueError):
                found[path] = Shard.parse(path.stem.rpartition("-")[2].replace("of", "/"))
        return found

    def erasures_file(self, source: str) -> Path:
        """Returns the file in which it is noted what was erased of a source here."""
        return self._file(f"-{source}.erasures")

    def _file(self, end: str) -> Path:
        # Locks that are elsewhere, beside the database or in its server, need no folder that all processes share.
        root = working_root(self.backend.lock_beside, needed_by_all=not self._locked_elsewhere)
        # A digest, because an identity holds slashes and may be longer than a file's name.
        return root / f"{blake2b(self.identity.encode(), digest_size=8).hexdigest()}{end}"

    @property
    def _locked_elsewhere(self) -> bool:
        return bool(self.backend.lock_beside) or self.backend.server_locks

    def _part(self, sources: Sequence[str]) -> Part:
        """Returns what a sync of these sources has for itself: everything, where only one writer is let in."""
        return Part((), self.shard) if self.backend.one_writer else Part(tuple(sorted(sources)), self.shard)

    def queried(self) -> AbstractContextManager[DuckDBPyConnection | None]:
        """Yields a DuckDB connection for readers, or None where dlt must be asked. See `Backend.queried`."""
        return self.backend.queried(self._open.connection)

    def make_room(self, size: int, largest: int) -> None:
        """Prepares the destination for a load package of `size` bytes of JSON, whose largest record has `largest`."""
        if self._open.connection is None or max(size, largest * 2) <= SMALL:
            return
        # Not for less than before: DuckDB holds blocks of earlier packages until they are written back.
        self._open.room = size, largest = max(size, self._open.room[0]), max(largest, self._open.room[1])
        self.backend.make_room(self._open.connection, size, largest)

    def settle(self) -> None:
        """Writes out what is loaded and still held in memory."""
        if self._open.connection is not None:
            self.backend.settle(self._open.connection)

    def check(self) -> None:
        """Raises GaplessError when the lock was lost while locked."""
        if self._open.check:
            self._open.check()

    @contextmanager
    def locked(self, *sources: str) -> Iterator[Path]:
        """Holds every lock, with the destination open; yields an empty working folder, which is removed at the end.

        The locks are those of `sources`, so that others may load other sources meanwhile; without any, and where only
        one writer is let in, those of everything. Raises Locked when another sync is writing, GaplessError when
        something cannot be opened or written.
        """
        # In this order: the lock in a file costs nothing, and an open DuckDB file is in the way of readers.
        with self.lock(*sources) as folder, self.opened(), self.backend.guarded(self._part(sources)) as check:
            self._open.check = check
            try:
                yield folder
            finally:
                self._open.check = None

    @contextmanager
    def closed(self, *sources: str) -> Iterator[None]:
        """Holds every lock, as `locked` does, but with the destination closed: its files can be replaced."""
        with self.lock(*sources), self.backend.guarded(self._part(sources)):
            yield

    @contextmanager
    def lock(self, *sources: str) -> Iterator[Path]:
        """Holds the locks in files; yields the empty working folder. Raises Locked, GaplessError."""
        folder = self.working_folder(*sources)
        # Only there, because it wraps a private method of dlt's.
        if "%" in str(folder):
            from gapless.pipelines.destinations._dlt.working_files import accept_percent

            accept_percent()
        with private_files(), locked(*self._lock_files(sources), str(self.file or self.destination)):
            try:
                # What a killed sync left is not to be believed; its state comes back from the destination.
                shutil.rmtree(folder, ignore_errors=True)
                self._remove_left(sources)
                folder.mkdir(mode=0o700)
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _remove_left(self, sources: Sequence[str]) -> None:
        """Removes what killed syncs of these sources left in working folders of other parts: packages with rows.

        Whoever works on one of them would hold one of our locks.
        """
        part, own = self._part(sources), self._file("")
        for folder in own.parent.glob(f"{own.name}*/") if part.shard.whole else ():
            # A folder may be of a sync that goes on with other sources, so it stays itself.
            for left in (folder / name for name in part.sources) if part.sources else [folder]:
                shutil.rmtree(left, ignore_errors=True)

    def _lock_files(self, sources: Sequence[str]) -> tuple[list[Path], list[Path]]:
        """Returns the files to lock alone, and those to share with others: syncs of other sources, other shards."""
        part = self._part(sources)
        if not part.sources:
            return [self.lock_file], []
        whole = [self._file(f"-{name}.lock") for name in part.sources]
        if part.shard.whole:
            return whole, [self.lock_file]
        own = [self._file(f"{Part((name,), part.shard).mark}.lock") for name in part.sources]
        return own, [self.lock_file, *whole]

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Keeps the DuckDB file or the DuckLake open, before any request. Raises GaplessError when it cannot be."""
        with self.backend.opened() as connection:
            self._open.connection = connection
            try:
                yield
            finally:
                self._open.connection, self._open.room = None, (0, 0)
