"""The page's views of completeness: coverage as a chart with its gaps in red, dead letters, runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.evidence.grouping import problems
from gapless.pipelines.evidence.sentences import reason, what
from gapless.pipelines.ui import markup
from gapless.pipelines.ui.markup import GREEN, GREY, PALE, RED, Bar, badge, section, table, when
from gapless.pipelines.ui.overview import KIND, view
from gapless.pipelines.ui.queries import Database, Rows, current

PARENTS = 60
"""Lines of coverage in the chart; those with gaps come first."""
LINES = 200
"""Rows of a table."""
GAP = "(missing is not null or failures > 0 or coalesce(extract(year from covered_to) <= 1970, false))"
"""SQL condition on a line of coverage that has gaps; the reasons are those of `_intervals`."""
KINDS = {GREEN: "proven", PALE: "asked", GREY: "after", RED: "gap"}
"""Class of page.css by colour of a bar."""


@view
def coverage(db: Database, source: str, now: datetime | None = None) -> str:
    """Returns a chart of the time that is proven complete, a line per stream and parent, and the list of gaps."""
    now = now or datetime.now(UTC)
    chosen, values = ("true", []) if source == "all" else ("account = ?", [source])
    columns = "account, stream, parent, covered_from, covered_to, missing, last_checked_at, error, failures"
    query = f"from activity.coverage where {chosen}"
    rows = db.rows(f"select {columns} {query} order by {GAP} desc, account, stream, parent limit {PARENTS}", *values)
    ((whole, open_),) = db.rows(f"select count(*), count(*) filter ({GAP}) {query}", *values)
    if not rows:
        return section("Coverage", markup.notice("Nothing is proven complete yet."))
    # The chart starts at the oldest record, as a stream may be proven from the beginning of time on.
    ((oldest,),) = db.rows(f"select min(occurred_at) from activity.timeline where {chosen}", *values)
    start = _first(rows, oldest, now)
    lines = "".join(_line(row, start, now) for row in rows) + f"<div></div>{markup.scale(start, now)}"
    keys = {"proven complete": GREEN, "read, nothing newer was there": PALE, "not read since": GREY, "gap": RED}
    hint = f"{open_:,} of {whole:,} with gaps; the chart shows {len(rows):,}, those with gaps first"
    return section("Coverage", markup.legend(keys), f'<div class="covered">{lines}</div>', hint=hint) + section(
        "Gaps", _gaps(source, now), hint="the same as gapless gaps, each with the command that fills it"
    )


def _first(rows: Rows, oldest: datetime | None, now: datetime) -> datetime:
    """Returns where the chart starts: a little before the first known time, so that a gap before it has a place."""
    ends = (_time(end, now) for row in rows for gap in _missing(row[5]) for end in gap)
    first = min(filter(None, (oldest, *(row[3] for row in rows), *ends)), default=now - timedelta(days=1))
    return first - (now - first) / 30


def _missing(value: str | list[list[str | None]] | None) -> list[list[str | None]]:
    """Returns the intervals of a JSON column, which a destination gives as text or already parsed."""
    return (json.loads(value) if isinstance(value, str) else value) or []


def _gaps(source: str, now: datetime) -> str:
    """Returns the table of gaps, or that there are none."""
    from gapless.pipelines.ledger.gaps import gaps

    file = current().readable
    found = gaps(Target.of_file(file), [] if source == "all" else [source], now)
    every = problems(found)
    lines = [
        [f"{p.source}.{p.stream}", what(p), p.kind, p.since, p.until, reason(p, now), p.fill] for p in every[:LINES]
    ]
    head = ["stream", "of", "kind", "from", "to", "why", "command that fills it"]
    return table(head, lines) if lines else markup.notice("None.")


def _line(row: tuple[Any, ...], start: datetime, now: datetime) -> str:
    """Returns the name and the bars of one line of coverage."""
    source, stream, parent, *_, error, failures = row
    name = f"{source}.{stream} {parent}".strip()
    bars = [
        Bar(
            markup.fraction(a, start, now),
            markup.fraction(b, start, now),
            colour,
            f"{name}: {meaning}",
            KINDS[colour],
        )
        for a, b, colour, meaning in _intervals(row, start, now)
        # An interval before the chart begins, or of no length, has no bar.
        if b > a
    ]
    mark = badge(f"failed {failures:,} times", "bad") if failures else ""
    why = markup.titled(name, f"{name}: {error}" if error else name)
    return f'<div class="name">{mark} {why}</div><div>{markup.strip(bars)}</div>'


Interval = tuple[datetime, datetime, str, str]
"""Start, end, colour and meaning of a bar."""


def _intervals(row: tuple[Any, ...], start: datetime, now: datetime) -> Iterator[Interval]:
    """Yields the bars of a line of coverage: start, end, colour, meaning. Later bars cover earlier ones."""
    _, _, _, since, until, missing, checked, error, failures = row
    # gapless state reset sets the proof back to 1970.
    if until and until.year <= 1970:
        yield start, now, RED, "reset: the next sync reads all of it again"
        return
    # Of a first walk that is not finished nothing is proven yet.
    known, checked = until or since or start, checked or until or start
    if until:
        yield (
            since or start,
            until,
            GREEN,
            f"proven complete from {when(since) if since else 'the beginning'} to {when(until)}",
        )
    yield known, checked, PALE, f"nothing newer was there when last read, {when(checked)}"
    yield max(known, checked), now, GREY, f"not read since {when(checked)}"
    if failures:
        yield known, now, RED, f"failed {failures:,} times, not read since {when(until)}: {error}"
    for first, last in _missing(missing):
        a, b = _time(first, start), _time(last, now)
        yield a, b, RED, f"gap from {first or 'the beginning'} to {last or 'now'}"


def _time(text: str | None, default: datetime) -> datetime:
    """Returns a time of a JSON column in UTC; `default` for an open end."""
    if text is None:
        return default
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


@view
def dead_letters(db: Database, source: str, raw: bool) -> str:
    """Returns a table of what could not be loaded, and why; with `raw` also the records' JSON."""
    chosen, values = ("true", []) if source == "all" else ("account = ?", [source])
    rows = db.rows(
        "select account, stream, kind, key, reason, attempts, first_seen_at, last_seen_at, row_dlt_id"
        f" from activity.dead_letters where {chosen} order by last_seen_at desc, account, stream, key limit {LINES}",
        *values,
    )
    head = ["source", "stream", "kind", "key", "reason", "attempts", "first seen", "last seen"]
    if not rows:
        return section("Dead letters", markup.notice("None: everything that was read is loaded."))
    if not raw:
        return section("Dead letters", table(head, [row[:8] for row in rows]), hint="every sync retries them")
    # From each source's own table: the view leaves the JSON out, as it may be large.
    raw_json = dict[str, str | None]()
    for name in {row[0] for row in rows}:
        query = f"select _dlt_id, raw_json from {name}.dead_letters where list_contains(?, _dlt_id)"
        raw_json |= dict(db.rows_if_exists(query, [row[8] for row in rows]))
    return section("Dead letters", table([*head, "raw JSON"], [[*row[:8], raw_json.get(row[8])] for row in rows]))


@view
def runs(db: Database, source: str) -> str:
    """Returns a table of the last syncs and how they ended."""
    chosen, values = ("true", []) if source == "all" else ("account = ?", [source])
    rows = db.rows(
        "select started_at, account, outcome, rows_loaded, requests, retries, seconds_waited, failures,"
        " date_diff('millisecond', started_at, finished_at) / 1000, error"
        f" from activity.runs where {chosen} order by started_at desc, account limit {LINES}",
        *values,
    )
    lines = [
        [
            *row[:2],
            badge(row[2], KIND.get(row[2], "")),
            *row[3:6],
            f"{row[6] or 0:.1f}",
            row[7],
            f"{row[8] or 0:.1f}",
            row[9],
        ]
        for row in rows
    ]
    head = ["started", "source", "outcome", "rows", "requests", "retries", "waited s", "failures", "seconds", "error"]
    return section("Recent runs", table(head, lines), hint="UTC, newest first")
