"""What one kind of destination needs around dlt: how it is opened, locked and read, and what dlt must be told of it.

`Backend` alone does for any destination of dlt that merges. A kind that needs more is a subclass in a file of its own
and a line in resolve.py; nothing else asks which kind it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from gapless.pipelines.config.database_file import require_folder
from gapless.pipelines.errors import WrongSettings
from gapless.sources._ledger.shard import Shard

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from gapless.pipelines.destinations._catalogs.obstacle import Asked, Dataset, Obstacle
    from gapless.pipelines.destinations._dlt.types import Configuration, DestinationArgument

PACKAGE_BYTES = 12 * 2**20
"""Bytes of JSON of a load package that every kind of destination takes at once."""
FileFormat = Literal["parquet", "insert_values", "jsonl"]
Check = Callable[[], None]
"""Raises GaplessError when the lock is lost."""


class Sign(NamedTuple):
    """What a database's own statistics say of a table: while it stays the same, the table has the same rows."""

    identity: str
    """Another one after the table was truncated, or made or written anew, and after the statistics were."""
    inserted: int
    deleted: int

    def after(self, inserted: int, deleted: int) -> Sign:
        """Returns the sign once so many rows more were inserted and deleted."""
        return Sign(self.identity, self.inserted + inserted, self.deleted + deleted)


class Compaction(NamedTuple):
    """What writing a destination anew has changed."""

    before: int
    """Bytes."""
    after: int
    left: str | None = None
    """What a person should know of bytes that stay, and may be of erased rows; None: none does."""


@dataclass(frozen=True)
class Part:
    """What one command writes to and locks for itself: some sources, or what one shard reads of them.

    Without sources it is everything.
    """

    sources: tuple[str, ...] = ()
    """Names, in alphabetical order."""
    shard: Shard = field(default_factory=Shard)

    @property
    def mark(self) -> str:
        """Returns the end of its working folder's name, which differs for each part; empty for everything."""
        names = "-".join(self.sources)
        if len(names) > 60:  # file names are short
            names = blake2b(names.encode(), digest_size=8).hexdigest()
        shard = "" if self.shard.whole else f"{self.shard.number}-of-{self.shard.of}"
        return "".join(f"-{text}" for text in (names, shard) if text)


