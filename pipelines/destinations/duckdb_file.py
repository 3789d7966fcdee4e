"""The DuckDB file: opened once for a whole sync, and dlt's destination for it, quicker to ask."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import duckdb
from dlt.common.destination import PreparedTableSchema
from dlt.common.destination.client import FollowupJobRequest, HasFollowupJobs, LoadJob, RunnableLoadJob
from dlt.common.destination.configuration import ParquetFormatConfiguration
from dlt.common.storages.load_package import LoadJobInfo
from dlt.destinations import duckdb as destination
from dlt.destinations.impl.duckdb.duck import DuckDbClient

from gapless.pipelines.destinations.cached import LookedUpOnce
from gapless.pipelines.errors import GaplessError

MEMORY = "100MB"
"""What DuckDB may hold beside Python's own; more goes to its temporary files."""

UNCOMPRESSED = ParquetFormatConfiguration(compression="none")
"""Files that are read once, at once, are not worth compressing."""
READERS_TIME = 3.0
"""Seconds for a reader to end: `gapless status` beside a sync takes less than one."""


@contextmanager
def opened(file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Raises GaplessError: DuckDB admits nobody beside a writer, not even readers.

    It stays open for the whole sync: closing it compresses what was just staged, a third of all the time.
    """
    try:
        connection = _connection(file)
    except duckdb.Error as error:
        first = str(error).strip().split("\n", 1)[0][:300]
        raise GaplessError(
            f"cannot open {file} for writing: {first}. If another program has it open, close"
            " it there; to read while a sync writes, read a copy (gapless publish PATH). Another file:"
            " DESTINATION__DUCKDB__CREDENTIALS=PATH."
        ) from None
    with connection:
        connection.execute(f"set global memory_limit = '{MEMORY}'")
        yield connection


def _connection(file: Path) -> duckdb.DuckDBPyConnection:
    until = monotonic() + READERS_TIME
    while True:
        try:
            return duckdb.connect(str(file))
        except duckdb.IOException as error:
            if "lock" not in str(error).lower() or monotonic() > until:
                raise
        sleep(0.05)


class _Staged(RunnableLoadJob, HasFollowupJobs):
    """Nothing to do, but by one of dlt's workers, who wake the loader; it would else look again in a second."""

    def run(self) -> None:
        pass


class FromFiles(DuckDbClient):
    """Merges from the parquet files of a load package: dlt would copy them into staging tables first, and so write
    everything twice, which is half of a load's time. The statements are dlt's own, in one transaction as before."""

    def should_load_data_to_staging_dataset(self, table_name: str) -> bool:
        return False

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        if _is_merged(table) and file_path.endswith(".parquet"):
            return _Staged(file_path)
        return super().create_load_job(table, file_path, load_id, restore)

    def create_table_chain_completed_followup_jobs(
        self,
        table_chain: Sequence[PreparedTableSchema],
        completed_table_chain_jobs: Sequence[LoadJobInfo] | None = None,
    ) -> list[FollowupJobRequest]:
        jobs = super().create_table_chain_completed_followup_jobs(table_chain, completed_table_chain_jobs)
        if _is_merged(table_chain[0]):
            for job in jobs:
                path = Path(job.new_file_path())
                path.write_text(self._from_files(path.read_text(), table_chain, completed_table_chain_jobs or ()))
        return jobs

    def _from_files(self, sql: str, tables: Sequence[PreparedTableSchema], done: Sequence[LoadJobInfo]) -> str:
        """What a staging table would hold: the files' rows, and null where a column is only in the destination."""
        for name in (str(table["name"]) for table in tables):
            files = ", ".join(_literal(job.file_path) for job in done if job.job_file_info.table_name == name)
            table, staged = self.sql_client.get_qualified_table_names(name)
            rows = f"(from {table} where false union all by name from read_parquet([{files}]))"
            sql = sql.replace(f"{staged} ", f"{rows} ").replace(f"{staged};", f"{rows};")
        return sql


def _literal(path: str) -> str:
    """dlt cuts statements at `;`, and DuckDB takes a path for a pattern: every odd byte of it becomes a wildcard."""
    return "'" + re.sub(rb"[^/.a-zA-Z0-9_-]", b"?", path.encode()).decode() + "'"


def _is_merged(table: PreparedTableSchema) -> bool:
    return table["write_disposition"] == "merge"


class DuckdbFile(LookedUpOnce, destination):
    """dlt's destination for a file, or for one that is open here."""

    def __init__(self, credentials: Any) -> None:
        # Without transactions dlt deletes and inserts in two of them when a table has no children.
        super().__init__(credentials, supports_transactions=True, parquet_format=UNCOMPRESSED)

    @property
    def client_class(self) -> type[DuckDbClient]:
        return FromFiles

    @property
    def destination_type(self) -> str:
        """As dlt knows it, in its traces and for `dlt.attach`."""
        return "dlt.destinations.duckdb"
