"""Postgres as a trial's destination: a database of its own for every trial, on a server that somebody else starts.

What is kept is a database too: `create database … template …` copies it as it is, in a few hundredths of a second.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from tests.support.oracle import mismatches
from tests.support.postgres import Reader, Server


class Postgres:
    name = "postgres"
    in_files = False

    def __init__(self, server: Server) -> None:
        self.server = server

    def settings(self, folder: Path) -> dict[str, str]:
        return {"DESTINATION__POSTGRES__CREDENTIALS": self.server.url(_database(folder))}

    def save(self, folder: Path, kept: Path) -> None:
        self._make(kept, folder)

    def restore(self, kept: Path | None, folder: Path) -> None:
        self._make(folder, kept)

    def drop(self, folder: Path) -> None:
        self.server.execute("postgres", f"drop database {_database(folder)} with (force)")

    def others(self, folder: Path, seconds: float) -> list[str]:
        """What still runs in the trial's database, after so long at most."""
        ends = time.monotonic() + seconds
        about = "select state, query from pg_stat_activity where datname = current_database()"
        while (found := self.query(folder, f"{about} and pid <> pg_backend_pid()")) and time.monotonic() < ends:
            time.sleep(0.02)
        return [f"{state}: {query}" for state, query in found]

    def mismatches(self, folder: Path, source: str, truth: Any) -> list[str]:
        try:
            with self._open(folder) as db:
                return mismatches(Reader(db), source, truth)
        except psycopg2.Error as error:
            return [f"not readable: {str(error).splitlines()[0]}"]

    def query(self, folder: Path, sql: str) -> list[tuple[Any, ...]]:
        with self._open(folder) as db:
            return list(Reader(db).execute(sql).fetchall())

    def texts(self, folder: Path, source: str) -> Iterator[str]:
        names = self.query(
            folder, f"select table_name from information_schema.tables where table_schema = '{source}'"
        )
        for (name,) in names:
            yield from (str(row) for row in self.query(folder, f'select * from {source}."{name}"'))

    def _make(self, new: Path, old: Path | None) -> None:
        """The server waits some seconds for connections to `old` to end: after kill -9 it has yet to notice."""
        template = f"template {_database(old)}" if old else ""
        self.server.execute("postgres", f"create database {_database(new)} {template}")

    @contextmanager
    def _open(self, folder: Path) -> Iterator[Any]:
        with closing(psycopg2.connect(self.server.url(_database(folder)))) as db:
            yield db


def _database(folder: Path) -> str:
    """Laboratories share a server, so the laboratory's folder is part of the name."""
    return re.sub(r"\W", "_", f"{folder.parent.name}_{folder.name}").lower()
