"""dlt's destination for Postgres that loads by `COPY`, with indexes for its merges, and tables made one at a time.

Why: dlt writes each value as SQL text and inserts it twice, which costs six times as much; it makes no index, so each
merge reads the whole table and all below it; and `create table` of two shards at once fails. Replaced by: a dlt that
copies parquet files into Postgres without a driver that lacks jsonb, an index hint that it heeds, and a lock of its
own around schema changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, cast

import dlt
import psycopg2
from dlt.common.destination import PreparedTableSchema
from dlt.common.destination.client import FollowupJobRequest, HasFollowupJobs, LoadJob, RunnableLoadJob
from dlt.common.exceptions import TerminalValueError
from dlt.common.schema.typing import TColumnSchema, TColumnType
from dlt.common.storages.load_package import LoadJobInfo
from dlt.destinations import postgres as destination
from dlt.destinations.impl.postgres.factory import PostgresTypeMapper
from dlt.destinations.impl.postgres.postgres import PostgresClient
from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient
from dlt.destinations.job_client_impl import SqlLoadJob

from gapless.pipelines.destinations._dlt.cached import (
    UNCOMPRESSED,
    CachedDestination,
    ComparingClient,
    Turn,
    TurnTakingClient,
)
from gapless.pipelines.destinations._dlt.postgres_credentials import LibpqConfiguration
from gapless.pipelines.destinations._dlt.types import UNKNOWN_TYPE
from gapless.pipelines.destinations._postgres.copying import copy_rows, read_files
from gapless.pipelines.destinations._postgres.merging import PackageMerge, PackageTable
from gapless.pipelines.destinations._postgres.session import lift_limits
from gapless.pipelines.destinations._postgres.statistics import changes
from gapless.sources._dlt.row_changes import WrittenRows
from gapless.sources._dlt.tables import ROOT_ID
from gapless.sources._ledger.shard import Shard

if TYPE_CHECKING:
    from gapless.pipelines.destinations._dlt.types import Credentials

FEW_VALUES = ("stream", "kind", "status")
"""Columns of keys that have few values: an index on one of them would find half of the table."""


class _NothingToStage(RunnableLoadJob, HasFollowupJobs):
    """Runs on one of dlt's workers, whose end wakes the loader; it would else look again in a second."""

    def run_managed(self, job_client: Any, done_event: BoundedSemaphore, /) -> None:
        """Runs without the connection that dlt opens for each job."""
        super().run_managed(_NoConnection(), done_event)  # type: ignore[arg-type]  # the two methods that dlt calls

    def run(self) -> None:
        """Does nothing: the merge reads the file."""


class _NoConnection(nullcontext[None]):
    def prepare_load_job_execution(self, job: RunnableLoadJob) -> None:
        """Does nothing, as no statement will be sent."""


class _CopyJob(RunnableLoadJob, HasFollowupJobs):
    """Adds the rows of a file to a table that is not merged."""

    def run(self) -> None:
        """Copies the file in one transaction."""
        client = cast("_Client", self._job_client).sql_client
        with _transaction(client) as cursor:
            table = client.make_qualified_table_name(self.load_table_name)
            copy_rows(cursor, table, read_files([Path(self._file_path)]), client.escape_column_name)


class _MergeJob(SqlLoadJob):
    """Merges a root table and those below it in one transaction."""

    def run(self) -> None:
        """Copies what is new; counts what the rest will change, and runs dlt's statements for it."""
        client, table = cast("_Client", self._job_client), self.job_file_info().table_name
        statements = self._split_fragments(Path(self._file_path).read_text())
        written, package = client.written, client.merges[table]
        try:
            with _transaction(client.sql_client) as cursor:

                def merge() -> None:
                    with _savepoint(cursor):  # what cannot be compared is not known
                        client.row_changes.compare(table, _Within(cursor))  # type: ignore[arg-type]  # all that it calls
                    for statement in statements:
                        cursor.execute(statement)

                merged = package.run(cursor, merge)
                if not merged.known:
                    client.row_changes.note_new(table)
                changed = changes(cursor, [one.stored for one in package.tables])
        except BaseException:
            written.doubtful = True
            raise
        # Where the server counted other rows, as under a trigger of somebody else, the sum of ids is not known.
        summed = all(changed[name][0] - changed[name][1] == grown.rows for name, grown in merged.growth.items())
        sums = {name: grown.checksum for name, grown in merged.growth.items()} if summed else {}
        written.add(changed, sums)


@contextmanager
def _transaction(client: Any) -> Iterator[Any]:
    """Yields a cursor within a transaction. Raises dlt's error for one of the driver's, to say if to try again."""
    try:
        with client.begin_transaction(), client.native_connection.cursor() as cursor:
            yield cursor
    except psycopg2.Error as error:
        raise client._make_database_exception(error) from error


class _Within:
    """A connection in the middle of a transaction: dlt's own ends it when a statement fails."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def execute_sql(self, sql: str) -> Any:
        """Returns the rows of a query."""
        self._cursor.execute(sql)
        return self._cursor.fetchall()


@contextmanager
def _savepoint(cursor: Any) -> Iterator[None]:
    """Takes back what fails within, and only that."""
    cursor.execute("savepoint compared")
    try:
        yield
    except psycopg2.DatabaseError:
        cursor.execute("rollback to savepoint compared")


class _SqlClient(Psycopg2SqlClient):
    """Lifts the limits for the time of a session, which no connection's address can name for every server."""

    def _reset_connection(self) -> None:
        super()._reset_connection()  # to what the server, the database and the role have
        lift_limits(self._conn)


