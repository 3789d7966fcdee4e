"""Compares the tables and columns that are there with those that dlt's stored schema says are there.

What an older version of gapless did not write yet stands in neither, so it is no damage: the next sync adds it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from gapless.pipelines.destinations._catalogs.obstacle import Dataset, Made, Obstacle
from gapless.pipelines.destinations._layouts.layout import COLUMNS
from gapless.pipelines.destinations.reader import Reader
from gapless.sources import Source
from gapless.sources._dlt.tables import (
    LOAD_ID,
    LOADS,
    ROW_ID,
    SCHEMAS,
    STATES,
    newest_schema,
    newest_state,
    other_schemas,
)
from gapless.sources._schema.layout import LAYOUT_TABLE

if TYPE_CHECKING:
    from gapless.pipelines.destinations.backend import Backend

OWN = (LOADS, STATES, SCHEMAS)
SCHEMA_NAMES = ("version", "engine_version", "inserted_at", "schema_name", "version_hash", "schema")
OWN_COLUMNS = {
    LOADS: {"load_id", "status"},
    STATES: {LOAD_ID, "pipeline_name", "state"},
    SCHEMAS: {*SCHEMA_NAMES},
}
"""The columns of dlt's own tables that are asked for."""
Columns = Mapping[str, Collection[str]]
"""Columns by table."""
Stored = Mapping[str, Mapping[str, Made]]


@dataclass(frozen=True)
class Damage:
    """A table, or columns of it, that somebody took away."""

    table: str
    columns: tuple[str, ...] = ()
    """Empty: the whole table is missing."""
    unreadable: bool = False
    """Whether it is there, and a row of it cannot be read."""

    def __str__(self) -> str:
        if self.unreadable:
            return f"the table {self.table} holds what cannot be read"
        what = f" lacks {', '.join(self.columns)}" if self.columns else " is missing"
        return f"the table {self.table}{what}"


def damages(reader: Reader, source: Source) -> list[Damage]:
    """Returns what is missing of a source's dataset; none where there is no dataset at all."""
    real = reader.columns(source.name, table_names(source))
    if not real:
        return []
    made: Columns = stored_columns(reader, source)
    if not any(made.values()) and not reader.appends:
        # A sync that makes columns again has dlt forget what was made, and may break off then.
        made = needed_columns(source)
    found = compare(made, real)
    whole = {table for table in OWN if OWN_COLUMNS[table] <= {*map(str.lower, real.get(table, ()))}}
    return [*found, *(Damage(table, unreadable=True) for table in _unreadable(reader, source, whole))]


def _unreadable(reader: Reader, source: Source, whole: Collection[str]) -> Iterator[str]:
    """Yields the tables of dlt's, of those that are `whole`, whose newest row cannot be read."""
    from gapless.pipelines.destinations._dlt.runtime import stored_source_state, stored_tables

    if SCHEMAS in whole:
        found = reader.rows(source.name, newest_schema("{0}", source.name), SCHEMAS)
        if found and stored_tables(found[0][0]) is None:
            yield SCHEMAS
    if {STATES, LOADS} <= {*whole}:
        found = reader.rows(source.name, newest_state("{0}", "{1}", source.name), STATES, LOADS)
        if found and stored_source_state(found[0][0], source.name) is None:
            yield STATES


def obstacles(reader: Reader, source: Source, backend: Backend | type[Backend]) -> list[Obstacle]:
    """Returns what was changed of a source's dataset so that a sync cannot write there, with what ends it."""
    name, unknown = source.name, _unknown(source)
    real = reader.columns(name, [*unknown])
    try:
        stored = stored_columns(reader, source) if real else unknown
        foreign = _foreign(reader, source, real, stored)
    except Exception:  # of a table that may not be read: the engine's catalog says so in other words
        if found := list(backend.obstacles(reader, Dataset(name, unknown))):
            return found
        raise
    if foreign:
        what = f"holds tables of somebody else ({', '.join(foreign)}), and {name} needs that name"
        remedy = f"rename it (Postgres: alter schema {name} rename to {name}_old;), or use another database"
        return [Obstacle(f"the schema {name}", what, remedy)]
    made = {**unknown, **stored}
    return list(backend.obstacles(reader, Dataset(name, made, _lacking(source, made, real))))


