"""dlt's destination for a DuckLake that is attached once a sync, by dlt's own statement where that can be had.

Why: dlt opens a DuckDB for every question, loads the extensions and attaches the lake each time. Replaced by: a
`ducklake` destination of dlt that takes an open connection, as its `duckdb` does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import dlt
import duckdb
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.destinations import ducklake as destination
from dlt.destinations.impl.ducklake.configuration import DuckLakeClientConfiguration
from dlt.destinations.impl.ducklake.ducklake import DuckLakeClient
from dlt.destinations.impl.ducklake.sql_client import DuckLakeSqlClient
from dlt.destinations.sql_client import raise_open_connection_error

from gapless.pipelines.destinations._dlt.cached import UNCOMPRESSED, CachedDestination
from gapless.pipelines.destinations._dlt.duckdb_client import MergeFromFiles

LakeConfig = DuckLakeClientConfiguration


def attach(connection: duckdb.DuckDBPyConnection, config: LakeConfig, statement: str | None) -> None:
    """Attaches the lake to a DuckDB by `statement`, or by dlt's own when that is None, with the bucket's secret.

    Raises duckdb.Error when it cannot be attached.
    """
    credentials = config.credentials
    client: Any = DuckLakeSqlClient(
        "main", "main", credentials, DestinationCapabilitiesContext(), config.override_data_path,
        config.automatic_migration,
    )  # fmt: skip
    # Only for its statement and its secret: it opens no connection of its own.
    client._conn = connection
    if statement is not None:
        client._attach_statement = statement
    if not credentials.storage.is_local_filesystem:
        client.create_secret(credentials.storage.bucket_url, credentials.storage.credentials)
    connection.execute(client.attach_statement)
    client._conn = None  # dlt detaches what a client still holds when it goes


class SessionSqlClient(DuckLakeSqlClient):
    """Takes another session of the open DuckDB for each connection that dlt asks for."""

    _conn: Any

    def __init__(
        self, session: Callable[[], duckdb.DuckDBPyConnection], config: LakeConfig, like: DuckLakeSqlClient
    ) -> None:
        super().__init__(like.dataset_name, like.staging_dataset_name, config.credentials, like.capabilities)
        self._session = session

    @raise_open_connection_error
    def open_connection(self) -> duckdb.DuckDBPyConnection:
        """Returns a new session, which looks for tables in the dataset first."""
        self._conn = opened = self._session()
        with suppress(duckdb.CatalogException):  # before the first load there is no dataset
            opened.execute(f"set search_path = '{self.fully_qualified_dataset_name()}'")
        return opened

    def close_connection(self) -> None:
        """Closes the session; the DuckDB and the lake stay open."""
        if self._conn:
            self._conn.close()
            self._conn = None


class _Client(MergeFromFiles, DuckLakeClient):
    """Writes each row to the lake once: what a staging table would hold is read from the load package."""


class DuckLakeDestination(CachedDestination, destination):
    """dlt's destination `name` for a lake that is open in this process; `session` makes another connection to it."""

    def __init__(self, name: str, config: LakeConfig, session: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        # By a name of its own dlt finds the settings of a named destination.
        own: dict[str, str] = {} if name == "ducklake" else {"destination_name": name}
        super().__init__(config.credentials, supports_transactions=True, parquet_format=UNCOMPRESSED, **own)
        self._session = session

    @property
    def client_class(self) -> type[DuckLakeClient]:
        """Returns the client that merges from files."""
        return _Client

    @property
    def destination_type(self) -> str:
        """Returns dlt's own name: its traces and `dlt.attach` go by it, and would not know a subclass."""
        return "dlt.destinations.ducklake"

    def client(self, schema: dlt.Schema, initial_config: LakeConfig | None = None) -> DuckLakeClient:
        """Returns dlt's client, whose questions go to sessions of the open DuckDB."""
        client: DuckLakeClient = super().client(schema, initial_config)
        client.sql_client = SessionSqlClient(self._session, client.config, client.sql_client)
        return client
