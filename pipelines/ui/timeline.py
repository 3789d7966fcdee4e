"""The page's views of single objects: the timeline of a lead, invoice, contact or story, and conversations."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from gapless.pipelines.redaction import redact
from gapless.pipelines.ui import markup
from gapless.pipelines.ui.markup import badge, linked, section, table
from gapless.pipelines.ui.overview import HARD, since, view
from gapless.pipelines.ui.queries import Database, QueryUnavailable, Rows, connected, current
from gapless.sources import SOURCES

PAGE_SIZE = 100
"""Lines on one page of a timeline."""
CHOICES = 300
"""Objects in the menu, those with the most events first; the search finds the others."""
SEARCHED = ("object_id", "record_id", "parent_id", "actor", "action", "summary", "error")
"""Columns in which the search looks."""


def choices(source: str) -> tuple[list[str], list[str]]:
    """Returns the types of objects and the statuses to choose from; none while a sync writes."""
    where, values = _where(source=source)
    found = _rows(f"select object_type, status from activity.timeline where {where} group by all", values)
    kinds, statuses = ({row[column] for row in found if row[column]} for column in (0, 1))
    return sorted(kinds), sorted(statuses)


def objects(source: str, kind: str) -> dict[str, str]:
    """Returns the objects to choose from: label -> `type:id`."""
    where, values = _where(source=source, kind=kind)
    query = (
        f"select object_type, object_id, count(*) from activity.timeline where object_id is not null and {where}"
        f" group by object_type, object_id order by 3 desc, 1, 2 limit {CHOICES}"
    )
    labels = _labels()
    return {
        redact(f"{kind.lower()} {labels.get(key) or ''} {key} ({count:,})".replace("  ", " ")): f"{kind}:{key}"
        for kind, key, count in _rows(query, values)
    }


def leads() -> dict[str, str]:
    """Returns the leads that have messages: label -> id."""
    query = f"select lead_id, count(*) from activity.conversations group by 1 order by 2 desc, 1 limit {CHOICES}"
    labels = _labels()
    return {redact(f"{labels.get(lead) or 'lead'} {lead} ({n:,})"): lead for lead, n in _rows(query, [])}


def _labels() -> dict[str, str | None]:
    """Returns the names of parents by their ids, for the sources that name them."""
    labels: dict[str, str | None] = {}
    for source in SOURCES.values():
        parents = source.stream.parents
        if parents and parents.label:
            table = f"{source.name}.{parents.table.name}"
            labels |= dict(_rows(f"select {parents.table.id_column}, {parents.label} from {table}", []))
    return labels


def _rows(query: str, values: list[str]) -> Rows:
    """Returns the rows from a cache as long as the file does not change; none if it cannot be read."""
    try:
        # A published copy is another file each time, and a sync changes time and size.
        stat = current().readable.stat()
        # Menus are built again at each click, and their queries read all events.
        return _cached_rows((stat.st_ino, stat.st_mtime_ns, stat.st_size), query, *values)
    except (OSError, QueryUnavailable):
        return []


@lru_cache(maxsize=64)
def _cached_rows(file_state: tuple[int, ...], query: str, *values: str) -> Rows:
    """Returns the rows; `file_state` is part of the key of the cache alone."""
    with connected() as db:
        return db.rows_if_exists(query, *values)


def _where(
    source: str = "all",
    kind: str = "all",
    status: str = "all",
    period: str = "all time",
    search: str = "",
    item: str = "",
) -> tuple[str, list[str]]:
    """Returns the SQL condition for the reader's choices, and its parameters."""
    parts, values = [since(period)], list[str]()
    for column, value in (("account", source), ("object_type", kind), ("status", status)):
        if value != "all":
            parts.append(f"{column} = ?")
            values.append(value)
    if item:
        parts.append("object_type = ? and object_id = ?")
        # An id may hold a colon, a type cannot.
        values += item.split(":", 1) if ":" in item else ["", item]
    if search.strip():
        # contains() takes % and _ for what they are, `like` would not.
        parts.append("(" + " or ".join(f"contains(lower({column}), lower(?))" for column in SEARCHED) + ")")
        values += [search.strip()] * len(SEARCHED)
    return " and ".join(parts), values


@view
def timeline(db: Database, /, page: int, **chosen: str) -> str:
    """Returns one page of events, newest first; `chosen` has the arguments of `_where`."""
    where, values = _where(**chosen)
    rows = db.rows(
        "select occurred_at, account, actor, action, object_type, object_id, status, summary, error, row_table,"
        " row_dlt_id"
        f" from activity.timeline where {where} order by occurred_at desc nulls last, account, record_id, part"
        # One more than a page, to know whether there is another.
        f" limit {PAGE_SIZE + 1} offset {PAGE_SIZE * (page - 1)}",
        *values,
    )
    head = ["when", "source", "actor", "action", "of", "status", "what"]
    about = chosen.get("item", "").replace(":", " ", 1) or "Everything"
    first, here = PAGE_SIZE * (page - 1), len(rows[:PAGE_SIZE])
    count = f"of {first + here:,}"
    if len(rows) > PAGE_SIZE:  # counting the matches of a search would read the whole table
        query = f"select count(*) from activity.timeline where {where}"
        count = "and more" if chosen.get("search") else f"of {db.rows(query, *values)[0][0]:,}"
    hint = f"{first + 1:,} to {first + here:,} {count}, UTC" if rows else "no rows"
    made = table(head, map(_line, rows[:PAGE_SIZE]), "timeline")
    return section(f"Timeline: {about}", made, hint=hint)


def _line(row: tuple[Any, ...]) -> list[object]:
    """Returns the cells of one event."""
    at, source, actor, action, kind, key, status, summary, error, row_table, row_id = row
    mark = badge(status, "bad" if error or status in HARD else "") if status else None
    summary_text = markup.plain(summary) if summary else error
    where = markup.titled(source, f"{row_table}, _dlt_id {row_id}")
    return [at, where, actor, action, linked(kind, key), mark, summary_text]


@view
def conversation(db: Database, lead: str) -> str:
    """Returns the messages of one lead, in their order."""
    if not lead:
        return section("Conversation", markup.notice("No lead has messages."))
    rows = db.rows(
        "select sent_at, channel, direction, subject, body, documents, status from activity.conversations"
        # The newest ones, which are then shown from the oldest on.
        f" where lead_id = ? order by position desc limit {PAGE_SIZE * 3}",
        lead,
    )
    messages = []
    for at, channel, direction, subject, body, documents, status in reversed(rows):
        more = [f"{documents} documents" if documents else "", "" if status == "COMPLETED" else str(status or "")]
        head = " · ".join(filter(None, [markup.when(at), channel, *more]))
        messages.append(markup.speech(direction == "INBOUND", head, subject, body))
    back = linked("lead", lead, "everything about this lead")
    return section(f"Conversation with {lead}", f'{back}<div class="talk">{"".join(messages)}</div>')
