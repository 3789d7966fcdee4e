"""Something of a table that keeps a sync from writing what it reads."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Made:
    """A column as it was made."""

    type: str
    """In dlt's words; empty: whatever it is."""
    nullable: bool
    key: bool
    """No two rows have the same value in it, or in all such columns of the table together."""


@dataclass(frozen=True)
class Dataset:
    """The tables of one source that are there or will be made."""

    name: str
    tables: Mapping[str, Mapping[str, Made]]
    """Columns by table, as they were made; empty where nothing says so."""
    lacking: Collection[str] = field(default_factory=tuple)
    """Tables to which columns will be added."""

    def named(self, table: str) -> str:
        """Returns the table's name as it is typed."""
        return f"{self.name}.{table}"

    def listed(self) -> str:
        """Returns the tables' names as SQL texts."""
        return ", ".join(f"'{table}'" for table in self.tables)

    def ask(self, reader: Asked, query: str) -> list[tuple[Any, ...]]:
        """Returns the rows of a query, in which {0} is the dataset's name and {1} the tables' names."""
        return reader.rows(self.name, query.format(self.name, self.listed())) or []


@dataclass(frozen=True)
class Obstacle:
    """What keeps a sync from writing, and what ends it."""

    table: str
    """Or a schema, or the database, as it is typed."""
    what: str
    remedy: str
    """A statement of SQL."""
    of: str = ""
    """The table in whose place something else stands, such as a view, or that lost files; empty: it is there."""
    is_unreadable: bool = False
    """Whether nothing can be known of the table, and so of its source."""

    def __str__(self) -> str:
        return f"{self.table} {self.what}. Its owner ends that: {self.remedy}"


class Asked(Protocol):
    """Answers queries about a dataset."""

    def rows(self, dataset: str, select: str, *tables: str) -> list[tuple[Any, ...]] | None:
        """Returns the rows of a query; any, as a cell has the type of its column."""


def quoted(name: str) -> str:
    """Returns a name as it is typed."""
    return name if re.fullmatch("[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


def is_key(columns: Collection[str], made: Mapping[str, Made]) -> bool:
    """Returns whether rows of ours always differ in these columns, so that a unique index on them refuses none."""
    keys = [name for name, column in made.items() if column.key and not name.startswith("_dlt")]
    own = {"_dlt_id", *(name for name, column in made.items() if column.key and name.startswith("_dlt"))}
    # One of dlt's ids is enough; of a key of the vendor's the index must hold every column.
    return bool(own & {*columns}) or bool(keys and {*keys} <= {*columns})


@dataclass(frozen=True)
class Engine:
    """Types of an engine by dlt's, and its statements, with the places {table}, {name}, {column} and {type}."""

    types: Mapping[str, str]
    """Of those that are compared."""
    retyped: str
    nullable: str
    plain: str
    """Makes a computed column one that is written to."""


@dataclass(frozen=True)
class Found:
    """A column as it is."""

    type: str
    not_null: bool
    computed: bool = False
    has_default: bool = False

    @property
    def required(self) -> bool:
        """Returns whether a row without a value for it is refused."""
        return self.not_null and not (self.computed or self.has_default)


def wrong_columns(dataset: Dataset, table: str, found: Mapping[str, Found], engine: Engine) -> Iterator[Obstacle]:
    """Yields what a table's columns refuse."""
    made = dataset.tables[table]
    full = dataset.named(table)

    def obstacle(what: str, statement: str, column: str, type_: str = "") -> Obstacle:
        remedy = statement.format(table=full, name=table, column=quoted(column), type=type_)
        return Obstacle(f"the table {full}", what, remedy)

    for name, column in found.items():
        ours = made.get(name)
        if ours is None:
            # Where nothing says what was made, nobody knows whose a column is.
            if made and column.required:
                what = f"has a column {name} of somebody else's, which must not be null"
                yield obstacle(what, engine.nullable, name)
            continue
        right = engine.types.get(ours.type, column.type)
        if column.computed:
            yield obstacle(f"computes its column {name} itself", engine.plain, name)
        # A copy may have made text of JSON, and text takes it.
        elif column.type != right and (ours.type, column.type) != ("json", engine.types.get("text")):
            yield obstacle(f"has the column {name} as {column.type}, not as {right}", engine.retyped, name, right)
        elif column.not_null and ours.nullable:
            yield obstacle(f"refuses nulls in its column {name}", engine.nullable, name)
