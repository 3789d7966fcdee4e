"""dlt's destination for a DuckLake that is attached once a sync, by dlt's own statement where that can be had.

Why: dlt opens a DuckDB for every question, loads the extensions and attaches the lake each time. Replaced by: a
`ducklake` destination of dlt that takes an open connection, as its `duckdb` does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, AnyStr, cast

import dlt
import duckdb
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.destinations import ducklake as destination
from dlt.destinations.impl.ducklake.configuration import DuckLakeClientConfiguration
from dlt.destinations.impl.ducklake.ducklake import DuckLakeClient
from dlt.destinations.impl.ducklake.sql_client import DuckLakeSqlClient
from dlt.destinations.sql_client import raise_open_connection_error

from gapless.pipelines.destinations._dlt.cached import UNCOMPRESSED, CachedDestination, Turn, TurnTakingClient
from gapless.pipelines.destinations._dlt.duckdb_client import MergeFromFiles
from gapless.sources._ledger.shard import Shard

LakeConfig = DuckLakeClientConfiguration
Session = Callable[[], duckdb.DuckDBPyConnection]
READS = re.compile(r"\s*(select|from|set|show|pragma)\b", re.IGNORECASE)
"""Begins a statement that writes nothing."""


def attach(connection: duckdb.DuckDBPyConnection, config: LakeConfig, statement: str | None = None) -> None:
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
    """Takes another session of the open DuckDB for each connection that dlt asks for, and turns for what writes."""

    _conn: Any

    def __init__(self, session: Session, config: LakeConfig, like: DuckLakeSqlClient, turn: Turn) -> None:
        super().__init__(like.dataset_name, like.staging_dataset_name, config.credentials, like.capabilities)
        self._session, self._turn = session, turn

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

    @contextmanager
    def begin_transaction(self) -> Iterator[Any]:
        """Begins one when it is our turn: what others committed before that is no conflict with it.

        It is taken back where the turn was lost meanwhile.
        """
        with self._turn(), super().begin_transaction() as transaction:
            yield transaction
            with self._turn():
                pass

    @contextmanager
    def execute_query(self, query: AnyStr, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Runs a statement, which is a transaction of its own outside of one."""
        turn = nullcontext() if READS.match(str(query)) else self._turn()
        with turn, super().execute_query(query, *args, **kwargs) as cursor:
            yield cursor


class _Client(MergeFromFiles, DuckLakeClient):
    """Writes each row to the lake once: what a staging table would hold is read from the load package."""


class _ShardClient(TurnTakingClient, _Client):
    """A shard's client."""


class DuckLakeDestination(CachedDestination, destination):
    """dlt's destination `name` for a lake that is open in this process; `session` makes another connection to it.

    `turn` is held by whoever writes.
    """

    def __init__(self, name: str, config: LakeConfig, session: Session, turn: Turn, shard: Shard) -> None:
        # By a name of its own dlt finds the settings of a named destination.
        own: dict[str, str] = {} if name == "ducklake" else {"destination_name": name}
        super().__init__(config.credentials, supports_transactions=True, parquet_format=UNCOMPRESSED, **own)
        self._session, self._turn, self._shard = session, turn, shard

    @property
    def client_class(self) -> type[DuckLakeClient]:
        """Returns the client of a whole sync or of a shard, which merges from files."""
        return _Client if self._shard.whole else _ShardClient

    @property
    def destination_type(self) -> str:
        """Returns dlt's own name: its traces and `dlt.attach` go by it, and would not know a subclass."""
        return "dlt.destinations.ducklake"

    def client(self, schema: dlt.Schema, initial_config: LakeConfig | None = None) -> DuckLakeClient:
        """Returns dlt's client, whose questions go to sessions of the open DuckDB."""
        client: Any = super().client(schema, initial_config)
        client.sql_client = SessionSqlClient(self._session, client.config, client.sql_client, self._turn)
        client.turn = self._turn
        return cast("DuckLakeClient", client)
