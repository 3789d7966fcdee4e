"""Where a sync works: dlt's settings, the destination, the lock, and working files that nobody misses.

Working files are one folder per destination, readable by its owner alone, emptied under the lock before and after
each sync: state comes back from the destination, so a crash leaves nothing that the next sync would believe.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipelines.errors import GaplessError, Locked

DEFAULT_FILE = "gapless.duckdb"
DLT_SETTINGS = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__INTERCEPT_SIGNALS": "false",  # dlt may swallow a Ctrl-C that comes while it loads
    "RUNTIME__LOG_LEVEL": "CRITICAL",  # dlt's logs repeat the errors that are reported here, with data in them
}


def settle() -> None:
    """dlt's settings for this process; whatever the environment says already stays as it is."""
    for name, value in DLT_SETTINGS.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("DLT_DATA_DIR", str(_own_folder() / "dlt"))  # as root dlt would take a system-wide one
    checkout = Path(__file__).resolve().parent.parent
    if not Path(".dlt").is_dir() and (checkout / ".dlt").is_dir():
        os.environ.setdefault("DLT_PROJECT_DIR", str(checkout))


@dataclass(frozen=True)
class Place:
    """A destination by name, and what of it lies on this machine."""

    destination: str
    file: Path | None
    """The DuckDB file; other destinations have none."""
    identity: str
    """Tells two destinations apart, without a secret."""
    kind: str = "duckdb"
    """What dlt calls this type of destination."""
    _credentials: Any = field(default=None, compare=False, repr=False)
    """Of Postgres."""
    _connections: list[Any] = field(default_factory=list, compare=False, repr=False)
    """The open DuckDB file, while locked."""
    _checks: list[Callable[[], None]] = field(default_factory=list, compare=False, repr=False)
    """Whether the lock in Postgres is still ours, while locked."""

    @classmethod
    def find(cls, destination: str) -> Place:
        """Raises WrongSettings when there is no such destination or its credentials are missing."""
        from pipelines.destination import find

        settle()
        return cls(destination, *find(destination, Path.cwd() / DEFAULT_FILE))

    @property
    def dlt_destination(self) -> Any:
        """What `dlt.pipeline(destination=)` takes."""
        if self._credentials:
            from dlt.common.destination import Destination

            return Destination.from_reference(self.destination, credentials=self._credentials)
        if not self.file:
            return self.destination
        from pipelines.duckdb_file import DuckdbFile

        return DuckdbFile(self._connections[0] if self._connections else str(self.file))

    @property
    def connection(self) -> Any:
        """To the DuckDB file, while it is open here."""
        return self._connections[0].cursor() if self._connections else None

    @property
    def file_format(self) -> Any:
        """Of load files. Postgres takes parquet only through a driver that cannot write jsonb."""
        return "insert_values" if self.kind == "postgres" else "parquet"

    @property
    def working_folder(self) -> Path:
        mark = blake2b(self.identity.encode(), digest_size=8).hexdigest()
        return _own_folder() / mark

    @property
    def lock_file(self) -> Path:
        """Beside the DuckDB file, so that everyone who shares the file shares the lock."""
        if self.file:
            return self.file.with_name(self.file.name + ".lock")
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
        lock = FileLock(self.lock_file)
        try:
            self.working_folder.parent.mkdir(mode=0o700, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            raise Locked(
                f"another sync is writing to {self.file or self.destination} (lock {self.lock_file});"
                " nothing was asked. Try again when it has ended."
            ) from None
        except OSError as error:
            raise GaplessError(f"cannot write {self.lock_file}: {error.strerror}. Choose another folder.") from None
        try:
            shutil.rmtree(self.working_folder, ignore_errors=True)
            self.working_folder.mkdir(mode=0o700)
            yield self.working_folder
        finally:
            shutil.rmtree(self.working_folder, ignore_errors=True)
            lock.release()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """The DuckDB file, before any request: see pipelines.duckdb_file."""
        if not self.file:
            yield
            return
        from pipelines.duckdb_file import opened

        with opened(self.file) as connection:
            self._connections.append(connection)
            try:
                yield
            finally:
                self._connections.remove(connection)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """On Postgres, which other machines may write to, one more lock: the server frees it when we are gone."""
        if self.kind != "postgres":
            yield
            return
        from pipelines.advisory import locked

        credentials, options = self._credentials.to_native_representation(), self._credentials.get_query()["options"]
        with locked(credentials, self.destination, options) as check:
            self._checks.append(check)
            try:
                yield
            finally:
                self._checks.remove(check)


def _own_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"gapless-{os.getuid()}"
