"""SQLite, by dlt's destination for SQLAlchemy: a file per source beside the one that is named, as dlt has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from gapless.pipelines.config.database_file import require_database
from gapless.pipelines.config.folders import real_path
from gapless.pipelines.destinations._catalogs import sqlite_sources
from gapless.pipelines.destinations.backend import Backend, Compaction
from gapless.pipelines.errors import WrongSettings
from gapless.sources import SOURCES
from gapless.sources._ledger.shard import Shard

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from gapless.pipelines.destinations._catalogs.obstacle import Asked, Dataset, Obstacle
    from gapless.pipelines.destinations._dlt.types import Credentials, DestinationArgument

MARK = (b"SQLite format 3\0", 0)
"""What every SQLite file begins with, and at which byte: https://sqlite.org/fileformat.html"""


class SqliteDatabase(Backend):
    """A database of SQLite's, which is a file."""

    one_writer = updates_rows = compacts_whole = True

    def datasets(self, reader: Asked) -> list[str]:
        """Returns the datasets that have a file beside the one that the configuration names."""
        main = self.lock_beside
        files = main.parent.glob(f"{escape(main.stem)}__*{escape(main.suffix)}")
        return [file.stem.removeprefix(f"{main.stem}__") for file in files]

    def remember(self, dropped: str = "") -> None:
        """Remembers in the named file which sources have one of their own."""
        here = (name for name in SOURCES if _of(self.lock_beside, name).exists())
        sqlite_sources.remember(self.lock_beside, here, dropped)

    def remembered(self) -> set[str]:
        """Returns the sources that once had a file."""
        return sqlite_sources.remembered(self.lock_beside)

    @classmethod
    def obstacles(cls, reader: Asked, dataset: Dataset) -> Iterator[Obstacle]:
        """Yields what somebody changed of a dataset's tables so that a sync cannot write."""
        from gapless.pipelines.destinations._catalogs.sqlite_catalog import obstacles

        return obstacles(reader, dataset)

    def check(self) -> None:
        """Raises WrongSettings when it is another engine of SQLAlchemy's, or no file."""
        # No other was held to the tests, and each has types of its own for JSON, times and numbers.
        if not is_sqlite(self.config.credentials):
            raise WrongSettings(
                "of SQLAlchemy's databases SQLite alone is known to get every value right: sqlite:///…"
            )
        main = sqlite_path(self.config.credentials)
        for path in (main, *(_of(main, name) for name in SOURCES)):
            require_database(path, *MARK, f"DESTINATION__{self.name.upper()}__CREDENTIALS")

    @property
    def lock_beside(self) -> Path:
        """Returns the file that the configuration names."""
        return sqlite_path(self.config.credentials)

    def compact(self, datasets: Sequence[str]) -> Compaction | None:
        """Writes the file of each dataset anew."""
        from gapless.pipelines.destinations._compaction.sqlite_database import compact

        sizes = compact(self.lock_beside, datasets)
        return Compaction(*sizes) if sizes else None

    def dlt_destination(self, shard: Shard, connection: DuckDBPyConnection | None) -> DestinationArgument:
        """Returns dlt's destination with JSON as text."""
        from gapless.pipelines.destinations._dlt.sqlite_client import sqlite_destination

        return sqlite_destination(self.name, self.config.credentials)


def _of(main: Path, dataset: str) -> Path:
    """Returns the file of a dataset, which dlt makes beside the one that is named."""
    return main.with_stem(f"{main.stem}__{dataset}")


def is_sqlite(credentials: Credentials) -> bool:
    """Returns whether dlt's credentials lead to SQLite."""
    return bool(credentials.drivername.startswith("sqlite"))


def sqlite_path(credentials: Credentials) -> Path:
    """Returns the file of a SQLite database.

    Raises WrongSettings when it is in memory, or somebody else may have planted it.
    """
    if not credentials.database or credentials.database == ":memory:":
        raise WrongSettings("a SQLite database must be a file: sqlite:///gapless.sqlite, or sqlite:////var/lib/…")
    return real_path(credentials.database)
