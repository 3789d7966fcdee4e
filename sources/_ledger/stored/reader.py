"""Reads the ledger back from the destination, at the start of a sync and while it runs.

A row counts only if its load was completed, so a crash between records and ledger can only cause reading again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from threading import RLock
from typing import Any

import dlt

from gapless.sources._dlt.append_only import appends, newest
from gapless.sources._dlt.internals import DestinationUndefinedEntity, column_names
from gapless.sources._dlt.literals import character_function, text_literal
from gapless.sources._dlt.stored import rows_or_none
from gapless.sources._dlt.tables import LOAD_ID, LOADS, PREFIX, ROW_ID, is_completed
from gapless.sources._dlt.types import SqlClient
from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, Coverage, DeadLetter
from gapless.sources._ledger.shard import Shard
from gapless.sources._ledger.stored.cells import Bounds, instant, json_text
from gapless.sources._ledger.stored.proofs import FETCH_SIZE, StoredProofs
from gapless.sources._schema.arrow import Table
from gapless.sources._schema.record import GONE_AT

SPANS_MAX = 50
"""Spans of time in one query."""
IN_UPDATE = 500
"""Rows in one update."""
IDS_MAX = 1_000
"""Ids in one query."""
LOOKED_UP = 20_000
"""Ids that are looked up; of more all rows are read at once."""
UPDATED = ("duckdb", "ducklake", "postgres", "sqlalchemy")
"""Destinations whose rows are updated by plain SQL."""
COVERAGE_COLUMNS = [column.name for column in COVERAGE.schema.columns if column.name != "_extra"]


class Ledger:
    """Reads the ledger of one shard's parents from the destination of the current pipeline.

    `prefix` begins the names of its tables, in a dataset with the tables of several sources. It may be read by
    several threads.
    """

    def __init__(self, shard: Shard | None = None, prefix: str = "") -> None:
        self._shard, self._prefix = shard or Shard(), prefix
        # Made here, because dlt resolves its settings in one thread only, and `parallelize()` reads in others.
        self._sql, self._lock = self._client(), RLock()
        self._marks = self._sql is not None and _takes_updates()
        self.decodes_json = self._sql is not None and self._sql.capabilities.sqlglot_dialect == "postgres"
        """Whether the driver returns JSON as values and not as text."""

    @staticmethod
    def _client() -> SqlClient | None:
        return dlt.current.pipeline().sql_client()

    def coverage(self, stream: str, parents: Sequence[str] | None = None) -> Mapping[str, Coverage]:
        """Returns coverage by parent, of all or of `parents`.

        A row of an incomplete load proves nothing, so its parent is read as one that was never read to its end. What
        it notes as missing stays: a loss that was reported once ends by an acknowledgement alone.
        """
        # A table that an earlier version wrote may lack some of ours.
        there = self.columns(COVERAGE.name)
        names = [name for name in COVERAGE_COLUMNS if name in there]
        if not names:
            return {}
        found = StoredProofs(stream, names[2:])
        for at in range(0, 1 if parents is None else len(parents), IDS_MAX):
            within = ("stream", [stream]) if parents is None else ("parent", parents[at : at + IDS_MAX])
            for of, parent, *cells, completed in self.select(self._prefix + COVERAGE.name, names, within):
                # In Python, because no SQL engine has the hash that assigns parents to shards.
                if of == stream and self._shard.contains(parent):
                    (found.add if completed else found.add_in_doubt)(parent, cells)
        return found

    def dead_letters(self, stream: str, kept: str | None = None) -> list[DeadLetter]:
        """Returns the open dead letters, including those that an incomplete load closed.

        Also closed ones whose reason begins with `kept`; of what an incomplete load closed so, that is taken away.
        """
        rows = self._rows(
            DEAD_LETTERS,
            # Without a parent the key decides: exactly one shard must try the letter again.
            lambda row: row["stream"] == stream and self._shard.contains(row["parent"] or row["key"]),
        )
        found = []
        for row, completed in rows:
            is_kept = kept is not None and row["reason"].startswith(kept)
            if is_kept and not completed:
                row["reason"] = row["reason"].removeprefix(kept or "")
            if is_kept or not (row["healed_at"] and completed):
                found.append(DeadLetter.model_validate(row))
        return found

    def _rows(self, table: Table, wanted: Callable[[dict[str, Any]], bool]) -> Iterator[tuple[dict[str, Any], bool]]:
        """Yields rows as dicts, each with whether its load was completed, without columns of a later version."""
        known = {column.name: None for column in table.schema.columns if column.name != "_extra"}
        # All columns, because a table that an earlier version wrote, or somebody changed, may lack some of ours.
        for names, cells in self._query(self._prefix + table.name, "*"):
            row = known | {name: cell for name, cell in zip(names, cells, strict=True) if name in known}
            # In Python, because no SQL engine has the hash that assigns parents to shards.
            if wanted(row):
                yield {name: json_text(cell) for name, cell in row.items()}, cells[-1]

    def select(
        self,
        table: str,
        columns: Sequence[str],
        within: tuple[str, Iterable[str]] | None = None,
        bounds: Bounds | None = None,
    ) -> Iterator[tuple[Any, ...]]:
        """Yields rows of a table, each followed by whether its load was completed; nothing if the table is missing.

        `within` filters the rows by a column and a list of ids, and `bounds` by what else a column may hold then.
        """
        return (cells for _, cells in self._query(table, columns, within, bounds))

    def found(
        self, table: str, columns: Sequence[str], ids: Sequence[str], created: Bounds | None
    ) -> Iterator[tuple[Any, ...]]:
        """Yields as `select` does the rows with these `_dlt_id`, which is the first of the columns.

        Those that were created as `created` says are looked for first: an engine without an index skips all others.
        """
        rest = dict.fromkeys(ids)
        for bounds in (created, None) if created else (None,):
            for row in self.select(table, columns, (ROW_ID, rest), bounds) if rest else ():
                rest.pop(row[0], None)
                yield row

    def rows(self, select: str, *tables: str) -> list[tuple[Any, ...]] | None:
        """Returns the rows of `select`, in which `{0}`, … stand for the tables, named without the prefix.

        None: a table is missing. A name in double quotes is quoted as the engine does it.
        """
        assert self._sql is not None
        with self._lock, self._sql as client:
            quoted = re.sub('"([a-z_][a-z0-9_]*)"', lambda name: client.escape_column_name(name[1]), select)
            # dlt's own tables have one name in every dataset.
            names = (one if one.startswith(PREFIX) else self._prefix + one for one in tables)
            return rows_or_none(client, quoted.format(*(_counted(client, one) for one in names)))

    def columns(self, table: str) -> set[str]:
        """Returns the columns of a table, named without the prefix; empty: it is missing."""
        assert self._sql is not None
        with self._lock, self._sql as client:
            none = f"select * from {_counted(client, self._prefix + table)} where 1 = 0"
            try:
                with client.execute_query(none) as cursor:
                    return set(column_names(cursor))
            except DestinationUndefinedEntity:
                return set()

    def stored(self, table: str, columns: Sequence[str], column: str, values: Iterable[str]) -> list[tuple[Any, ...]]:
        """Returns the rows of completed loads whose `column` is one of `values`."""
        ids = [*values]
        some = (ids[begin : begin + IDS_MAX] for begin in range(0, len(ids), IDS_MAX))
        return [row[:-1] for part in some for row in self.select(table, columns, (column, part)) if row[-1]]

    def created_in(
        self, table: str, columns: Sequence[str], time: str, spans: Sequence[tuple[datetime, datetime | None]]
    ) -> list[tuple[Any, ...]]:
        """Returns the rows of completed loads that were created in one of the spans, both ends included.

        For destinations that keep times as times. None ends no span.
        """
        found: list[tuple[Any, ...]] = []
        for begin in range(0, len(spans), SPANS_MAX):
            some = [_within(f'"{time}"', *span) for span in spans[begin : begin + SPANS_MAX]]
            wanted = ", ".join(f'"{name}"' for name in columns)
            # One query for each span, as an engine skips by one what is older or younger, and not by several.
            each = [f"select {wanted} from {{0}} where {one} and {is_completed('{1}')}" for one in some]
            found += self.rows(" union all ".join(each), table, LOADS) or []
        return found

    def marked(self, table: str, among: Collection[str] | None = None) -> set[str]:
        """Returns the `_dlt_id` of the rows that are marked as gone: of all, or of these."""
        plain = table.removeprefix(self._prefix)
        if not self._marks or GONE_AT not in self.columns(plain):
            return set()
        if among is not None and len(among) <= LOOKED_UP:
            found = self.stored(table, [ROW_ID, GONE_AT], ROW_ID, among)
            return {str(row) for row, at in found if at is not None}
        return {
            str(row) for (row,) in self.rows(f'select {ROW_ID} from {{0}} where "{GONE_AT}" is not null', plain) or ()
        }

    def mark_gone(self, table: str, rows: Collection[str], at: datetime | None) -> None:
        """Notes that rows, by `_dlt_id`, are not served any more since `at`; None takes it back.

        At once and not with the load package: it is true whether that is loaded or not. Does nothing where a row
        cannot be updated by plain SQL, and before a first load of this version has made the column.
        """
        if not rows or not self._marks or GONE_AT not in self.columns(table.removeprefix(self._prefix)):
            return
        assert self._sql is not None
        with self._lock, self._sql as client:
            column, character = client.escape_column_name(GONE_AT), character_function(client.capabilities)
            time: object = at
            if at and not client.capabilities.supports_tz_aware_datetime:
                time = f"{at:%Y-%m-%d %H:%M:%S.%f}"
            change = f"{column} = %s" if at else f"{column} = null"
            ids = sorted(rows)
            for begin in range(0, len(ids), IN_UPDATE):
                some = ", ".join(text_literal(one, character) for one in ids[begin : begin + IN_UPDATE])
                where = f"{ROW_ID} in ({some}) and {column} is {'null' if at else 'not null'}"
                update = f"update {client.make_qualified_table_name(table)} set {change} where {where}"
                client.execute_sql(update, *([time] if at else []))

    def newest(self, table: str, parent: str, time: str) -> dict[str, datetime | None]:
        """Returns by parent the newest time of its rows in the destination; nothing if the table is missing."""
        return {key: instant(found) for key, found in self._newest(table, parent, time)}

    def newest_loads(self, table: str, parent: str) -> dict[str, str]:
        """Returns by parent the id of the newest load of its rows; nothing if the table is missing."""
        return {key: str(found) for key, found in self._newest(table, parent, LOAD_ID)}

    def _newest(self, table: str, parent: str, column: str) -> list[tuple[str, Any]]:
        if self._sql is None:
            return []
        with self._lock, self._sql as client:
            by, newest_of = map(client.escape_column_name, (parent, column))
            # Rows of broken loads count, too: who asks compares with a watermark, or looks each row up.
            query = f"select {by}, max({newest_of}) from {_whole(client, table)} group by {by}"
            return [(str(key), found) for key, found in rows_or_none(client, query) or ()]

    def _query(
        self,
        table: str,
        columns: Sequence[str],
        within: tuple[str, Iterable[str]] | None = None,
        bounds: Bounds | None = None,
    ) -> Iterator[tuple[list[str], tuple[Any, ...]]]:
        """Yields as `select` does, each row with the names of its columns; `columns` may be "*"."""
        assert self._sql is not None
        with self._lock, self._sql as client:
            wanted = "*" if columns == "*" else ", ".join(map(client.escape_column_name, columns))
            completed = is_completed(client.make_qualified_table_name(LOADS))
            query = f"select {wanted}, {completed} from {_counted(client, table)}"
            if within:
                character = character_function(client.capabilities)
                ids = ", ".join(text_literal(one, character) for one in within[1])
                query += f" where {client.escape_column_name(within[0])} in ({ids})"
                if bounds:
                    query += f" and {_within(client.escape_column_name(bounds.column), bounds.least, bounds.most)}"
            try:
                with client.execute_query(query) as cursor:
                    names = column_names(cursor)
                    while rows := cursor.fetchmany(FETCH_SIZE):
                        yield from ((names, tuple(row)) for row in rows)
            # Before the first load there is no table: nothing is proven yet.
            except DestinationUndefinedEntity:
                return


def _takes_updates() -> bool:
    """Returns whether the destination takes plain updates of a row, as far as that is tested."""
    destination = dlt.current.pipeline().destination
    return bool(destination) and destination.destination_type.rpartition(".")[2] in UPDATED


def _counted(client: SqlClient, table: str) -> str:
    """Returns what to select from: a table, and of one that is only added to the newest row of each key."""
    return newest(client, table) if appends(client.capabilities) else _whole(client, table)


def _within(column: str, least: object, most: object | None) -> str:
    return f"{column} >= '{least}'" + (f" and {column} <= '{most}'" if most is not None else "")


def _whole(client: SqlClient, table: str) -> str:
    return str(client.make_qualified_table_name(table))


class EmptyLedger(Ledger):
    """The ledger of a dataset in which nothing counts: of a preview, or when its tables are replaced or dropped."""

    @staticmethod
    def _client() -> None:
        return None

    def _query(
        self,
        table: str,
        columns: Sequence[str],
        within: tuple[str, Iterable[str]] | None = None,
        bounds: Bounds | None = None,
    ) -> Iterator[tuple[list[str], tuple[Any, ...]]]:
        return iter(())

    def columns(self, table: str) -> set[str]:
        """Returns none, as nothing counts."""
        return set()
