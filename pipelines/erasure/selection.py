"""Finds what is to be forgotten: a parent with all its records, a record, or all that has a value in a column."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

from gapless.pipelines.erasure.tables import Tables
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.evidence.policy import configured_policy
from gapless.sources import Source
from gapless.sources._dlt.tables import ROOT_ID, ROW_ID
from gapless.sources._extract.resource import shapes
from gapless.sources._ledger.erasure.tombstones import texts_in, value_text
from gapless.sources._ledger.stored.cells import instant
from gapless.sources._schema.arrow import digest

PLAIN = re.compile(r"[\x20-\x7e]*")
"""What every engine finds in small letters."""


@dataclass
class Selection:
    """What is to be forgotten of one source."""

    kind: str
    """parent, record or value"""
    named: str
    """What the user named; it is never stored."""
    parents: set[str] = field(default_factory=set)
    """Ids of parents, which go with all their records."""
    records: dict[str, str] = field(default_factory=dict)
    """The parent's id by the record's; empty where there are no parents."""
    times: dict[str, datetime] = field(default_factory=dict)
    """When the records were made, by their ids, as far as it is known."""
    values: list[tuple[str, str, str]] = field(default_factory=list)
    """Table, column and value that later records must not have either."""
    rows: dict[str, set[str]] = field(default_factory=dict)
    """`_dlt_id` of the rows to delete, by root table."""
    warning: str | None = None
    """What may have been overlooked."""
    nameless: int = 0
    """Dead letters without an id that hold the value."""

    @property
    def is_empty(self) -> bool:
        """Returns whether nothing that is here matches."""
        return not (self.parents or self.records or self.nameless)


def by_id(tables: Tables, source: Source, key: str, table: str | None) -> Selection:
    """Returns the parent or the record with this id. Raises WrongSettings where both have it and none is named."""
    parents = source.stream.parents
    is_parent = parents is not None and _knows_parent(tables, source, key)
    record = _records(tables, source, source.main.id_column, [key])
    is_record = bool(record) or _has_letter(tables, source, "record", key)
    of = {parents.table.name if parents else "": is_parent, source.main.name: is_record}
    if table is not None and table not in of:
        raise WrongSettings(f"--table {table}: expected one of {', '.join(filter(None, of))}.")
    if is_parent and is_record and table is None:
        both = " and ".join(f"in {name}" for name in of)
        raise WrongSettings(f"{key} is an id {both}; say which one is meant: --table {source.main.name}, for one.")
    chosen = table or next((name for name, found in of.items() if found), "")
    if not of.get(chosen):
        return Selection("record", key)
    if chosen == source.main.name:
        found = Selection("record", key, records=record or {key: ""})
    else:
        found = Selection("parent", key, parents={key})
    return completed(tables, source, found)


def by_value(tables: Tables, source: Source, where: str) -> Selection:
    """Returns what has a value in a column, given as COLUMN=VALUE or TABLE.COLUMN=VALUE.

    Raises WrongSettings for a column that is in no table, or in several.
    """
    named, equals, value = where.partition("=")
    if not (equals and named.strip() and value.strip()):
        raise WrongSettings(f"--where {where!r}: expected COLUMN=VALUE, such as email=somebody@example.com.")
    table, column = _column(source, named.strip())
    found, parents = Selection("value", where), source.stream.parents
    found.values.append((table, column, value.strip()))
    if configured_policy(source).actions.get((table, column)) == "hash":
        found.warning = (
            f"{table}.{column} is hashed: rows were looked for by hashes of the value as given, in small, capital"
            " and title letters; one that is spelt in another way was not found"
        )
    root = next(one for one in source.tables if table in {shape.name for shape in one.schema.tree()})
    keys: set[str] = set()
    if tables.has(table, column):
        own = ROOT_ID if table != root.name else ROW_ID
        for condition, texts in tables.among(column, _spellings(tables, source, table, column, value.strip())):
            select = f"select distinct {tables.column(own)} from {tables.name(table)} where {condition}"
            keys |= {str(row) for (row,) in tables.query(select, *texts)}
    if root == source.main:
        found.records = _records(tables, source, ROW_ID, keys)
        _add_letters(tables, source, found, value.strip())
    elif parents and root == parents.table:
        for where_ in tables.among(ROW_ID, keys):
            found.parents |= {str(key) for _, key in tables.row_ids(root.name, where_, [root.id_column])}
    return completed(tables, source, found)


def _column(source: Source, named: str) -> tuple[str, str]:
    """Returns table and column of a name. Raises WrongSettings."""
    own = (source.main, *([source.stream.parents.table] if source.stream.parents else []))
    every = [(shape.name, column.name) for shape in shapes(own) for column in shape.columns]
    at, _, column = named.rpartition(".")
    found = [one for one in every if one[1] == column and at in ("", one[0])]
    if len(found) == 1:
        return found[0]
    if found:
        which = ", ".join(f"{table}.{name}" for table, name in found)
        raise WrongSettings(f"--where: {column} is a column of several tables; name one of {which}.")
    raise WrongSettings(
        f"--where: {source.name} has no column {named!r}; sources/{source.vendor}/README.md has them."
    )


def _spellings(tables: Tables, source: Source, table: str, column: str, value: str) -> set[str]:
    """Returns the texts of a column that are a value, however its letters are written, or the hash of it.

    The engine only narrows them down: each folds other letters than later syncs do, some ASCII ones alone.
    """
    wanted = {str(value_text(value)), *_hashes(source, value)}
    text = f"cast({tables.column(column)} as varchar)"
    # The Kelvin sign is the one letter beyond ASCII whose small letter is an ASCII one.
    folded = f"lower(replace({text}, '\u212a', 'k'){tables.plain_order})"
    select, found = f"select distinct {text} from {tables.name(table)} where {folded} like %s escape '!'", set[str]()
    plain = {re.sub("([!%_])", r"!\1", max(PLAIN.findall(one), key=len)) for one in wanted}
    # A JSON text may have any of its letters as an escape.
    for pattern in (*(f"%{one}%" for one in plain), '"%\\%'):
        found |= {str(cell) for (cell,) in tables.query(select, pattern) if value_text(cell) in wanted}
    return found


def _hashes(source: Source, value: str) -> set[str]:
    """Returns the hashes of a value in the spellings that are common; none without a key of hashes."""
    policy, (name, at, domain) = configured_policy(source), value.rpartition("@")
    spelt = {value, value.lower(), value.upper(), value.title(), value.capitalize()}
    spelt |= {f"{part}{at}{domain.lower()}" for part in (name, name.title(), name.upper())} if at else set()
    return {policy.hashed_text(one) for one in spelt} if policy.key else set()


def _records(tables: Tables, source: Source, column: str, keys: set[str] | list[str]) -> dict[str, str]:
    """Returns the parents' ids by the ids of the records that are found by a column."""
    main, of = source.main, source.stream.column
    if not tables.has(main.name, column):
        return {}
    wanted, found = [main.id_column, *([of] if of else [])], dict[str, str]()
    for where in tables.among(column, keys):
        found |= {
            str(key): str(parent[0]) if parent else "" for _, key, *parent in tables.row_ids(main.name, where, wanted)
        }
    return found


