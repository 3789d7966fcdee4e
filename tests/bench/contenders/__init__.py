"""Who runs: each a script in its own virtual environment, told by variables what to read, writing loaded.duckdb, or
into the Postgres database that BENCH_POSTGRES names.

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


def _each_of(expanded: str, logs: str) -> str:
    """The same of Postgres, `expanded` to a row for each item."""
    return (
        "select item->>'id', item->>'summary', item->'activityLogActor'->>'email'"
        f" from (select {expanded} as item from {logs}) as each"
    )


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
    module: str = ""
    """The script, if it is not called like the contender."""

    @property
    def script(self) -> str:
        return f"{self.module or self.name}.py"


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
IN_POSTGRES = {
    contender.name: contender
    for contender in (
        Contender(
            "floor",
            "pages to columns, COPY as CSV into unlogged tables, merge by hand, no dlt",
            {SEQUENCE: BY_HAND_SEQUENCE},
            {"": "floor_postgres.txt"},
            module="floor_postgres",
        ),
        Contender(
            "gapless",
            "`gapless sync --destination postgres`",
            {SEQUENCE: CONTENDERS["gapless"].queries[SEQUENCE]},
            {"": "gapless.txt"},
        ),
        Contender(
            "dlt_tuned",
            "dlt `rest_api_source`, CSV files, metadata as JSON, larger buffers",
            {SEQUENCE: DLT_SEQUENCE},
            {"": "dlt_postgres.txt"},
        ),
        Contender(
            "singer",
            "Singer SDK tap | target-postgres; items stay JSON in a column",
            {
                SEQUENCE: (
                    """select id, "createdAt", "traceId" from bench.activity_logs""",
                    _each_of('unnest("activityLogItems")', "bench.activity_logs"),
                )
            },
            {"": "singer_tap.txt", "BENCH_TARGET_PYTHON": "singer_target_postgres.txt"},
        ),
        Contender(
            "airbyte",
            "Airbyte CDK declarative source + PyAirbyte's Postgres cache; items stay JSON in a column",
            {
                SEQUENCE: (
                    "select id, createdat, traceid from bench.activity_logs",
                    _each_of("json_array_elements(activitylogitems)", "bench.activity_logs"),
                )
            },
            {"": "airbyte.txt"},
            rereads=True,
        ),
        Contender(
            "dlt_rest_api",
            "dlt `rest_api_source`, defaults",
            {SEQUENCE: DLT_SEQUENCE},
            {"": "dlt_postgres.txt"},
        ),
    )
}
"""The same of them that can write into Postgres."""
