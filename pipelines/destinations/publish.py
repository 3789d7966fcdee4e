"""Publishes a copy of the DuckDB file for readers: readers and a sync lock each other out of the file itself.

The copy is made beside the old one and takes its place by one rename; a reader that has the old one open keeps it.
`cp` makes it while no sync writes, fifty times as fast as DuckDB's `copy from database`. It must be another process:
if the file were opened and closed in this one, DuckDB's lock on it would be gone.
"""

from __future__ import annotations

import glob
import logging
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from gapless.pipelines.config.beside import flush
from gapless.pipelines.errors import GaplessError, Locked, WrongSettings
from gapless.sources import SOURCES
from gapless.sources._files.writers import foreign_link
from gapless.sources._ledger.erasure.tombstones import ERASED, UNCOMPACTED

if TYPE_CHECKING:
    from gapless.pipelines.destinations.target import Target

SETTING, MODE = "GAPLESS_PUBLISH", "GAPLESS_PUBLISH_MODE"
NOTED_IN = "select schema_name from duckdb_columns() where (table_name, column_name) = (?, 'kind')"
READERS = {"400": 0o400, "440": 0o440, "404": 0o404, "444": 0o444}
"""Who may read a copy: its owner, its group, all others; nobody may write to it."""
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
    found = _setting(SETTING)
    return Path(found).expanduser() if found else None


def readers() -> int | None:
    """Returns the mode of a copy's file (GAPLESS_PUBLISH_MODE), or None. Raises WrongSettings for another mode."""
    if not (found := _setting(MODE)):
        return None
    if found.removeprefix("0o").removeprefix("0") not in READERS:
        raise WrongSettings(
            f"{MODE} is {found}; expected 400 (you alone may read a copy), 440 (its group, too) or 444 (everybody)."
        )
    return READERS[found.removeprefix("0o").removeprefix("0")]


def _setting(name: str) -> str:
    import dlt

    found: object = dlt.config.get(f"gapless.{name.lower()}") or dlt.config.get(name.lower())
    return str(found or "").strip()


def require_usable(target: Target) -> None:
    """Raises WrongSettings, naming the setting, where a sync could not publish what is configured. Copies nothing."""
    readers()
    path = configured() if target.file else None
    if path and (given := _setting(SETTING)).endswith("/"):
        raise WrongSettings(f"{SETTING} is {given}, as a folder is written; expected the path of a file.")
    if target.file and path:
        try:
            with suppress(Locked):  # another program has the copy open: it may have ended when the sync has
                _require_ours(checked(target.file, path))
        except WrongSettings as error:
            raise WrongSettings(f"{SETTING}: {error}") from None


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
    if not target.backend.exists():
        raise GaplessError(f"nothing synced yet into {target.file}: gapless sync, or try gapless demo")
    from gapless.pipelines.destinations.reader import require_known_layouts

    began = monotonic()
    with target.lock(), _at_rest(target.file):
        try:
            require_known_layouts(target)
            _publish(target.file, to)
        except GaplessError:
            raise
        except Exception as error:
            raise GaplessError(_failed(path, error)) from error
    return Published(to, to.stat().st_size, monotonic() - began)


def checked(file: Path, path: Path) -> Path:
    """Returns the copy's path without links. Raises WrongSettings when no copy can be there."""
    from gapless.pipelines.destinations.duckdb_file import path_problem, schema_of_that_name

    readers()
    if link := foreign_link(path.expanduser()):
        raise WrongSettings(
            f"{path} leads through {link.path}, a link of {link.who}. Choose another path for the copy."
        )
    to = path.expanduser().resolve()
    # Hard links and file systems without case: two paths may be one file.
    if to == file.resolve() or (to.exists() and file.exists() and to.samefile(file)):
        raise WrongSettings(f"{path} is the file that is to be published. Choose another path for the copy.")
    if why := _not_a_place(to):
        raise WrongSettings(f"{path} cannot be a file: {why}. Choose another path.")
    if problem := path_problem(str(to)):
        raise WrongSettings(f"the copy {problem}. Choose another path.")
    if name := schema_of_that_name(to):
        raise WrongSettings(
            f"{path} is called like the schema {name}, and DuckDB cannot tell the file from the schema. Choose"
            " another name for the copy."
        )
    return to


