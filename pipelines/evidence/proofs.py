"""Reads the coverage ledger of a dataset: one proof per stream and parent. Only those of completed loads prove."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from gapless.pipelines.destinations.reader import Reader, Rows
from gapless.sources._dlt.tables import LOAD_ID, LOADS, is_completed
from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, is_reset
from gapless.sources._ledger.markers import LOST, is_closed

Interval = list[str | None]
"""[from, to] as ISO 8601 texts; a from of None is the beginning of history."""


class Proof(NamedTuple):
    """How far one parent of a stream is proven complete, as the table `coverage` says; times are in UTC."""

    stream: str
    parent: str
    """Empty for a listing without parents."""
    covered_from: datetime | None
    covered_to: datetime | None
    last_checked_at: datetime | None
    """None: set back by `gapless state`, and not read since."""
    missing: list[Interval]
    """Intervals not read yet."""
    error: str | None
    failures: int
    """Consecutive failures."""
    records: int | None = None
    """Records according to the vendor, when it was last checked."""
    digest: str | None = None
    """Digest of the vendor's answer, or its count, at the last check."""
    broke_off: datetime | None = None
    """When the load began that wrote it and was not completed: it proves nothing; None: it was completed."""

    @property
    def reset(self) -> bool:
        """Returns whether the next sync reads all of it again."""
        return is_reset(self.covered_to) or (self.covered_to is None and self.last_checked_at is None)

    @property
    def proven_to(self) -> datetime | None:
        """Returns up to when it is proven; None: nothing is proven."""
        return None if self.reset else self.covered_to

    @property
    def gone(self) -> bool:
        """Returns whether the vendor does not list the parent any more."""
        return is_closed(self.error, self.failures)

    @property
    def counts_all(self) -> bool:
        """Returns whether at least as many records must be here as the vendor counted."""
        # With an initial value only a part of what the vendor counts is here.
        whole = self.covered_from is None and not (self.missing or self.failures)
        return whole and self.last_checked_at is not None and not self.reset and not self.gone

    @property
    def complete_to(self) -> datetime | None:
        """Returns up to when nothing is missing of it, whatever came later; None: nothing shows that."""
        if self.broke_off:
            return None
        if self.missing:
            starts = [start for start, _ in self.missing]
            return None if None in starts else min(datetime.fromisoformat(start) for start in starts if start)
        if self.reset or self.failures or self.last_checked_at is None:
            return self.proven_to
        # What was there at the check is here, also where nothing new had come for a while.
        return self.last_checked_at


def low_watermark(proofs: Iterable[Proof]) -> datetime | None:
    """Returns up to when all of these are proven complete: the least of them, and no later than their newest record.

    Parents that the vendor does not have any more hold nothing back. None: nothing is proven, of one at least.
    """
    known = [proof for proof in proofs if not proof.gone]
    ends = [proof.complete_to for proof in known]
    newest = max(filter(None, (proof.proven_to for proof in known)), default=None)
    return None if None in ends or newest is None else min(newest, *filter(None, ends))


PROOF_COLUMNS = (
    "stream", "parent", "covered_from", "covered_to", "last_checked_at", "missing", "error", "failures", "records",
    "digest",
)  # fmt: skip
"""The columns of the table coverage that a proof is made of."""


def read_proofs(reader: Reader, dataset: str, stream: str | None = None, only: str = "") -> list[Proof] | None:
    """Returns the proofs of a dataset, or of one of its streams; None if there is no ledger yet.

    Rows of loads that broke off are in it with what counts of them. `only` is an SQL condition on the others, and
    leaves those out.
    """
    completed = is_completed("{1}")
    of_stream = f" and stream = '{stream}'" if stream else ""
    of_proven = f"{of_stream} and {only}" if only else of_stream
    select = f"select {', '.join(PROOF_COLUMNS)} from {{0}} where {completed}{of_proven}"
    rows = reader.rows(dataset, select, COVERAGE.name, LOADS)
    if rows is None or only:
        return None if rows is None else _proofs(rows)
    doubted = (
        f"select stream, parent, missing, error, failures, {LOAD_ID} from {{0}} where not {completed}{of_stream}"
    )
    others = reader.rows(dataset, doubted, COVERAGE.name, LOADS) or []
    return [*_proofs(rows), *(_in_doubt(*cells) for cells in others)]


