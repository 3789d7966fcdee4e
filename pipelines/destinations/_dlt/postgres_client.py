"""dlt's destination for Postgres with indexes for its merges, and with tables that shards make one at a time.

Why: dlt makes no index, so each merge reads the whole table and all below it; and `create table` of two shards at
once fails. Replaced by: an index hint that dlt heeds on Postgres, and a lock of dlt's own around schema changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, cast

from dlt.common.destination import PreparedTableSchema
from dlt.common.destination.client import FollowupJobRequest, LoadJob
from dlt.common.exceptions import TerminalValueError
from dlt.common.schema.typing import TColumnSchema, TColumnType, TSchemaTables
from dlt.common.storages.load_package import LoadJobInfo
from dlt.destinations import postgres as destination
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.impl.postgres.postgres import PostgresClient
from dlt.destinations.job_client_impl import SqlLoadJob

from gapless.pipelines.destinations._dlt.cached import CachedDestination, ComparingClient
from gapless.pipelines.destinations._dlt.postgres_credentials import LibpqConfiguration
from gapless.pipelines.destinations._dlt.types import UNKNOWN_TYPE
from gapless.pipelines.destinations.advisory_lock import in_turn
from gapless.sources._dlt.tables import ROOT_ID
from gapless.sources._ledger.shard import Shard

if TYPE_CHECKING:
    from gapless.pipelines.destinations._dlt.types import Credentials

FEW_VALUES = ("stream", "kind", "status")
"""Columns of keys that have few values: an index on one of them would find half of the table."""


class _SqlJob(SqlLoadJob):
    def run(self) -> None:
        """Counts what the merge will change, and runs its statements in one transaction."""
        client = cast("_Client", self._job_client)
        with suppress(DatabaseException):  # what cannot be compared is not known
            client.row_changes.compare(self.job_file_info().table_name, client.sql_client)
        super().run()


class _Client(ComparingClient, PostgresClient):
    """A whole sync's client: it is the only writer."""

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        """Returns dlt's job, or for a merge one that compares rows first."""
        if SqlLoadJob.is_sql_job(file_path):
            return _SqlJob(file_path)
        return super().create_load_job(table, file_path, load_id, restore)

    def create_table_chain_completed_followup_jobs(
        self,
        table_chain: Sequence[PreparedTableSchema],
        completed_table_chain_jobs: Sequence[LoadJobInfo] | None = None,
    ) -> list[FollowupJobRequest]:
        """Returns dlt's jobs, and notes the comparison to make before a merge."""
        self.note_comparison(table_chain)
        return super().create_table_chain_completed_followup_jobs(table_chain, completed_table_chain_jobs)

    def initialize_storage(self, truncate_tables: Iterable[str] | None = None) -> None:
        """Creates the dataset, in turn with other shards."""
        with self._in_turn():
            super().initialize_storage(truncate_tables)  # type: ignore[arg-type]  # dlt: `Iterable = None`

    def update_stored_schema(
        self,
        only_tables: Iterable[str] | None = None,
        expected_update: TSchemaTables | None = None,
        force: bool = False,
    ) -> TSchemaTables | None:
        """Creates and changes tables, in turn with other shards."""
        with self._in_turn():
            return super().update_stored_schema(only_tables, expected_update, force)  # type: ignore[arg-type]  # as above

    def _get_table_update_sql(
        self, table_name: str, new_columns: Sequence[TColumnSchema], generate_alter: bool
    ) -> list[str]:
        """Returns dlt's statements, and for a new table an index on the column that a merge looks rows up by."""
        statements = super()._get_table_update_sql(table_name, new_columns, generate_alter)
        columns = self.prepare_load_table(table_name)["columns"].values()
        # A root table is merged by its key, a nested one by the id of its root.
        names = [str(c["name"]) for c in columns if c.get("primary_key")] or [ROOT_ID]
        indexed = next((name for name in names if name not in FEW_VALUES), None)
        # Not for staging tables: they are read whole, once.
        if indexed in {c["name"] for c in columns} and not generate_alter and not self._is_staging:
            name = self.sql_client.escape_column_name(str(indexed))
            table = self.sql_client.make_qualified_table_name(table_name)
            statements.append(f"CREATE INDEX ON {table} USING hash ({name})")  # a b-tree refuses long values
        return statements

    def _from_db_type(self, pq_t: str, precision: int | None, scale: int | None) -> TColumnType:
        """Returns dlt's type of a column, also of one that somebody else has added."""
        try:
            return super()._from_db_type(pq_t, precision, scale)
        except TerminalValueError:
            return {"data_type": UNKNOWN_TYPE}

    @property
    def _is_staging(self) -> bool:
        return self.sql_client.is_staging_dataset_active

    def _in_turn(self) -> AbstractContextManager[None]:
        return nullcontext()


class _ShardClient(_Client):
    """A shard's client: other shards write beside it."""

    def _in_turn(self) -> AbstractContextManager[None]:
        return in_turn(self.config.credentials.to_native_representation())


class PostgresDestination(CachedDestination, destination):
    """dlt's destination `name`; `settings` are what dlt's class takes.

    Without credentials they are those of dlt's configuration.
    """

    spec = LibpqConfiguration  # type: ignore[assignment]  # dlt's is a class attribute of its own type

    # dlt takes an argument for set when it differs from the default here.
    def __init__(
        self, name: str, credentials: Credentials | None = None, shard: Shard | None = None, **settings: object
    ) -> None:
        if name != "postgres":
            settings["destination_name"] = name
        super().__init__(credentials, **settings)
        self._shard = shard or Shard()

    @property
    def client_class(self) -> type[PostgresClient]:
        """Returns the client of a whole sync or of a shard."""
        return _Client if self._shard.whole else _ShardClient

    @property
    def destination_type(self) -> str:
        """Returns dlt's own name: its traces and `dlt.attach` go by it, and would not know a subclass."""
        return "dlt.destinations.postgres"
