"""Counts rows: how many each table had when the last sync ended, against how many it has now.

A sync never removes root rows, so fewer are a loss, by somebody else's hand. A loss is noted beside the counts (`?`
in `runs.held`), and the note stays until what proves the contrary takes it back: see `sync/lost_rows.py`, `verify`.
Where counting is dear, signs of the tables stand beside the counts, too (`#`): while they are the same, so are those.
With them stands the sum of each table's ids: rows that were exchanged for as many others have another one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from gapless.pipelines.destinations._postgres.checksums import CHECKSUM, MODULUS
from gapless.pipelines.destinations.backend import Sign
from gapless.pipelines.destinations.reader import Reader
from gapless.sources import Source
from gapless.sources._dlt.tables import ROW_ID

RowCounts = dict[str, int]
"""Rows by table."""
Checksums = dict[str, int]
"""Sum of the ids of a table's rows, by table."""
LOST = "?"
"""The key of the notes of lost rows in `runs.held`: no table is called so."""
SIGNS = "#"
"""The key of the signs of the tables, and of the time at which their rows were counted."""
UNCOUNTED = 1
"""Rows noted as lost where nobody knows how many: one may be, and only a comparison with the vendor shows it."""
COUNT_AGAIN = timedelta(days=1)
"""After so long rows are counted whatever the signs say: a superuser can delete rows and leave no sign."""
HELD = 'select held from {0} where held is not null order by "finished_at" desc'


@dataclass
class Held:
    """What `runs.held` says."""

    rows: RowCounts = field(default_factory=dict)
    """Rows by table when the last sync ended."""
    lost: RowCounts = field(default_factory=dict)
    """Rows by table that are known to be lost and were not brought back."""
    signs: dict[str, Sign] = field(default_factory=dict)
    """What the database said of the tables that had these rows; none: they must be counted."""
    counted_at: datetime | None = None
    """When all rows were really counted; in UTC."""
    proofs: str | None = None
    """What `proofs_mark` said when each parent had all rows that its proof counts; None: some may lack rows."""
    checksums: Checksums = field(default_factory=dict)
    """Of the tables that had these signs; without some where they are not known."""

    def still_holds(self, signs: dict[str, Sign], now: datetime) -> bool:
        """Returns whether the rows are known without counting them, when the database says `signs` of the tables."""
        known = bool(signs) and signs == self.signs and self.rows.keys() == signs.keys()
        return known and self.is_fresh(now)

    def is_fresh(self, now: datetime) -> bool:
        """Returns whether rows were really counted less than a day ago."""
        return self.counted_at is not None and timedelta(0) <= now - self.counted_at < COUNT_AGAIN

    @classmethod
    def of(cls, cells: Iterable[str | dict[str, Any]]) -> Held:
        """Returns the largest count of each table: of shards, the one that ended last has counted all rows."""
        held = cls()
        for cell in cells:
            # Some engines return JSON as text, others decoded.
            counts: dict[str, Any] = json.loads(cell) if isinstance(cell, str) else dict(cell)
            signs = counts.pop(SIGNS, None)
            if signs and not held.rows:
                held.signs = {table: Sign(*sign) for table, sign in signs["tables"].items()}
                held.counted_at, held.proofs = datetime.fromisoformat(signs["counted_at"]), signs.get("proofs")
                held.checksums = signs.get("checksums", {})  # earlier versions noted none
            else:
                # Of several shards none is of all rows.
                held.signs, held.counted_at, held.proofs, held.checksums = {}, None, None, {}
            for table, rows in counts.pop(LOST, {}).items():
                held.lost[table] = max(rows, held.lost.get(table, 0))
            for table, rows in counts.items():
                held.rows[table] = max(rows, held.rows.get(table, 0))
        return held

    def to_json(self) -> str:
        """Returns the cell of `runs.held`."""
        lost = {table: rows for table, rows in self.lost.items() if rows}
        notes: dict[str, object] = {LOST: lost} if lost else {}
        if self.counted_at and (self.signs or self.proofs):
            about = {"proofs": self.proofs, "checksums": self.checksums}
            about = {name: value for name, value in about.items() if value}
            notes[SIGNS] = {"counted_at": self.counted_at.isoformat(), "tables": self.signs, **about}
        return json.dumps({**self.rows, **notes})

    def gone(self, now: RowCounts) -> RowCounts:
        """Returns the rows by table that went since the last sync ended."""
        return {table: rows - now.get(table, 0) for table, rows in self.rows.items() if rows > now.get(table, 0)}

    def exchanged(self, now: RowCounts, checksums: Checksums, signs: dict[str, Sign] | None = None) -> RowCounts:
        """Returns one row for each table of which some went and others came: how many, nobody can know.

        Where there are more rows than before, only `signs`, of the tables as they are now, tell that none went;
        without them that is left to the next sync.
        """
        found = {}
        for table, before in self.checksums.items():
            more = now.get(table, 0) - self.rows.get(table, 0)
            if checksums.get(table, before) != before and (
                more == 0 or (more > 0 and signs and self._lost_some(table, signs))
            ):
                found[table] = UNCOUNTED
        return found

    def _lost_some(self, table: str, signs: dict[str, Sign]) -> bool:
        """Returns whether rows of a table may have been deleted since then."""
        before, now = self.signs.get(table), signs.get(table)
        return not (before and now and (before.identity, before.deleted) == (now.identity, now.deleted))

    def missed(self, now: RowCounts, exchanged: RowCounts | None = None) -> RowCounts:
        """Returns the rows by table that are lost: those that went since then, and those that are noted."""
        kinds = (self.gone(now), self.lost, exchanged or {})
        missed = {table: sum(kind.get(table, 0) for kind in kinds) for kind in kinds for table in kind}
        return {table: rows for table, rows in missed.items() if rows}


