"""Postgres: an advisory lock that every machine sees, connections that notice a dead network, UTC, shards."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from gapless.pipelines.destinations._postgres.address import FORMS, missing_file
from gapless.pipelines.destinations._postgres.read_only import read_only
from gapless.pipelines.destinations._postgres.session import with_session
from gapless.pipelines.destinations._postgres.statistics import SIGNS, UNIQUE
from gapless.pipelines.destinations._postgres.turns import Turns
from gapless.pipelines.destinations._postgres.unreachable import unreachable
from gapless.pipelines.destinations.advisory_lock import locked, shards_at_work
from gapless.pipelines.destinations.backend import PACKAGE_BYTES, Backend, Check, Compaction, Part, Sign
from gapless.pipelines.errors import WrongSettings
from gapless.sources._ledger.shard import Shard

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from psycopg2.extensions import connection as Connection

    from gapless.pipelines.destinations._catalogs.obstacle import Asked, Dataset, Obstacle
    from gapless.pipelines.destinations._dlt.postgres_credentials import LibpqCredentials
    from gapless.pipelines.destinations._dlt.types import Credentials, DestinationArgument


class PostgresDatabase(Backend):
    """A database of a Postgres server."""

    updates_rows = server_locks = True
    # Rows are copied a few thousand at a time, and every package takes a tenth of a second of its own.
    package_bytes = 4 * PACKAGE_BYTES

    def datasets(self, reader: Asked) -> list[str]:
        """Returns the datasets that are there and have the tables of a ledger."""
        from gapless.pipelines.destinations._catalogs.left import datasets

        return datasets(reader)

    @classmethod
    def obstacles(cls, reader: Asked, dataset: Dataset) -> Iterator[Obstacle]:
        """Yields what somebody changed of a dataset's tables so that a sync cannot write."""
        from gapless.pipelines.destinations._catalogs.postgres_catalog import obstacles

        return obstacles(reader, dataset)

    @classmethod
    def signs(cls, reader: Asked, dataset: str, tables: Collection[str]) -> dict[str, Sign]:
        """Returns what the server's statistics say of tables; none if it keeps none of any of them."""
        query = SIGNS.format(dataset, ", ".join(f"'{table}'" for table in tables))
        found = {name: Sign(*sign) for name, *sign in reader.rows(dataset, query) or ()}
        return found if found.keys() == {*tables} else {}

    @classmethod
    def is_alone(cls, reader: Asked, source: str) -> bool:
        """Returns whether the server holds the lock of one shard of a source alone."""
        ((shards,),) = reader.rows(source, shards_at_work(source)) or [(0,)]
        return bool(shards == 1)

    @classmethod
    def refuses_doubled(cls, reader: Asked, dataset: str, table: str) -> bool:
        """Returns whether a table has dlt's unique index on `_dlt_id`."""
        return bool(reader.rows(dataset, UNIQUE.format(dataset, table)))

    @classmethod
    def configured(cls, name: str) -> DestinationArgument:
        """Returns dlt's destination with credentials that may lack what libpq finds itself."""
        from gapless.pipelines.destinations._dlt.postgres_client import PostgresDestination

        return PostgresDestination(name)

    def check(self) -> None:
        """Raises WrongSettings when nothing leads to a database (libpq would try one of the user's name here), or a
        file of the address is not there."""
        credentials = self.config.credentials
        setting = f"DESTINATION__{self.name.upper()}__CREDENTIALS"
        require_files(credentials, self.name, setting)
        written = credentials.query is not None  # an address as one text, which may be `postgresql:///`
        if not written and not any(map(credentials.place, ("host", "dbname", "service", "user"))):
            raise WrongSettings(
                f"destination {self.name!r} has no address. Set {setting} to"
                f" {FORMS}, or libpq's own variables (PGHOST, PGSERVICE); pipelines/docs/DESTINATIONS.md shows them."
            )

    @contextmanager
    def queried(self, connection: DuckDBPyConnection | None) -> Iterator[None]:
        """Yields None, as dlt is asked. Raises GaplessError when the server cannot be reached."""
        import psycopg2

        try:
            yield None
        except psycopg2.OperationalError as error:
            if error.pgcode:  # of a statement
                raise
            raise unreachable(error, self.name) from None

    def compact(self, datasets: Sequence[str]) -> Compaction | None:
        """Writes the tables of the datasets anew, and empties those in which the last load was staged."""
        from gapless.pipelines.destinations._compaction.postgres_database import compact

        sizes = compact(self._credentials.to_native_representation(), self.name, datasets)
        return Compaction(*sizes) if sizes else None

    def guarded(self, part: Part) -> AbstractContextManager[Check]:
        """Holds advisory locks: the server frees them when this process is gone."""
        return database_lock(self._credentials, self.name, part)

    def dlt_destination(self, shard: Shard, connection: DuckDBPyConnection | None) -> DestinationArgument:
        """Returns dlt's destination that loads by `COPY` and has our indexes."""
        from gapless.pipelines.destinations._dlt.postgres_client import PostgresDestination

        return PostgresDestination(self.name, self._credentials, shard, self._turns.taken)

    def read_only(self, seconds: float) -> AbstractContextManager[Connection]:
        """Yields a connection that only reads, whose statements may take `seconds` each.

        Raises psycopg2.OperationalError when the server cannot be reached.
        """
        return read_only(self._credentials.to_native_representation(), seconds)

    @cached_property
    def _turns(self) -> Turns:
        """Remembers over all pipelines of a sync whether one was waited for in vain."""
        return Turns(self._credentials.to_native_representation())

    @property
    def _credentials(self) -> Credentials:
        credentials: Credentials = with_session(self.config.credentials)
        return credentials


def require_files(credentials: LibpqCredentials, name: str, setting: str) -> None:
    """Raises WrongSettings when the address in a setting, or a variable of libpq, names no file that is there."""
    if problem := missing_file(credentials.given()):
        where = f"{setting} cannot be used: its " if problem[0].islower() else "the environment cannot be used: "
        raise WrongSettings(f"destination {name!r}: {where}{problem}. Correct the path.")


def database_lock(credentials: Credentials, name: str, part: Part) -> AbstractContextManager[Check]:
    """Holds the advisory locks of a part of the database that dlt's credentials (with our session) lead to."""
    return locked(credentials.to_native_representation(), name, part)
