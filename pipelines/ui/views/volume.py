"""Volume: how many records there are per day, week or month, by source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from gapless.pipelines.ui.address import View
from gapless.pipelines.ui.charts import colours, columns
from gapless.pipelines.ui.site import FILTERS, Question
from gapless.sources import SOURCES

Row = tuple[date, str, int, int, int]
"""First day of a bucket, source, records, events, failures."""


def fetch(question: Question) -> Mapping[str, Any]:
    """Returns the totals of the period by source, and those of each bucket, which the chart shows."""
    size, rows = buckets(question)
    names = [name for name in SOURCES if any(row[1] == name for row in rows)]
    totals = [
        (name, *(sum(counts[index] for _, source, *counts in rows if source == name) for index in range(3)))
        for name in names
    ]
    days = list(dict.fromkeys(row[0] for row in rows))
    table = [(day, [_of(rows, day, name) for name in names]) for day in reversed(days)]
    of = colours(names)
    chart = columns([(day, source, records) for day, source, records, _, _ in rows], of, size, "records")
    return {"names": names, "totals": totals, "table": table, "colours": of, "size": size, "chart": chart}


def _of(rows: list[Row], day: date, name: str) -> int:
    return sum(row[2] for row in rows if row[:2] == (day, name))


def buckets(question: Question) -> tuple[str, list[Row]]:
    """Returns the size of the buckets, and each of them that has a record, by source, the oldest first."""
    days = question.remembered(("daily", question.source, question.address["period"]), lambda: _days(question))
    if not days:
        return "day", []
    size = size_of(days[0][0], days[-1][0])
    sums = defaultdict[tuple[date, str], list[int]](lambda: [0, 0, 0])
    for day, source, *counts in days:
        one = sums[start_of(day, size), source]
        one[:] = [before + int(count) for before, count in zip(one, counts, strict=True)]
    return size, [(day, source, one[0], one[1], one[2]) for (day, source), one in sorted(sums.items())]


def _days(question: Question) -> list[tuple[Any, ...]]:
    where, values = question.where("source")
    return question.db.rows(
        # Once: the view is read for the newest day, and again for the rows.
        "with daily as materialized (select * from activity.daily_volume where day is not null)"
        " select day, account, records, events, failed from daily"
        f" where {question.since('day', 'daily')} and {where} order by day, account",
        *values,
    )


def size_of(first: date, last: date) -> str:
    """Returns the bucket of a chart, so that it has at most about 130 columns."""
    days = (last - first).days
    return "day" if days <= 120 else "week" if days <= 900 else "month"


def start_of(day: date, size: str) -> date:
    """Returns the first day of the bucket that `day` is in."""
    if size == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if size == "week" else day


VIEW = View("volume", "Volume", ("source", "period"), fetch, choices=FILTERS)