def read_held(reader: Reader, source: Source) -> Held | None:
    """Returns what the last sync counted; None where no sync has."""
    if "held" not in reader.columns(source.name, ["runs"]).get("runs", ()):
        return None  # somebody took the column away, or an older version did not write it
    found = reader.rows(source.name, HELD, "runs")
    try:
        return Held.of(cell for (cell,) in found) if found else None
    except (AttributeError, KeyError, TypeError, ValueError):  # somebody has changed it: nothing says how many
        return None


def counted_tables(source: Source) -> list[str]:
    """Returns the names of the vendor's own tables."""
    from gapless.sources._extract.resource import shapes

    return [shape.name for shape in shapes(source.tables)]


def once_tables(source: Source) -> list[str]:
    """Returns the names of the tables in which no row may stand twice: the vendor's own, and the ledger's."""
    from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, RUNS

    return [*counted_tables(source), COVERAGE.name, DEAD_LETTERS.name, RUNS.name]


def count_rows(reader: Reader, source: Source) -> RowCounts:
    """Returns the row counts of the vendor's own tables, without tables that are missing."""
    counts: RowCounts = {}
    for table in counted_tables(source):
        found = reader.rows(source.name, "select count(*) from {0}", table)
        if found:
            counts[table] = int(found[0][0])
    return counts


def sum_rows(reader: Reader, source: Source) -> tuple[RowCounts, Checksums]:
    """Returns what `count_rows` does, with the sum of each table's ids; of Postgres alone."""
    counts: RowCounts = {}
    sums: Checksums = {}
    for table in counted_tables(source):
        found = reader.rows(source.name, f"select count(*), {CHECKSUM} from {{0}}", table)
        if found:
            counts[table], sums[table] = int(found[0][0]), int(found[0][1]) % MODULUS
    return counts, sums


def read_missed(reader: Reader, source: Source) -> tuple[Held | None, RowCounts, RowCounts]:
    """Returns what the last sync counted, the rows that are here now, and those that are lost since, by table."""
    held = read_held(reader, source)
    if held is None:
        return None, count_rows(reader, source), {}
    now, sums = sum_rows(reader, source) if held.checksums else (count_rows(reader, source), {})
    return held, now, held.missed(now, held.exchanged(now, sums))


def count_doubled(reader: Reader, source: Source, tables: Iterable[str]) -> RowCounts:
    """Returns by table the rows whose `_dlt_id` another row has, too; reads each table whole."""
    doubled: RowCounts = {}
    for table in tables:
        found = reader.rows(source.name, f'select count(*) - count(distinct "{ROW_ID}") from {{0}}', table)
        if found and found[0][0]:
            doubled[table] = int(found[0][0])
    return doubled


def of_roots(source: Source, counts: RowCounts) -> RowCounts:
    """Returns the counts of root tables: a changed record may have fewer child rows, but it stays."""
    roots = {table.name for table in source.tables}
    return {table: rows for table, rows in counts.items() if table in roots}
