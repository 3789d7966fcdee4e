"""The ledger's tables: `coverage`, `dead_letters`, `status_changes`, `runs`.

They are loaded in the same package as the records. `stored/` reads them back.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from gapless.sources._schema.arrow import Table
from gapless.sources._schema.record import Instant, Integer, Json, Number, Record, Text

MERGE = {"disposition": "merge", "strategy": "delete-insert", "deduplicated": True}
"""delete-insert replaces what a crash left. A package holds each key once, so dlt need not deduplicate."""
FIRST_SEEN = {"disposition": "merge", "strategy": "insert-only"}
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

    @property
    def in_doubt(self) -> bool:
        """Returns whether nothing of it is proven: the load that wrote it broke off, or it was never read."""
        return self.covered_to is None and self.last_checked_at is None


class DeadLetter(Record):
    """A record that could not be read, or a parent whose requests failed."""

    stream: Text
    """Name of the stream, as in `coverage`."""
    kind: Text
    """record, nameless (a record without a readable id), parent, or a loss, as in `losses`: column or table"""
    key: Text
    """Id of the record or of the parent; of a nameless record, a digest of its text; of a loss see `losses`."""
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
    scope: Text | None = None
    """What it was asked for: a window of creation times, a backfill, or how many ids; null: all that is new."""
    version: Text
    """Version of gapless that made the sync."""
    told: Json | None = None
    """What was sent to the webhook about this sync; null: nothing."""


COVERAGE = Table("coverage", Coverage, ("stream", "parent"), MERGE)
DEAD_LETTERS = Table("dead_letters", DeadLetter, ("stream", "kind", "key"), MERGE)
RUNS = Table("runs", Run, ("run_id",), MERGE)
LOSSES = "losses"
"""The table of losses that nobody can fill; made by plain SQL, so that a load of dlt's never changes it."""
DESCRIPTIONS = {
    LOSSES: {
        "": "One row per column or table that somebody took away, and that lacks cells or rows since it was made"
        " again. `dead_letters` holds them, too, so that no damage of one table takes them away.",
        "stream": "Table and column, with a dot between them.",
        "kind": "column or table.",
        "key": "The column; of a table how many rows it had, empty: nobody knows.",
        "first_seen_at": "When it was made again.",
        "last_seen_at": "Of a table when its newest row was created; what came later lacks nothing.",
    }
}
"""What the table of losses and its columns hold."""
STATUS_CHANGES = Table("status_changes", StatusChange, ("record_id", "status", "seen_at"), FIRST_SEEN)
