"""Locks a target by a file, so that the second of two syncs ends before it asks a vendor.

The locks of a database server are in advisory_lock.py.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gapless.pipelines.errors import GaplessError, Locked


@contextmanager
def locked(own: Path, whole: Path, name: str) -> Iterator[None]:
    """Holds the lock file `own` alone, and `whole`, if that is another file, together with other shards.

    A whole sync holds `whole` alone. Raises Locked when another sync has one of them, GaplessError when a file cannot
    be written. `name` is what messages call the database.
    """
    with ExitStack() as held:
        try:
            if own != whole:
                held.enter_context(_shared(whole))
            # Without waiting: the next sync reads the same, so a queue of them would be of no use.
            held.enter_context(FileLock(own).acquire(timeout=0))
        except (Timeout, BlockingIOError):
            raise Locked(
                f"another sync is writing to {name} (lock {own}); nothing was asked. Try again when it has ended."
            ) from None
        except OSError as error:
            raise GaplessError(
                f"cannot write {own}: {error.strerror}. Choose another folder: with DESTINATION__DUCKDB__CREDENTIALS,"
                " of the demo with --file, of working files with TMPDIR."
            ) from None
        yield


@contextmanager
def _shared(file: Path) -> Iterator[None]:
    """Holds a shared lock, by `flock` as FileLock does, which has no shared ones."""
    with file.open("a") as opened:
        fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
