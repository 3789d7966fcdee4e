"""Checks events against the schema of OCSF: what each class and object requires, and which numbers it knows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parents[1] / "samples" / "ocsf" / "1.8.0.json"
OWN = ("account", "record_id", "part", "row_table", "row_dlt_id")
"""Columns of the view that are not OCSF's."""
TYPES: Mapping[str, type] = {
    "string_t": str, "integer_t": int, "long_t": int, "timestamp_t": int, "resource_uid_t": str, "username_t": str,
}  # fmt: skip


@cache
def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def event(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a row as OCSF's JSON: a name with `__` is a path, a number a place in a list, a null is left out."""
    made: dict[str, Any] = {}
    for name, value in row.items():
        if name in OWN or value is None:
            continue
        *path, last = name.split("__")
        here = made
        for part in path:
            here = here.setdefault(part, {})
        here[last] = value
    return {
        name: [*value.values()] if isinstance(value, dict) and "0" in value else value for name, value in made.items()
    }


def problems(found: Mapping[str, Any]) -> list[str]:
    """Returns what is wrong with an event."""
    known = schema()["classes"].get(str(found.get("class_uid")))
    if known is None:
        return [f"class_uid: {found.get('class_uid')} is no class"]
    wrong = [*_of(found, known, "")]
    if found["type_uid"] != found["class_uid"] * 100 + found["activity_id"]:
        wrong.append("type_uid is not class_uid * 100 + activity_id")
    if found["category_uid"] != known["category_uid"] or found.get("class_name") != known["name"]:
        wrong.append("category_uid or class_name is another class's")
    for name in ("activity", "status"):
        captions = known["attributes"][f"{name}_id"]["enum"]
        word, number = found.get("activity_name" if name == "activity" else "status"), found.get(f"{name}_id")
        # For 99 the word is the source's own.
        if number is not None and (not word if number == 99 else word != captions.get(str(number))):
            wrong.append(f"{name}_id {number} is not {word!r}")
    return wrong


def _of(found: Mapping[str, Any], known: Mapping[str, Any], path: str) -> Iterator[str]:
    attributes = known["attributes"]
    yield from (
        f"{path}{name} is required"
        for name, one in attributes.items()
        if one["requirement"] == "required" and name not in found
    )
    either = known.get("constraints", {}).get("at_least_one", [])
    if either and not found.keys() & {*either}:
        yield f"{path or 'event'}: one of {either} is required"
    for name, value in found.items():
        if name not in attributes:
            yield f"{path}{name} is no attribute"
        else:
            yield from _value(value, attributes[name], f"{path}{name}")


def _value(value: Any, known: Mapping[str, Any], path: str) -> Iterator[str]:
    for one in value if known.get("array") else [value]:
        if "enum" in known and str(one) not in known["enum"]:
            yield f"{path}: {one} is not one of {list(known['enum'])}"
        if known["type"] in schema()["objects"]:
            yield from _of(one, schema()["objects"][known["type"]], f"{path}.")
        elif known["type"] != "object" and not isinstance(one, TYPES[known["type"]]):
            yield f"{path}: {one!r} is no {known['type']}"
