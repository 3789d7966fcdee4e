"""Puts the descriptions into the database, as comments on tables, columns and views (`COMMENT ON`).

Only for DuckDB and Postgres. They are set when they are missing or changed; an idle sync asks one question.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

from gapless.pipelines.views.catalog import SCHEMA, Catalog
from gapless.pipelines.views.descriptions import Descriptions
from gapless.pipelines.views.view import MARK, View
from gapless.sources import SOURCES

_log = logging.getLogger(__name__)
PLACES = {
    "duckdb": (
        "select schema_name, table_name as name, '' as part, 'table' as kind, comment from duckdb_tables()"
        " where database_name = current_database() and schema_name in ({0})"
        " union all select schema_name, view_name, '', 'view', comment from duckdb_views()"
        " where database_name = current_database() and schema_name in ({0})"
        " union all select schema_name, table_name, column_name, 'column', comment from duckdb_columns()"
        " where database_name = current_database() and schema_name in ({0})"
    ),
    "postgres": (
        "select n.nspname as schema_name, c.relname as name, coalesce(a.attname, '') as part,"
        " case when a.attname is not null then 'column' when c.relkind = 'v' then 'view' else 'table' end as kind,"
        " d.description as comment"
        " from pg_namespace as n join pg_class as c on c.relnamespace = n.oid and c.relkind in ('r', 'v')"
        " join (select attrelid, attnum, attname from pg_attribute where attnum > 0 and not attisdropped"
        " union all select oid, 0, null from pg_class) as a on a.attrelid = c.oid"
        " left join pg_description as d on d.objoid = c.oid and d.classoid = 'pg_class'::regclass"
        " and d.objsubid = a.attnum where n.nspname in ({0})"
    ),
}
"""Queries by the engine's name in sqlglot: every table, view and column of some schemas with its comment."""


class Place(NamedTuple):
    """What can have a comment."""

    schema: str
    name: str
    column: str
    """Empty for a table or a view."""
    kind: str
    """table, view or column"""
    comment: str | None

    def statement(self, text: str) -> str:
        """Returns the statement that sets the comment."""
        path = ".".join('"{}"'.format(part.replace('"', '""')) for part in self[:3] if part)
        return "comment on {} {} is '{}'".format(self.kind, path, text.replace("'", "''"))


def is_described(catalog: Catalog) -> bool:
    """Returns whether all that is there has the comments that it had when they were last set."""
    if catalog.dialect not in PLACES:
        return True
    found = f"from ({_places(catalog)}) as places"
    ((places, comments, note),) = catalog.rows(
        f"select count(*), count(comment), max(case when name = '{MARK}' and part = '' then comment end) {found}"
    )
    return str(note or "").endswith(_counts(places, comments))


def describe(catalog: Catalog, views: Iterable[View]) -> None:
    """Sets the comments that are missing or differ. Logs an error instead of raising it: no data depends on them."""
    if catalog.dialect not in PLACES:
        return
    descriptions = Descriptions(views)
    datasets = {catalog.schema(dataset): dataset for dataset in (SCHEMA, *SOURCES)}
    places = [Place(*row) for row in catalog.rows(_places(catalog)) if row[1:3] != (MARK, "")]
    wanted = {place: descriptions.of(datasets[place.schema], place.name, place.column) for place in places}
    described = 1  # the mark itself
    # Each group by itself, as some cannot have comments: another user's tables, columns of a DuckLake's views.
    for _, group in groupby(sorted(places, key=_group), key=_group):
        described += _describe(catalog, wanted, [*group])
    mark = Place(catalog.schema(SCHEMA), MARK, "", "view", None)
    note = f"{descriptions.of(SCHEMA, MARK)} {_counts(len(places) + 1, described)}"
    _run(catalog, [mark.statement(note)])


def _group(place: Place) -> tuple[str, bool]:
    return place.schema, place.kind == "column"


def _describe(catalog: Catalog, wanted: Mapping[Place, str], places: list[Place]) -> int:
    """Sets the comments of some places; returns how many of them have one then."""
    changed = [place for place in places if wanted[place] and wanted[place] != place.comment]
    done = _run(catalog, [place.statement(wanted[place]) for place in changed])
    return sum(place.comment is not None or (done and bool(wanted[place])) for place in places)


def _run(catalog: Catalog, statements: list[str]) -> bool:
    try:
        # One text, as a server would answer each statement by itself.
        catalog.run([";\n".join(statements)] if statements else [])
    except Exception as error:
        from gapless.pipelines.errors import explain

        _log.info("comments on tables and columns could not be set: %s", explain(error))
        return False
    return True


def _places(catalog: Catalog) -> str:
    return PLACES[catalog.dialect].format(", ".join(_literals(catalog)))


def _literals(catalog: Catalog) -> Iterator[str]:
    for dataset in (SCHEMA, *SOURCES):
        yield "'{}'".format(catalog.schema(dataset).replace("'", "''"))


def _counts(places: int, comments: int) -> str:
    return f"{comments} of {places} tables, views and columns here are described."
