"""Finds datasets that hold the rows of one account twice, as after its name changed: the views count both.

It compares the newest records of each dataset with those that the others of its vendor hold under the same ids.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations

from gapless.pipelines.destinations.reader import Reader
from gapless.pipelines.evidence.proofs import as_utc
from gapless.pipelines.evidence.stored_state import OpenDataset
from gapless.sources import SOURCES, Source
from gapless.sources._dlt.tables import ROW_ID
from gapless.sources._ledger.account.evidence import Evidence, Row, compared, newest_rows

NEWEST = 20
"""Records of a dataset that are looked for in others."""


@dataclass(frozen=True)
class Twins:
    """Two datasets that hold records of one account."""

    first: str
    second: str
    same: int
    """How many of the newest records of one are in the other, too."""
    further: bool
    """Whether the first one reaches further back; False: both begin with the same record's time."""


def twins(reader: Reader, about: Collection[str] | None = None) -> Iterator[Twins]:
    """Yields the pairs of datasets that hold the same records; with `about` those with one of these names."""
    for package in {source.package for source in SOURCES.values()}:
        group = [source for source in SOURCES.values() if source.package == package]
        if len(group) > 1 and (about is None or any(one.name in about for one in group)):
            yield from _among([one for one in map(_Held.of, group, [reader] * len(group)) if one], about)


@dataclass(frozen=True)
class _Held:
    """What a dataset holds: its newest rows."""

    source: Source
    dataset: OpenDataset
    rows: list[Row]

    @classmethod
    def of(cls, source: Source, reader: Reader) -> _Held | None:
        """Returns what a dataset holds; None: no record."""
        dataset, table, parent = OpenDataset(reader, source), source.main, getattr(source.stream, "column", None)
        known = dataset.columns(table.name)
        names = [name for name in (ROW_ID, *compared(table, parent)) if name in known]
        if ROW_ID not in names or table.time_column not in names:
            return None
        found = newest_rows(dataset, table, ", ".join(f'"{name}"' for name in names), limit=NEWEST)
        rows = [dict(zip(names, cells, strict=False)) for cells in found]
        for row in rows:
            row[table.time_column] = as_utc(row[table.time_column])
        return cls(source, dataset, rows) if rows else None

    def among(self, ids: Collection[str]) -> set[str]:
        """Returns which of these rows are here, by their ids."""
        wanted = ", ".join(f"'{one}'" for one in sorted(ids))
        select = f"select {ROW_ID} from {{0}} where {ROW_ID} in ({wanted})"
        return {str(key) for (key,) in self.dataset.rows(select, self.source.main.name) or ()}

    def same(self, other: _Held) -> int:
        """Returns how many of the other's newest records are here; 0 where most only share an id with one."""
        found, table = Evidence(), self.source.main
        found.add(self.dataset, table, other.rows, getattr(self.source.stream, "column", None))
        return found.same if found.same > found.other else 0

    def begins(self) -> datetime | None:
        """Returns when its oldest record was created, in UTC."""
        table = self.source.main
        found = self.dataset.rows(f'select min("{table.time_column}") from {{0}}', table.name)
        return as_utc(found[0][0]) if found else None


def _among(held: list[_Held], about: Collection[str] | None) -> Iterator[Twins]:
    # One query for each dataset, as a vendor may have hundreds: few of them share an id at all.
    ids = {row[ROW_ID] for one in held for row in one.rows}
    here = {one.source.name: one.among(ids) for one in held} if len(held) > 1 else {}
    for pair in combinations(held, 2):
        # Also of different hosts: a vendor's host may have moved together with the account's name.
        if about is not None and not any(one.source.name in about for one in pair):
            continue
        shared = here[pair[0].source.name] & here[pair[1].source.name]
        if shared and (same := max(pair[0].same(pair[1]), pair[1].same(pair[0]))):
            (begins, first), (later, second) = sorted((str(one.begins() or ""), one.source.name) for one in pair)
            yield Twins(first, second, same, begins < later)
