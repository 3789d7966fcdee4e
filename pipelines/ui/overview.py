"""The page's overviews: health, volume, statuses and failures.

Each view is one function that takes the reader's choices and returns HTML, through one connection.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from gapless.pipelines.errors import GaplessError, explain
from gapless.pipelines.evidence.completeness import assess, exists
from gapless.pipelines.ui import markup
from gapless.pipelines.ui.markup import RED, Markup, ago, badge, section, table, when
from gapless.pipelines.ui.queries import Database, QueryUnavailable, connected, current
from gapless.sources import SOURCES

P = ParamSpec("P")
PERIODS = {"all time": None, "90 days": 90, "30 days": 30, "7 days": 7, "24 hours": 1}
"""Days before the newest record."""
KIND = {"complete": "good", "partial": "some", "failed": "bad"}
"""Class of page.css by outcome of a sync."""
STATES = ("#4c78a8", "#e8903a", "#5aa469", "#a97bb5", "#8f9bab", "#c7b04c", "#6fb7b7")
"""Colours of statuses; failures are red."""
HARD = {"FAILED", "error", "failed"}
"""Statuses that are failures."""


def view(render: Callable[Concatenate[Database, P], str]) -> Callable[P, str]:
    """Returns `render` with a connection of its own; it shows a notice when the query cannot be answered."""

    @wraps(render)
    def connect_and_render(*args: P.args, **kwargs: P.kwargs) -> str:
        import duckdb

        try:
            with connected() as db:
                return markup.page(render(db, *args, **kwargs))
        except (QueryUnavailable, GaplessError) as error:
            return markup.page(markup.notice(*map(str, error.args)))
        except duckdb.Error as error:
            return markup.page(markup.notice(explain(error), "gapless views creates the views again"))

    return connect_and_render


def since(period: str, column: str = "occurred_at", table: str = "activity.timeline") -> str:
    """Returns the SQL condition for a period of PERIODS, counted back from the newest time in `column`."""
    days = PERIODS[period]
    # Before the newest record and not before today: a file that is not synced any more still shows something.
    return f"{column} >= (select max({column}) from {table}) - interval {days} day" if days else "true"


@view
def health(db: Database, now: datetime | None = None) -> str:
    """Returns a card for each source, and a line for each stream."""
    now = now or datetime.now(UTC)
    columns = "newest_record_at, covered_to, last_checked_at, parents, failing, missing, reset, dead_letters"
    rows = db.rows(
        f"select account, stream, {columns}, last_run_outcome, last_run_at from activity.freshness order by all"
    )
    cards = [_card(name, [row for row in rows if row[0] == name], _gaps(db, name, now), now) for name in SOURCES]
    head = [
        "source",
        "stream",
        "newest record",
        "proven to",
        "last read",
        "parents",
        "failing",
        "with gaps",
        "reset",
    ]
    lines = table([*head, "dead letters"], [row[:10] for row in rows])
    return section("Health", f'<div class="cards">{"".join(cards)}</div>') + section("Freshness", lines, hint="UTC")


def _gaps(db: Database, name: str, now: datetime) -> Counter[str]:
    """Returns the numbers of gaps by kind, as `gapless gaps` lists them."""
    if not exists(db.reader, SOURCES[name]):
        return Counter()
    return Counter(gap.kind for gap in assess(db.reader, SOURCES[name], now=now).gaps)


def _card(name: str, rows: list[tuple[Any, ...]], gaps: Counter[str], now: datetime) -> str:
    """Returns the card of one source: its outcome, how fresh it is and what is known to be missing."""
    newest, checked, ran = (max(filter(None, (row[i] for row in rows)), default=None) for i in (2, 4, 11))
    problems = {
        what: sum(row[i] for row in rows)
        for i, what in ((6, "failing"), (7, "with gaps"), (8, "reset"), (9, "dead letters"))
    }
    told = {"failing": "failing", "interval": "with gaps", "set back": "reset", "dead letter": "dead letters"}
    problems |= {kind: count for kind, count in gaps.items() if not problems.get(told.get(kind, ""))}
    found = ", ".join(f"{count:,} {what}" for what, count in problems.items() if count)
    outcome = rows[0][10] if rows and rows[0][10] else "never synced"
    # A sync can be complete while older gaps are still open.
    kind = "some" if found and outcome == "complete" else KIND.get(outcome, "")
    mark = badge("needs a look" if kind == "some" and outcome == "complete" else outcome, kind)
    facts = [
        f"newest record {ago(newest, now)}",
        f"last read {ago(checked or ran, now)}",
        found or "nothing is known to be missing",
    ]
    lines = "".join(f"<div>{html.escape(fact)}</div>" for fact in (facts if ran else ["no sync yet"]))
    return (
        f'<div class="card" style="border-top-color:{SOURCES[name].facts.colour}"><h3>{name} {mark}</h3>{lines}</div>'
    )


@view
def volume(db: Database, period: str, source: str) -> str:
    """Returns charts of the records per day, week or month, and of those that failed."""
    chosen, values = ("true", []) if source == "all" else ("account = ?", [source])
    rows = db.rows(
        # Once: the view is read for the newest day, and again for the rows.
        "with daily as materialized (select * from activity.daily_volume where day is not null)"
        " select day, account, records, events, failed from daily"
        f" where {since(period, 'day', 'daily')} and {chosen} order by day",
        *values,
    )
    if not rows:
        return section("Volume", markup.notice("No record in this period."))
    names = [name for name in SOURCES if any(row[1] == name for row in rows)]
    totals = [[name, *(sum(row[i] for row in rows if row[1] == name) for i in (2, 3, 4))] for name in names]
    size = _size(rows[0][0], rows[-1][0])
    colours = {name: SOURCES[name].facts.colour for name in names}
    drawn = _drawn(rows, names, size, 2, colours)
    failed = _drawn([(*row[:1], "failed", *row[2:]) for row in rows], ["failed"], size, 4, {"failed": RED})
    return (
        section("Records", markup.legend(colours), drawn, hint=f"per {size}")
        + section("Failed at the vendor", failed, hint=f"per {size}")
        + section("In this period", table(["source", "records", "events", "failed"], totals))
    )


def _size(first: date, last: date) -> str:
    """Returns the bucket of a chart, so that it has at most about 130 columns."""
    days = (last - first).days
    return "day" if days <= 120 else "week" if days <= 900 else "month"


def _start(day: date, size: str) -> date:
    """Returns the first day of the bucket that `day` is in."""
    if size == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if size == "week" else day


def _drawn(rows: list[tuple[Any, ...]], names: list[str], size: str, value: int, colours: dict[str, str]) -> Markup:
    """Returns a chart of the column `value` of `rows` (day, name, …), summed by bucket and name."""
    at, last, buckets = _start(rows[0][0], size), rows[-1][0], list[date]()
    while at <= last:
        buckets.append(at)
        # 32 days on is always in the next month, whose first day is taken.
        at = _start(at + timedelta(days={"day": 1, "week": 7, "month": 32}[size]), size)
    # Buckets without a record are drawn, too: a day without data is worth seeing.
    sums = {(bucket, name): 0 for bucket in buckets for name in names}
    for row in rows:
        sums[_start(row[0], size), row[1]] += row[value]
    series: dict[str, Sequence[int]] = {name: [sums[bucket, name] for bucket in buckets] for name in names}
    return markup.columns([f"{bucket:%Y-%m-%d}" for bucket in buckets], series, colours)


@view
def states(db: Database, period: str, source: str) -> str:
    """Returns the statuses of records, the most frequent errors and the newest failures."""
    chosen, values = ("true", []) if source == "all" else ("account = ?", [source])
    where = f"{chosen} and {since(period)}"
    mix = db.rows(
        f"select account, status, count(*) from activity.timeline where part = 0 and status is not null and {where}"
        " group by account, status order by account, 3 desc",
        *values,
    )
    reasons = db.rows(
        f"select account, error, count(*), max(occurred_at) from activity.failures where {where}"
        " group by account, error order by 3 desc, 4 desc limit 15",
        *values,
    )
    newest = db.rows(
        "select occurred_at, account, actor, action, object_type, object_id, error from activity.failures"
        f" where {where} order by occurred_at desc nulls last, account, record_id limit 50",
        *values,
    )
    lines = [[*row[:4], markup.linked(row[4], row[5]), row[6]] for row in newest]
    return (
        section("Status mix", _mix(mix), hint="of records that have a status")
        + section("Most frequent errors", table(["source", "reason", "times", "last"], reasons))
        + section("Newest failures", table(["when", "source", "actor", "action", "of", "reason"], lines, "timeline"))
    )


def _mix(rows: list[tuple[Any, ...]]) -> str:
    """Returns a line per source, divided by status."""
    made = ""
    for name in dict.fromkeys(row[0] for row in rows):
        # As often as a vendor may have statuses; each source begins with the same colour.
        soft = iter(STATES * 9)
        parts = [(state, n, RED if state in HARD else next(soft)) for one, state, n in rows if one == name]
        keys = markup.legend({f"{state} {n:,}": colour for state, n, colour in parts})
        made += f"<div>{html.escape(name)}</div><div>{markup.shares(parts)}{keys}</div>"
    return f'<div class="mix">{made}</div>' if made else markup.notice("Nothing to show here.")


def title() -> str:
    """Returns the page's title: which file is read, and when it was published."""
    about = current()
    state = about.readable.name
    if about.readable != about.file:
        try:
            with connected() as db:
                ((at,),) = db.rows_if_exists("select published_at from activity._published") or [(None,)]
            state += f", published {when(at)} UTC"
        # The view below says so already.
        except QueryUnavailable:
            pass
    return markup.page(f'<div class="title"><b>gapless</b>{markup.titled(state, str(about.readable))}</div>')
