"""Locks a target, or some sources there, by files, so that the second of two syncs ends before it asks a vendor.

The locks of a database server are in advisory_lock.py.
"""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gapless.pipelines.errors import GaplessError, Locked, WrongSettings


@contextmanager
def locked(own: Sequence[Path], shared: Sequence[Path], name: str) -> Iterator[None]:
    """Holds the lock files `own` alone, and those in `shared` together with others who share them.

    Raises Locked when somebody else has one of them, WrongSettings when a file cannot be written where it is to be,
    GaplessError when the disk is full. `name` is what messages call the database.
    """
    with ExitStack() as held:
        file = None
        try:
            for file in shared:
                held.enter_context(_shared(file))
            # Without waiting: the next sync reads the same, so a queue of them would be of no use.
            for file in own:
                held.enter_context(FileLock(file).acquire(timeout=0))
        except (Timeout, BlockingIOError):
            raise Locked(
                f"another sync is writing to {name} (lock {file}); nothing was asked. Try again when it has ended."
            ) from None
        except OSError as error:
            # A full or broken disk is no setting; all else is a path that was chosen.
            kind = GaplessError if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) else WrongSettings
            raise kind(
                f"cannot write {file}: {error.strerror}. Choose another folder: with"
                " DESTINATION__DUCKDB__CREDENTIALS, of the demo with --file, of working files with XDG_STATE_HOME."
            ) from None
        yield


@contextmanager
def _shared(file: Path) -> Iterator[None]:
    """Holds a shared lock, by `flock` as FileLock does, which has no shared ones."""
    with file.open("a") as opened:
        fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
