"""Postgres: an advisory lock that every machine sees, connections that notice a dead network, UTC, shards."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from gapless.pipelines.destinations.advisory_lock import locked
from gapless.pipelines.destinations.backend import Backend, Check, Part, staging
from gapless.pipelines.destinations.keepalive import with_keepalive
from gapless.sources._ledger.shard import Shard

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from gapless.pipelines.destinations._dlt.types import Credentials, DestinationArgument

IN_UTC = "-ctimezone=UTC"
"""A server in another time zone sends the last hours of 9999 as the year 10000, of which Python has no datetime."""


class PostgresDatabase(Backend):
    """A database of a Postgres server."""

    file_format = "insert_values"  # dlt loads parquet only by a driver that cannot write jsonb
    updates_rows = True

    def guarded(self, part: Part) -> AbstractContextManager[Check]:
        """Holds advisory locks: the server frees them when this process is gone."""
        return database_lock(self._credentials, self.name, part)

    def dlt_destination(self, shard: Shard, connection: DuckDBPyConnection | None) -> DestinationArgument:
        """Returns dlt's destination with our indexes; a shard has staging tables of its own."""
        from gapless.pipelines.destinations._dlt.postgres_client import PostgresDestination

        return PostgresDestination(self.name, self._credentials, shard, **staging(shard))

    @property
    def _credentials(self) -> Credentials:
        credentials: Credentials = with_keepalive(self.config.credentials)
        query = dict(credentials.query or {})
        options = str(query["options"])
        if not options.endswith(IN_UTC):  # after the user's, as the last one counts
            credentials.query = {**query, "options": f"{options} {IN_UTC}"}
        return credentials


def database_lock(credentials: Credentials, name: str, part: Part) -> AbstractContextManager[Check]:
    """Holds the advisory locks of a part of the database that dlt's credentials (with keep-alive) lead to."""
    return locked(credentials.to_native_representation(), name, credentials.get_query()["options"], part)
