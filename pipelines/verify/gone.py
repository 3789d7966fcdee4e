"""Finds which rows a whole listing lacks, and which it has again: the marks that a comparison of ids sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime

from gapless.pipelines.destinations.reader import Reader
from gapless.pipelines.evidence.proofs import Proof, as_utc
from gapless.sources import Source
from gapless.sources._dlt.literals import text_literal
from gapless.sources._dlt.tables import LOAD_ID, ROW_ID
from gapless.sources._incremental.listing import ListedPage
from gapless.sources._schema.arrow import digest
from gapless.sources._schema.record import GONE_AT

BEGIN = datetime.min.replace(tzinfo=UTC)
AT_ONCE = 20_000
"""Rows in one query."""


class GoneRows:
    """What the listings of a source serve, and the rows that they lack."""

    def __init__(self, source: Source) -> None:
        self._source, self._began = source, datetime.now(UTC)
        # Hashes, as there may be millions: two equal ones would leave a mark out, and never set one.
        self._served = dict[str, set[int]]()
        self._oldest = dict[str, datetime]()
        self._nameless = Counter[str]()
        self.twins: dict[str, tuple[str, str, datetime | None]] = {}
        """Rows by `_dlt_id` that are not that of their record, which is served: its parent, id and time."""
        self.marked: frozenset[str] = frozenset()
        """`_dlt_id` of the rows that are marked already."""

    def read_marks(self, reader: Reader) -> None:
        """Reads which rows are marked; none where no sync has made the column."""
        name, main = self._source.name, self._source.main.name
        if reader.appends or GONE_AT not in reader.columns(name, [main]).get(main, ()):
            return
        found = reader.rows(name, f'select {ROW_ID} from {{0}} where "{GONE_AT}" is not null', main) or []
        self.marked = frozenset(row for (row,) in found)

    def add(self, parent: str, page: ListedPage) -> None:
        """Adds one page of a parent's listing."""
        self._served.setdefault(parent, set()).update(hash(digest(key)) for key in page.times)
        times = [at for at in (self._oldest.get(parent), *page.times.values()) if at]
        if times:
            self._oldest[parent] = min(times)
        if page.nameless:
            self._nameless[parent] += len(page.nameless)

    def take(self, parent: str, records: Collection[str]) -> int:
        """Adds records that name a parent and that another one's listing has; returns how many its own lacks."""
        served = self._served.setdefault(parent, set())
        new = {hash(digest(key)) for key in records} - served
        served |= new
        return len(new)

    def count(self, parent: str) -> int:
        """Returns how many records the listing of a parent had so far."""
        return len(self._served.get(parent, ())) + self._nameless[parent]

    def is_served(self, record: str) -> bool:
        """Returns whether a listing had this id."""
        return any(hash(digest(record)) in served for served in self._served.values())

    def denies(self, record: str, parent: str, at: datetime | None, proof: Proof, *, empty: bool) -> bool:
        """Returns whether the listing of a parent, read to its end, shows that a record is not served.

        `empty` says that an empty listing counts, too; a record from before what it reaches back to may be served.
        """
        since = self._since(parent, proof)
        if parent in self._nameless or since is None or not (empty or self._served.get(parent)):
            return False
        reaches = at >= since if at else since == BEGIN
        return reaches and not self.is_served(record)

    def back(self) -> list[str]:
        """Returns the marked rows that are served."""
        return [row for row in self.marked if any(hash(row) in served for served in self._served.values())]

    def lacking(self, reader: Reader, ended: Mapping[str, Proof]) -> Iterator[str]:
        """Yields rows that are not marked and that the listing of their parent, read to its end, lacks."""
        for parent, proof in ended.items():
            since = self._since(parent, proof)
            # A record whose id cannot be read may be any of them.
            if parent in self._nameless or since is None:
                continue
            served = self._served.get(parent, set())
            for row, at, load, record in self._rows(reader, parent):
                own = digest(record)
                if own != row and hash(own) in served:
                    self.twins[row] = parent, record, at
                    continue
                # What a sync has loaded since may be newer than the listing.
                was_here = _began(load) < self._began.timestamp()
                if hash(row) not in served and row not in self.marked and was_here and (at is None or at >= since):
                    yield row

    def _since(self, parent: str, proof: Proof) -> datetime | None:
        """Returns from when on a row must be listed; None: nobody knows."""
        bounds = [proof.covered_from or BEGIN]
        if self._source.facts.keeps_days is not None:
            # What is older than the oldest one may be deleted for its age alone.
            if parent not in self._oldest:
                return None
            bounds.append(self._oldest[parent])
        return max(bounds)

    def _rows(self, reader: Reader, parent: str) -> Iterator[tuple[str, datetime | None, str, str]]:
        """Yields the rows of a parent: `_dlt_id`, creation time, load and id."""
        main, column = self._source.main, self._source.stream.column
        time = f'"{main.time_column}"' if main.time_column else "null"
        of_parent = f' and "{column}" = {text_literal(parent, "{chr}")}' if column else ""
        last = ""
        while True:
            where = f"{ROW_ID} > '{last}'{of_parent} order by {ROW_ID} limit {AT_ONCE}"
            select = f'select {ROW_ID}, {time}, {LOAD_ID}, "{main.id_column}" from {{0}} where {where}'
            rows = reader.rows(self._source.name, select, main.name)
            yield from ((row, as_utc(at), load, str(record)) for row, at, load, record in rows or ())
            if not rows or len(rows) < AT_ONCE:
                return
            last = rows[-1][0]


def _began(load: str) -> float:
    try:
        return float(load)  # dlt makes ids of loads of the time
    except ValueError:
        return 0.0
