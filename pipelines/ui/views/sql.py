"""SQL: one query of a person's, read-only and bounded, and its result to download."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any

from gapless.pipelines.ui.address import View
from gapless.pipelines.ui.database.results import DOWNLOADED, SHOWN, cells
from gapless.pipelines.ui.database.session import TIMEOUT, QueryUnavailable
from gapless.pipelines.ui.site import Question

EXAMPLES = {
    "What happened last": (
        "select occurred_at, source, actor, action, object_type, object_id, status\n"
        "from activity.timeline\norder by occurred_at desc nulls last\nlimit 50"
    ),
    "Who was at work": (
        "select source, actor, records, failed, first_seen_at, last_seen_at\n"
        "from activity.who\norder by records desc\nlimit 50"
    ),
    "Failures by day": (
        "select day, source, failed, records\nfrom activity.daily_volume\n"
        "where failed > 0\norder by day desc\nlimit 100"
    ),
    "Up to when all is proven": (
        "select source, stream, covered_to, last_checked_at, failing, missing\n"
        "from activity.freshness\norder by source, stream"
    ),
}


def fetch(question: Question) -> Mapping[str, Any]:
    """Returns the first rows of the query's result, or why there is none."""
    sql = question.address["sql"]
    values: dict[str, Any] = {
        "examples": EXAMPLES, "sql": sql, "error": "", "result": None, "seconds": 0.0, "cut": False,
        "shown": SHOWN, "downloaded": DOWNLOADED, "timeout": TIMEOUT,
    }  # fmt: skip
    if not sql.strip():
        return values
    began = monotonic()
    try:
        # One more than is shown, to know whether there are others.
        found = question.db.statement(sql, SHOWN + 1)
    except QueryUnavailable as error:
        return {**values, "error": " ".join(map(str, error.args))}
    shown = found.slice(0, SHOWN)
    columns = [(name, _is_number(column)) for name, column in zip(found.column_names, found.columns, strict=True)]
    rows = [*zip(*map(cells, shown.columns), strict=True)]
    result = {"columns": columns, "rows": rows}
    return {**values, "result": result, "seconds": monotonic() - began, "cut": found.num_rows > SHOWN}


def _is_number(column: Any) -> bool:
    import pyarrow as pa

    kind = column.type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


VIEW = View("sql", "SQL", ("sql",), fetch)