class _Jsonb(PostgresTypeMapper):
    """Makes JSON `jsonb`, whatever files the rows come in."""

    def to_destination_type(self, column: TColumnSchema, table: PreparedTableSchema) -> str:
        """Returns the type of a column in SQL."""
        return super().to_destination_type(column, {**table, "file_format": None})


class _Client(ComparingClient, PostgresClient):
    """A whole sync's client: it is the only writer."""

    merges: dict[str, PackageMerge]
    """Those of the load package that is loaded, by root table; all clients of a sync share them."""
    written: WrittenRows
    """What all of them have written."""

    def should_load_data_to_staging_dataset(self, table_name: str) -> bool:
        """Returns False: temporary tables stage what must be staged."""
        return False

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        """Returns a job that merges, that adds a file's rows, or that leaves the file to the merge."""
        if SqlLoadJob.is_sql_job(file_path):
            return _MergeJob(file_path)
        return (_NothingToStage if table["write_disposition"] == "merge" else _CopyJob)(file_path)

    def create_table_chain_completed_followup_jobs(
        self,
        table_chain: Sequence[PreparedTableSchema],
        completed_table_chain_jobs: Sequence[LoadJobInfo] | None = None,
    ) -> list[FollowupJobRequest]:
        """Returns dlt's jobs; notes which files to merge, and what to compare before."""
        self.note_comparison(table_chain)
        root, done = table_chain[0], completed_table_chain_jobs or ()
        self.merges[str(root["name"])] = PackageMerge(
            [self._package_table(table, done) for table in table_chain],
            [name for name, column in root["columns"].items() if column.get("primary_key")],
            self.sql_client.escape_column_name,
        )
        return super().create_table_chain_completed_followup_jobs(table_chain, completed_table_chain_jobs)

    def _package_table(self, table: PreparedTableSchema, done: Sequence[LoadJobInfo]) -> PackageTable:
        name = str(table["name"])
        files = [Path(job.file_path) for job in done if job.job_file_info.table_name == name]
        stored, staged = self.sql_client.get_qualified_table_names(name)
        return PackageTable(name, stored, staged, files, is_root="parent" not in table)

    def _get_table_update_sql(
        self, table_name: str, new_columns: Sequence[TColumnSchema], generate_alter: bool
    ) -> list[str]:
        """Returns dlt's statements, and for a new table an index on the column that a merge looks rows up by."""
        statements = super()._get_table_update_sql(table_name, new_columns, generate_alter)
        columns = self.prepare_load_table(table_name)["columns"].values()
        # A root table is merged by its key, a nested one by the id of its root.
        names = [str(c["name"]) for c in columns if c.get("primary_key")] or [ROOT_ID]
        indexed = next((name for name in names if name not in FEW_VALUES), None)
        if indexed in {c["name"] for c in columns} and not generate_alter:
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


class _ShardClient(TurnTakingClient, _Client):
    """A shard's client."""


def _parquet(preferred: Any, supported: Any, **table: Any) -> tuple[str, list[str]]:
    """Returns the one format of files; dlt's own choice takes parquet away where a driver for it is missing."""
    return "parquet", ["parquet"]


LOADED: dict[str, Any] = {
    "supported_loader_file_formats": ["parquet"],
    "loader_file_format_selector": _parquet,
    "parquet_format": UNCOMPRESSED,
    "type_mapper": _Jsonb,
    # The schema of a session's temporary tables: dlt's statements read what is staged from there.
    "staging_dataset_name_layout": "pg_temp",
}
"""What dlt must know of how rows are loaded."""


class PostgresDestination(CachedDestination, destination):
    """dlt's destination `name`; `settings` are what dlt's class takes.

    Without credentials they are those of dlt's configuration. A shard has its `turn` to make tables.
    """

    spec = LibpqConfiguration  # type: ignore[assignment]  # dlt's is a class attribute of its own type

    # dlt takes an argument for set when it differs from the default here.
    def __init__(
        self,
        name: str,
        credentials: Credentials | None = None,
        shard: Shard | None = None,
        turn: Turn = nullcontext,
        **settings: object,
    ) -> None:
        if name != "postgres":
            settings["destination_name"] = name
        super().__init__(credentials, **settings, **LOADED)
        self._shard, self._merges = shard or Shard(), dict[str, PackageMerge]()
        self._turn = turn
        self.written = WrittenRows()

    def client(self, schema: dlt.Schema, initial_config: Any = None) -> Any:
        """Returns dlt's client, which shares with the others what to merge, and what was written."""
        client: Any = super().client(schema, initial_config)
        client.merges, client.written = self._merges, self.written
        client.turn = self._turn
        like = client.sql_client
        client.sql_client = _SqlClient(
            like.dataset_name, like.staging_dataset_name, like.credentials, like.capabilities
        )
        return client

    @property
    def client_class(self) -> type[PostgresClient]:
        """Returns the client of a whole sync or of a shard."""
        return _Client if self._shard.whole else _ShardClient

    @property
    def destination_type(self) -> str:
        """Returns dlt's own name: its traces and `dlt.attach` go by it, and would not know a subclass."""
        return "dlt.destinations.postgres"
