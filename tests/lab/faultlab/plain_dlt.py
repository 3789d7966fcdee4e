"""The same faults against plain dlt: its own rest_api source for Sequence, as its documentation has it.

Merge by id, incremental by createdAt, newest first, its working folder kept between runs, its retries shortened by
settings of its own. Only ids are compared: plain dlt has other tables, and nothing else is asked of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dlt
import duckdb
from dlt.sources.rest_api import rest_api_source

from tests.lab.faultlab.http_faults import Case, Faulty, cases
from tests.lab.faultlab.world import KEYS, Lab, Trial

SETTINGS = {
    "RUNTIME__REQUEST_MAX_ATTEMPTS": "4",
    "RUNTIME__REQUEST_BACKOFF_FACTOR": "0.1",
    "RUNTIME__REQUEST_MAX_RETRY_DELAY": "1",
    "RUNTIME__REQUEST_TIMEOUT": "0.6",
}
LIMIT = 10.0


def sync(url: str, folder: str) -> int:
    """One run in a child of the zygote: the exit code that a script without a handler has."""
    keys = KEYS["sequence"]
    source = rest_api_source(
        {
            "client": {
                "base_url": f"{url}/api/",
                "headers": {"Sequence-Version": "2024-07-30"},
                "auth": {"type": "http_basic", "username": keys["client_id"], "password": keys["client_secret"]},
                "paginator": {"type": "cursor", "cursor_path": "pagination.after", "cursor_param": "after"},
            },
            "resources": [_resource()],
        },
        name="plain",
    )
    pipeline = dlt.pipeline(
        "plain",
        destination=dlt.destinations.duckdb(f"{folder}/by_plain_dlt.duckdb"),
        dataset_name="plain",
        pipelines_dir=f"{folder}/plain",
    )
    pipeline.run(source)
    return 0


def _resource() -> Any:
    return {
        "name": "activity_logs",
        "primary_key": "id",
        "write_disposition": "merge",
        "endpoint": {
            "path": "activity-logs",
            "params": {
                "limit": 100,
                "sortOrder": "DESC",
            },
            "data_selector": "items",
            "incremental": {"cursor_path": "createdAt", "row_order": "desc"},
        },
    }


TELLING = (
    "an error with 200", "errors with 200", "the list missing", "the list null", "an empty object", "paging missing",
    "paging null", "HTML with 200", "null", "an empty body", "204 without a body", "a bare empty list",
    "the list an object", "the list a string", "the list under another name", "a mark the vendor refuses",
    "the answer twice", "body one byte at a time", "headers one byte at a time", "half-open: no answer, no end",
    "closed within the body", "reset within the body", "Content-Length too small", "Content-Length too large",
    "no Content-Length, cut", "chunked, cut", "gzip that is none", "gzip, cut", "status 408", "status 425",
    "status 403", "status 404", "status 429", "429, Retry-After a fraction", "429, Retry-After a date in the past",
    "429, Retry-After garbage", "301 to another host", "302 to the same host", "304", "JSON cut at the half",
    "a BOM", "latin-1", "UTF-16", "the page in a string",
)  # fmt: skip


def chosen(many: int | None) -> list[Case]:
    """Once on the second request of a first sync of Sequence: those that tell most come first."""
    found = {c.fault: c for c in cases(("sequence",), ("first",)) if c.site == "once later"}
    order = [*(name for name in TELLING if name in found), *(name for name in found if name not in TELLING)]
    return [found[name] for name in order[:many]]


def run(lab: Lab, todo: list[Case]) -> Iterator[tuple[str, str]]:
    """Each fault with what came of it."""
    for case in todo:
        with lab.trial("sequence", "first") as trial, trial.vendor() as url:
            yield case.fault, _run(trial, url, case)


def _run(trial: Trial, url: str, case: Case) -> str:
    how: dict[str, Any] = {"plain": [url, str(trial.folder)], "env": SETTINGS, "limit": LIMIT}
    trial.answer = Faulty(trial, case)
    harmed, lost = trial.run(url, **how), _lost(trial)
    if harmed.code == "hang":
        return f"hangs ({harmed.requests:,} requests in {LIMIT:.0f} s)"
    trial.answer = None
    trial.fake.advance(10)
    healed, still = trial.run(url, **how), _lost(trial)
    if healed.code != 0:
        return f"bricked: exit {harmed.code}, then {healed.code}"
    if harmed.code == 0 and lost:
        return f"silent: {lost} of {lost + _held(trial)} rows lost" if still else f"silent: {lost} rows, then exact"
    told = "exact" if harmed.code == 0 else "run fails"
    return f"{told}, {still} rows lost for ever" if still else told if harmed.code == 0 else "run fails, then exact"


def _lost(trial: Trial) -> int:
    return len(trial.fake.truth()["activity_logs"]) - _held(trial)


def _held(trial: Trial) -> int:
    try:
        with duckdb.connect(str(trial.folder / "by_plain_dlt.duckdb"), read_only=True) as db:
            row = db.execute("select count(distinct id) from plain.activity_logs").fetchone()
            return int(row[0]) if row else 0
    except duckdb.Error:
        return 0
