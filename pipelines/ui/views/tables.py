"""Tables: what there is to query, and what each column means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gapless.pipelines.ui.address import View
from gapless.pipelines.ui.database.session import SCHEMA
from gapless.pipelines.ui.site import Question
from gapless.pipelines.views.descriptions import Descriptions
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
    # Views that only prepare others come last.
    every = sorted(views(), key=lambda view: (bool(view.like), view.name))
    words = Descriptions(every)
    return [
        _described(words, SCHEMA, view.name, columns) for view in every if (columns := found.get((SCHEMA, view.name)))
    ]


def _tables(found: Mapping[tuple[str, str], list[tuple[str, str]]]) -> list[Described]:
    words = Descriptions(())
    return [
        _described(words, *place, columns)
        for source in SOURCES
        for place, columns in found.items()
        if place[0] == source
    ]


def _described(words: Descriptions, dataset: str, name: str, columns: list[tuple[str, str]]) -> Described:
    cells = [(column, type_, words.of(dataset, name, column)) for column, type_ in columns]
    return Described(dataset, name, words.of(dataset, name), cells)


VIEW = View("tables", "Tables", ("q",), fetch)
