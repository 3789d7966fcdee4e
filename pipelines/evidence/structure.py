"""Compares the tables and columns that are there with those that dlt's stored schema says are there.

What an older version of gapless did not write yet stands in neither, so it is no damage: the next sync adds it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gapless.pipelines.destinations.reader import Reader
from gapless.sources import Source
from gapless.sources._dlt.tables import LOADS, SCHEMAS, STATES, newest_schema

OWN = (LOADS, STATES, SCHEMAS)
Columns = Mapping[str, Collection[str]]
"""Columns by table."""


@dataclass(frozen=True)
class Damage:
    """A table, or columns of it, that somebody took away."""

    table: str
    columns: tuple[str, ...] = ()
    """Empty: the whole table is missing."""

    def __str__(self) -> str:
        what = f" lacks {', '.join(self.columns)}" if self.columns else " is missing"
        return f"the table {self.table}{what}"


def damages(reader: Reader, source: Source) -> list[Damage]:
    """Returns what is missing of a source's dataset; none where there is no dataset at all."""
    real = reader.columns(source.name, table_names(source))
    return compare(stored_columns(reader, source), real) if real else []


def table_names(source: Source) -> list[str]:
    """Returns every table of a source's dataset: the vendor's, the ledger's and dlt's own."""
    from gapless.sources._extract.resource import shapes
    from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, RUNS

    return [*(shape.name for shape in shapes((*source.tables, COVERAGE, DEAD_LETTERS, RUNS))), *OWN]


def stored_columns(reader: Reader, source: Source) -> Columns:
    """Returns the tables and columns that were made; without a stored schema all tables, with unknown columns."""
    from gapless.pipelines.destinations._dlt.runtime import stored_tables

    found = reader.rows(source.name, newest_schema("{0}", source.name), SCHEMAS)
    known = table_names(source)
    if not found:
        return dict.fromkeys(known, ())
    return {name: columns for name, columns in stored_tables(found[0][0]).items() if name in known}


def compare(made: Columns, real: Columns) -> list[Damage]:
    """Returns what was made and is not real any more; names are compared without their case."""
    folded = {table.lower(): {column.lower() for column in columns} for table, columns in real.items()}
    found = []
    for table, columns in made.items():
        if table.lower() not in folded:
            found.append(Damage(table))
        elif gone := tuple(one for one in columns if one.lower() not in folded[table.lower()]):
            found.append(Damage(table, gone))
    return found
