"""What the tests must be told of a source, besides what it says of itself: one Subject, in the source's test folder.

It stands in `tests/sources/NAME/subject.py`; a package of its own brings it as `subject.py` beside its `fake.py`.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from typing import Any

from gapless.sources import SOURCES, Source
from gapless.sources._incremental.detail_feed import DetailFeed
from tests.contract.subject_checks import problems_of

Row = dict[str, Any]
Columns = dict[str, str]

TEXT, NUMBER, REAL, TIME, JSON, FLAG = (
    "VARCHAR", "BIGINT", "DOUBLE", "TIMESTAMP WITH TIME ZONE", "JSON", "BOOLEAN",
)  # fmt: skip


def columns(**kinds: str) -> Columns:
    """Column -> type in DuckDB, from `TYPE="name name …"`."""
    known = {"text": TEXT, "number": NUMBER, "real": REAL, "time": TIME, "json": JSON, "flag": FLAG}
    return {name: known[kind] for kind, names in kinds.items() for name in names.split()}


@dataclass(frozen=True)
class Subject:
    """One source, as its tests know it. Names of fields are the vendor's, in JSON.

    The fake is asked for by `fake.handle`, `fake.truth()`, `fake.change(id, **fields)`, `fake.delete(id)`,
    `fake.advance(minutes)` and `fake.demo()`; it has `now`, `page_cap`, `requests` and `failing`.
    """

    name: str
    tables: Mapping[str, Columns]
    """The contract: every table that is made of what the vendor sends, with its columns and their types in DuckDB.
    A list in a record is the table `parent__list`; an object's fields are the columns `object__field`."""
    text: str
    """A text of a record, which may be null; a list in its place makes the record one that cannot be read. One in an
    object of the record stands with a dot, as `actor.name`; the object may be null, too."""
    time: str
    """The time of a record's creation."""
    fill: Callable[[Any, int, int], None]
    """Called with the fake, how many parents (a listing has none) and how many records of the last five days."""
    add: Callable[..., Row]
    """Called with the fake, the id of a parent (a listing: None) and fields; `at` is the time of creation."""
    add_parent: Callable[..., Row] | None = None
    """Called with the fake and fields; a listing has none."""
    delete_parent: Callable[[Any, Any], None] | None = None
    """Called with the fake and the id of a parent, which goes with its records; a listing has none."""
    standing: Callable[[Any], list[Row]] | None = None
    """The records that are served at this moment, as in `truth`; None: `truth` holds no others."""
    derived: Mapping[str, Columns] = field(default_factory=dict)
    """Tables made of records here, which the vendor does not send."""

    id: str = "id"
    """Of a record."""
    parent_id: str = "id"
    """Of a parent."""
    camel: bool = False
    """Whether the vendor writes fieldNames, which become column_names."""
    given: tuple[str, ...] = ()
    """Fields in `truth` that a record gets from its parent, as the vendor does not send them with it."""
    never_kept: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Fields by table that reach no database."""

    with_children: Row = field(default_factory=dict)
    """Fields with which a record has rows below it."""
    child: str | None = None
    """A list of objects in a record, and a text in these."""
    child_text: str = ""
    object: str | None = None
    """An object in a record."""
    parent_text: str = "name"
    json: str = ""
    """A field of any JSON, of the record or of its children."""
    number: tuple[str, ...] = ()
    """Keys down to a whole number, each but the last to an object, or to a list of them."""
    marks: frozenset[str] = frozenset()
    """Fields of answers that hold page marks, or ids without being called so."""
    lists: tuple[str, ...] = ()
    """Names of the lists of records, parents or ids in the answers that are pages."""
    next_marks: tuple[tuple[str, ...], ...] = ()
    """Keys down to each field that leads to the next page; none: the `Link` header does."""
    tells_total: bool = True
    """Whether every page tells how many records the whole listing has."""
    twin: str = ""
    """A field that no model knows, and whose column would be called like that of `time`."""
    not_served: frozenset[str] = frozenset()
    """Kinds of bad records (bad_records.py) that the fake cannot hold."""

    @property
    def source(self) -> Source:
        return SOURCES[self.name]

    @property
    def main(self) -> str:
        """The records' table."""
        return self.source.main.name

    @property
    def parents_table(self) -> str | None:
        """The parents' table."""
        parents = self.source.stream.parents
        return parents.table.name if parents else None

    @property
    def one_by_one(self) -> bool:
        """Whether pages list ids, and each record is read by its own."""
        return isinstance(self.source.stream, DetailFeed)

    @property
    def whole(self) -> bool:
        """Whether one answer holds all records of a parent, so that each edit is seen."""
        return bool(getattr(self.source.stream, "whole", False))

    @property
    def numbered(self) -> bool:
        """Whether ids are numbers."""
        return self.tables[self.main][self.id_column] == NUMBER

    @cached_property
    def keys(self) -> dict[str, str]:
        """The column with the vendor's id, by table."""
        parents = {self.parents_table: self.column(self.parent_id)} if self.parents_table else {}
        return {**dict.fromkeys(self.tables, "id"), **parents, self.main: self.id_column}

    @property
    def id_column(self) -> str:
        return self.column(self.id)

    @property
    def prefix(self) -> str:
        """Of its settings."""
        return self.name.upper()

    @property
    def text_column(self) -> str:
        return "__".join(map(self.column, self.text.split(".")))

    def text_of(self, row: Row) -> Any:
        """Returns the text of a record; None where it, or the object that it is in, is not there."""
        value: Any = row
        for key in self.text.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def with_text(self, value: object, row: Row | None = None) -> Row:
        """Returns the field with which a record has this text; what else `row` has in the same object stays."""
        keys = self.text.split(".")
        for depth in range(len(keys) - 1, 0, -1):
            there: Any = row
            for key in keys[:depth]:
                there = there.get(key) if isinstance(there, dict) else None
            value = {**(there or {}), keys[depth]: value}
        return {keys[0]: value}

    def edit(self, fake: Any, record_id: Any, value: object) -> None:
        """Changes the text of a record at the vendor."""
        row = next((one for one in self.records(fake) if str(one[self.id]) == str(record_id)), None)
        fake.change(record_id, **self.with_text(value, row))

    def column(self, name: str) -> str:
        return "".join(f"_{each.lower()}" if each.isupper() and self.camel else each for each in name)

    def has(self, setting: str) -> bool:
        """Returns whether the source has this setting (without its name)."""
        return f"{self.name}_{setting}" in signature(self.source.build).parameters

    # -- the vendor --------------------------------------------------------------------------------

    def empty(self, **how: Any) -> Any:
        """Returns the fake without a record."""
        return self.source.fake(**how)

    def filled(self, parents: int = 4, records: int = 24, **how: Any) -> Any:
        """Returns the fake with records, four to a page unless told otherwise."""
        fake = self.empty(**{"page_cap": 4, **how})
        self.fill(fake, parents, records)
        return fake

    def records(self, fake: Any) -> list[Row]:
        """Returns the records that are served at this moment."""
        return self.standing(fake) if self.standing else fake.truth()[self.main]

    def parents(self, fake: Any) -> list[Any]:
        """Returns the ids of all parents; of a listing one None."""
        if not self.parents_table:
            return [None]
        return [row[self.parent_id] for row in fake.truth()[self.parents_table]]

    def add_one(self, fake: Any, *, at: datetime | None = None, **fields: Any) -> Any:
        """Adds a record to the first parent, created `at` (None: now); returns its id."""
        parent = self.parents(fake)[0]
        return self.add(fake, parent, **({"at": at} if at else {}), **fields)[self.id]

    def of_parent(self, row: Row) -> str:
        """Returns the id of a record's parent as text."""
        column = self.source.stream.column or ""
        for part in column.split("__"):
            row = next(value for name, value in row.items() if self.column(name) == part)
        return str(row)

    def part_of_path(self, parent: Any) -> str:
        """Returns what stands in the paths of a parent's records and in no others."""
        return f"/{parent}/"

    def keys_of(self, value: Callable[[str], str]) -> dict[str, str]:
        """Returns the arguments of the fake that are its keys, each with a value."""
        return {name.removeprefix(f"{self.name}_"): value(name) for name in self.source.demo}


def subject(name: str) -> Subject:
    """Returns the Subject of a registered source.

    Raises ModuleNotFoundError where there is none, ValueError where it does not fit the source.
    """
    source = SOURCES[name]
    found = _subject(source.vendor, source.package)
    return replace(found, name=name) if source.is_named else found


@cache
def _subject(name: str, package: str) -> Subject:
    own, folder = f"tests.sources.{name}.subject", f"tests.sources.{name}"
    there = find_spec(folder) is not None and find_spec(own) is not None
    module = own if there else f"{package}.subject"
    found: Subject = import_module(module).SUBJECT
    if problems := problems_of(found, Source.at(package)):
        raise ValueError(f"{module}: {'; '.join(problems)}")
    return found


def filled(name: str) -> Any:
    """Returns the fake of a source with 4 parents and 24 records, four to a page."""
    return subject(name).filled()


def copied(fake: Any) -> Any:
    """Returns a vendor of its own with the same memory."""
    other = object.__new__(type(fake))
    locks = {
        name: threading.RLock() for name, value in vars(fake).items() if isinstance(value, type(threading.RLock()))
    }
    rest = {name: value for name, value in vars(fake).items() if name not in locks}
    other.__dict__.update({**copy.deepcopy(rest), **locks})
    return other
