"""Runs: the last syncs and how they ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gapless.pipelines.ui.address import View
from gapless.pipelines.ui.site import Question, source_choices

LINES = 200
OUTCOMES = ("complete", "partial", "failed", "interrupted", "running")


def fetch(question: Question) -> Mapping[str, Any]:
    """Returns the runs, newest first."""
    where, values = question.where("source", "outcome")
    rows = question.db.rows(
        "select started_at, account, outcome, rows_loaded, requests, retries, seconds_waited, failures,"
        " extract(epoch from (finished_at - started_at)), error"
        f" from activity.runs where {where} order by started_at desc, account limit {LINES + 1}",
        *values,
    )
    return {"runs": rows[:LINES], "more": len(rows) > LINES, "outcomes": OUTCOMES}


VIEW = View("runs", "Runs", ("source", "outcome"), fetch, choices={"source": source_choices})
