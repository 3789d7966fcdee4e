"""Where a sync works: dlt's settings, the destination, the lock, and working files that nobody misses.

Working files are one folder per destination, readable by its owner alone, emptied under the lock before and after
each sync: state comes back from the destination, so a crash leaves nothing that the next sync would believe.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from gapless.pipelines.config import apply_dlt_defaults, working_root
from gapless.pipelines.destinations.file_lock import locked
from gapless.pipelines.errors import WrongSettings
from gapless.sources._incremental.shard import Shard

DEFAULT_FILE = "gapless.duckdb"
ONE_WRITER = ("ducklake", "sqlalchemy", "filesystem")
"""Types of destinations that two syncs cannot write to at once, whatever they write."""
FILE_FORMATS = {
    "postgres": "insert_values",  # takes parquet only through a driver that cannot write jsonb
    "redshift": "insert_values",  # takes files only from a bucket
    "bigquery": "jsonl",  # of parquet it takes no JSON
}
"""By type of destination; of all others parquet."""


@dataclass(frozen=True)
class Target:
    """A destination by name, and what of it lies on this machine."""

    destination: str
    file: Path | None
    """The DuckDB file; other destinations have none."""
    identity: str
    """Tells two destinations apart, without a secret."""
    kind: str = "duckdb"
    """What dlt calls this type of destination."""
    shard: Shard = field(default_factory=Shard)
    """Which part of a split sync works here."""
    _known: Any = field(default=None, compare=False, repr=False)
    """Of Postgres the credentials, of a DuckLake the configuration."""
    beside: Path | None = None
    """The file of SQLite, or of a DuckLake's catalog, beside which the lock is."""
    _settings: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What dlt must be told of other databases."""
    appends: bool = False
    """It replaces nothing: a changed record stands there once per change."""
    _connections: list[Any] = field(default_factory=list, compare=False, repr=False)
    """The open DuckDB file, or the DuckDB with the DuckLake, while locked."""
    _checks: list[Callable[[], None]] = field(default_factory=list, compare=False, repr=False)
    """Whether the lock in Postgres is still ours, while locked."""

    @classmethod
    def find(cls, destination: str, shard: Shard | None = None, accept_append: bool = False) -> Target:
        """Raises WrongSettings when there is no such destination, its credentials are missing, it can only append and
        that is not accepted, or it cannot be written to by shards at once."""
        from gapless.pipelines.destinations.resolve import find

        apply_dlt_defaults()
        found = find(destination, Path.cwd() / DEFAULT_FILE, accept_append)
        if shard and not shard.whole and (found.file or found.kind in ONE_WRITER):
            raise WrongSettings(
                f"{found.file or destination} has one writer at a time, so shards cannot write to it at once. Give a"
                " database server or a warehouse as --destination, or leave out --shard."
            )
        return cls(destination, found.file, found.identity, found.kind, shard or Shard(), *found[3:])

    @property
    def dlt_destination(self) -> Any:
        """What `dlt.pipeline(destination=)` takes."""
        if self.kind == "postgres":
            from gapless.pipelines.destinations.postgres import PostgresDatabase

            return PostgresDatabase(self.destination, self._known, self.shard)
        if self.kind == "ducklake":
            from gapless.pipelines.destinations.ducklake import Lake

            return Lake(self.destination, self._known, self._connections[0])
        if self.kind == "sqlalchemy":
            from gapless.pipelines.destinations.sqlite import sqlite_file

            return sqlite_file(self.destination, self._known)
        if not self.file:
            return self._elsewhere()
        from gapless.pipelines.destinations.duckdb_file import DuckdbFile

        return DuckdbFile(self._connections[0] if self._connections else str(self.file))

    def _elsewhere(self) -> Any:
        from dlt.common.destination import Destination

        own = dict(self._settings)
        if not self.shard.whole:
            own["staging_dataset_name_layout"] = f"%s_staging_{self.shard.number}_of_{self.shard.of}"
        return Destination.from_reference(self.destination, **own) if own else self.destination

    @property
    def connection(self) -> Any:
        """To the DuckDB file or the DuckLake, while it is open here."""
        if not self._connections or self.kind == "duckdb":
            return self._connections[0].cursor() if self._connections else None
        from gapless.pipelines.destinations.ducklake import session

        return session(self._connections[0], self._known)

    @property
    def file_format(self) -> Any:
        """Of load files."""
        return file_format(self.kind)

    @property
    def working_folder(self) -> Path:
        mark = blake2b(self.identity.encode(), digest_size=8).hexdigest()
        part = "" if self.shard.whole else f"-{self.shard.number}-of-{self.shard.of}"
        return working_root() / f"{mark}{part}"

    @property
    def lock_file(self) -> Path:
        """Beside the database's file, so that everyone who shares the file shares the lock."""
        if file := self.file or self.beside:
            return file.with_name(file.name + ".lock")
        return self.working_folder.with_suffix(".lock")

    def check(self) -> None:
        """Raises GaplessError when the lock was lost while locked."""
        for check in self._checks:
            check()

    @contextmanager
    def locked(self) -> Iterator[Path]:
        """The one writer, with the file open; an empty working folder, gone at the end. Raises as the two do."""
        with self.lock() as folder, self.opened(), self._alone():
            yield folder

    @contextmanager
    def lock(self) -> Iterator[Path]:
        """The lock and the working folder. Raises Locked, or says what is not writable."""
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
        """The DuckDB file or the DuckLake, before any request: see duckdb_file.py and ducklake.py."""
        with self._opening() as connection:
            if connection is None:
                yield
                return
            self._connections.append(connection)
            try:
                yield
            finally:
                self._connections.remove(connection)

    def _opening(self) -> AbstractContextManager[Any]:
        if self.kind == "ducklake":
            from gapless.pipelines.destinations import ducklake

            return ducklake.opened(self._known)
        if not self.file:
            return nullcontext()
        from gapless.pipelines.destinations import duckdb_file

        return duckdb_file.opened(self.file)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """On Postgres, which other machines may write to, one more lock: the server frees it when we are gone."""
        database = self._postgres()
        if database is None:
            yield
            return
        from gapless.pipelines.destinations import advisory_lock

        credentials, options = database.to_native_representation(), database.get_query()["options"]
        with advisory_lock.locked(credentials, self.destination, options, self.shard) as check:
            self._checks.append(check)
            try:
                yield
            finally:
                self._checks.remove(check)

    def _postgres(self) -> Any:
        """dlt's credentials of the Postgres database that is written to, be it a DuckLake's catalog."""
        if self.kind == "ducklake" and not self.beside:
            from gapless.pipelines.destinations.ducklake import catalog

            return catalog(self._known)
        return self._known if self.kind == "postgres" else None


def file_format(kind: str) -> Any:
    """What dlt loads a type of destination from."""
    return FILE_FORMATS.get(kind, "parquet")