def _unknown(source: Source) -> Stored:
    return {name: {} for name in table_names(source)}


def _foreign(reader: Reader, source: Source, real: Columns, stored: Stored) -> list[str]:
    """Returns the tables of our names that no sync made; none where dlt noted ours."""
    if any(stored.values()):
        return []
    # dlt notes every schema: where others are noted and ours is not, another pipeline made these tables.
    if reader.columns(source.name, [LAYOUT_TABLE]).get(LAYOUT_TABLE, set()) >= COLUMNS:
        return []  # our mark is on them: what dlt noted was changed
    others = reader.rows(source.name, other_schemas("{0}", source.name), SCHEMAS) if SCHEMAS in real else None
    return sorted(
        name
        for name, columns in real.items()
        if name not in OWN and (others or not {ROW_ID, LOAD_ID} & {column.lower() for column in columns})
    )


def _lacking(source: Source, made: Stored, real: Columns) -> set[str]:
    """Returns the tables that are there and get columns, of today's version or what was taken away."""
    needed = needed_columns(source)
    return {
        table
        for table, columns in real.items()
        if needed.get(table, set()).union(made.get(table, ())) - {*map(str.lower, columns)}
    }


def needed_columns(source: Source) -> dict[str, set[str]]:
    """Returns the columns of each table of a source's dataset that this version asks for, dlt's own among them."""
    from gapless.sources._extract.resource import shapes
    from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, RUNS

    found = {
        shape.name: {*map(attrgetter("name"), shape.columns)}
        for shape in shapes((*source.tables, COVERAGE, DEAD_LETTERS, RUNS))
    }
    return {**found, **OWN_COLUMNS}


def table_names(source: Source) -> list[str]:
    """Returns every table of a source's dataset: the vendor's, the ledger's and dlt's own."""
    from gapless.sources._extract.resource import shapes
    from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, RUNS

    return [*(shape.name for shape in shapes((*source.tables, COVERAGE, DEAD_LETTERS, RUNS))), *OWN]


SCHEMA_COLUMNS = {name: Made("", nullable=False, key=False) for name in SCHEMA_NAMES}
"""What dlt notes of a schema: where one is missing, nothing says what was made."""


def stored_columns(reader: Reader, source: Source) -> Stored:
    """Returns the tables and columns that were made; without a stored schema all tables, with unknown columns."""
    from gapless.pipelines.destinations._dlt.runtime import stored_tables

    known = _unknown(source)
    real = reader.columns(source.name, [SCHEMAS]).get(SCHEMAS)
    if real is not None and not SCHEMA_COLUMNS.keys() <= {column.lower() for column in real}:
        return {**known, SCHEMAS: SCHEMA_COLUMNS}
    found = reader.rows(source.name, newest_schema("{0}", source.name), SCHEMAS)
    if not found:
        return known
    tables = stored_tables(found[0][0])
    if tables is None:
        return known
    return {
        name: {
            column: Made(
                # Texts of dlt's own tables have a length, which each engine writes in its own way.
                "" if hints.get("precision") else str(hints["data_type"]),
                nullable=hints.get("nullable", True),
                key=bool(hints.get("unique") or hints.get("primary_key")),
            )
            for column, hints in columns.items()
        }
        for name, columns in tables.items()
        if name in known
    }


def compare(made: Columns, real: Columns) -> list[Damage]:
    """Returns what was made and is not real any more; names are compared without their case."""
    # Some engines write names in capitals, as Snowflake does.
    folded = {table.lower(): {column.lower() for column in columns} for table, columns in real.items()}
    found = []
    for table, columns in made.items():
        if table.lower() not in folded:
            found.append(Damage(table))
        elif gone := tuple(one for one in columns if one.lower() not in folded[table.lower()]):
            found.append(Damage(table, gone))
    return found


def refusal(found: Collection[Obstacle]) -> str:
    """Returns the message that ends a sync before its first request."""
    first = "; ".join(map(str, list(found)[:MOST]))
    more = f"; and {len(found) - MOST} more, which gapless doctor lists" if len(found) > MOST else ""
    return f"nothing was read: {first}{more}"


MOST = 3
"""Obstacles that a message names."""
