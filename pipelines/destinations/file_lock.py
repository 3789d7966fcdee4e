"""The lock file of a place: whoever comes second asks no vendor. Locks of a database server: advisory_lock.py."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gapless.pipelines.errors import GaplessError, Locked


@contextmanager
def locked(own: Path, whole: Path, name: str) -> Iterator[None]:
    """`own` for itself; if `whole` is another file, that one together with others: a whole sync has it for itself.

    Raises Locked, or says what is not writable. `name` is for people.
    """
    with ExitStack() as held:
        try:
            if own != whole:
                held.enter_context(_shared(whole))
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
    """FileLock is `flock`, too."""
    with file.open("a") as opened:
        fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
