"""What a comparison with a vendor found, and the exit code for it. Values only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from gapless.pipelines.errors import COMPLETE, FAILED, PARTIAL, USAGE
from gapless.pipelines.evidence.gap import Commands
from gapless.pipelines.printable import counted
from gapless.sources import SOURCES

Absent = dict[str, dict[str, datetime | None]]
"""Creation times of missing records, by parent and id."""
Corrections = dict[str, dict[str, dict[str, Any]]]
"""Cells by table, `_dlt_id` and column that a load cannot replace; a row without any is deleted, as nobody knows what
it said."""
MOST_NAMED = 1_000
"""The most differences that are named; the others are counted."""


@dataclass(frozen=True)
class Difference:
    """What differs in the rows of one record in one table."""

    table: str
    id: str
    """The record's, or the parent's, at the vendor."""
    columns: tuple[str, ...] = ()
    """Columns with another cell than the vendor's record makes."""
    missing: int = 0
    """Rows that are not here."""
    extra: int = 0
    """Rows here that the vendor's record does not make."""

    def __str__(self) -> str:
        what = [", ".join(self.columns)] if self.columns else []
        what += [f"{counted(self.missing, 'rows')} missing"] if self.missing else []
        what += [f"{counted(self.extra, 'rows')} too many"] if self.extra else []
        return f"{self.table} {self.id}: {'; '.join(what)}"


@dataclass
class Verified:
    """The comparison of one source. Counts are of records, in the parents that were compared."""

    source: str
    by: str = "ids"
    """ids or count; with a count, records that the vendor deleted may hide a loss."""
    parents: int = 0
    """Parents compared."""
    of: int = 0
    """Parents that the vendor lists, and those that it listed before and may still serve."""
    served: int = 0
    here: int = 0
    newer: int = 0
    """Served and not here, because they were created after the proof."""
    missing: int = 0
    kept: int = 0
    """Records here that are not served any more."""
    lost: int = 0
    """Records that went since the last sync and that nobody can bring back; no later comparison knows of them."""
    lost_before: int = 0
    """Records that an earlier command told as lost, and that this one did not bring back: an earlier sync did, or the
    vendor serves them no more."""
    erased: int = 0
    """Served and not here, because they were erased on purpose."""
    gone: list[str] = field(default_factory=list)
    """`_dlt_id` of those of them that are not marked yet."""
    back: list[str] = field(default_factory=list)
    """`_dlt_id` of records that are marked as gone and served again."""
    not_asked: int = 0
    """Parents that no sync has read yet."""
    vanished: list[str] = field(default_factory=list)
    """Ids of parents with fewer records here than the vendor told, and that it neither lists nor finds any more."""
    undecided: str | None = None
    """Why a count could not decide."""
    failed: dict[str, str] = field(default_factory=dict)
    """Errors of parents whose requests failed, by id."""
    absent: Absent = field(default_factory=dict)
    """Creation times of missing records, by parent and id; empty for a count."""
    doubled: int = 0
    """Rows here that stand there twice."""
    torn: int = 0
    """Records here with another number of rows below them than they were loaded with, in all parents."""
    orphans: int = 0
    """Rows here below a record that is not here, in all parents."""
    lost_below: list[str] = field(default_factory=list)
    """`_dlt_id` of torn records that the vendor denies: nobody can bring back what is lost below them."""
    not_denied: list[str] = field(default_factory=list)
    """`_dlt_id` of torn records that were not met, and that the vendor may serve still."""
    told: dict[str, int] = field(default_factory=dict)
    """Records of parents, by id, whose listing was read to its end and has fewer than the ledger says."""
    foreign: dict[str, str] = field(default_factory=dict)
    """Ids that rows here have by somebody's hand, by the id with which they were loaded."""
    foreign_served: list[str] = field(default_factory=list)
    """Those of these ids that the vendor serves: they are another record's."""
    cells: int | None = None
    """Records whose cells were compared; None: ids alone were."""
    differing: Absent = field(default_factory=dict)
    """Creation times of records with other cells or child rows than the vendor's, by parent and id."""
    differing_parents: list[str] = field(default_factory=list)
    """Ids of parents whose own row differs."""
    differing_listed: dict[str, list[str]] = field(default_factory=dict)
    """Ids of rows of listings beside the records, such as stories, that differ or are not here, by table."""
    differences: list[Difference] = field(default_factory=list)
    """What differs, by table, record and column; at most MOST_NAMED."""
    changed: int = 0
    """Records and parents that the vendor changed since the last sync; the next one reads them."""
    lacking: dict[str, int] = field(default_factory=dict)
    """Rows that records which are here lack, by table."""
    corrections: Corrections = field(default_factory=dict)
    """Cells to correct before a load; never shown, as they are content."""
    replaced: int | None = None
    """Records that differed before a repair, and are the vendor's now."""
    unproven: str | None = None
    """Why nothing shows that all was compared."""
    requests: int = 0
    repaired: int | None = None
    error: str | None = None
    refused: bool = False
    """Whether the settings name another account than the one whose rows are here, or the erasure key is lost."""
    destination: str = "duckdb"
    """What commands to type must name."""
    appends: bool = False
    """Whether nothing is replaced there, which a sync has to be told."""

    def name(self, difference: Difference) -> None:
        """Takes what differs, so long as not too many are named."""
        if len(self.differences) < MOST_NAMED:
            self.differences.append(difference)

    def lack(self, difference: Difference) -> None:
        """Takes what differs of a row by its cells or its absence, and counts the rows that are missing."""
        self.lacking[difference.table] = self.lacking.get(difference.table, 0) + difference.missing
        self.name(difference)

    def typed(self, *words: str) -> str:
        """Returns a command about this source as it is typed: `typed("verify", "--repair")`."""
        command, *options = words
        return Commands(SOURCES[self.source], self.destination, self.appends).typed(
            " ".join([command, self.source, *options])
        )

    @property
    def complete(self) -> bool:
        """Returns whether everything was compared and nothing is missing."""
        differ = self.differing or self.differing_parents or self.differing_listed
        # Not `kept`, as what a vendor deletes stays here on purpose; what that may hide is said in `undecided`.
        here = self.doubled or self.torn or self.orphans
        return not (self.missing or self.lost or self.failed or self.error or self.unproven or here or differ)

    @property
    def to_read(self) -> Absent:
        """Returns the records to read again: those that are missing, and those that differ."""
        parents = dict.fromkeys((*self.absent, *self.differing))
        return {parent: {**self.absent.get(parent, {}), **self.differing.get(parent, {})} for parent in parents}

    @property
    def differ(self) -> int:
        """Returns how many records, parents and rows of listings beside the records differ."""
        listed = sum(map(len, self.differing_listed.values()))
        return sum(map(len, self.differing.values())) + len(self.differing_parents) + listed

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        found = asdict(self)
        del found["corrections"], found["lacking"], found["refused"], found["gone"], found["back"]
        del found["lost_below"], found["not_denied"], found["told"], found["destination"], found["appends"]
        ids = {name: {p: list(ids) for p, ids in found[name].items()} for name in ("absent", "differing")}
        return {**found, **ids, "complete": self.complete}


def exit_code(found: list[Verified]) -> int:
    """Returns 0 if all are complete, 1 if a source failed as a whole, 2 if one is of another account, else 3."""
    if all(one.complete for one in found):
        return COMPLETE
    if any(one.error and not one.refused for one in found):
        return FAILED
    return USAGE if any(one.refused for one in found) else PARTIAL
