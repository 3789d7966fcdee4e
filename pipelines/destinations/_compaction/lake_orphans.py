"""Deletes the files in a DuckLake's folder that no snapshot names, as those of writes that were killed.

Another lake may have its files in the same folder, which no snapshot of this one names either. So each lake leaves a
mark in its folder when it is opened to be written to. A file is taken for this lake's own only where no other lake
has left a mark, and if it is newer than the own mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from gapless.pipelines.printable import counted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MARK = ".gapless-lake-"
"""Begins the name of a mark; what follows is what the lake calls its first schema, which no other lake does."""
AGE = timedelta(hours=1)
"""A younger file may be of somebody who writes at this moment, by another program: gapless itself holds a lock."""
WRITTEN = re.compile(r"ducklake-[0-9a-f-]{36}(-delete)?\.parquet")
"""Names that DuckLake gives to files of rows, and of the numbers of deleted rows."""


def mark(connection: DuckDBPyConnection, catalog: str, folder: Path) -> None:
    """Leaves the mark of an open lake in its folder; none in one that cannot be written to.

    `catalog` is the schema of its catalog, as it stands in a query.
    """
    own = folder / f"{MARK}{_identity(connection, catalog)}"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        own.open("x").close()


def remove(
    connection: DuckDBPyConnection, lake: str, catalog: str, folder: Path | None, now: datetime | None = None
) -> str | None:
    """Deletes the files that no snapshot names, of an open lake whose folder is on this machine (None: it is not).

    Returns what a person should know of files that stay, and that may hold erased rows; None: there are none.
    """
    found = connection.execute(f"call ducklake_delete_orphaned_files('{lake}', dry_run => true, cleanup_all => true)")
    files = [str(path) for (path,) in found.fetchall()]
    if not files:
        return None
    # DuckLake compares paths as texts: one that is spelled in another way would pass for an orphan.
    if folder is None or _named(connection, catalog) & {Path(file).name for file in files} or not _alone(folder):
        return _stay(len(files))
    return _remove(map(Path, files), folder / f"{MARK}{_identity(connection, catalog)}", now or datetime.now(UTC))


def _remove(files: Iterable[Path], own: Path, now: datetime) -> str | None:
    young, strange, before = 0, 0, (now - AGE).timestamp()
    for file in files:
        written = file.stat().st_mtime
        if not WRITTEN.fullmatch(file.name) or file.is_symlink() or written < own.stat().st_mtime:
            strange += 1
        elif written > before:
            young += 1
        else:
            file.unlink(missing_ok=True)
    if young:
        it, are, stay = ("it", "is", "stays") if young == 1 else ("them", "are", "stay")
        what = f"that no snapshot names {are} of the last hour and {stay}, as somebody may be writing {it}"
        return f"{counted(young, 'files')} {what}: gapless compact deletes {it} after {now + AGE:%H:%M} UTC"
    return _stay(strange) if strange else None


def _identity(connection: DuckDBPyConnection, catalog: str) -> str:
    """Returns what tells a lake from all others: the id of its first schema, which it got when it was made."""
    query = f"select schema_uuid from {catalog}.ducklake_schema order by schema_id limit 1"
    ((identity,),) = connection.execute(query).fetchall()
    return str(identity)


def _named(connection: DuckDBPyConnection, catalog: str) -> set[str]:
    """Returns the names of all files that the catalog names, without their folders."""
    tables = ("ducklake_data_file", "ducklake_delete_file", "ducklake_files_scheduled_for_deletion")
    query = " union all ".join(f"select path from {catalog}.{table}" for table in tables)
    return {Path(str(path)).name for (path,) in connection.execute(query).fetchall()}


def _alone(folder: Path) -> bool:
    """Returns whether one lake alone has left its mark in a folder."""
    return sum(1 for _ in folder.glob(f"{MARK}*")) == 1


def _stay(number: int) -> str:
    it, stay = ("it", "stays") if number == 1 else ("them", "stay")
    what = f"that no snapshot names {stay} in the DuckLake's folder, and may hold erased rows"
    advice = f"ducklake_delete_orphaned_files deletes {it}, if the folder is of this lake alone"
    return f"{counted(number, 'files')} {what}: {advice}"
