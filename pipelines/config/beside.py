"""Makes a folder beside a file, in which the file is written anew before it takes the old one's place.

It has one name for each file and purpose, so that the next command finds what a killed one left with one look.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gapless.pipelines.errors import GaplessError


@contextmanager
def folder_beside(file: Path, purpose: str) -> Iterator[Path]:
    """Yields an empty folder beside `file` that its owner alone can look into; it is removed at the end.

    Whoever calls holds the lock of the file. Raises GaplessError when it cannot be made.
    """
    folder = _folder(file, purpose)
    remove_left(file, purpose)
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise GaplessError(f"cannot make the folder {folder}: {error.strerror}. Nothing was changed.") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_left(file: Path, purpose: str) -> None:
    """Removes what a killed process of ours left beside `file`, under the file's lock; what is not ours stays."""
    folder = _folder(file, purpose)
    try:
        info = folder.lstat()
    except OSError:  # nothing is there, as nearly always
        return
    if stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid():
        shutil.rmtree(folder, ignore_errors=True)


def flush(path: Path) -> None:
    """Has the system write a file or a folder to the disk now, so that a power cut loses nothing."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _folder(file: Path, purpose: str) -> Path:
    return file.with_name(f".{file.name}.{purpose}")
