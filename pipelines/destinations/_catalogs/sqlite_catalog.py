"""Obstacles in a SQLite file, as its own catalog shows them. Types are not compared: SQLite has none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from gapless.pipelines.destinations._catalogs.obstacle import (
    Asked,
    Dataset,
    Engine,
    Found,
    Obstacle,
    is_key,
    quoted,
    wrong_columns,
)

OBJECTS = "select type, name, tbl_name, sql from {0}.sqlite_master where tbl_name in ({1})"
INDEXES = (
    "select m.name, l.name, l.origin, group_concat(i.name) from {0}.sqlite_master m,"
    " pragma_index_list(m.name, '{0}') l, pragma_index_info(l.name, '{0}') i"
    " where m.type = 'table' and m.name in ({1}) and l.\"unique\" = 1 group by 1, 2, 3"
)
COLUMNS = (
    'select m.name, c.name, c."notnull", c.dflt_value is not null, c.hidden from {0}.sqlite_master m,'
    " pragma_table_xinfo(m.name, '{0}') c where m.type = 'table' and m.name in ({1})"
)
REBUILD = (
    "create table {name}__new as select * from {name}; drop table {name}; alter table {name}__new rename to {name};"
)
"""SQLite cannot drop a constraint, but a table made of the rows has none. Its file is the dataset."""
SQLITE = Engine(types={}, retyped=REBUILD, nullable=REBUILD, plain=REBUILD)
# SQLite lists no checks; they stand only in the text of the statement.
CHECKED = re.compile(r"\bcheck\s*\(", re.IGNORECASE)


def obstacles(reader: Asked, dataset: Dataset) -> Iterator[Obstacle]:
    """Yields what keeps a sync from writing to the dataset."""
    asked = partial(dataset.ask, reader)
    for kind, name, table, sql in asked(OBJECTS):
        if kind == "view":
            what = "is a view, so nothing can be written to it"
            yield Obstacle(f"the table {dataset.named(str(table))}", what, f"drop view {table};", str(table))
        elif kind == "trigger":
            what = f"has the trigger {name}, which may change or refuse rows"
            yield Obstacle(f"the table {dataset.named(str(table))}", what, f"drop trigger {quoted(str(name))};")
        elif kind == "table" and CHECKED.search(str(sql)):
            what = "has a check, which may refuse rows"
            yield Obstacle(f"the table {dataset.named(str(table))}", what, REBUILD.format(name=table))
    for table, name, origin, columns in asked(INDEXES):
        if not is_key(str(columns).split(","), dataset.tables[str(table)]):
            own = origin == "c"  # made by `create index`
            what = f"has the unique index {name}, which may refuse rows"
            remedy = f"drop index {quoted(str(name))};" if own else REBUILD.format(name=table)
            yield Obstacle(f"the table {dataset.named(str(table))}", what, remedy)
    found: dict[str, dict[str, Found]] = {}
    for table, column, not_null, default, hidden in asked(COLUMNS):
        # 2 and 3 are computed columns (pragma table_xinfo): virtual and stored ones.
        held = Found("", bool(not_null), hidden in (2, 3), bool(default))
        found.setdefault(str(table), {})[str(column)] = held
    for table, found_columns in found.items():
        yield from wrong_columns(dataset, table, found_columns, SQLITE)
