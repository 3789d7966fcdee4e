"""The page's questions to a Postgres server, in one read-only transaction for each view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from gapless.pipelines.destinations.reader import by_table
from gapless.pipelines.printable import command
from gapless.pipelines.ui.database.login import check_login
from gapless.pipelines.ui.database.results import from_rows
from gapless.pipelines.ui.database.session import (
    RUNNING,
    TIMEOUT,
    VIEWS,
    Database,
    QueryUnavailable,
    Rows,
    TookTooLong,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from psycopg2.extensions import connection as Connection

    from gapless.pipelines.destinations.postgres import PostgresDatabase as Server
    from gapless.pipelines.destinations.reader import Reader
    from gapless.pipelines.destinations.target import Target

COLUMNS = "select table_name, column_name from information_schema.columns where table_schema = ?"


class PostgresDatabase:
    """Of a Postgres server; also what the verdict on completeness reads with."""

    appends = False

    def __init__(self, connection: Connection, seconds: float = TIMEOUT) -> None:
        self._connection, self._seconds = connection, seconds
        self._until = monotonic() + seconds

    @property
    def reader(self) -> Reader:
        """Returns what `Database.reader` says."""
        return _PostgresReader(self)

    def require_time(self) -> None:
        """Does what `Database.require_time` says."""
        if monotonic() >= self._until:
            raise TookTooLong(self._seconds)

    def rows(self, query: str, *values: object) -> Rows:
        """Returns what `Database.rows` says."""
        import psycopg2.errors

        try:
            with self._connection.cursor() as cursor:
                # Without values psycopg2 leaves the text as it is.
                cursor.execute(query.replace("%", "%%").replace("?", "%s") if values else query, values or None)
                return list(cursor.fetchall())
        except psycopg2.errors.QueryCanceled:
            raise TookTooLong(self._seconds) from None
        except psycopg2.Error:
            # Else every query after it would fail.
            self._connection.rollback()
            raise

    def rows_if_exists(self, query: str, *values: object) -> Rows:
        """Returns what `Database.rows_if_exists` says."""
        return self.rows_or_none(query, *values) or []

    def rows_or_none(self, query: str, *values: object) -> Rows | None:
        """Returns None if a table or a column is missing."""
        import psycopg2.errors as missing

        try:
            return self.rows(query, *values)
        except (missing.UndefinedTable, missing.UndefinedColumn, missing.InvalidSchemaName):
            return None

    def statement(self, sql: str, most: int) -> pa.Table:
        """Returns what `Database.statement` says."""
        import psycopg2.errors

        # The transaction reads only, but a second statement could end it and begin another.
        query = _only_query(sql)
        check_login(self)
        try:
            # A cursor of the server's is only for queries, and it hands over no more rows than are read.
            with self._connection.cursor(name="question") as cursor:
                cursor.execute(query)
                rows = cursor.fetchmany(most)
                self.require_time()
                return from_rows([column.name for column in cursor.description or ()], rows)
        except psycopg2.errors.QueryCanceled:
            raise TookTooLong(self._seconds) from None
        except psycopg2.Error as error:
            self._connection.rollback()
            raise QueryUnavailable(str(error).strip()) from None
        # Of the driver: a time before the year 1 or after 9999.
        except (ValueError, OverflowError) as error:
            self._connection.rollback()
            raise QueryUnavailable(f"A value of the result cannot be read: {error}. Cast it to text.") from None


class _PostgresReader:
    """Reads the ledger and the tables for the verdict on completeness."""

    appends = False

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def rows(self, dataset: str, select: str, *tables: str) -> Rows | None:
        """Returns what `Reader.rows` says."""
        return self._database.rows_or_none(select.format(*(f'"{dataset}"."{table}"' for table in tables)))

    def columns(self, dataset: str, tables: Sequence[str]) -> dict[str, set[str]]:
        """Returns what `Reader.columns` says."""
        return by_table(self._database.rows(COLUMNS, dataset), tables)


def _only_query(sql: str) -> str:
    """Returns one query without its last semicolon. Raises QueryUnavailable for anything else."""
    import sqlglot

    text = sql.strip().rstrip(";").rstrip()
    # The server takes several statements in one text; a semicolon within a text is the price.
    if ";" in text:
        raise QueryUnavailable("One query is run here, without a semicolon.")
    try:
        parsed = sqlglot.parse(text, read="postgres")
    except sqlglot.errors.SqlglotError as error:
        raise QueryUnavailable(str(error).splitlines()[0]) from None
    if len(parsed) != 1 or not isinstance(parsed[0], sqlglot.exp.Query):
        raise QueryUnavailable("One query is run here: select, with or values.")
    return text


@contextmanager
def connected_server(target: Target, seconds: float | None = None) -> Iterator[Database]:
    """Yields the database of a Postgres destination, whose queries may take `seconds` together.

    Raises QueryUnavailable, GaplessError.
    """
    import psycopg2

    seconds = seconds or TIMEOUT
    server = cast("Server", target.backend)
    # As for every reader: it says in one sentence that the server cannot be reached.
    with target.queried(), server.read_only(seconds) as connection, RUNNING.guarded(connection, seconds):
        database = PostgresDatabase(connection, seconds)
        if database.rows(VIEWS) == [(0,)]:
            sync, again = (command(target.destination, word) for word in ("sync", "views"))
            step = f"{sync} loads data; {again} creates the views."
            raise QueryUnavailable(f"Nothing synced yet into {target.destination}, or its views are missing.", step)
        try:
            yield database
        except psycopg2.Error as error:
            raise QueryUnavailable(_first_line(error)) from None


def _first_line(error: Any) -> str:
    return str(error).strip().split("\n", 1)[0][:300]
