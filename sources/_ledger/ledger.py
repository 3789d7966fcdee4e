"""What is proven and what failed: the tables `coverage`, `dead_letters`, `status_changes`, and their way back.

They are loaded in the same package as the rows they speak of. A row counts only when its load was completed
(it stands in dlt's table of loads), so a crash between rows and ledger can only lead to reading again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import dlt

from gapless.sources._dlt.append_only import appends, newest
from gapless.sources._dlt.internals import DestinationUndefinedEntity, column_names
from gapless.sources._dlt.tables import LOADS, is_completed
from gapless.sources._ledger.shard import Shard
from gapless.sources._schema.arrow import Table
from gapless.sources._schema.record import Instant, Integer, Json, Number, Record, Text

MERGE = {"disposition": "merge", "strategy": "delete-insert", "deduplicated": True}
"""delete-insert heals whatever a crash left; a chunk holds each key once, so dlt need not look for doubles."""
FIRST_SEEN = {"disposition": "merge", "strategy": "insert-only"}
AT_ONCE = 10_000
"""Rows that are Python's at a time: a ledger of a million parents is not."""


class Coverage(Record):
    """How far one parent of a stream (or the whole stream: parent is empty) is proven complete."""

    stream: Text
    parent: Text
    covered_from: Instant | None = None
    """Nothing older was asked for; null: from the beginning."""
    covered_to: Instant | None = None
    """The watermark: the newest creation time seen when all before it was read."""
    missing: Json | None = None
    """Intervals between the two that are not read yet: [[from, to], …]; from null: from the beginning."""
    digest: Text | None = None
    """Of the vendor's answer (or its count), to see that nothing changed."""
    records: Integer | None = None
    """How many the vendor says there are."""
    listed_at: Instant | None = None
    """When its records were last listed whole, where a hint can save the listing."""
    last_checked_at: Instant | None = None
    error: Text | None = None
    failures: Integer = 0
    """In a row, up to now."""


class DeadLetter(Record):
    """A record that could not be read, or a parent that could not be asked."""

    stream: Text
    kind: Text
    """record, nameless (a record without a readable id) or parent"""
    key: Text
    parent: Text | None = None
    reason: Text
    raw_json: Text | None = None
    attempts: Integer = 1
    first_seen_at: Instant
    last_seen_at: Instant
    healed_at: Instant | None = None
    """Null: open. What a completed load healed may be deleted at any time."""


class StatusChange(Record):
    """The first time a record was seen in a status."""

    record_id: Text
    status: Text
    seen_at: Instant


class Run(Record):
    """One sync of this source."""

    run_id: Text
    started_at: Instant
    finished_at: Instant
    outcome: Text
    """complete, partial or failed"""
    rows: Integer
    """Loaded, child rows and ledger included."""
    packages: Integer
    requests: Integer
    retries: Integer
    seconds_waited: Number
    """Asleep for the rate budget or before a retry, summed over all workers."""
    failures: Integer
    error: Text | None = None
    held: Json | None = None
    """Rows by table when it ended."""
    shard: Text | None = None
    """Which part it read, as 3/8; null: all."""
    version: Text


COVERAGE = Table("coverage", Coverage, ("stream", "parent"), MERGE)
DEAD_LETTERS = Table("dead_letters", DeadLetter, ("stream", "kind", "key"), MERGE)
RUNS = Table("runs", Run, ("run_id",), MERGE)
STATUS_CHANGES = Table("status_changes", StatusChange, ("record_id", "status"), FIRST_SEEN)


class Ledger:
    """What the destination of the current pipeline already holds of a shard's parents."""

    def __init__(self, shard: Shard | None = None) -> None:
        self._shard = shard or Shard()

    def coverage(self, stream: str) -> dict[str, Coverage]:
        """By parent, of completed loads: whose row is of another one must be read again."""
        rows = self._rows(COVERAGE, lambda row: row["stream"] == stream and self._shard.contains(row["parent"]))
        return {row["parent"]: Coverage.model_validate(row) for row, completed in rows if completed}

    def dead_letters(self, stream: str) -> list[DeadLetter]:
        """The open ones: whatever load wrote them last, and those that a load healed which was not completed."""
        rows = self._rows(
            DEAD_LETTERS, lambda row: row["stream"] == stream and self._shard.contains(row["parent"] or row["key"])
        )
        return [DeadLetter.model_validate(row) for row, completed in rows if not (row["healed_at"] and completed)]

    def _rows(self, table: Table, wanted: Callable[[dict[str, Any]], bool]) -> Iterator[tuple[dict[str, Any], bool]]:
        """Rows by column, each with whether its load was completed; without columns that a later version added."""
        known = {column.name for column in table.schema.columns if column.name != "_extra"}
        for names, cells in self._asked(table.name, "*"):
            row = {name: cell for name, cell in zip(names, cells, strict=True) if name in known}
            if wanted(row):
                yield {name: _text(cell) for name, cell in row.items()}, cells[-1]

    def select(
        self, table: str, columns: Sequence[str], within: tuple[str, Iterable[str]] | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """Rows of a table, and last in each whether its load was completed; none if there is no such table yet.

        `within`: a column and our own ids, to which the rows are narrowed.
        """
        return (cells for _, cells in self._asked(table, columns, within))

    def _asked(
        self, table: str, columns: Sequence[str], within: tuple[str, Iterable[str]] | None = None
    ) -> Iterator[tuple[list[str], tuple[Any, ...]]]:
        """As `select`, each row with the names of its cells; columns may be "*"."""
        pipeline = dlt.current.pipeline()
        which = newest if appends(pipeline.destination.capabilities()) else _whole
        with pipeline.sql_client() as client:
            wanted = "*" if columns == "*" else ", ".join(map(client.escape_column_name, columns))
            completed = is_completed(client.make_qualified_table_name(LOADS))
            query = f"select {wanted}, {completed} from {which(client, table)}"
            if within:
                ids = ", ".join(f"'{one}'" for one in within[1])
                query += f" where {client.escape_column_name(within[0])} in ({ids})"
            try:
                with client.execute_query(query) as cursor:
                    names = column_names(cursor)
                    while rows := cursor.fetchmany(AT_ONCE):
                        yield from ((names, row) for row in rows)
            except DestinationUndefinedEntity:
                return


def _whole(client: Any, table: str) -> str:
    return str(client.make_qualified_table_name(table))


def instant(value: Any) -> datetime | None:
    """A time as `select` hands it out: SQLite has none, only texts, in UTC."""
    return datetime.fromisoformat(value).replace(tzinfo=UTC) if isinstance(value, str) else value


def _text(value: Any) -> Any:
    """A JSON cell as its text: Postgres hands it out decoded."""
    return json.dumps(value) if isinstance(value, dict | list) else value
