"""Failures: the statuses of records, why records failed at their vendor, and the newest of them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gapless.pipelines.ui.address import View
from gapless.pipelines.ui.charts import colours, columns
from gapless.pipelines.ui.site import FILTERS, Question
from gapless.pipelines.ui.views.timeline import event_columns, named
from gapless.pipelines.ui.views.volume import buckets

KINDS, NEWEST, REASONS = 20, 50, 2_000
"""Kinds of failures that are shown, newest failures, and different reasons that are read to make kinds of them."""
# The longer ones first, else the digits within an id would be replaced one by one.
VARIES = re.compile(
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"  # a UUID
    r"|\b[\w.+-]+@[\w-]+\.[\w.]+\b"  # an e-mail address
    r"|https?://\S+"
    r"|\b(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{8,}\b"  # an id of letters and digits
    r"|\d+(?:[.,:]\d+)*",
    re.IGNORECASE,
)


def fetch(question: Question) -> Mapping[str, Any]:
    """Returns the mix of statuses by source, the kinds of failures and the newest ones."""
    where, values = question.where("source")
    where = f"{where} and {question.since()}"
    mix = question.db.rows(
        # A record with parts has a row for each: counted is the first one alone.
        f"select account, status, count(*) from activity.timeline where part = 0 and status is not null and {where}"
        " group by account, status order by account, 3 desc",
        *values,
    )
    failed = "error is not null"
    reasons = question.db.rows(
        f"select account, error, count(*), max(occurred_at) from activity.timeline where {failed} and {where}"
        f" group by account, error order by 3 desc, 4 desc limit {REASONS}",
        *values,
    )
    newest = question.db.rows(
        f"select {event_columns(question)} from activity.timeline where {failed} and {where}"
        f" order by occurred_at desc nulls last, account, record_id, part limit {NEWEST}",
        *values,
    )
    size, days = buckets(question)
    cells = [(day, source, failed) for day, source, _, _, failed in days]
    of = colours({source for _, source, failed in cells if failed})
    return {
        "size": size,
        "chart": columns(cells, of, size, "failures"),
        "mix": _mix(mix),
        "kinds": kinds(reasons)[:KINDS],
        "newest": named(question, newest),
        "colours": of,
    }


def _mix(rows: list[tuple[Any, ...]]) -> list[tuple[str, int, list[tuple[str, int, float, float]]]]:
    """Returns of each source its records, and its statuses: name, records, where its part begins, how wide it is."""
    made = []
    for name in dict.fromkeys(row[0] for row in rows):
        own = [(row[1], int(row[2])) for row in rows if row[0] == name]
        total, at, parts = sum(count for _, count in own), 0.0, []
        for status, count in own:
            parts.append((status, count, at, 100 * count / total))
            at += 100 * count / total
        made.append((name, total, parts))
    return made


def kinds(rows: list[tuple[Any, ...]]) -> list[tuple[str, str, int, datetime | None, str]]:
    """Returns failures by kind: source, reason without numbers and ids, how many, the last time, one reason whole."""
    found: dict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for source, error, count, last in rows:
        found[source, masked(error)].append((count, last, error))
    made = [
        # The rows begin with the most frequent reason, so that is the one to show whole.
        (source, kind, sum(n for n, _, _ in some), max((t for _, t, _ in some if t), default=None), some[0][2])
        for (source, kind), some in found.items()
    ]
    return sorted(made, key=lambda kind: -kind[2])


def masked(reason: str) -> str:
    """Returns a reason with … in the place of each number, id and address, which differ where the reason does not."""
    return VARIES.sub("…", reason.strip().split("\n", 1)[0])[:300]


VIEW = View("failures", "Failures", ("source", "period"), fetch, choices=FILTERS)
