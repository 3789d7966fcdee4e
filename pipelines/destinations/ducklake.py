"""DuckLake: a catalog in SQLite or Postgres, parquet files in a folder or a bucket, DuckDB in memory between the two.

DuckDB's extensions come from wheels of the extra `ducklake` and are loaded by their path: nothing is fetched from the
net, nothing is written to the user's home. DuckDB checks their signatures as it does of those that it fetches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import duckdb

from gapless.pipelines.config.database_file import require_database, require_folder
from gapless.pipelines.destinations._dlt.duckdb_memory import make_room
from gapless.pipelines.destinations._postgres.server import connected
from gapless.pipelines.destinations._postgres.session import with_session
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
    from gapless.pipelines.destinations._dlt.types import DestinationArgument

SCANNERS = {"sqlite": "sqlite_scanner", "postgres": "postgres_scanner", "postgresql": "postgres_scanner"}
"""Where a catalog may be, and DuckDB's extension for it."""
PART_OF = "100GB"
"""The largest file that DuckDB prepares to upload to a bucket. It holds a 10,000th of that in memory for each file
that is written. Its own default is 800 GB, and 80 MB for each file are more than it may hold here."""
OTHER_FOLDER = re.compile(r'DATA_PATH parameter "(.*?)" does not match existing data path in the catalog "(.*?)"')
"""What DuckDB says of a lake whose files are elsewhere; it has no class of its own for that."""
SECRET = "gapless_catalog"
"""Name of the secret with the catalog's password; it is in a DuckDB in memory, and gone with that."""


class DuckLake(Backend):
    """A lake, whose catalog is locked: beside its file in SQLite, by the server in Postgres."""

    one_writer = updates_rows = True

    def datasets(self, reader: Asked) -> list[str]:
        """Returns the datasets that are there and have the tables of a ledger."""
        from gapless.pipelines.destinations._catalogs.left import datasets

        return datasets(reader)

    @classmethod
    def obstacles(cls, reader: Asked, dataset: Dataset) -> Iterator[Obstacle]:
        """Yields what somebody changed of a dataset's tables so that a sync cannot write."""
        from gapless.pipelines.destinations._catalogs.duckdb_catalog import obstacles

        return obstacles(reader, dataset)

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
        if is_sqlite(self._catalog):
            require_database(sqlite_path(self._catalog), *MARK, setting)
        else:
            require_files(self._catalog_credentials, self.name, setting)

    @property
    def lock_beside(self) -> Path | None:
        """Returns the catalog's file in SQLite; in Postgres there is none."""
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
    def _metadata(self) -> str:
        """Returns the schema of the open lake's catalog, as it stands in a query; in SQLite there is but one."""
        credentials = self.config.credentials
        schema = "main" if self.lock_beside else credentials.metadata_schema or credentials.ducklake_name
        return f'"__ducklake_metadata_{credentials.ducklake_name}"."{schema}"'

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
        from gapless.pipelines.destinations._dlt.ducklake_client import attach

        with in_memory() as connection:
            for file in self._extensions():
                connection.load_extension(str(file))
            if not self._is_local:
                connection.execute(f"set global s3_uploader_max_filesize = '{PART_OF}'")
            try:
                attach(connection, self.config, None if is_sqlite(self._catalog) else self._statement(connection))
            except duckdb.Error as error:
                if next_step(error):  # a want of memory
                    raise
                raise self._unopened(error) from None
            yield connection

    def _unopened(self, error: duckdb.Error) -> GaplessError:
        """Returns why the lake could not be attached, not in DuckDB's words: they repeat the whole address."""
        if found := OTHER_FOLDER.search(str(error)):
            return WrongSettings(
                f"the catalog of the DuckLake says that its files are below {found[2]}, and"
                f" DESTINATION__{self.name.upper()}__CREDENTIALS__STORAGE__BUCKET_URL says {found[1]}: set it to the"
                f" first; if the folder was moved: DESTINATION__{self.name.upper()}__OVERRIDE_DATA_PATH=true"
            )
        if not is_sqlite(self._catalog):
            try:
                with connected(self._catalog_credentials.to_native_representation(), self.name):
                    pass
            except GaplessError as unreached:
                return unreached
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
        from gapless.pipelines.destinations._compaction import lake, lake_orphans, postgres_database, sqlite_database

        if not self.exists():
            return None
        credentials = self.config.credentials
        with self.opened() as connection:
            before, after = lake.compact(connection, credentials.ducklake_name)
            left = lake_orphans.remove(connection, credentials.ducklake_name, self._metadata, self._folder)
        if self.lock_beside:
            catalog = sqlite_database.compact_file(self.lock_beside)
        else:
            schema = credentials.metadata_schema or credentials.ducklake_name
            address = self._catalog_credentials.to_native_representation()
            catalog = postgres_database.compact(address, self.name, [schema]) or (0, 0)
        return Compaction(before + catalog[0], after + catalog[1], left)

    @contextmanager
    def guarded(self, part: Part) -> Iterator[Check]:
        """Holds the advisory lock of a catalog in Postgres; one in SQLite has its lock beside the file."""
        if self.lock_beside:
            with super().guarded(part) as check:
                yield check
        else:
            with self._catalog_lock(part) as check:
                yield check

    def dlt_destination(self, shard: Shard, connection: duckdb.DuckDBPyConnection | None) -> DestinationArgument:
        """Returns dlt's destination for the lake that is open."""
        from gapless.pipelines.destinations._dlt.ducklake_client import DuckLakeDestination

        return DuckLakeDestination(
            self.name, self.config, partial(self.session, cast("duckdb.DuckDBPyConnection", connection))
        )

    @property
    def _catalog(self) -> Any:
        return self.config.credentials.catalog

    def _catalog_lock(self, part: Part) -> AbstractContextManager[Check]:
        return database_lock(self._catalog_credentials, self.name, part)

    @property
    def _catalog_credentials(self) -> LibpqCredentials:
        from gapless.pipelines.destinations._dlt.postgres_credentials import catalog_credentials

        return with_session(catalog_credentials(self._catalog))

    def _extensions(self) -> list[Path]:
        names = ["ducklake", SCANNERS[self._catalog.drivername]]
        bucket = [] if self._is_local else ["httpfs"]
        return [_extension(name) for name in (*names, *bucket)]

    def _statement(self, connection: duckdb.DuckDBPyConnection) -> str:
        """Returns dlt's statement for a catalog in Postgres, with the password in a secret of this DuckDB: errors
        quote statements."""
        credentials, parts = self.config.credentials, self._catalog_credentials.given()
        password = parts.pop("password", "")
        connection.execute(f"create secret {SECRET} (type postgres, password {_quoted(password)})")
        # Quoted twice: each value as libpq does it, and all of them as one text of SQL.
        dsn = " ".join(f"{name}={_in_dsn(value)}" for name, value in parts.items())
        # What dlt's own statement says, apart from the password.
        options = {
            "DATA_PATH": _quoted(credentials.storage_url),
            "METADATA_SCHEMA": _quoted(credentials.metadata_schema or credentials.ducklake_name),
            "META_SECRET": f"'{SECRET}'",
            "OVERRIDE_DATA_PATH": self.config.override_data_path and "true",
            "AUTOMATIC_MIGRATION": self.config.automatic_migration and "true",
        }
        given = ", ".join(f"{name} {value}" for name, value in options.items() if value)
        return f'attach {_quoted(f"ducklake:postgres:{dsn}")} as "{credentials.ducklake_name}" ({given})'


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


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _in_dsn(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
