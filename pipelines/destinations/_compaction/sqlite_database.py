"""Writes the files of a SQLite database anew, by its own VACUUM, which a kill leaves as they were."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from gapless.pipelines.errors import GaplessError, InUse

STAGING = "_staging"
"""What dlt puts after a dataset's name for what it is about to merge."""


def compact(main: Path, datasets: Sequence[str]) -> tuple[int, int] | None:
    """Returns the bytes before and after of all files of the datasets; None: nothing is there.

    Raises InUse when somebody keeps a file locked, GaplessError when one cannot be written; it is as it was then.
    """
    files = _files(main, datasets)
    if not files:
        return None
    sizes = [compact_file(file) for file in (*files, *filter(Path.exists, [main]))]
    return sum(before for before, _ in sizes), sum(after for _, after in sizes)


def compact_file(file: Path) -> tuple[int, int]:
    """Returns the bytes of a file before and after. Raises as `compact`."""
    before = file.stat().st_size
    try:
        with closing(sqlite3.connect(file, isolation_level=None)) as db:
            _compact(db, is_staging=file.stem.endswith(STAGING))
    except sqlite3.OperationalError as error:
        kind = InUse if "locked" in str(error) else GaplessError
        raise kind(f"{file} was not compacted and is as it was: {error}.") from None
    return before, file.stat().st_size


def _compact(db: sqlite3.Connection, *, is_staging: bool) -> None:
    db.execute("pragma secure_delete = on")
    if is_staging:
        # dlt's own tables stay: by them it knows which tables there are.
        tables = db.execute("select name from sqlite_master where type = 'table' and substr(name, 1, 4) <> '_dlt'")
        for (name,) in tables.fetchall():
            db.execute('delete from "{}"'.format(name.replace('"', '""')))
    db.execute("vacuum")
    db.execute("pragma wal_checkpoint(truncate)")


def _files(main: Path, datasets: Sequence[str]) -> list[Path]:
    """Returns the files that dlt makes beside the one that is named: two for each dataset."""
    names = [f"{main.stem}__{dataset}{end}{main.suffix}" for dataset in datasets for end in ("", STAGING)]
    return [file for file in map(main.with_name, names) if file.exists()]
