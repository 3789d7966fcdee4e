"""DuckLake: a catalog in SQLite or Postgres, parquet files in a folder or a bucket, DuckDB in memory between the two.

DuckDB's extensions come from wheels of the extra `ducklake` and are loaded by their path: nothing is fetched from the
net, nothing is written to the user's home. DuckDB checks their signatures as it does of those that it fetches.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.schema import Schema
from dlt.destinations import ducklake as destination
from dlt.destinations.impl.ducklake.configuration import DuckLakeClientConfiguration
from dlt.destinations.impl.ducklake.ducklake import DuckLakeClient
from dlt.destinations.impl.ducklake.sql_client import DuckLakeSqlClient
from dlt.destinations.sql_client import raise_open_connection_error

from gapless.pipelines.destinations.cached import LookedUpOnce
from gapless.pipelines.destinations.duckdb_file import MEMORY, UNCOMPRESSED, FromFiles
from gapless.pipelines.destinations.keepalive import with_an_end
from gapless.pipelines.errors import GaplessError, WrongSettings
from gapless.sources import SOURCES

SCANNERS = {"sqlite": "sqlite_scanner", "postgres": "postgres_scanner", "postgresql": "postgres_scanner"}
"""Where a catalog may be, and DuckDB's extension for it."""
SECRET = "gapless_catalog"
"""Of a DuckDB in memory, so it is gone with it."""


def check(config: Any) -> None:
    """Raises WrongSettings when dlt's configuration of a lake cannot work here."""
    kind = config.credentials.catalog.drivername
    if kind not in SCANNERS:
        raise WrongSettings(
            f"the catalog of a DuckLake may be sqlite:///… or postgresql://…, not {kind}://…:"
            " set DESTINATION__DUCKLAKE__CREDENTIALS__CATALOG"
        )
    if config.credentials.ducklake_name in SOURCES:
        raise WrongSettings(
            f"the DuckLake {config.credentials.ducklake_name} is called like a source, and DuckDB cannot tell it from"
            " the dataset. Choose another name in DESTINATION__DUCKLAKE__CREDENTIALS__DUCKLAKE_NAME."
        )
    _extensions(config)


def _extensions(config: Any) -> list[Path]:
    kinds = ["ducklake", SCANNERS[config.credentials.catalog.drivername]]
    return [
        _extension(kind) for kind in (*kinds, *([] if config.credentials.storage.is_local_filesystem else ["httpfs"]))
    ]


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


@contextmanager
def opened(config: DuckLakeClientConfiguration) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB in memory with the lake attached, for a whole sync. Raises GaplessError when it cannot be."""
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"set global memory_limit = '{MEMORY}'")
        connection.execute("set global timezone = 'UTC'")
        for file in _extensions(config):
            connection.load_extension(str(file))
        try:
            _attach(connection, config)
        except duckdb.Error as error:
            first = str(error).strip().split("\n", 1)[0][:300]
            raise GaplessError(f"cannot open the DuckLake: {first}") from None
        yield connection


def catalog(config: Any) -> Any:
    """dlt's credentials of the catalog, a Postgres database."""
    from dlt.destinations.impl.postgres.configuration import PostgresCredentials

    url = config.credentials.catalog.to_url().set(drivername="postgresql").render_as_string(hide_password=False)
    return with_an_end(PostgresCredentials(url).resolve())


def _attach(connection: duckdb.DuckDBPyConnection, config: DuckLakeClientConfiguration) -> None:
    credentials = config.credentials
    client: Any = DuckLakeSqlClient(
        "main", "main", credentials, DestinationCapabilitiesContext(), config.override_data_path,
        config.automatic_migration,
    )  # fmt: skip
    client._conn = connection
    if credentials.catalog.drivername != "sqlite":
        client._attach_statement = _without_password(connection, config)
    if not credentials.storage.is_local_filesystem:
        client.create_secret(credentials.storage.bucket_url, credentials.storage.credentials)
    connection.execute(client.attach_statement)
    client._conn = None  # dlt detaches what a client still holds when it goes


def _without_password(connection: duckdb.DuckDBPyConnection, config: DuckLakeClientConfiguration) -> str:
    """dlt's statement for a catalog in Postgres, the password in a secret of this DuckDB: errors quote statements."""
    credentials = config.credentials
    database = credentials.catalog
    password = str(database.password or "")
    connection.execute(f"create secret {SECRET} (type postgres, password {_quoted(password)})")
    found = {"host": database.host, "port": database.port, "dbname": database.database, "user": database.username}
    parts = [f"{name}={_in_dsn(str(value))}" for name, value in (found | database.get_query()).items() if value]
    told = {
        "DATA_PATH": _quoted(credentials.storage_url),
        "METADATA_SCHEMA": _quoted(credentials.metadata_schema or credentials.ducklake_name),
        "META_SECRET": f"'{SECRET}'",
        "OVERRIDE_DATA_PATH": config.override_data_path and "true",
        "AUTOMATIC_MIGRATION": config.automatic_migration and "true",
    }
    options = ", ".join(f"{name} {value}" for name, value in told.items() if value)
    catalog = _quoted("ducklake:postgres:" + " ".join(parts))
    return f'attach {catalog} as "{credentials.ducklake_name}" ({options})'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _in_dsn(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def session(connection: duckdb.DuckDBPyConnection, config: DuckLakeClientConfiguration) -> duckdb.DuckDBPyConnection:
    """Another connection to the same DuckDB, to which the lake is the database that is meant."""
    other = connection.cursor()
    other.execute(f'use "{config.credentials.ducklake_name}"')
    return other


class _Sessions(DuckLakeSqlClient):
    """dlt opens a DuckDB for every question, loads the extensions and attaches the lake. Here all that is done."""

    _conn: Any

    def __init__(self, connection: duckdb.DuckDBPyConnection, config: Any, like: DuckLakeSqlClient) -> None:
        super().__init__(like.dataset_name, like.staging_dataset_name, config.credentials, like.capabilities)
        self._lake = partial(session, connection, config)

    @raise_open_connection_error
    def open_connection(self) -> duckdb.DuckDBPyConnection:
        self._conn = opened = self._lake()
        with suppress(duckdb.CatalogException):  # before the first load there is no dataset
            opened.execute(f"set search_path = '{self.fully_qualified_dataset_name()}'")
        return opened

    def close_connection(self) -> None:
        if self._conn:
            self._conn.close()
            self._conn = None


class _Client(FromFiles, DuckLakeClient):
    """Each row is written to the lake once: what a staging table would hold is read from the load package."""


class Lake(LookedUpOnce, destination):
    """dlt's destination for a lake that is open here, by its name in dlt's configuration."""

    def __init__(self, name: str, config: DuckLakeClientConfiguration, connection: duckdb.DuckDBPyConnection) -> None:
        own: dict[str, Any] = {} if name == "ducklake" else {"destination_name": name}
        super().__init__(config.credentials, supports_transactions=True, parquet_format=UNCOMPRESSED, **own)
        self._connection = connection

    @property
    def client_class(self) -> type[DuckLakeClient]:
        return _Client

    @property
    def destination_type(self) -> str:
        """As dlt knows it, in its traces and for `dlt.attach`."""
        return "dlt.destinations.ducklake"

    def client(self, schema: Schema, initial_config: Any = None) -> DuckLakeClient:
        client: DuckLakeClient = super().client(schema, initial_config)
        client.sql_client = _Sessions(self._connection, client.config, client.sql_client)
        return client
