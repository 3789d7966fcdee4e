"""Compares what an account serves with the rows that are here: by id, creation time and parent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from gapless.sources._dlt.tables import LOADS, ROW_ID, is_completed
from gapless.sources._ledger.erasure.tombstones import ERASED, ERASURES, Tombstones
from gapless.sources._ledger.ledger import COVERAGE, RUNS
from gapless.sources._ledger.package import ToArrow
from gapless.sources._ledger.stored.cells import instant
from gapless.sources._schema.arrow import Table

Row = dict[str, Any]
"""A row by column. Any, as a cell has the type of its column."""


class Dataset(Protocol):
    """The rows of one source that are here."""

    def rows(self, select: str, *tables: str) -> list[tuple[Any, ...]] | None:
        """Returns the rows of a select, in which `{0}`, `{1}`, … stand for the tables; None: a table is missing."""

    def columns(self, table: str) -> set[str]:
        """Returns the columns of a table; empty: unknown, or it is missing."""


LOADED = is_completed("{1}")
"""Of a load that was completed: what a first one that died has left says nothing."""
ONCE = (
    ('select 1 from {0} where "rows" > 0 limit 1', (RUNS.name,)),
    (f"select 1 from {{0}} where records > 0 and {LOADED} limit 1", (COVERAGE.name, LOADS)),
    ("select 1 from {0} limit 1", (ERASED,)),
    ("select 1 from {0} limit 1", (ERASURES,)),
)
"""Queries, with their tables, that show whether a dataset without rows once had some."""
READ = f"select 1 from {{0}} where last_checked_at is not null and {LOADED} limit 1"
ROUNDING = timedelta(milliseconds=1)
"""Destinations that store no microseconds round a time."""


@dataclass
class Evidence:
    """What was found of the records and parents that an account serves."""

    stored: bool = False
    """Whether there is anything here to compare."""
    emptied: bool = False
    """Whether no row is here, and some were: all were erased, or somebody deleted them."""
    served: int = 0
    """Records and parents that were looked up here."""
    same: int = 0
    """Of them, those that are here with the same id and creation time."""
    other: int = 0
    """Of them, those whose id is here with another creation time: ids of two accounts overlap."""

    @property
    def decided(self) -> bool:
        """Returns whether no further request is needed; one record may have been changed beyond recognition."""
        return self.same > self.other or self.other > self.same + 1

    @property
    def proven(self) -> bool:
        """Returns whether it is the account whose rows are here; also of a dataset that never had a row."""
        return not (self.stored or self.emptied) or self.same > self.other

    @property
    def open(self) -> bool:
        """Returns whether no evidence is left, so that only a person can say whose rows were here."""
        return self.emptied and self.same == self.other == 0

    def __str__(self) -> str:
        if self.open:
            return "no row is left here that could prove it"
        if self.emptied:
            return f"{self.same:,} of {self.served:,} records served were erased here, {self.other:,} share an id"
        clash = f", {self.other:,} have the id of another record" if self.other else ""
        return f"{self.same:,} of {self.served:,} records served are here with the same id and time{clash}"

    def add_erased(self, erased: Tombstones, records: Sequence[Any]) -> None:
        """Looks records up that are served among those that were erased."""
        self.served += len(records)
        known = [erased.knows_record(record) for record in records]
        self.same, self.other = self.same + known.count(True), self.other + known.count(False)

    def add(self, dataset: Dataset, table: Table, served: Sequence[Row], parent: str | None = None) -> None:
        """Looks rows up that are served; `parent` names the column with the id of a record's parent."""
        if not served:
            return
        self.served += len(served)
        known = dataset.columns(table.name)  # an older version may have written fewer
        columns = [name for name in (ROW_ID, *compared(table, parent)) if name in known or not known]
        ids = ", ".join(f"'{row[ROW_ID]}'" for row in served)
        names = ", ".join(f'"{name}"' for name in columns)
        found = dataset.rows(f"select {names} from {{0}} where {ROW_ID} in ({ids})", table.name) or []
        here = {cells[0]: dict(zip(columns, cells, strict=True)) for cells in found}
        for row in served:
            if stored := here.get(row[ROW_ID]):
                is_same = _is_same(table, row, stored, parent)
                self.same, self.other = self.same + (is_same is True), self.other + (is_same is False)


def compared(table: Table, parent: str | None) -> list[str]:
    """Returns the columns that tell two records of one id apart: its time, its parent, and its texts."""
    texts = [column.name for column in table.schema.columns if column.data_type == "text"]
    firm = [name for name in (table.time_column, parent, *sorted(table.model.account_columns)) if name]
    return list(dict.fromkeys([*firm, *(name for name in texts if name != table.id_column)]))


def _is_same(table: Table, row: Row, stored: Row, parent: str | None) -> bool | None:
    """Returns whether two rows of one id are one record; None where that is unknown: no time, or another parent."""
    pairs = {
        name: (row[name], cell) for name, cell in stored.items() if row.get(name) is not None and cell is not None
    }
    firm = [one == two for name, (one, two) in pairs.items() if name in table.model.account_columns]
    if table.time_column in pairs:
        firm.append(_is_same_time(*pairs[table.time_column]))
    names = [name for name, (_, cell) in pairs.items() if isinstance(cell, str) and name not in (ROW_ID, parent)]
    texts = [pairs[name][0] == pairs[name][1] for name in names if name != table.time_column]
    # Texts change, but hardly most of them at once; two accounts may make records at the same times.
    if not all(firm) or 2 * texts.count(False) > len(texts):
        return False
    if parent in pairs and str(pairs[parent][0]) != str(pairs[parent][1]):
        return None
    return True if firm or not table.time_column else None


def was_filled(dataset: Dataset) -> bool:
    """Returns whether a dataset shows that it once had rows."""
    return any(dataset.rows(select, *tables) for select, tables in ONCE)


def is_read(dataset: Dataset) -> bool:
    """Returns whether a dataset holds a proof that was not set back since, so that it is of one account."""
    return bool(dataset.rows(READ, COVERAGE.name, LOADS))


def rows_of(table: Table, records: Sequence[object], to_arrow: ToArrow) -> list[Row]:
    """Returns records as the rows that a sync would write."""
    found: list[Row] = to_arrow(table, records).rows[table.name].to_pylist() if records else []
    return found


def newest_rows(dataset: Dataset, table: Table, columns: str, group: str = "", limit: int = 3) -> Iterator[Any]:
    """Yields the given columns of the newest rows that are here, and their times; with `group` one for each value."""
    if not table.time_column:
        return
    newest = f'max("{table.time_column}")' if group else f'"{table.time_column}"'
    grouped = f' group by "{group}"' if group else ""
    select = f'select {columns}, {newest} as newest from {{0}} where "{table.time_column}" is not null{grouped}'
    yield from dataset.rows(f"{select} order by newest desc limit {limit}", table.name) or []


def _is_same_time(served: datetime, stored: datetime | str) -> bool:
    at = instant(stored)
    assert at
    return abs(at - served) < ROUNDING
