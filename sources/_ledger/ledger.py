"""The ledger's tables (`coverage`, `dead_letters`, `status_changes`, `runs`) and how a sync reads them back.

They are loaded in the same package as the records. A row counts only if its load was completed, so a crash between
records and ledger can only cause reading again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from threading import RLock
from typing import Any, ClassVar

import dlt
import pyarrow as pa

from gapless.sources._dlt.append_only import appends, newest
from gapless.sources._dlt.internals import DestinationUndefinedEntity, column_names
from gapless.sources._dlt.literals import character_function, text_literal
from gapless.sources._dlt.tables import LOAD_ID, LOADS, ROW_ID, is_completed
from gapless.sources._dlt.types import SqlClient
from gapless.sources._ledger.shard import Shard
from gapless.sources._schema.arrow import Table
from gapless.sources._schema.record import GONE_AT, Instant, Integer, Json, Number, Record, Text

MERGE = {"disposition": "merge", "strategy": "delete-insert", "deduplicated": True}
"""delete-insert replaces what a crash left. A package holds each key once, so dlt need not deduplicate."""
FIRST_SEEN = {"disposition": "merge", "strategy": "insert-only"}
FETCH_SIZE = 10_000
"""Rows fetched per batch, so that a ledger of a million parents is not held in memory."""
IN_UPDATE = 500
"""Rows in one update."""
UPDATED = ("duckdb", "ducklake", "postgres", "sqlalchemy")
"""Destinations whose rows are updated by plain SQL."""
RESET = datetime(1970, 1, 1, tzinfo=UTC)
"""`covered_to` of a proof that was reset: earlier than any record. Null would mean that it was never read."""


def is_reset(covered_to: datetime | None) -> bool:
    """Returns whether a proof was reset by `gapless state`, so that the next sync reads all of it again."""
    return covered_to == RESET


class Coverage(Record):
    """How far one parent of a stream (or the whole stream: parent is empty) is proven complete."""

    stream: Text
    """Name of the stream, which is that of its records' table."""
    parent: Text
    """Id of the parent; empty: the whole stream."""
    covered_from: Instant | None = None
    """Nothing older was requested; null: from the beginning."""
    covered_to: Instant | None = None
    """The watermark: the newest creation time seen when all before it was read."""
    missing: Json | None = None
    """Intervals between the two that are not read yet: [[from, to], …]; from null: from the beginning."""
    digest: Text | None = None
    """Digest of the vendor's answer, or its count: the same one means that nothing changed."""
    records: Integer | None = None
    """Records according to the vendor."""
    listed_at: Instant | None = None
    """When all its records were last listed, if a source may skip the listing while a count is unchanged."""
    last_checked_at: Instant | None = None
    """When the vendor was last asked."""
    error: Text | None = None
    """Why the last check failed; null: it did not."""
    failures: Integer = 0
    """Consecutive failures up to now."""
    filtered: Integer | None = None
    """Records that the user's own steps in a dlt pipeline removed when they were read last; null: none."""


class DeadLetter(Record):
    """A record that could not be read, or a parent whose requests failed."""

    stream: Text
    """Name of the stream, as in `coverage`."""
    kind: Text
    """record, nameless (a record without a readable id) or parent"""
    key: Text
    """Id of the record or of the parent; of a nameless record, a digest of its text."""
    parent: Text | None = None
    """Id of the parent that holds the record; null for a parent, and for a record of a listing without parents."""
    reason: Text
    """Why it could not be read, or why the requests failed."""
    raw_json: Text | None = None
    """The record as the vendor sent it; null if it never came."""
    attempts: Integer = 1
    """How often it failed."""
    first_seen_at: Instant
    """When it failed for the first time."""
    last_seen_at: Instant
    """When it failed last."""
    healed_at: Instant | None = None
    """When it succeeded, or when its record was not served any more; null: still open."""


class StatusChange(Record):
    """A status that a record had come to when it was read."""

    parent_columns: ClassVar[frozenset[str]] = frozenset({"record_id"})

    record_id: Text
    """Id of the record."""
    status: Text
    """The status, in the vendor's words."""
    seen_at: Instant
    """When a sync first saw the record in this status, since it was in another one."""


