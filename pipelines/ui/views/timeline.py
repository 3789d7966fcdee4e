"""Timeline: what happened, newest first, of one lead, invoice, contact or story or of everything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gapless.pipelines.ui.address import View
from gapless.pipelines.ui.site import FILTERS, Question

PAGE_SIZE = 100
CHOICES = 300
"""Objects that are suggested, those with the most events first; the search finds the others."""
SEARCHED = ("object_id", "record_id", "parent_id", "actor", "action", "summary", "error")
"""Columns in which the search looks."""
COLUMNS = (
    "occurred_at, account, record_id, part, actor, action, object_type, object_id, status, summary, error, row_table,"
    " row_dlt_id"
)
TYPES = (
    "select account, object_type, status, count(*) from activity.timeline group by account, object_type, status"
    " order by account, object_type, status"
)


@dataclass(frozen=True)
class Event:
    """One line of a timeline."""

    at: datetime | None
    source: str
    record: str
    part: int
    actor: str | None
    action: str | None
    object_type: str | None
    object_id: str | None
    status: str | None
    summary: str | None
    error: str | None
    table: str
    row: str
    name: str | None = ""
    """What people call the object."""


def fetch(question: Question) -> Mapping[str, Any]:
    """Returns one page of events, and what may be chosen."""
    where, values = condition(question)
    after, more = _after(question.address["after"])
    rows = _newest(question, f"{where} and {after}", [*values, *more])
    events = named(question, rows[:PAGE_SIZE])
    last = events[-1] if len(rows) > PAGE_SIZE else None
    return {
        "events": events,
        "count": _count(question, where, values, len(rows)),
        "older": _cursor(last) if last else "",
        **_menus(question),
        "about": _about(question, events),
    }


def _newest(question: Question, where: str, values: list[Any]) -> list[tuple[Any, ...]]:
    """Returns the first events that meet a condition, one more than a page, to know whether there is another."""
    times = f"select occurred_at from activity.timeline where {where} order by occurred_at desc nulls last"
    # Two small questions for a large one: the time of the page's last event needs one column of all events, and all
    # columns are then read of those since. Of 5 million events that takes a third of the time.
    oldest = question.db.rows(f"{times} limit 1 offset {PAGE_SIZE}", *values)
    if oldest and oldest[0][0] is not None:
        where, values = f"{where} and occurred_at >= ?", [*values, oldest[0][0]]
    return question.db.rows(
        f"select {event_columns(question)} from activity.timeline where {where}"
        f" order by occurred_at desc nulls last, account, record_id, part limit {PAGE_SIZE + 1}",
        *values,
    )


def event_columns(question: Question) -> str:
    """Returns the columns of an event; views that an older gapless made have no names of objects."""
    query = (
        "select count(*) from information_schema.columns where table_schema = 'activity' and table_name = 'timeline'"
        " and column_name = 'object_name'"
    )
    known = question.remembered("object_name", lambda: question.db.rows(query)[0][0])
    return f"{COLUMNS}, {'object_name' if known else 'null'}"


def condition(question: Question) -> tuple[str, list[Any]]:
    """Returns the SQL condition for the filters of the address, and its values."""
    address = question.address
    parts, values = [question.since()], list[Any]()
    for column, name in (("account", "source"), ("object_type", "type"), ("status", "status"), ("actor", "actor")):
        if address[name]:
            parts.append(f"{column} = ?")
            values.append(address[name])
    if address["object"]:
        # An id may hold a colon, a type cannot.
        kind, key = chosen(address["object"])
        parts.append("object_type = ? and object_id = ?" if kind else "object_id = ?")
        values += [kind, key] if kind else [key]
    if address["day"]:
        # Else Postgres would take the day in the zone of the session.
        parts.append("cast(occurred_at at time zone 'UTC' as date) = cast(? as date)")
        values.append(address["day"])
    if text := address["q"].strip():
        # strpos() takes % and _ for what they are, `like` would not.
        found = [f"strpos(lower({column}), lower(?)) > 0" for column in SEARCHED]
        values += [text] * len(SEARCHED)
        if ids := question.named(text):
            found.append(f"object_id in ({', '.join('?' * len(ids))})")
            values += ids
        parts.append(f"({' or '.join(found)})")
    return " and ".join(parts), values


def chosen(text: str) -> tuple[str, str]:
    """Returns type and id of an object of an address; no type where there is an id alone."""
    kind, colon, key = text.partition(":")
    return (kind, key) if colon else ("", text)


def named(question: Question, rows: list[tuple[Any, ...]]) -> list[Event]:
    """Returns rows of `event_columns` as events, with the names of their objects."""
    events = [Event(*row) for row in rows]
    names = question.object_names((e.source, e.object_type, e.object_id) for e in events)
    return [replace(e, name=names.get((e.source, e.object_type, e.object_id), e.name)) for e in events]


def _count(question: Question, where: str, values: list[Any], found: int) -> int | None:
    """Returns how many events there are in all; None: counting them would read the whole table."""
    if question.address["q"] or question.address["after"]:
        return None
    if found <= PAGE_SIZE:
        return found
    query = f"select count(*) from activity.timeline where {where}"
    return int(question.remembered((query, *values), lambda: question.db.rows(query, *values)[0][0]))


def _cursor(event: Event) -> str:
    """Returns where the next page begins."""
    at = event.at.isoformat() if event.at else None
    return json.dumps([at, event.source, event.record, event.part], separators=(",", ":"))


def _after(cursor: str) -> tuple[str, list[Any]]:
    """Returns the SQL condition for what follows an event, and its values; everything for a cursor that is none."""
    try:
        at, source, record, part = json.loads(cursor)
        key = [str(source), str(record), int(part)]
        time = datetime.fromisoformat(at) if at else None
    except (ValueError, TypeError):
        return "true", []
    # A keyset and no OFFSET, so that the last page costs no more than the first. Times fall while the rest
    # rises, and no comparison finds a null: so the order is spelt out.
    follows = "(account, record_id, part) > (?, ?, ?)"
    if time is None:
        return f"(occurred_at is null and {follows})", key
    return f"(occurred_at < ? or (occurred_at = ? and {follows}) or occurred_at is null)", [time, time, *key]


def _menus(question: Question) -> dict[str, Any]:
    """Returns the types and statuses to choose from."""
    rows = question.remembered("types", lambda: question.db.rows(TYPES))
    source = question.source
    own = [row for row in rows if not source or row[0] == source]
    return {
        "types": sorted({row[1] for row in own if row[1]}),
        "statuses": sorted({row[2] for row in own if row[2]}),
        "objects": question.remembered(("objects", source, question.address["type"]), lambda: _objects(question)),
    }


def _objects(question: Question) -> list[tuple[str, str, int]]:
    """Returns the objects with the most events: value of the address, name, number of events."""
    where, values = "object_id is not null", list[Any]()
    for column, name in (("account", "source"), ("object_type", "type")):
        if question.address[name]:
            where, values = f"{where} and {column} = ?", [*values, question.address[name]]
    rows = question.db.rows(
        f"select account, object_type, object_id, count(*) from activity.timeline where {where}"
        f" group by account, object_type, object_id order by 4 desc, 1, 2, 3 limit {CHOICES}",
        *values,
    )
    names = question.object_names((row[0], row[1], row[2]) for row in rows)
    return [(f"{row[1]}:{row[2]}", names.get((row[0], row[1], row[2]), ""), int(row[3])) for row in rows]


def _about(question: Question, events: list[Event]) -> dict[str, str]:
    """Returns the object that was chosen, by its type, id and name; empty texts: everything."""
    kind, key = chosen(question.address["object"])
    names = question.object_names((source, kind, key) for source in question.sources)
    in_events = next((event.name for event in events if key and event.name), "")
    return {"kind": kind, "key": key, "name": next(iter(names.values()), in_events)}


VIEW = View(
    "timeline",
    "Timeline",
    ("source", "type", "object", "status", "actor", "period", "day", "q", "after"),
    fetch,
    choices=FILTERS,
)
