"""Remembers in the named file of a SQLite database which sources were synced: each has a file of its own beside it.

Elsewhere the views remember it; in SQLite there are none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

TABLE = "synced_sources"


def remember(main: Path, names: Iterable[str], dropped: str = "") -> None:
    """Adds sources that are here, and forgets one that was dropped on purpose. Raises sqlite3.Error."""
    known = remembered(main)
    wanted = (known | {*names}) - {dropped}
    if wanted == known:
        return
    with closing(sqlite3.connect(main)) as db, db:
        db.execute(f"create table if not exists {TABLE} (name text primary key)")
        db.execute(f"delete from {TABLE}")
        db.executemany(f"insert into {TABLE} values (?)", [(name,) for name in sorted(wanted)])


def remembered(main: Path) -> set[str]:
    """Returns the sources that were synced; none where nothing says it. Raises sqlite3.Error."""
    if not main.exists():
        return set()
    with closing(sqlite3.connect(f"{main.as_uri()}?mode=ro", uri=True)) as db:
        if not db.execute("select 1 from sqlite_master where name = ?", [TABLE]).fetchall():
            return set()
        return {str(name) for (name,) in db.execute(f"select name from {TABLE}").fetchall()}
