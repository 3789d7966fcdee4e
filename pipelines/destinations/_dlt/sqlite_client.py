"""dlt's destination for SQLite, which stores JSON as the text it is.

Why: dlt 1.31 makes a JSON string of the text in a parquet file; and in a column that is declared as JSON SQLite takes
what looks like a number for one and rounds it. Replaced by: text columns for JSON in dlt's SQLAlchemy type mapper.
"""

from __future__ import annotations

import warnings
from typing import Any

import sqlalchemy as sa
from dlt.common.destination import PreparedTableSchema
from dlt.common.exceptions import TerminalValueError
from dlt.common.schema.typing import TColumnSchema
from dlt.destinations import sqlalchemy as destination
from dlt.destinations.impl.sqlalchemy.type_mapper import SqlalchemyTypeMapper

from gapless.pipelines.destinations._dlt.types import UNKNOWN_TYPE


class JsonAsText(SqlalchemyTypeMapper):
    """Maps dlt's type `json` to text, all others as dlt does."""

    def db_type_from_json_type(self, column: TColumnSchema, table: PreparedTableSchema) -> sa.Text:
        """Returns the type of a column that holds JSON."""
        return sa.Text()

    def from_destination_type(
        self, db_type: Any, precision: int | None = None, scale: int | None = None
    ) -> TColumnSchema:
        """Returns dlt's type of a column, also of one that somebody else has added."""
        try:
            return super().from_destination_type(db_type, precision, scale)
        except TerminalValueError:
            return {"data_type": UNKNOWN_TYPE}


class _SqliteDestination(destination):
    """Has no `__init__`, because dlt takes the defaults of its settings from the signature of one."""

    @property
    def destination_type(self) -> str:
        """Returns dlt's own name: its traces and `dlt.attach` go by it, and would not know a subclass."""
        return "dlt.destinations.sqlalchemy"


def sqlite_destination(name: str, credentials: Any) -> destination:
    """Returns dlt's destination `name` for a SQLite database."""
    # dlt's own merge brings it up with each load, and nobody who reads it can do anything.
    warnings.filterwarnings("ignore", "Coercing Subquery object", sa.exc.SAWarning)
    if name == "sqlalchemy":
        return _SqliteDestination(credentials, type_mapper=JsonAsText)
    return _SqliteDestination(credentials, type_mapper=JsonAsText, destination_name=name)
