"""SQLite, by dlt's destination for SQLAlchemy: a file per source beside the one that is named, as dlt has it.

JSON is kept as the text it is. dlt 1.31 would make a JSON string of the text in a parquet file, and in a column that
is declared as JSON SQLite takes what looks like a number for one and rounds it.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from dlt.common.destination import PreparedTableSchema
from dlt.common.schema.typing import TColumnSchema
from dlt.destinations import sqlalchemy as destination
from dlt.destinations.impl.sqlalchemy.type_mapper import SqlalchemyTypeMapper


class _Types(SqlalchemyTypeMapper):
    def db_type_from_json_type(self, column: TColumnSchema, table: PreparedTableSchema) -> Any:
        return sa.Text()


class _SqliteFile(destination):
    @property
    def destination_type(self) -> str:
        """As dlt knows it, in its traces and for `dlt.attach`."""
        return "dlt.destinations.sqlalchemy"


def sqlite_file(name: str, credentials: Any) -> destination:
    """dlt's destination, by its name in dlt's configuration."""
    own: dict[str, Any] = {} if name == "sqlalchemy" else {"destination_name": name}
    return _SqliteFile(credentials, type_mapper=_Types, **own)
