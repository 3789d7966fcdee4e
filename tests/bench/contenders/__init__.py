"""Who runs: each a script in its own virtual environment, told by variables what to read, writing loaded.duckdb.

A script runs in an empty folder, then again in the same one after the vendor grew; it gets BENCH_URL and BENCH_SHAPE
and keeps its own state. Beside it stand the pinned requirements of its environments. What it loaded is asked for here
with two queries, (id, created, text) of logs and (id, text, text) of items, so that all can be held to one truth.
Scripts import neither the project nor each other, but for `pages.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SEQUENCE, OMNI = "sequence", "omni"
DLT_SEQUENCE = (
    "select id, created_at, trace_id from bench.activity_logs",
    "select id, summary, activity_log_actor__email from bench.activity_logs__activity_log_items",
)
DLT_OMNI = (
    "select id, created_at, summary from bench.action_logs",
    "select id, subject, body from bench.action_logs__messages",
)
BY_HAND_SEQUENCE = ("select id, created_at, trace_id from logs", "select id, summary, actor_email from items")


def _from_json(logs: str, items: str) -> str:
    """Items that stayed a JSON array in a column of their log."""
    item = f"(select unnest(cast({items} as json[])) as item from {logs})"
    return f"select item->>'id', item->>'summary', item->'activityLogActor'->>'email' from {item}"


@dataclass(frozen=True)
class Contender:
    name: str
    what: str
    queries: dict[str, tuple[str, str]]
    """By shape: logs and items."""
    environments: dict[str, str] = field(default_factory=dict)
    """Requirements files by the variable that names their Python; "" is the one that runs the script."""
    rereads: bool = False
    """Its increments read everything."""

    @property
    def script(self) -> str:
        return f"{self.name}.py"


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender(
            "floor",
            "raw pages as NDJSON, DuckDB from_json + unnest + merge, no dlt",
            {
                SEQUENCE: BY_HAND_SEQUENCE,
                OMNI: ("select id, created_at, summary from logs", "select id, subject, body from messages"),
            },
            {"": "floor.txt"},
        ),
        Contender(
            "arrow",
            "by hand: orjson -> Arrow -> DuckDB merge, no dlt",
            {SEQUENCE: BY_HAND_SEQUENCE},
            {"": "arrow.txt"},
        ),
        Contender(
            "gapless",
            "`gapless sync`, as a user runs it",
            {
                shape: tuple(query.replace("bench.", f"{shape}.") for query in queries)
                for shape, queries in {SEQUENCE: DLT_SEQUENCE, OMNI: DLT_OMNI}.items()
            },
            {"": "gapless.txt"},
        ),
        Contender(
            "dlt_tuned",
            "dlt `rest_api_source`, parquet, upsert, metadata as JSON, larger buffers",
            {SEQUENCE: DLT_SEQUENCE, OMNI: DLT_OMNI},
            {"": "dlt.txt"},
        ),
        Contender(
            "singer",
            "Singer SDK tap | target-duckdb; items stay JSON in a column",
            {
                SEQUENCE: (
                    "select id, createdat, traceid from bench.activity_logs",
                    _from_json("bench.activity_logs", "activitylogitems"),
                )
            },
            {"": "singer_tap.txt", "BENCH_TARGET_PYTHON": "singer_target.txt"},
        ),
        Contender(
            "airbyte",
            "Airbyte CDK declarative source + PyAirbyte's DuckDB cache; items stay JSON in a column",
            {
                SEQUENCE: (
                    "select id, createdat, traceid from bench.activity_logs",
                    _from_json("bench.activity_logs", "activitylogitems"),
                )
            },
            {"": "airbyte.txt"},
            rereads=True,
        ),
        Contender(
            "dlt_rest_api",
            "dlt `rest_api_source`, defaults",
            {SEQUENCE: DLT_SEQUENCE, OMNI: DLT_OMNI},
            {"": "dlt.txt"},
        ),
    )
}
