"""Publishes a copy of the DuckDB file for readers: readers and a sync lock each other out of the file itself.

The copy is made beside the old one and takes its place by one rename; whoever has the old one open keeps it. `cp`
makes it while nobody writes, fifty times as fast as DuckDB's `copy from database`. It must be another process: if the
file were opened and closed in this one, DuckDB's lock on it would be gone.
"""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from gapless.pipelines.errors import GaplessError, Locked, WrongSettings

if TYPE_CHECKING:
    from gapless.pipelines.destinations.target import Target

SETTING = "GAPLESS_PUBLISH"
SCHEMA, MARK = "activity", "_published"
"""A table that only published copies have; a file without it is not replaced."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """A copy that was made."""

    file: Path
    bytes: int
    seconds: float
    """How long it took."""


def configured() -> Path | None:
    """Returns where each sync publishes a copy (GAPLESS_PUBLISH), or None."""
    import dlt

    key = SETTING.lower()
    found: object = dlt.config.get(f"gapless.{key}") or dlt.config.get(key)
    return Path(str(found)).expanduser() if found else None


def refresh(target: Target) -> None:
    """Publishes after a sync, with the lock held, when configured. Raises nothing: what fails is a line on stderr."""
    path = configured() if target.file else None
    if target.file is None or path is None:
        return
    from gapless.pipelines.destinations._dlt.duckdb_memory import checkpoint

    try:
        to = checked(target.file, path)
        with target.connection as connection:
            # Else the newest rows are in the write-ahead log, which the copy would have to replay.
            checkpoint(connection)
            _publish(target.file, to)
    except Exception as error:
        _log.warning("%s", _failed(path, error))


def publish(target: Target, path: Path) -> Published:
    """Publishes the target's file to `path`.

    Raises WrongSettings for a path or a destination that cannot be used, Locked while a sync writes,
    GaplessError when the copy fails.
    """
    if target.file is None:
        raise WrongSettings(
            f"destination {target.destination!r} is no DuckDB file; there, a sync is in no reader's way, or publish"
            " cannot help. Leave out --destination."
        )
    to = checked(target.file, path)
    if not target.file.exists():
        raise GaplessError(f"nothing synced yet into {target.file}: gapless sync, or try gapless demo")
    began = monotonic()
    with target.lock(), _at_rest(target.file):
        try:
            _publish(target.file, to)
        except GaplessError:
            raise
        except Exception as error:
            raise GaplessError(_failed(path, error)) from error
    return Published(to, to.stat().st_size, monotonic() - began)


def checked(file: Path, path: Path) -> Path:
    """Returns the copy's path without links. Raises WrongSettings when no copy can be there."""
    from gapless.pipelines.destinations.duckdb_file import path_problem, schema_of_that_name

    to = path.expanduser().resolve()
    # Hard links and file systems without case: two paths may be one file.
    if to == file.resolve() or (to.exists() and file.exists() and to.samefile(file)):
        raise WrongSettings(f"{path} is the file that is to be published. Choose another path for the copy.")
    if to.is_dir() or not to.parent.is_dir():
        why = "it is a folder" if to.is_dir() else "it has no folder"
        raise WrongSettings(f"{path} cannot be a file: {why}. Choose another path.")
    if problem := path_problem(str(to)):
        raise WrongSettings(f"the copy {problem}. Choose another path.")
    if name := schema_of_that_name(to):
        raise WrongSettings(
            f"{path} is called like the schema {name}, and DuckDB cannot tell the file from the schema. Choose"
            " another name for the copy."
        )
    return to


def _publish(file: Path, to: Path) -> None:
    with _locked(to):
        _require_ours(to)
        new = to.with_name(f".{to.name}.new")
        # Left over from a copy that was broken off.
        _remove(new)
        try:
            _copy(file, new)
            _mark(new)
            # For reading alone: a write into the copy would be lost with the next one.
            new.chmod(file.stat().st_mode & 0o444)
            _flush(new)
            os.replace(new, to)
            # The rename itself is in the folder, which must reach the disk as well.
            _flush(to.parent)
        finally:
            _remove(new)


@contextmanager
def _locked(to: Path) -> Iterator[None]:
    """Holds a lock, so that two copies do not mix. A sync into the copy takes the same one."""
    from filelock import FileLock, Timeout

    lock = to.with_name(f"{to.name}.lock")
    try:
        held = FileLock(lock).acquire(timeout=0)
    except (Timeout, BlockingIOError):
        raise Locked(
            f"{to} is being written by another program (lock {lock}). Try again when it has ended."
        ) from None
    with held:
        yield


def _require_ours(to: Path) -> None:
    """Raises WrongSettings when a file is there that `gapless publish` did not make, InUse when it is written to."""
    import duckdb

    from gapless.pipelines.destinations.duckdb_file import connect

    if not to.exists():
        return
    ours = None
    try:
        with connect(to, read_only=True) as connection:
            select = "select 1 from duckdb_tables() where schema_name = ? and table_name = ?"
            ours = connection.execute(select, [SCHEMA, MARK]).fetchone()
    # What DuckDB cannot read is no copy of ours.
    except duckdb.Error:
        pass
    if not ours:
        raise WrongSettings(
            f"{to} was not made by gapless publish, so it is left alone; choose another path for the copy."
        )


def _copy(file: Path, new: Path) -> None:
    """Copies the file, and what a killed sync left in its write-ahead log."""
    for source, target in ((file, new), (_log_of(file), _log_of(new))):
        if source.exists():
            done = subprocess.run(["cp", "--", str(source), str(target)], capture_output=True, text=True, check=False)
            if done.returncode:
                raise GaplessError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "cp failed")


def _mark(new: Path) -> None:
    """Marks the copy as published, which also shows that DuckDB can read it."""
    import duckdb

    with duckdb.connect(str(new)) as connection:
        connection.execute(f"create schema if not exists {SCHEMA}")
        connection.execute(f"create or replace table {SCHEMA}.{MARK} as select now() as published_at")
        # The rename takes the file alone, so nothing may be left in its write-ahead log.
        connection.execute("checkpoint")


@contextmanager
def _at_rest(file: Path) -> Iterator[None]:
    """Keeps the file open for reading: other readers stay welcome, a writer meets DuckDB's lock. Raises Locked."""
    import duckdb

    from gapless.pipelines.destinations.duckdb_file import connect

    try:
        connection = connect(file, read_only=True)
    except duckdb.IOException as error:
        raise GaplessError(f"cannot read {file}: {str(error).splitlines()[0]}") from None
    with connection:
        yield


def _log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.wal")


def _remove(new: Path) -> None:
    for left in (new, _log_of(new)):
        with suppress(FileNotFoundError):
            left.unlink()


def _flush(path: Path) -> None:
    """Has the system write it to the disk now, so that a power cut loses nothing."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _failed(path: Path, error: Exception) -> str:
    from gapless.pipelines.errors import explain

    why = str(error) if isinstance(error, GaplessError) else explain(error)
    return (
        f"the copy {path} was not published: {why.rstrip('.')}. Readers of it see the state before; when that is"
        f" mended, gapless publish {path} brings it up to date"
    )
