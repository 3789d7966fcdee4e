"""DuckLake: a catalog in SQLite or Postgres, parquet files in a folder or a bucket, DuckDB in memory between the two.

DuckDB's extensions come from wheels of the extra `ducklake` and are loaded by their path: nothing is fetched from the
net, nothing is written to the user's home. DuckDB checks their signatures as it does of those that it fetches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import duckdb

from gapless.pipelines.config.database_file import require_database, require_folder
from gapless.pipelines.destinations._dlt.duckdb_memory import make_room
from gapless.pipelines.destinations._postgres.lake_catalog import SECRET, LakeTurns, attaching, is_made, quoted
from gapless.pipelines.destinations._postgres.server import connected
from gapless.pipelines.destinations._postgres.session import with_session
from gapless.pipelines.destinations.advisory_lock import shards_at_work
from gapless.pipelines.destinations.backend import Backend, Check, Compaction, Part
from gapless.pipelines.destinations.duckdb_connections import first_line, in_memory
from gapless.pipelines.destinations.postgres import database_lock, require_files
from gapless.pipelines.destinations.sqlite import MARK, is_sqlite, sqlite_path
from gapless.pipelines.errors import GaplessError, WrongSettings, next_step
from gapless.sources import SOURCES
from gapless.sources._ledger.shard import Shard

if TYPE_CHECKING:
    from gapless.pipelines.destinations._catalogs.obstacle import Asked, Dataset, Obstacle
    from gapless.pipelines.destinations._dlt.postgres_credentials import LibpqCredentials
    from gapless.pipelines.destinations._dlt.types import Configuration, DestinationArgument

SCANNERS = {"sqlite": "sqlite_scanner", "postgres": "postgres_scanner", "postgresql": "postgres_scanner"}
"""Where a catalog may be, and DuckDB's extension for it."""
PART_OF = "100GB"
"""The largest file that DuckDB prepares to upload to a bucket. It holds a 10,000th of that in memory for each file
that is written. Its own default is 800 GB, and 80 MB for each file are more than it may hold here."""
OTHER_FOLDER = re.compile(r'DATA_PATH parameter "(.*?)" does not match existing data path in the catalog "(.*?)"')
"""What DuckDB says of a lake whose files are elsewhere; it has no class of its own for that."""


