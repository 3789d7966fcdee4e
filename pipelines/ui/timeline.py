"""The page's two views of single things: what happened to one lead, invoice, contact or story, and what was said."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from gapless.pipelines.redaction import redact
from gapless.pipelines.ui import markup
from gapless.pipelines.ui.markup import badge, linked, section, table
from gapless.pipelines.ui.overview import HARD, since, view
from gapless.pipelines.ui.queries import Answers, QueryUnavailable, answers, shown
from gapless.sources import SOURCES

AT_ONCE = 100
"""Lines on one page of a timeline."""
CHOICES = 300
"""So many things stand in the menu, those with most happenings first; others are found by searching."""
SEARCHED = ("object_id", "record_id", "parent_id", "actor", "action", "summary", "error")


def choices(source: str) -> tuple[list[str], list[str]]:
    """Types of things, and statuses; none when there is no answer."""
    where, values = _where(source=source)
    found = _asked(f"select object_type, status from activity.timeline where {where} group by all", values)
    kinds, statuses = ({row[column] for row in found if row[column]} for column in (0, 1))
    return sorted(kinds), sorted(statuses)


def things(source: str, kind: str) -> dict[str, str]:
    """What is said of each in the menu -> `type:id`."""
    where, values = _where(source=source, kind=kind)
    query = (
        f"select object_type, object_id, count(*) from activity.timeline where object_id is not null and {where}"
        f" group by object_type, object_id order by 3 desc, 1, 2 limit {CHOICES}"
    )
    named = _labels()
    return {
        redact(f"{kind.lower()} {named.get(key) or ''} {key} ({count:,})".replace("  ", " ")): f"{kind}:{key}"
        for kind, key, count in _asked(query, values)
    }


def leads() -> dict[str, str]:
    """Who has messages."""
    query = f"select lead_id, count(*) from activity.conversations group by 1 order by 2 desc, 1 limit {CHOICES}"
    named = _labels()
    return {redact(f"{named.get(lead) or 'lead'} {lead} ({n:,})"): lead for lead, n in _asked(query, [])}


def _labels() -> dict[str, str]:
    """What a person calls the parents of records, by their ids, where a source says so."""
    named: dict[str, str] = {}
    for source in SOURCES.values():
        parents = source.stream.parents
        if parents and parents.label:
            table = f"{source.name}.{parents.table.name}"
            named |= dict(_asked(f"select {parents.table.id_column}, {parents.label} from {table}", []))
    return named


def _asked(query: str, values: list[Any]) -> list[tuple[Any, ...]]:
    """Asked once for each state of the file."""
    try:
        seen = shown().asked.stat()
        return _kept((seen.st_ino, seen.st_mtime_ns, seen.st_size), query, *values)
    except (OSError, QueryUnavailable):
        return []


@lru_cache(maxsize=64)
def _kept(state: tuple[int, ...], query: str, *values: Any) -> list[tuple[Any, ...]]:
    with answers() as asked:
        return asked.rows_if_there(query, *values)


def _where(
    source: str = "all",
    kind: str = "all",
    status: str = "all",
    period: str = "all time",
    search: str = "",
    thing: str = "",
) -> tuple[str, list[Any]]:
    parts, values = [since(period)], list[Any]()
    for column, value in (("source", source), ("object_type", kind), ("status", status)):
        if value != "all":
            parts.append(f"{column} = ?")
            values.append(value)
    if thing:
        parts.append("object_type = ? and object_id = ?")
        values += thing.split(":", 1) if ":" in thing else ["", thing]
    if search.strip():
        parts.append("(" + " or ".join(f"contains(lower({column}), lower(?))" for column in SEARCHED) + ")")
        values += [search.strip()] * len(SEARCHED)
    return " and ".join(parts), values


@view
def timeline(asked: Answers, /, page: int, **chosen: str) -> str:
    """The newest first; `chosen` as in `_where`."""
    where, values = _where(**chosen)
    rows = asked.rows(
        "select occurred_at, source, actor, action, object_type, object_id, status, summary, error, row_table,"
        " row_dlt_id"
        f" from activity.timeline where {where} order by occurred_at desc nulls last, source, record_id, part"
        f" limit {AT_ONCE + 1} offset {AT_ONCE * (page - 1)}",
        *values,
    )
    head = ["when", "source", "actor", "action", "of", "status", "what"]
    about = chosen.get("thing", "").replace(":", " ", 1) or "Everything"
    first, here = AT_ONCE * (page - 1), len(rows[:AT_ONCE])
    count = f"of {first + here:,}"
    if len(rows) > AT_ONCE:  # to count what is searched would be to search it all
        query = f"select count(*) from activity.timeline where {where}"
        count = "and more" if chosen.get("search") else f"of {asked.rows(query, *values)[0][0]:,}"
    hint = f"{first + 1:,} to {first + here:,} {count}, UTC" if rows else "no rows"
    made = table(head, map(_line, rows[:AT_ONCE]), "timeline")
    return section(f"Timeline: {about}", made, hint=hint)


def _line(row: tuple[Any, ...]) -> list[Any]:
    at, source, actor, action, kind, key, status, summary, error, of, key_of = row
    mark = badge(status, "bad" if error or status in HARD else "") if status else None
    what = markup.plain(summary) if summary else error
    where = markup.titled(source, f"{of}, _dlt_id {key_of}")
    return [at, where, actor, action, linked(kind, key), mark, what]


@view
def conversation(asked: Answers, lead: str) -> str:
    """One lead's messages, in their order."""
    if not lead:
        return section("Conversation", markup.notice("No lead has messages."))
    rows = asked.rows(
        "select sent_at, channel, direction, subject, body, documents, status from activity.conversations"
        f" where lead_id = ? order by position desc limit {AT_ONCE * 3}",
        lead,
    )
    said = []
    for at, channel, direction, subject, body, documents, status in reversed(rows):
        more = [f"{documents} documents" if documents else "", "" if status == "COMPLETED" else str(status or "")]
        head = " · ".join(filter(None, [markup.when(at), channel, *more]))
        said.append(markup.speech(direction == "INBOUND", head, subject, body))
    back = linked("lead", lead, "everything about this lead")
    return section(f"Conversation with {lead}", f'{back}<div class="talk">{"".join(said)}</div>')
