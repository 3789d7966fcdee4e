"""One row of a table with its cells, what they mean, the rows below it, and all of it as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gapless.pipelines.ui.address import View
from gapless.pipelines.ui.database.session import QueryUnavailable
from gapless.pipelines.ui.site import Question
from gapless.sources import SOURCES

if TYPE_CHECKING:
    from gapless.sources._schema.columns import TableSchema

MOST = 200
"""Rows of one table below it."""


def fetch(question: Question) -> Mapping[str, Any]:
    """Returns the cells of a row, and its JSON. Raises QueryUnavailable if there is no such row."""
    dataset, _, name = question.address["table"].partition(".")
    shapes = _shapes(dataset)
    if name not in shapes:
        raise QueryUnavailable(
            f"There is no table {question.address['table']!r}.", "Choose an event of the timeline."
        )
    found = _rows(question, dataset, name, "_dlt_id", question.address["id"])
    if not found:
        raise QueryUnavailable("This row is not here any more.", "A sync may have replaced it; look in the timeline.")
    (row,) = found[:1]
    shape = shapes[name]
    means = {column.name: column.description for column in shape.columns}
    cells = [(column, value, means.get(column, ""), _is_json(value)) for column, value in row.items()]
    whole = {**row, **_below(question, dataset, shape, str(row["_dlt_id"]))}
    return {"table": f"{dataset}.{name}", "about": shape.description, "cells": cells, "json": _parsed(whole)}


def _shapes(dataset: str) -> dict[str, TableSchema]:
    if dataset not in SOURCES:
        return {}
    return {shape.name: shape for table in SOURCES[dataset].tables for shape in table.schema.tree()}


def _rows(question: Question, dataset: str, table: str, column: str, key: str) -> list[dict[str, Any]]:
    """Returns rows as their columns' names and values."""
    names = [
        str(row[0])
        for row in question.db.rows(
            "select column_name from information_schema.columns where table_schema = ? and table_name = ?"
            " order by ordinal_position",
            dataset,
            table,
        )
    ]
    if column not in names:
        return []
    quoted = ", ".join(f'"{name}"' for name in names)
    order = ' order by "_dlt_list_idx"' if "_dlt_list_idx" in names else ""
    query = f'select {quoted} from "{dataset}"."{table}" where "{column}" = ?{order} limit {MOST}'
    return [dict(zip(names, row, strict=True)) for row in question.db.rows_if_exists(query, key)]


def _below(question: Question, dataset: str, shape: TableSchema, key: str) -> dict[str, Any]:
    """Returns the rows of the tables below a row, by the tables' names."""
    made: dict[str, Any] = {}
    for child in shape.children:
        rows = _rows(question, dataset, child.name, "_dlt_parent_id", key)
        made[child.name.removeprefix(f"{shape.name}__")] = [
            {**row, **_below(question, dataset, child, str(row["_dlt_id"]))} for row in rows
        ]
    return made


def _parsed(value: Any) -> Any:
    """Returns a value with texts that are JSON objects or lists as what they hold."""
    if isinstance(value, dict):
        return {name: _parsed(one) for name, one in value.items()}
    if isinstance(value, list):
        return [*map(_parsed, value)]
    return json.loads(value) if _is_json(value) and isinstance(value, str) else value


def _is_json(value: Any) -> bool:
    if isinstance(value, dict | list):
        return True
    if not isinstance(value, str) or value[:1] not in ("{", "["):
        return False
    try:
        json.loads(value)
    except ValueError:
        return False
    return True


VIEW = View("row", "Row", ("table", "id"), fetch, in_menu=False)