class Run(Record):
    """One sync of this source."""

    run_id: Text
    """Id of the run."""
    started_at: Instant
    """When the sync began."""
    finished_at: Instant
    """When the sync ended."""
    outcome: Text
    """complete, partial or failed"""
    rows: Integer
    """Rows written into the vendor's tables, child rows too, new ones and those written again; not the ledger's."""
    new_rows: Integer | None = None
    """Records and parents that were not here before; null: unknown."""
    changed_rows: Integer | None = None
    """Those that were here and differ, themselves or in a row below them; null: unknown."""
    unchanged_rows: Integer | None = None
    """Those that were here as they are; null: unknown."""
    packages: Integer
    """Load packages that were loaded."""
    requests: Integer
    """Requests sent, each retry included."""
    retries: Integer
    """Requests that were sent again after a failure."""
    seconds_waited: Number
    """Time spent waiting for the rate budget or before a retry, summed over all workers."""
    failures: Integer
    """Number of failures; those of records and parents are in `dead_letters`."""
    error: Text | None = None
    """What ended the sync early; null: nothing."""
    held: Json | None = None
    """Row counts by table when it ended; only the newest run has them."""
    shard: Text | None = None
    """The shard, as 3/8; null: the whole source."""
    version: Text
    """Version of gapless that made the sync."""
    told: Json | None = None
    """What the webhook was told of this sync; null: nothing."""


COVERAGE = Table("coverage", Coverage, ("stream", "parent"), MERGE)
DEAD_LETTERS = Table("dead_letters", DeadLetter, ("stream", "kind", "key"), MERGE)
RUNS = Table("runs", Run, ("run_id",), MERGE)
STATUS_CHANGES = Table("status_changes", StatusChange, ("record_id", "status", "seen_at"), FIRST_SEEN)


COVERAGE_COLUMNS = [column.name for column in COVERAGE.schema.columns if column.name != "_extra"]
IDS_MAX = 1_000
"""Ids in one query."""