@dataclass(frozen=True)
class Backend:
    """A destination as dlt's configuration has it. Holds nothing that is open; two are equal when their data is."""

    name: str
    """Its name in dlt's configuration."""
    identity: str
    """A text that differs for each destination, without a secret."""
    config: Any = field(default=None, compare=False, repr=False)
    """dlt's resolved configuration, with the credentials."""
    settings: Mapping[str, object] = field(default_factory=dict, compare=False, repr=False)
    """What dlt's class of the destination needs beside its configuration."""

    file_format: ClassVar[FileFormat] = "parquet"
    """Format of the files of a load package."""
    package_bytes: ClassVar[int] = PACKAGE_BYTES
    """Bytes of JSON that end a load package: what it takes to load one, in memory, follows from them."""
    one_writer: ClassVar[bool] = False
    """Whether two syncs cannot write at once, whatever they write."""
    compacts_whole: ClassVar[bool] = False
    """Whether what was dropped stays until it is compacted, which writes all datasets anew."""
    appends: ClassVar[bool] = False
    """Whether nothing is replaced: a record that changed is there once per change."""
    server_locks: ClassVar[bool] = False
    """Whether its server holds the locks that `guarded` takes."""
    updates_rows: ClassVar[bool] = False
    """Whether plain SQL can write a row of `runs`; in warehouses JSON and times have ways of their own."""

    @classmethod
    def configured(cls, name: str) -> DestinationArgument:
        """Returns what dlt reads the configuration of this destination by. Opens nothing."""
        return name

    @classmethod
    def obstacles(cls, reader: Asked, dataset: Dataset) -> Iterator[Obstacle]:
        """Yields what somebody changed of a dataset's tables so that a sync cannot write, as the engine shows it."""
        return iter(())

    @classmethod
    def signs(cls, reader: Asked, dataset: str, tables: Collection[str]) -> dict[str, Sign]:
        """Returns the signs of tables, where counting their rows costs more; none where that is cheap, or unknown."""
        return {}

    def datasets(self, reader: Asked) -> list[str]:
        """Returns the datasets that are there and have the tables of a ledger; none where that is not known."""
        return []

    def remember(self, dropped: str = "") -> None:
        """Remembers which sources are here, without one that was `dropped`, where there are no views to do so."""

    def remembered(self) -> set[str]:
        """Returns the sources that `remember` has noted."""
        return set()

    @classmethod
    def is_alone(cls, reader: Asked, source: str) -> bool:
        """Returns whether no other shard of a source is at work beside this one; False where that is not known."""
        return False

    @classmethod
    def refuses_doubled(cls, reader: Asked, dataset: str, table: str) -> bool:
        """Returns whether the database itself lets no `_dlt_id` stand twice in a table."""
        return False

    @classmethod
    def of(cls, name: str, identity: str, config: Configuration, settings: Mapping[str, object]) -> Backend:
        """Returns the destination that dlt's resolved configuration describes."""
        return cls(name, identity, config, settings)

    @property
    def file(self) -> Path | None:
        """Returns the DuckDB file; other destinations have none."""
        return None

    @property
    def lock_beside(self) -> Path | None:
        """Returns the database's file, with the lock beside it for all who use it. None: the data is elsewhere."""
        return self.file

    @property
    def paths(self) -> list[Path]:
        """Returns the files and folders of this machine that the data is in; their parents must be there."""
        return [self.lock_beside] if self.lock_beside else []

    def check(self) -> None:
        """Raises WrongSettings when the configuration cannot work. Opens nothing."""

    def exists(self) -> bool:
        """Returns False when nothing was ever synced here; True when only a query can tell."""
        return True

    def opened(self) -> AbstractContextManager[DuckDBPyConnection | None]:
        """Opens what stays open for a whole sync, before any request; yields its connection, or None.

        Raises GaplessError when it cannot be opened.
        """
        return nullcontext()

    def session(self, connection: DuckDBPyConnection) -> DuckDBPyConnection:
        """Returns another connection to what `opened` has open."""
        return connection.cursor()

    def make_room(self, connection: DuckDBPyConnection, size: int, largest: int) -> None:
        """Lets what is open hold as much as loading `size` bytes of JSON takes, `largest` of them in one record."""

    def settle(self, connection: DuckDBPyConnection) -> None:
        """Writes out what is loaded and still held in memory, where a destination does not do so itself."""

    def queried(self, connection: DuckDBPyConnection | None) -> AbstractContextManager[DuckDBPyConnection | None]:
        """Yields a DuckDB connection for readers, or None when dlt must be asked; `connection` is what is open.

        Raises Locked while another process writes, GaplessError when the data cannot be read.
        """
        return nullcontext()

    def compact(self, datasets: Sequence[str]) -> Compaction | None:
        """Writes the tables of these datasets anew, so that no byte of a deleted row is left. The locks are held.

        Returns None where nothing is there. Raises WrongSettings where this kind of
        destination cannot do it, InUse when another program has it open, GaplessError when it fails: no row is
        changed then.
        """
        raise WrongSettings(
            f"destination {self.name!r} cannot be compacted by gapless: how long it keeps what was deleted is for its"
            " own settings (time travel, retention, versions of objects)."
        )

    def guarded(self, part: Part) -> AbstractContextManager[Check]:
        """Holds locks that other machines see, too; yields what checks them. Raises Locked, GaplessError."""
        return nullcontext(_nothing_to_check)

    def dlt_destination(self, shard: Shard, connection: DuckDBPyConnection | None) -> DestinationArgument:
        """Returns what `dlt.pipeline(destination=)` takes; `connection` is what `opened` has open."""
        import dlt

        settings: dict[str, Any] = {**self.settings, **staging(shard)}
        return dlt.destination(self.name, **settings) if settings else self.name


def staging(shard: Shard) -> dict[str, str]:
    """Returns dlt's setting that gives each shard a staging dataset of its own; a whole sync has dlt's default."""
    # Two loads that stage in the same tables at once would merge each other's rows.
    return {} if shard.whole else {"staging_dataset_name_layout": f"%s_staging_{shard.number}_of_{shard.of}"}


def _nothing_to_check() -> None:
    """Does nothing, because a lock in a file cannot be lost."""


class Folder(Backend):
    """Plain files in a folder or a bucket."""

    one_writer, appends = True, True

    def check(self) -> None:
        """Raises WrongSettings when what is there is no folder."""
        for path in self.paths:
            require_folder(path, f"DESTINATION__{self.name.upper()}__BUCKET_URL")

    @property
    def paths(self) -> list[Path]:
        """Returns the folder, unless it is a bucket's."""
        return [Path(self.config.make_local_path(self.config.bucket_url))] if self.config.is_local_filesystem else []


class Redshift(Backend):
    """Takes files only from a bucket, so rows come as SQL."""

    file_format = "insert_values"


class BigQuery(Backend):
    """Loads JSON columns only from JSON lines, not from parquet."""

    file_format = "jsonl"
