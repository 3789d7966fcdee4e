"""Tables: what there is to query, and what each column means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gapless.pipelines.ui.address import View
from gapless.pipelines.ui.database.session import SCHEMA
from gapless.pipelines.ui.site import Question
from gapless.pipelines.views.refresh import views
from gapless.sources import SOURCES

COLUMNS = (
    "select table_schema, table_name, column_name, data_type from information_schema.columns"
    " order by table_schema, table_name, ordinal_position"
)
SHORT = {"timestamp with time zone": "timestamp", "character varying": "varchar", "double precision": "double"}


@dataclass(frozen=True)
class Described:
    """One table or view."""

    dataset: str
    name: str
    about: str
    columns: list[tuple[str, str, str]]
    """Name, type, meaning."""


def fetch(question: Question) -> Mapping[str, Any]:
    """Returns the views, then the tables of each source, with their columns."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for dataset, name, column, type_ in question.remembered("columns", lambda: question.db.rows(COLUMNS)):
        short = SHORT.get(str(type_).lower(), str(type_).lower())
        found.setdefault((str(dataset), str(name)), []).append((str(column), short))
    text = question.address["q"].strip().lower()
    made = [one for one in (*_views(found), *_tables(found)) if not text or text in _text(one)]
    return {"tables": made, "datasets": [SCHEMA, *SOURCES]}


def _text(one: Described) -> str:
    return " ".join([one.dataset, one.name, one.about, *(" ".join(column) for column in one.columns)]).lower()


def _views(found: Mapping[tuple[str, str], list[tuple[str, str]]]) -> list[Described]:
    made = []
    for view in sorted(views(), key=lambda view: (view.name.startswith("stg_"), view.name)):
        if columns := found.get((SCHEMA, view.name)):
            cells = [(name, type_, "identifies a row" if name in view.key else "") for name, type_ in columns]
            made.append(Described(SCHEMA, view.name, f"One row per {view.grain}.", cells))
    return made


def _tables(found: Mapping[tuple[str, str], list[tuple[str, str]]]) -> list[Described]:
    made = []
    for name, source in SOURCES.items():
        known = {shape.name: shape for table in source.tables for shape in table.schema.tree()}
        own = {table: columns for (dataset, table), columns in found.items() if dataset == name}
        for table, columns in own.items():
            shape = known.get(table)
            means = {column.name: column.description for column in shape.columns} if shape else {}
            cells = [(column, type_, means.get(column, "")) for column, type_ in columns]
            made.append(Described(name, table, shape.description if shape else "", cells))
    return made


VIEW = View("tables", "Tables", ("q",), fetch)
