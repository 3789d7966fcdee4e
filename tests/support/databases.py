"""Destinations as tests have them: set up for one test, read and changed behind everyone's back, copied.

Each understands the queries of the oracle, which are DuckDB's. One whose driver is not installed is not at hand.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import psycopg2
import pytest

from tests.support import postgres

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NUL = "holds the character U+0000, which Postgres cannot store"
HUGE = "holds a number of 10,000 digits or more, which Postgres cannot store"


class Database(ABC):
    """One destination, empty at first, of one test alone."""

    name: ClassVar[str]
    """As gapless calls the destination."""
    driver: ClassVar[str]
    """The module that must be installed for it."""
    marks: ClassVar[tuple[pytest.MarkDecorator, ...]] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings: dict[str, str] = {}

    @classmethod
    def at_hand(cls) -> bool:
        """Returns whether it can be used here."""
        return find_spec(cls.driver) is not None

    @property
    def option(self) -> list[str]:
        """Returns the words with which a command is told of it."""
        return ["--destination", self.name]

    @abstractmethod
    def opened(self, dataset: str) -> Any:
        """Opens it for `execute(query)`, whose answer has `description` and `fetchall()`.

        Tables are looked for in the dataset first.
        """

    @abstractmethod
    def change(self, dataset: str, *statements: str) -> None:
        """Runs statements there."""

    @abstractmethod
    def remove(self) -> None:
        """Deletes all that is in it."""

    @abstractmethod
    def save(self, folder: Path) -> str:
        """Copies all of it; returns what `load` takes."""

    @abstractmethod
    def load(self, saved: str) -> None:
        """Becomes the copy."""

    def cannot_store(self, raw: bytes) -> str | None:
        """Returns why a record (its raw JSON, which is sound) becomes a letter here."""
        return None


class _Files(Database):
    """A destination that is files in the test's folder."""

    files: ClassVar[str]
    """A pattern that they and nothing else match."""

    def remove(self) -> None:
        for path in self._paths(self.folder):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def save(self, folder: Path) -> str:
        for path in self._paths(self.folder):
            _copy(path, folder / path.name)
        return str(folder)

    def load(self, saved: str) -> None:
        for path in self._paths(Path(saved)):
            _copy(path, self.folder / path.name)

    def _paths(self, folder: Path) -> list[Path]:
        return [path for path in folder.glob(self.files) if path.suffix != ".lock"]


class DuckDB(_Files):
    """The default: gapless.duckdb in the test's folder."""

    name = driver = "duckdb"
    files = "gapless.duckdb"

    @property
    def option(self) -> list[str]:
        return []

    @contextmanager
    def opened(self, dataset: str) -> Iterator[Any]:
        with duckdb.connect(str(self.folder / self.files), read_only=True) as db:
            db.execute(f"use {dataset}; set timezone = 'UTC'")
            yield db

    def change(self, dataset: str, *statements: str) -> None:
        with duckdb.connect(str(self.folder / self.files)) as db:
            for statement in (f"use {dataset}", *statements):
                db.execute(statement)


class DuckLake(_Files):
    """A lake whose catalog is a file of SQLite's, in the test's folder."""

    name, driver = "ducklake", "duckdb_extension_ducklake"
    files = "ducklake.*"

    @contextmanager
    def opened(self, dataset: str) -> Iterator[Any]:
        db = _with_extensions()
        db.execute(f"attach 'ducklake:sqlite:{self.folder}/ducklake.sqlite' as ducklake; use ducklake.{dataset}")
        try:
            yield db
        finally:
            db.execute("use memory; detach ducklake")

    def change(self, dataset: str, *statements: str) -> None:
        with self.opened(dataset) as db:
            for statement in statements:
                db.execute(statement)

    def load(self, saved: str) -> None:
        """The catalog names the folder of its files."""
        super().load(saved)
        with closing(sqlite3.connect(self.folder / "ducklake.sqlite")) as db, db:
            moved = "update ducklake_metadata set value = ? where key = 'data_path'"
            assert db.execute(moved, [f"{self.folder}/ducklake.files/"]).rowcount == 1


