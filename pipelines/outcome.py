"""The outcome of a sync of each source, and the exit code for all of them.

Values only: nothing here runs, prints or reads anything.
"""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from gapless.pipelines.errors import COMPLETE, FAILED, PARTIAL

if TYPE_CHECKING:
    from gapless.sources._ledger.session import Failure

LEDGER_TABLES = ("coverage", "dead_letters", "runs", "status_changes")
"""gapless's own tables in each dataset; their rows are not the vendor's."""


@dataclass
class Outcome:
    """The result of one source's sync; times are UTC."""

    source: str
    started_at: datetime
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    finished_at: datetime | None = None
    outcome: str = "failed"
    """complete, partial or failed"""
    rows: dict[str, int] = field(default_factory=dict)
    """Rows loaded, by table."""
    packages: int = 0
    requests: int = 0
    retries: int = 0
    seconds_waited: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    """One for each record and parent that failed."""
    error: str | None = None
    error_kind: str | None = None
    """Name of the error's class, for places where its text must not appear."""

    @property
    def seconds(self) -> float:
        """Returns how long the sync took; 0 while it runs."""
        return (self.finished_at - self.started_at).total_seconds() if self.finished_at else 0.0

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values, times as ISO 8601 texts."""
        times = {"started_at": self.started_at.isoformat()}
        if self.finished_at:
            times["finished_at"] = self.finished_at.isoformat()
        return {**asdict(self), "failures": [str(failure) for failure in self.failures], **times}

    def vendor_rows(self) -> dict[str, int]:
        """Returns the rows loaded, by table, without the ledger's tables."""
        return {name: rows for name, rows in self.rows.items() if name not in LEDGER_TABLES}


def exit_code(outcomes: list[Outcome]) -> int:
    """Returns 0 if all are complete, 1 if all failed, else 3."""
    kinds = {outcome.outcome for outcome in outcomes}
    if kinds <= {"complete"}:  # also of no source at all: a shard may have nothing to do
        return COMPLETE
    return FAILED if kinds == {"failed"} else PARTIAL


def own_version() -> str:
    """Returns the version of gapless that is installed; "0" when it runs from files alone."""
    try:
        return version("gapless")
    except PackageNotFoundError:
        return "0"
