"""Dead letters: what could not be loaded, and why; their JSON on demand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gapless.pipelines.ui.address import View
from gapless.pipelines.ui.site import Question, source_choices

LINES = 200


def fetch(question: Question) -> Mapping[str, Any]:
    """Returns the open dead letters, the newest first; with `raw` also the records' JSON."""
    where, values = question.where("source")
    rows = question.db.rows(
        "select account, stream, kind, key, reason, attempts, first_seen_at, last_seen_at, row_dlt_id"
        f" from activity.dead_letters where {where} order by last_seen_at desc, account, stream, key limit {LINES}",
        *values,
    )
    ((count,),) = question.db.rows(f"select count(*) from activity.dead_letters where {where}", *values)
    raw_json = dict[str, Any]()
    if question.address["raw"]:
        # From each source's own table: the view leaves the JSON out, as it may be large.
        for name in {row[0] for row in rows}:
            ids = [row[8] for row in rows if row[0] == name]
            marks = ", ".join("?" * len(ids))
            query = f"select _dlt_id, raw_json from {name}.dead_letters where _dlt_id in ({marks})"
            raw_json |= dict(question.db.rows_if_exists(query, *ids))
    return {"letters": rows, "count": count, "raw_json": raw_json}


VIEW = View(
    "dead_letters",
    "Dead letters",
    ("source", "raw"),
    fetch,
    choices={"source": source_choices, "raw": lambda: {"1": "with the raw JSON"}},
)
