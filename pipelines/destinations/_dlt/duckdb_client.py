"""dlt's destination for DuckDB that merges straight from the files of a load package.

Why: dlt would copy the files into staging tables first and so write everything twice, which is half of a load's time.
Replaced by: a dlt that merges from files, or staging as a view over the files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from dlt.common.destination import PreparedTableSchema
from dlt.common.destination.client import FollowupJobRequest, HasFollowupJobs, LoadJob, RunnableLoadJob
from dlt.common.exceptions import TerminalValueError
from dlt.common.schema.typing import TColumnType
from dlt.common.storages.load_package import LoadJobInfo
from dlt.destinations import duckdb as destination
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.impl.duckdb.duck import DuckDbClient, DuckDbCopyJob
from dlt.destinations.job_client_impl import SqlLoadJob

from gapless.pipelines.destinations._dlt.cached import UNCOMPRESSED, CachedDestination, ComparingClient
from gapless.pipelines.destinations._dlt.duckdb_memory import with_room
from gapless.pipelines.destinations._dlt.types import UNKNOWN_TYPE

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

VECTOR_ROWS, VECTOR_BYTES = 2_048, 4 * 2**20
"""Rows of a vector in DuckDB, and the bytes that one may have."""


class _NothingToStage(RunnableLoadJob, HasFollowupJobs):
    """Runs on one of dlt's workers, whose end wakes the loader; it would else look again in a second."""

    def run(self) -> None:
        """Prepares the file for the merge."""
        cut_row_groups(Path(self._file_path))


class _SqlJob(SqlLoadJob):
    """Runs a merge again, with more memory, if DuckDB had too little."""

    def run(self) -> None:
        """Counts what the merge will change, and runs its statements in one transaction."""
        client = cast("MergeFromFiles", self._job_client)
        connection, table = client.sql_client.native_connection, self.job_file_info().table_name
        with suppress(DatabaseException):  # what cannot be compared, also for want of memory, is not known
            client.row_changes.compare(table, client.sql_client)
        with_room(connection, super().run)


class _CopyJob(DuckDbCopyJob):
    """Inserts a file again, with more memory, if DuckDB had too little."""

    def run(self) -> None:
        """Inserts the file by one statement."""
        with_room(self._job_client.sql_client.native_connection, super().run)


class MergeFromFiles(ComparingClient, DuckDbClient):
    """Merges by dlt's own statements, in one transaction, with the staging table replaced by the package's files."""

    def should_load_data_to_staging_dataset(self, table_name: str) -> bool:
        """Returns False: no table is staged."""
        return False

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        """Returns a job that does nothing for files that are merged, else dlt's own."""
        if _is_merged(table) and file_path.endswith(".parquet"):
            return _NothingToStage(file_path)
        if SqlLoadJob.is_sql_job(file_path):
            return _SqlJob(file_path)
        job = super().create_load_job(table, file_path, load_id, restore)
        return _CopyJob(file_path) if type(job) is DuckDbCopyJob else job

    def create_table_chain_completed_followup_jobs(
        self,
        table_chain: Sequence[PreparedTableSchema],
        completed_table_chain_jobs: Sequence[LoadJobInfo] | None = None,
    ) -> list[FollowupJobRequest]:
        """Returns dlt's jobs, in whose SQL files the names of staging tables are replaced by the package's files."""
        jobs = super().create_table_chain_completed_followup_jobs(table_chain, completed_table_chain_jobs)
        if _is_merged(table_chain[0]):
            # dlt runs the statements from a file that it has just written into the package.
            for job in jobs:
                path = Path(job.new_file_path())
                path.write_text(self._from_files(path.read_text(), table_chain, completed_table_chain_jobs or ()))
        self.note_comparison(
            table_chain, "rowid", lambda sql: self._from_files(sql, table_chain, completed_table_chain_jobs or ())
        )
        return jobs

    def _from_db_type(self, db_type: str, precision: int | None, scale: int | None) -> TColumnType:
        """Returns dlt's type of a column, also of one that somebody else has added."""
        try:
            return super()._from_db_type(db_type, precision, scale)
        except TerminalValueError:
            return {"data_type": UNKNOWN_TYPE}

    def _from_files(self, sql: str, tables: Sequence[PreparedTableSchema], done: Sequence[LoadJobInfo]) -> str:
        """Returns `sql` reading what a staging table would hold: the files' rows, null for a missing column."""
        for name in (str(table["name"]) for table in tables):
            files = ", ".join(_literal(job.file_path) for job in done if job.job_file_info.table_name == name)
            table, staged = self.sql_client.get_qualified_table_names(name)
            # The table itself, without rows, gives the columns that the files of an older schema lack.
            rows = f"(from {table} where false union all by name from read_parquet([{files}]))"
            # dlt writes the name before a blank or at the end of a statement; a longer name that begins alike stays.
            sql = sql.replace(f"{staged} ", f"{rows} ").replace(f"{staged};", f"{rows};")
        return sql


def cut_row_groups(file: Path) -> None:
    """Writes a parquet file again with smaller row groups, if a vector of its rows has more than VECTOR_BYTES.

    Why: to read JSON, DuckDB needs about six times the bytes of a vector (2,048 rows), which ends with its row group.
    """
    if file.suffix != ".parquet":
        return
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as found:
        groups = [found.metadata.row_group(number) for number in range(found.num_row_groups)]
        each = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=0)
        rows = max(1, int(VECTOR_BYTES / max(1, each)))
        if rows >= VECTOR_ROWS or all(group.num_rows <= rows for group in groups):
            return
        cut = file.with_suffix(".cut")
        with pq.ParquetWriter(cut, found.schema_arrow, compression="none") as writer:
            for batch in found.iter_batches(batch_size=rows):
                writer.write_batch(batch)
    cut.replace(file)


def _literal(path: str) -> str:
    """Returns a path as SQL text. dlt cuts statements at `;` and DuckDB takes a path for a pattern, so unusual
    characters become wildcards: `*` beyond ASCII, where `?` is a byte in DuckDB 1 and a character in DuckDB 2."""
    return "'" + re.sub(r"[^\x00-\x7f]+", "*", re.sub(r"[^/.a-zA-Z0-9_\x80-\U0010ffff-]", "?", path)) + "'"


def _is_merged(table: PreparedTableSchema) -> bool:
    return table["write_disposition"] == "merge"


class DuckdbDestination(CachedDestination, destination):
    """dlt's destination for a DuckDB file by its path, or for one that is open in this process."""

    def __init__(self, credentials: str | DuckDBPyConnection) -> None:
        # Without transactions dlt deletes and inserts in two of them when a table has no children.
        super().__init__(credentials, supports_transactions=True, parquet_format=UNCOMPRESSED)

    @property
    def client_class(self) -> type[DuckDbClient]:
        """Returns the client that merges from files."""
        return MergeFromFiles

    @property
    def destination_type(self) -> str:
        """Returns dlt's own name: its traces and `dlt.attach` go by it, and would not know a subclass."""
        return "dlt.destinations.duckdb"