class SQLite(_Files):
    """A file per dataset, in the test's folder."""

    name, driver = "sqlalchemy", "sqlalchemy"
    files = "gapless*.sqlite*"
    marks = (pytest.mark.filterwarnings("ignore:Coercing Subquery"),)  # dlt's own SQL

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.settings = {"DESTINATION__SQLALCHEMY__CREDENTIALS": f"sqlite:///{folder}/gapless.sqlite"}

    @contextmanager
    def opened(self, dataset: str) -> Iterator[Any]:
        file = self.folder / f"gapless__{dataset}.sqlite"
        assert file.exists()
        with _types(), closing(sqlite3.connect(":memory:", detect_types=sqlite3.PARSE_DECLTYPES)) as db:
            db.execute(f"attach '{file}' as {dataset}")
            db.create_function(
                "epoch_us", 1, lambda text: text and (_time(text) - EPOCH) // timedelta(microseconds=1)
            )
            yield SQLiteReader(db)

    def change(self, dataset: str, *statements: str) -> None:
        with closing(sqlite3.connect(self.folder / f"gapless__{dataset}.sqlite")) as db, db:
            for statement in statements:
                db.execute(statement)


class SQLiteReader:
    """A SQLite connection that understands the oracle's queries, which are DuckDB's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def execute(self, query: str) -> sqlite3.Cursor:
        return self._db.execute(query.replace("::varchar", ""))


class Postgres(Database):
    """A database of the server that all tests share, or of `server`."""

    name, driver = "postgres", "psycopg2"

    def __init__(self, folder: Path, server: postgres.Server | None = None) -> None:
        super().__init__(folder)
        self._server = server or postgres.shared()
        self.url = self._server.database()
        self.settings = {"DESTINATION__POSTGRES__CREDENTIALS": self.url}

    @contextmanager
    def opened(self, dataset: str) -> Iterator[Any]:
        with closing(psycopg2.connect(self.url, options=f"-csearch_path={dataset} -ctimezone=UTC")) as db:
            yield postgres.Reader(db)

    def change(self, dataset: str, *statements: str) -> None:
        with closing(psycopg2.connect(self.url, options=f"-csearch_path={dataset}")) as db, db, db.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def remove(self) -> None:
        ours = "select nspname from pg_namespace where nspname not like 'pg_%' and nspname <> 'information_schema'"
        with closing(psycopg2.connect(self.url)) as db, db, db.cursor() as cursor:
            cursor.execute(ours)
            for (schema,) in cursor.fetchall():
                cursor.execute(f'drop schema "{schema}" cascade')

    def save(self, folder: Path) -> str:
        return self._server.database(like=self.url)

    def load(self, saved: str) -> None:
        """The copy takes its name, so settings stay right."""
        mine, copied = (url.rpartition("/")[2] for url in (self.url, saved))
        for statement in (f"drop database {mine}", f"create database {mine} template {copied}"):
            self._server.execute("postgres", statement)

    def cannot_store(self, raw: bytes) -> str | None:
        return NUL if re.search(rb"(?<!\\)\\u0000", raw) else None


DATABASES: dict[str, type[Database]] = {each.name: each for each in (DuckDB, Postgres, SQLite, DuckLake)}
"""The destinations on which a source is held to what it promises, the default first."""


def require(destination: str) -> None:
    """Skips the test where the driver of this destination is not installed."""
    if not DATABASES[destination].at_hand():
        pytest.skip(f"the driver of {destination} is not installed: pip install -e '.[ducklake,sqlite]'")


@cache
def _with_extensions() -> duckdb.DuckDBPyConnection:
    """Returns the DuckDB of all lakes: to load an extension takes longer than any question."""
    db = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    for name in ("ducklake", "sqlite_scanner"):
        spec = find_spec(f"duckdb_extension_{name}")
        assert spec
        assert spec.origin
        version = f"extensions/v{duckdb.__version__}"
        db.load_extension(str(Path(spec.origin).parent / version / f"{name}.duckdb_extension"))
    db.execute("set timezone = 'UTC'")
    return db


def _copy(path: Path, to: Path) -> None:
    shutil.copytree(path, to) if path.is_dir() else shutil.copy(path, to)


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)


def _microseconds(text: str | None) -> int | None:
    return None if text is None else (_time(text) - EPOCH) // timedelta(microseconds=1)


@contextmanager
def _types() -> Iterator[None]:
    """SQLite has no booleans and no times; a reader that asks for the declared types gets them."""
    before = dict(sqlite3.converters)
    sqlite3.register_converter("BOOLEAN", lambda value: bool(int(value)))
    sqlite3.register_converter("DATETIME", lambda value: _time(value.decode()))
    yield
    sqlite3.converters.clear()
    sqlite3.converters.update(before)