def _knows_parent(tables: Tables, source: Source, key: str) -> bool:
    """Returns whether anything here speaks of a parent."""
    parents = source.stream.parents
    assert parents
    assert source.stream.column
    asked = [(parents.table.name, parents.table.id_column), (source.main.name, source.stream.column)]
    asked += (("coverage", "parent"), ("dead_letters", "parent"))
    there = any(
        tables.has(table, column) and tables.count(table, where)
        for table, column in asked
        for where in tables.among(column, [key])
    )
    return there or _has_letter(tables, source, "parent", key)


def _has_letter(tables: Tables, source: Source, kind: str, key: str) -> bool:
    where = ("kind = %s and stream = %s and key = %s", [kind, source.main.name, key])
    return tables.has("dead_letters", "kind", "stream", "key") and bool(tables.count("dead_letters", where))


def _add_letters(tables: Tables, source: Source, found: Selection, value: str) -> None:
    """Adds the records that could not be read, and hold the value in whatever field."""
    if not tables.has("dead_letters", "kind", "stream", "key", "parent", "raw_json"):
        return
    values = {value_text(value), *_hashes(source, value)}
    letters = f"select kind, key, parent, raw_json from {tables.name('dead_letters')} where stream = %s"
    for kind, key, parent, raw in tables.query(f"{letters} and raw_json is not null", source.main.name):
        if values.isdisjoint(map(value_text, texts_in(str(raw)))):
            continue
        if kind == "record":
            # A record that two parents serve has the parent's id before its own.
            found.records.setdefault(str(key).removeprefix(f"{parent}/") if parent else str(key), str(parent or ""))
        else:
            found.nameless += 1


def completed(tables: Tables, source: Source, found: Selection) -> Selection:
    """Adds the records of the parents, and the ids of all rows."""
    main, parents = source.main, source.stream.parents
    if found.parents and source.stream.column:
        # Each by its own id as well: it may be served by another parent, too, or move there.
        found.records |= _records(tables, source, source.stream.column, found.parents)
    rows = found.rows[main.name] = {digest(key) for key in found.records}
    if tables.has(main.name, main.id_column):
        time = [name for name in [main.time_column] if name and tables.has(main.name, name)]
        for where in tables.among(main.id_column, found.records):
            for row, key, *at in tables.row_ids(main.name, where, [main.id_column, *time]):
                rows.add(str(row))
                if made := instant(at[0]) if at else None:
                    found.times[str(key)] = made
    if parents:
        found.rows[parents.table.name] = {digest(key) for key in found.parents}
    return found
