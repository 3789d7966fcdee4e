"""The outcome of a sync of each source, and the exit code for all of them.

Values only: nothing here runs, prints or reads anything.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from gapless.pipelines.errors import COMPLETE, FAILED, PARTIAL, USAGE
from gapless.pipelines.printable import command

if TYPE_CHECKING:
    from gapless.pipelines.evidence.gap import Gap
    from gapless.pipelines.evidence.grouping import Problem
    from gapless.sources._ledger.session import Failure

LEDGER_TABLES = ("coverage", "dead_letters", "runs", "status_changes")
"""gapless's own tables in each dataset; their rows are not the vendor's."""


def is_vendors(table: str) -> bool:
    """Returns whether a table of a load package holds the vendor's rows: it is neither dlt's nor the ledger's."""
    return table not in LEDGER_TABLES and not table.startswith("_dlt")


def is_root(table: str) -> bool:
    """Returns whether a table holds the vendor's records or parents, not rows below them."""
    return is_vendors(table) and "__" not in table


@dataclass
class Outcome:
    """The result of one source's sync; times are UTC."""

    source: str
    started_at: datetime
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    finished_at: datetime | None = None
    scope: str | None = None
    """The part that it was asked for, as in the table `runs`; None: all that is new."""
    # Until its end: whatever ends a sync early must not read as complete.
    outcome: str = "failed"
    """complete, partial or failed"""
    rows: dict[str, int] = field(default_factory=dict)
    """Rows written, by the vendor's table: new ones, and those written again, changed or not."""
    new: dict[str, int] | None = None
    """How many records of them are new, by root table; None: unknown."""
    changed: dict[str, int] | None = field(default_factory=dict)
    """How many were here and differ, in a row of theirs or below it, by root table; None: unknown."""
    unchanged: dict[str, int] | None = field(default_factory=dict)
    """How many were here as they are, by root table; None: unknown."""
    packages: int = 0
    requests: int = 0
    retries: int = 0
    seconds_waited: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    """One for each record and parent that failed."""
    error: str | None = None
    error_kind: str | None = None
    """Name of the error's class, for places where its text must not appear."""
    ledger_rows: dict[str, int] = field(default_factory=dict)
    """Rows written into gapless's own tables, which `rows` never counts."""
    gaps: list[Gap] = field(default_factory=list)
    """What the ledger leaves open after it, of what a sync reads."""
    rounds: int = 0
    """Rounds in a row that failed, this one included; unless it failed, those that were not complete; 0: unknown."""
    since: datetime | None = None
    """When the first of these rounds began."""
    newest_covered_to: datetime | None = None
    """If it failed: the newest watermark of the source; nothing newer is proven to be here."""
    note: str | None = None
    """What a person should know of it although nothing failed."""
    destination: str = "duckdb"
    """What commands to type must name."""
    fill: str = ""
    """The command that ends why it failed as a whole, where that is known."""

    @property
    def refused(self) -> bool:
        """Returns whether nothing was read or written: for a wrong account or vendor, a lost key, a newer layout."""
        return self.error_kind in (
            "AnotherAccount",
            "SameAccount",
            "OtherVendor",
            "LostKey",
            "LostErasureKey",
            "UnknownErasures",
            "NewerLayout",
        )

    @property
    def seconds(self) -> float:
        """Returns how long the sync took; 0 while it runs."""
        return (self.finished_at - self.started_at).total_seconds() if self.finished_at else 0.0

    @property
    def rows_written(self) -> int:
        """Returns the rows written into all of the vendor's tables."""
        return sum(self.rows.values())

    @property
    def rows_new(self) -> int | None:
        """Returns how many records and parents are new; None: unknown."""
        return None if self.new is None else sum(self.new.values())

    def add_known(self, written: Iterable[str], known: Mapping[str, tuple[int, int]]) -> None:
        """Adds which records of one load package were here already; `written` are the root tables of its rows.

        `known` has by table how many were, and how many of them differ; a table that is not in it makes all unknown.
        """
        if self.changed is None or self.unchanged is None or set(written) - known.keys():
            self.changed = self.unchanged = None
            return
        for table in written:
            records, changed = known[table]
            self.changed[table] = self.changed.get(table, 0) + changed
            self.unchanged[table] = self.unchanged.get(table, 0) + records - changed

    @property
    def counted_new(self) -> dict[str, int] | None:
        """Returns the new records by root table, as far as comparisons show; None: unknown."""
        if self.changed is None or self.unchanged is None:
            return None
        roots = ((table, rows) for table, rows in self.rows.items() if is_root(table))
        return {table: rows - self.changed.get(table, 0) - self.unchanged.get(table, 0) for table, rows in roots}

    @property
    def rows_changed(self) -> int | None:
        """Returns how many records and parents were here and differ; None: unknown."""
        return None if self.changed is None else sum(self.changed.values())

    @property
    def rows_unchanged(self) -> int | None:
        """Returns how many records and parents were here as they are; None: unknown."""
        return None if self.unchanged is None else sum(self.unchanged.values())

    @property
    def unexplained(self) -> list[Failure]:
        """Returns the failures that are no gap: what the ledger leaves open is in `gaps`."""
        known = {(gap.stream, gap.failed.key or gap.parent) for gap in self.gaps}
        gaps = {f"{gap.kind}: {gap.why}" for gap in self.gaps}
        return [one for one in self.failures if (one.stream, one.key) not in known and one.reason not in gaps]

    @property
    def problems(self) -> list[Problem]:
        """Returns what the ledger leaves open, one for each reason."""
        from gapless.pipelines.evidence.grouping import problems

        return problems(self.gaps)

    def failed_sentence(self) -> str:
        """Returns why the source failed as a whole, on one line; empty if it did not."""
        from gapless.pipelines.evidence.sentences import failed_source

        now = self.finished_at or self.started_at
        return (
            failed_source(self.source, self.error, self.rounds, self.since, self.newest_covered_to, now)
            if self.error
            else ""
        )

    @property
    def remedy(self) -> str:
        """Returns the command to type after it failed as a whole."""
        if self.fill:
            return self.fill
        step = ("state adopt", self.source) if self.error_kind == "AnotherAccount" else ("doctor",)
        return command(self.destination, *step)

    def described_problems(self) -> list[dict[str, object]]:
        """Returns the problems as JSON values, each with its sentence; the source's own failure is the first."""
        from gapless.pipelines.evidence.sentences import described

        since = self.since.isoformat() if self.since else None
        own: dict[str, object] = {
            "source": self.source,
            "kind": "failed",
            "message": self.failed_sentence(),
            "reason": self.error,
        }
        own |= {"times": self.rounds, "first_at": since, "fill": self.remedy}
        return [*([own] if self.error else []), *map(described, self.problems)]

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values, times as ISO 8601 texts."""
        values = {
            one.name: getattr(self, one.name)
            for one in fields(self)
            if one.name not in ("gaps", "ledger_rows", "note", "destination", "fill")
        }
        times = {name: value.isoformat() for name, value in values.items() if isinstance(value, datetime)}
        failures = [str(failure) for failure in self.failures]
        return {**values, **times, "failures": failures, "problems": self.described_problems()}


def new_and_changed(new: int | None, changed: int | None) -> str:
    """Returns " (12 new, 3 changed)" to follow a number of rows; what is not known is left out, as are no changes."""
    known = ([] if new is None else [f"{new:,} new"]) + ([f"{changed:,} changed"] if changed else [])
    return f" ({', '.join(known)})" if known else ""


def exit_code(outcomes: Sequence[Outcome], *, strict: bool = False) -> int:
    """Returns 0 if all are complete, 1 if a source failed as a whole, else 3; with `strict` 1 in place of 3.

    2 if none failed, but one was refused because its settings name another account. A source that failed as a whole
    reads nothing new until somebody acts, so it is no warning, whatever others did.
    """
    kinds = {"refused" if outcome.refused else outcome.outcome for outcome in outcomes}
    if kinds <= {"complete"}:  # also of no source at all: a shard may have nothing to do
        return COMPLETE
    if "refused" in kinds and "failed" not in kinds:
        return USAGE
    return FAILED if strict or "failed" in kinds else PARTIAL


def own_version() -> str:
    """Returns the version of gapless that is installed; "0" when it runs from files alone."""
    try:
        return version("gapless")
    except PackageNotFoundError:
        return "0"