def _proofs(rows: Rows) -> list[Proof]:
    return [_proof(*row) for row in rows]


def _proof(
    of: str,
    parent: str,
    start: datetime | str | None,
    end: datetime | str | None,
    checked: datetime | str | None,
    missing: str | list[Interval] | None,
    error: str | None,
    failures: int,
    records: int | None,
    digest: str | None,
) -> Proof:
    lacks = intervals(missing)
    # Where nobody can tell what it misses, it proves nothing, as one that was set back.
    known = lacks is not None
    times = (as_utc(start), as_utc(end) if known else None, as_utc(checked) if known else None)
    return Proof(of, parent, *times, lacks or [], error, int(failures), _number(records), digest)


def _in_doubt(
    stream: str, parent: str, missing: str | list[Interval] | None, error: str | None, failures: int, load: str
) -> Proof:
    """Returns what counts of the row of a load that broke off: what it notes as missing, or as gone."""
    try:
        began = datetime.fromtimestamp(float(load), UTC)
    except (ValueError, OverflowError):  # not an id of dlt's
        began = datetime.fromtimestamp(0, UTC)
    lasting = error if (error or "").startswith(LOST) or is_closed(error, int(failures)) else None
    return Proof(stream, parent, None, None, None, intervals(missing) or [], lasting, 0, broke_off=began)


def _number(cell: int | None) -> int | None:
    return None if cell is None else int(cell)


def intervals(cell: str | list[Interval] | None) -> list[Interval] | None:
    """Returns a JSON cell as intervals, decoded or not; None: it is something else."""
    try:
        found: list[Interval] = (json.loads(cell) if isinstance(cell, str) else cell) or []
        for start, end in found:
            for time in (start, end):
                if time is not None:
                    datetime.fromisoformat(time)
    except (TypeError, ValueError):  # somebody has changed it
        return None
    return found


def as_utc(value: datetime | str | None) -> datetime | None:
    """Returns a cell as a time in UTC; SQLite stores times as texts."""
    if value is None:
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def lacks_newest(reader: Reader, dataset: str, stream: str, time: str | None) -> bool:
    """Returns whether a stream is proven up to a time (its column is `time`) that no record here has any more."""
    ends = [proof.proven_to for proof in read_proofs(reader, dataset, stream) or [] if not proof.gone]
    newest = max(filter(None, ends), default=None)
    found = reader.rows(dataset, f"select max({time}) from {{0}}", stream) if time and newest else None
    here = as_utc(found[0][0]) if found else None
    return newest is not None and found is not None and (here is None or here < newest)


MARK = (
    "select count(*), min(covered_to), max(covered_to),"
    " sum(cast(extract(epoch from covered_to) * 1000000 as bigint)),"
    " sum(failures), sum(records),"
    " (select count(*) from {{1}} where healed_at is null and stream = '{0}') from {{0}} where stream = '{0}'"
)
"""Sums over the proofs of a stream, and its open dead letters."""


def proofs_mark(reader: Reader, dataset: str, stream: str) -> str:
    """Returns a text that changes when somebody changes a stream's proofs, or closes a dead letter of it.

    It is empty where a column is missing, as in a database of an older version: nothing is known to be unchanged.
    """
    columns = reader.columns(dataset, [COVERAGE.name, DEAD_LETTERS.name])
    if not (
        columns.get(COVERAGE.name, set()) >= {*PROOF_COLUMNS} and "healed_at" in columns.get(DEAD_LETTERS.name, ())
    ):
        return ""
    found = reader.rows(dataset, MARK.format(stream), COVERAGE.name, DEAD_LETTERS.name)
    return " ".join(map(str, found[0])) if found else ""