class DuckLake(Backend):
    """A lake with its catalog in SQLite, which is locked beside its file."""

    one_writer = updates_rows = compacts_whole = True

    @classmethod
    def of(cls, name: str, identity: str, config: Configuration, settings: Mapping[str, object]) -> DuckLake:
        """Returns the lake that dlt's resolved configuration describes, by the kind of its catalog."""
        kind = cast("Any", config).credentials.catalog.drivername
        return (PostgresLake if kind.startswith("postgres") else DuckLake)(name, identity, config, settings)

    def datasets(self, reader: Asked) -> list[str]:
        """Returns the datasets that are there and have the tables of a ledger."""
        from gapless.pipelines.destinations._catalogs.left import datasets

        return datasets(reader)

    @classmethod
    def obstacles(cls, reader: Asked, dataset: Dataset) -> Iterator[Obstacle]:
        """Yields what somebody changed of a dataset's tables so that a sync cannot write, and files that are gone."""
        from gapless.pipelines.destinations._catalogs.duckdb_catalog import obstacles
        from gapless.pipelines.destinations._catalogs.lake_files import lost_files

        yield from lost_files(reader, dataset)
        yield from obstacles(reader, dataset)

    @classmethod
    def is_alone(cls, reader: Asked, source: str) -> bool:
        """Returns whether the catalog's server holds the lock of one shard of a source alone; False without any."""
        databases = "select database_name from duckdb_databases() where database_name = '__ducklake_metadata_' ||"
        found = reader.rows(source, f"{databases} current_database() and type = 'postgres'")
        if not found:
            return False
        question = f"from postgres_query({quoted(str(found[0][0]))}, {quoted(shards_at_work(source))})"
        ((shards,),) = reader.rows(source, question) or [(0,)]
        return bool(shards == 1)

    def check(self) -> None:
        """Raises WrongSettings when the catalog, the lake's name or a missing extension cannot work."""
        kind, name = self._catalog.drivername, self.config.credentials.ducklake_name
        if kind not in SCANNERS:
            raise WrongSettings(
                f"the catalog of a DuckLake may be sqlite:///… or postgresql://…, not {kind}://…:"
                " set DESTINATION__DUCKLAKE__CREDENTIALS__CATALOG"
            )
        if name in SOURCES:
            raise WrongSettings(
                f"the DuckLake {name} is called like a source, and DuckDB cannot tell it from"
                " the dataset. Choose another name in DESTINATION__DUCKLAKE__CREDENTIALS__DUCKLAKE_NAME."
            )
        if self._folder:
            require_folder(self._folder, f"DESTINATION__{self.name.upper()}__CREDENTIALS__STORAGE__BUCKET_URL")
        setting = f"DESTINATION__{self.name.upper()}__CREDENTIALS__CATALOG"
        # Looked for now, so that a missing one is said before any request.
        self._extensions()
        self._check_catalog(setting)

    def _check_catalog(self, setting: str) -> None:
        require_database(sqlite_path(self._catalog), *MARK, setting)

    @property
    def lock_beside(self) -> Path | None:
        """Returns the catalog's file; None for a catalog of a kind that `check` refuses."""
        return sqlite_path(self._catalog) if is_sqlite(self._catalog) else None

    @property
    def paths(self) -> list[Path]:
        """Returns the catalog's file and the folder of the data, as far as they are on this machine."""
        return super().paths + ([self._folder] if self._folder else [])

    def exists(self) -> bool:
        """Returns whether the catalog's file is there; True for a catalog in Postgres."""
        return self.lock_beside is None or self.lock_beside.exists()

    @contextmanager
    def opened(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yields a DuckDB in memory with the lake attached, to be written to. Raises GaplessError if it cannot be."""
        from gapless.pipelines.destinations._compaction import lake_orphans

        with self._attached() as connection:
            if self._folder:
                lake_orphans.mark(connection, self._metadata, self._folder)
            yield connection

    @property
    def _schema(self) -> str:
        """Returns the schema of the catalog's tables; SQLite has but one."""
        return "main"

    @property
    def _metadata(self) -> str:
        """Returns the schema of the open lake's catalog, as it stands in a query."""
        return f'"__ducklake_metadata_{self.config.credentials.ducklake_name}"."{self._schema}"'

    @property
    def _folder(self) -> Path | None:
        """Returns the folder of the data, if it is on this machine."""
        return Path(self.config.credentials.storage_url) if self._is_local else None

    @property
    def _is_local(self) -> bool:
        """Returns whether the data's files are on this machine, and not in a bucket."""
        return bool(self.config.credentials.storage.is_local_filesystem)

    @contextmanager
    def _attached(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with in_memory() as connection:
            for file in self._extensions():
                connection.load_extension(str(file))
            if not self._is_local:
                connection.execute(f"set global s3_uploader_max_filesize = '{PART_OF}'")
            try:
                self._attach(connection)
            except duckdb.Error as error:
                if next_step(error):  # a want of memory
                    raise
                raise self._unopened(error) from None
            yield connection

    def _attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        from gapless.pipelines.destinations._dlt.ducklake_client import attach

        attach(connection, self.config)

    def _unopened(self, error: duckdb.Error) -> GaplessError:
        """Returns why the lake could not be attached, not in DuckDB's words: they repeat the whole address."""
        if found := OTHER_FOLDER.search(str(error)):
            return WrongSettings(
                f"the catalog of the DuckLake says that its files are below {found[2]}, and"
                f" DESTINATION__{self.name.upper()}__CREDENTIALS__STORAGE__BUCKET_URL says {found[1]}: set it to the"
                f" first; if the folder was moved: DESTINATION__{self.name.upper()}__OVERRIDE_DATA_PATH=true"
            )
        return GaplessError(f"cannot open the DuckLake: {first_line(error)}")

    def session(self, connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
        """Returns another connection to the same DuckDB, to which the lake is the database that is meant."""
        other = connection.cursor()
        other.execute(f'use "{self.config.credentials.ducklake_name}"')
        return other

    def make_room(self, connection: duckdb.DuckDBPyConnection, size: int, largest: int) -> None:
        """Raises DuckDB's limit if a load package needs it."""
        make_room(connection, size, largest)

    @contextmanager
    def queried(self, connection: duckdb.DuckDBPyConnection | None) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yields a session of the open lake, or opens it for as long as it is read."""
        if connection:
            yield self.session(connection)
            return
        with self._attached() as opened:
            yield self.session(opened)

    def compact(self, datasets: Sequence[str]) -> Compaction | None:
        """Writes the whole lake anew, whatever the datasets are, then its catalog, which holds values as well."""
        from gapless.pipelines.destinations._compaction import lake, lake_orphans

        if not self.exists():
            return None
        name = self.config.credentials.ducklake_name
        with self.opened() as connection, self._turn():
            before, after = lake.compact(connection, name)
            left = lake_orphans.remove(connection, name, self._metadata, self._folder)
        catalog = self._compact_catalog()
        return Compaction(before + catalog[0], after + catalog[1], left)

    def _compact_catalog(self) -> tuple[int, int]:
        """Writes the catalog anew; returns its bytes before and after."""
        from gapless.pipelines.destinations._compaction.sqlite_database import compact_file

        return compact_file(sqlite_path(self._catalog))

    def dlt_destination(self, shard: Shard, connection: duckdb.DuckDBPyConnection | None) -> DestinationArgument:
        """Returns dlt's destination for the lake that is open."""
        from gapless.pipelines.destinations._dlt.ducklake_client import DuckLakeDestination

        session = partial(self.session, cast("duckdb.DuckDBPyConnection", connection))
        return DuckLakeDestination(self.name, self.config, session, self._turn, shard)

    def _turn(self) -> AbstractContextManager[None]:
        """Waits until nobody else writes; in SQLite nobody does, by the lock."""
        return nullcontext()

    @property
    def _catalog(self) -> Any:
        return self.config.credentials.catalog

    def _extensions(self) -> list[Path]:
        names = ["ducklake", SCANNERS[self._catalog.drivername]]
        bucket = [] if self._is_local else ["httpfs"]
        return [_extension(name) for name in (*names, *bucket)]


class PostgresLake(DuckLake):
    """A lake with its catalog in Postgres, to which many write: they share it by advisory locks there."""

    one_writer, server_locks = False, True

    @property
    def lock_beside(self) -> None:
        """Returns None, as the locks are in the server."""
        return None

    def _check_catalog(self, setting: str) -> None:
        require_files(self._credentials, self.name, setting)

    @property
    def _schema(self) -> str:
        """Returns the schema of the catalog's tables."""
        credentials = self.config.credentials
        return str(credentials.metadata_schema or credentials.ducklake_name)

    def guarded(self, part: Part) -> AbstractContextManager[Check]:
        """Holds advisory locks in the catalog's database: the server frees them when this process is gone."""
        return database_lock(self._credentials, self.name, part)

    @contextmanager
    def _attached(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with closing(self._turns), super()._attached() as connection:
            yield connection

    @cached_property
    def _turns(self) -> LakeTurns:
        """Has a connection while the lake is attached, once it was needed."""
        return LakeTurns(self._address, self._schema)

    def _turn(self) -> AbstractContextManager[None]:
        return self._turns.taken()

    def _attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        from gapless.pipelines.destinations._dlt.ducklake_client import attach

        config = self.config
        # What dlt's own statement says, apart from the password.
        options = {
            "DATA_PATH": quoted(config.credentials.storage_url),
            "METADATA_SCHEMA": quoted(self._schema),
            "META_SECRET": f"'{SECRET}'",
            "OVERRIDE_DATA_PATH": "true" if config.override_data_path else "",
            "AUTOMATIC_MIGRATION": "true" if config.automatic_migration else "",
        }
        secret, statement = attaching(self._credentials.given(), config.credentials.ducklake_name, options)
        connection.execute(secret)
        with connected(self._address, self.name) as catalog:
            made = is_made(catalog, self._schema)
        # Shards begin at once, and whoever attaches a lake first makes its catalog.
        with nullcontext() if made and not config.automatic_migration else self._turn():
            attach(connection, config, statement)

    def _compact_catalog(self) -> tuple[int, int]:
        from gapless.pipelines.destinations._compaction.postgres_database import compact

        return compact(self._address, self.name, [self._schema]) or (0, 0)

    @property
    def _credentials(self) -> LibpqCredentials:
        from gapless.pipelines.destinations._dlt.postgres_credentials import catalog_credentials

        return with_session(catalog_credentials(self._catalog))

    @property
    def _address(self) -> str:
        return self._credentials.to_native_representation()


def _extension(name: str) -> Path:
    spec = find_spec(f"duckdb_extension_{name}")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    file = folder / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    if not file.is_file():
        raise WrongSettings(
            f"a DuckLake needs the extension {name} of DuckDB {duckdb.__version__}, which is not here:"
            " pip install -e '.[ducklake]' in the checkout, which brings the DuckDB that it is made for"
        )
    return file
