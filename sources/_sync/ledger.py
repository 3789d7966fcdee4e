"""What is proven and what failed: the tables `coverage`, `dead_letters`, `status_changes`, and their way back.

They are loaded in the same package as the rows they speak of. A row counts only when its load was completed
(`_dlt_load_id` stands in `_dlt_loads`), so a crash between rows and ledger can only lead to reading again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import dlt
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from sources._records.flatten import Table
from sources._records.record import Instant, Integer, Json, Number, Record, Text

MERGE = {"disposition": "merge", "strategy": "delete-insert", "deduplicated": True}
"""delete-insert heals whatever a crash left; a chunk holds each key once, so dlt need not look for doubles."""
FIRST_SEEN = {"disposition": "merge", "strategy": "insert-only"}


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
    version: Text


COVERAGE = Table("coverage", Coverage, ("stream", "parent"), MERGE)
DEAD_LETTERS = Table("dead_letters", DeadLetter, ("stream", "kind", "key"), MERGE)
RUNS = Table("runs", Run, ("run_id",), MERGE)
STATUS_CHANGES = Table("status_changes", StatusChange, ("record_id", "status"), FIRST_SEEN)


class Ledger:
    """What the destination of the current pipeline already holds."""

    def coverage(self, stream: str) -> dict[str, Coverage]:
        """By parent, of completed loads: whose row is of another one must be read again."""
        rows = [Coverage.model_validate(row) for row, completed in self._rows(COVERAGE) if completed]
        return {row.parent: row for row in rows if row.stream == stream}

    def dead_letters(self, stream: str) -> list[DeadLetter]:
        """The open ones: whatever load wrote them last, and those that a load healed which was not completed."""
        rows = [(DeadLetter.model_validate(row), completed) for row, completed in self._rows(DEAD_LETTERS)]
        return [row for row, completed in rows if row.stream == stream and not (row.healed_at and completed)]

    def _rows(self, table: Table) -> list[tuple[dict[str, Any], bool]]:
        """Rows by column, each with whether its load was completed."""
        names = [column.name for column in table.shape.columns if column.name != "_extra"]
        rows = [[_text(value) for value in row] for row in self.select(table.name, names)]
        return [(dict(zip(names, row, strict=False)), row[-1]) for row in rows]

    def select(self, table: str, columns: Sequence[str]) -> list[tuple[Any, ...]]:
        """Rows of a table, and last in each whether its load was completed; none if there is no such table yet."""
        with dlt.current.pipeline().sql_client() as client:
            name, loads = (client.make_qualified_table_name(t) for t in (table, "_dlt_loads"))
            wanted = ", ".join(map(client.escape_column_name, columns))
            completed = f"_dlt_load_id in (select load_id from {loads} where status = 0)"
            try:
                with client.execute_query(f"select {wanted}, {completed} from {name}") as cursor:
                    return list(cursor.fetchall())
            except DatabaseUndefinedRelation:
                return []


def _text(value: Any) -> Any:
    """A JSON cell as its text: Postgres hands it out decoded."""
    return json.dumps(value) if isinstance(value, dict | list) else value