class StoredProofs(Mapping[str, Coverage]):
    """Coverage by parent, kept as columns: a million of its rows as they are would take two gigabytes."""

    def __init__(self, stream: str, names: Sequence[str] = ()) -> None:
        """Takes the columns of the rows to come, beside stream and parent."""
        self._stream, self._names = stream, names
        self._batches: list[pa.RecordBatch] = []
        self._places: dict[str, int] = {}
        """Number of a row, counted over batches of FETCH_SIZE."""
        self._waiting: list[Sequence[Any]] = []

    def add(self, parent: str, cells: Sequence[Any]) -> None:
        """Adds a row of the table; of two rows of a parent the last one counts."""
        self._places[parent] = len(self._batches) * FETCH_SIZE + len(self._waiting)
        self._waiting.append(cells)
        if len(self._waiting) == FETCH_SIZE:
            by_name = zip(self._names, zip(*self._waiting, strict=True), strict=True)
            columns = [pa.array([*map(_text, cells)] if name == "missing" else cells) for name, cells in by_name]
            self._batches.append(pa.RecordBatch.from_arrays(columns, [*self._names]))
            self._waiting = []

    def __getitem__(self, parent: str) -> Coverage:
        """Returns the coverage of a parent. Raises KeyError."""
        batch, row = divmod(self._places[parent], FETCH_SIZE)
        facts = {"stream": self._stream, "parent": parent}
        if batch < len(self._batches):
            return Coverage.model_validate(facts | self._batches[batch].slice(row, 1).to_pylist()[0])
        cells = map(_text, self._waiting[row])
        return Coverage.model_validate(facts | dict(zip(self._names, cells, strict=True)))

    def __iter__(self) -> Iterator[str]:
        """Yields the parents."""
        return iter(self._places)

    def __len__(self) -> int:
        """Returns the number of parents."""
        return len(self._places)

    def __contains__(self, parent: object) -> bool:
        """Returns whether a parent has coverage."""
        return parent in self._places


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

        A parent whose row is of an incomplete load is left out and read again.
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
                if completed and of == stream and self._shard.contains(parent):
                    found.add(parent, cells)
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
        known = {column.name for column in table.schema.columns if column.name != "_extra"}
        # All columns, because a table that an earlier version wrote may lack some of ours.
        for names, cells in self._query(self._prefix + table.name, "*"):
            row = {name: cell for name, cell in zip(names, cells, strict=True) if name in known}
            # In Python, because no SQL engine has the hash that assigns parents to shards.
            if wanted(row):
                yield {name: _text(cell) for name, cell in row.items()}, cells[-1]

    def select(
        self, table: str, columns: Sequence[str], within: tuple[str, Iterable[str]] | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """Yields rows of a table, each followed by whether its load was completed; nothing if the table is missing.

        `within` filters the rows by a column and a list of ids.
        """
        return (cells for _, cells in self._query(table, columns, within))

    def rows(self, select: str, *tables: str) -> list[tuple[Any, ...]] | None:
        """Returns the rows of `select`, in which `{0}`, … stand for the tables, named without the prefix.

        None: a table is missing. A name in double quotes is quoted as the engine does it.
        """
        assert self._sql is not None
        with self._lock, self._sql as client:
            which = newest if appends(client.capabilities) else _whole
            quoted = re.sub('"([a-z_][a-z0-9_]*)"', lambda name: client.escape_column_name(name[1]), select)
            query = quoted.format(*(which(client, self._prefix + table) for table in tables))
            try:
                with client.execute_query(query) as cursor:
                    return [tuple(row) for row in cursor.fetchall()]
            except DestinationUndefinedEntity:
                return None

    def columns(self, table: str) -> set[str]:
        """Returns the columns of a table, named without the prefix; empty: it is missing."""
        assert self._sql is not None
        with self._lock, self._sql as client:
            which = newest if appends(client.capabilities) else _whole
            try:
                with client.execute_query(
                    f"select * from {which(client, self._prefix + table)} where 1 = 0"
                ) as cursor:
                    return set(column_names(cursor))
            except DestinationUndefinedEntity:
                return set()

    def stored(self, table: str, columns: Sequence[str], column: str, values: Iterable[str]) -> list[tuple[Any, ...]]:
        """Returns the rows of completed loads whose `column` is one of `values`, which are few."""
        return [row[:-1] for row in self.select(table, columns, (column, values)) if row[-1]]

    def marked(self, table: str) -> set[str]:
        """Returns the `_dlt_id` of the rows that are marked as gone."""
        plain = table.removeprefix(self._prefix)
        if not self._marks or GONE_AT not in self.columns(plain):
            return set()
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
            try:
                with client.execute_query(query) as cursor:
                    return [(str(key), found) for key, found in cursor.fetchall()]
            except DestinationUndefinedEntity:
                return []

    def _query(
        self, table: str, columns: Sequence[str], within: tuple[str, Iterable[str]] | None = None
    ) -> Iterator[tuple[list[str], tuple[Any, ...]]]:
        """Yields as `select` does, each row with the names of its columns; `columns` may be "*"."""
        assert self._sql is not None
        with self._lock, self._sql as client:
            which = newest if appends(client.capabilities) else _whole
            wanted = "*" if columns == "*" else ", ".join(map(client.escape_column_name, columns))
            completed = is_completed(client.make_qualified_table_name(LOADS))
            query = f"select {wanted}, {completed} from {which(client, table)}"
            if within:
                character = character_function(client.capabilities)
                ids = ", ".join(text_literal(one, character) for one in within[1])
                query += f" where {client.escape_column_name(within[0])} in ({ids})"
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


def _whole(client: SqlClient, table: str) -> str:
    return str(client.make_qualified_table_name(table))


def instant(value: datetime | str | None) -> datetime | None:
    """Returns a cell of `select` as a time in UTC; SQLite stores times as texts."""
    return datetime.fromisoformat(value).replace(tzinfo=UTC) if isinstance(value, str) else value


def _text(value: Any) -> Any:
    """Returns a JSON cell as its text; Postgres returns it decoded."""
    return json.dumps(value) if isinstance(value, dict | list) else value


class EmptyLedger(Ledger):
    """The ledger of a dataset in which nothing counts: of a preview, or when its tables are replaced or dropped."""

    @staticmethod
    def _client() -> None:
        return None

    def _query(
        self, table: str, columns: Sequence[str], within: tuple[str, Iterable[str]] | None = None
    ) -> Iterator[tuple[list[str], tuple[Any, ...]]]:
        return iter(())

    def columns(self, table: str) -> set[str]:
        """Returns none, as nothing counts."""
        return set()
