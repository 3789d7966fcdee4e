"""dlt's destination for Postgres, with what many writers and many rows need of it.

Shards make and change tables one at a time: `create table` of two at once fails. What a merge looks rows up by has an
index: dlt makes none, and reads the whole table and all below it for every package.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from dlt.common.schema.typing import TColumnSchema, TSchemaTables
from dlt.destinations import postgres as destination
from dlt.destinations.impl.postgres.postgres import PostgresClient

from gapless.pipelines.destinations.advisory_lock import in_turn
from gapless.pipelines.destinations.cached import LookedUpOnce
from gapless.sources._incremental.shard import Shard

FEW = ("stream", "kind", "status")
"""Parts of a key that have few values."""


class _Client(PostgresClient):
    def initialize_storage(self, truncate_tables: Iterable[str] | None = None) -> None:
        with self._alone():
            super().initialize_storage(truncate_tables)  # type: ignore[arg-type]

    def update_stored_schema(
        self,
        only_tables: Iterable[str] | None = None,
        expected_update: TSchemaTables | None = None,
        force: bool = False,
    ) -> TSchemaTables | None:
        with self._alone():
            return super().update_stored_schema(only_tables, expected_update, force)  # type: ignore[arg-type]

    def _get_table_update_sql(
        self, table_name: str, new_columns: Sequence[TColumnSchema], generate_alter: bool
    ) -> list[str]:
        statements = super()._get_table_update_sql(table_name, new_columns, generate_alter)
        columns = self.prepare_load_table(table_name)["columns"].values()
        names = [str(c["name"]) for c in columns if c.get("primary_key")] or ["_dlt_root_id"]
        telling = next((name for name in names if name not in FEW), None)
        if telling in {c["name"] for c in columns} and not generate_alter and not self._is_staging:
            name = self.sql_client.escape_column_name(str(telling))
            table = self.sql_client.make_qualified_table_name(table_name)
            statements.append(f"CREATE INDEX ON {table} USING hash ({name})")  # a b-tree refuses long values
        return statements

    @property
    def _is_staging(self) -> bool:
        return self.sql_client.is_staging_dataset_active

    def _alone(self) -> AbstractContextManager[None]:
        return nullcontext()


class _ShardsClient(_Client):
    def _alone(self) -> AbstractContextManager[None]:
        credentials = self.config.credentials
        return in_turn(credentials.to_native_representation(), credentials.get_query().get("options"))


class PostgresDatabase(LookedUpOnce, destination):
    """`name` as dlt's configuration has it; a shard has staging tables of its own."""

    def __init__(self, name: str, credentials: Any, shard: Shard) -> None:
        own: dict[str, Any] = {} if name == "postgres" else {"destination_name": name}
        if not shard.whole:
            own["staging_dataset_name_layout"] = f"%s_staging_{shard.number}_of_{shard.of}"
        super().__init__(credentials, **own)
        self._shard = shard

    @property
    def client_class(self) -> type[PostgresClient]:
        return _Client if self._shard.whole else _ShardsClient

    @property
    def destination_type(self) -> str:
        """As dlt knows it, in its traces and for `dlt.attach`."""
        return "dlt.destinations.postgres"