def _not_a_place(to: Path) -> str | None:
    """Returns why no file can be made at a path, None if one can."""
    if to.is_dir():
        return "it is a folder"
    if to.exists() and not to.is_file():  # to read a pipe waits for ever
        return "it is a device or a pipe"
    if not to.parent.is_dir():
        return "it has no folder"
    return None if os.access(to.parent, os.W_OK | os.X_OK) else f"{to.parent} cannot be written to"


def _publish(file: Path, to: Path) -> None:
    with _locked(to):
        _require_ours(to)
        _remove_left(to)
        # A folder of our own, so that no other user can put a link or a file into it.
        with tempfile.TemporaryDirectory(prefix=f".{to.name}.", suffix=".new", dir=to.parent) as folder:
            new = Path(folder) / to.name
            _copy(file, new)
            _mark(new)
            # For reading alone: a write into the copy would be lost with the next one.
            _let_read(new, to)
            flush(new)
            os.replace(new, to)
            # The rename itself is in the folder, which must reach the disk as well.
            flush(to.parent)


def _let_read(new: Path, to: Path) -> None:
    """Sets who may read the copy: whom the setting says; without it those who may read the one before, if it is ours.

    The group stays that of the one before, where the system lets us set it.
    """
    # Not through a link: what one leads to is not the copy before.
    mode, before = readers(), to.lstat() if os.path.lexists(to) else None
    chosen = mode or 0o400
    if before and stat.S_ISREG(before.st_mode) and before.st_uid == os.geteuid():
        chosen = mode or 0o400 | before.st_mode & 0o044
        try:
            os.chown(new, -1, before.st_gid)
        except OSError:  # a group that we are not in
            chosen = chosen if mode else chosen & 0o404
    new.chmod(chosen)


def _remove_left(to: Path) -> None:
    """Removes what a killed process of ours left beside the copy, which may be large."""
    earlier = [to.with_name(f".{to.name}.new"), to.with_name(f".{to.name}.new.wal")]  # by older versions
    for left in (*to.parent.glob(f".{glob.escape(to.name)}.????????.new"), *filter(os.path.lexists, earlier)):
        if left.lstat().st_uid == os.geteuid():
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


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

    from gapless.pipelines.destinations.duckdb_connections import connect

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
        # Of the file, not of the copy: that an erasure of it is not compacted yet.
        noted = {str(schema) for (schema,) in connection.execute(NOTED_IN, [ERASED]).fetchall()}
        for dataset in noted & {*SOURCES}:
            connection.execute(f'delete from "{dataset}".{ERASED} where kind = ?', [UNCOMPACTED])
        # The rename takes the file alone, so nothing may be left in its write-ahead log.
        connection.execute("checkpoint")


@contextmanager
def _at_rest(file: Path) -> Iterator[None]:
    """Keeps the file open for reading: other readers stay welcome, a writer meets DuckDB's lock. Raises Locked."""
    import duckdb

    from gapless.pipelines.destinations.duckdb_connections import connect

    try:
        connection = connect(file, read_only=True)
    except duckdb.IOException as error:
        raise GaplessError(f"cannot read {file}: {str(error).splitlines()[0]}") from None
    with connection:
        yield


def _log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.wal")


def _failed(path: Path, error: Exception) -> str:
    from gapless.pipelines.errors import explain

    why = str(error) if isinstance(error, GaplessError) else explain(error)
    return (
        f"the copy {path} was not published: {why.rstrip('.')}. Readers of it see the state before; when that is"
        f" mended, gapless publish {path} brings it up to date"
    )
