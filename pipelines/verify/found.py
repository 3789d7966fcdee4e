"""What a comparison with a vendor found, and the exit code for it. Values only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from gapless.pipelines.errors import COMPLETE, FAILED, PARTIAL

Absent = dict[str, dict[str, datetime | None]]
"""Creation times of missing records, by parent and id."""


@dataclass
class Verified:
    """The comparison of one source. Counts are of records, in the parents that were compared."""

    source: str
    by: str = "ids"
    """ids or count; with a count, records that the vendor deleted may hide a loss."""
    parents: int = 0
    """Parents compared."""
    of: int = 0
    """Parents that the vendor lists."""
    served: int = 0
    here: int = 0
    newer: int = 0
    """Served and not here, because they were created after the proof."""
    missing: int = 0
    kept: int = 0
    """Records here that are not served any more."""
    not_asked: int = 0
    """Parents that no sync has read yet."""
    undecided: str | None = None
    """Why a count could not decide."""
    failed: dict[str, str] = field(default_factory=dict)
    """Errors of parents whose requests failed, by id."""
    absent: Absent = field(default_factory=dict)
    """Creation times of missing records, by parent and id; empty for a count."""
    doubled: int = 0
    """Rows here that stand there twice."""
    unproven: str | None = None
    """Why nothing shows that all was compared."""
    requests: int = 0
    repaired: int | None = None
    error: str | None = None

    @property
    def complete(self) -> bool:
        """Returns whether everything was compared and nothing is missing."""
        return not (self.missing or self.failed or self.error or self.unproven or self.doubled)

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return {**asdict(self), "absent": {p: list(ids) for p, ids in self.absent.items()}, "complete": self.complete}


def exit_code(found: list[Verified]) -> int:
    """Returns 0 if all are complete, 1 if all failed, else 3."""
    if all(one.complete for one in found):
        return COMPLETE
    return FAILED if all(one.error for one in found) else PARTIAL
