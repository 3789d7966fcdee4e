"""dlt's declarative REST source with its defaults: primary key and merge, everything else as it comes.

https://dlthub.com/docs/dlt-ecosystem/verified-sources/rest_api/basic (cursor paginator, data_selector, parents by
`{resources.leads.leadId}`), https://dlthub.com/docs/general-usage/incremental/cursor (row_order "desc" stops paging)
and .../incremental/lag (an hour of look-back, as all have it here).
"""

from __future__ import annotations

import os
from typing import Any

import dlt
from dlt.sources.rest_api import rest_api_source

CREATED = {"cursor_path": "createdAt", "initial_value": "1970-01-01T00:00:00.000Z", "row_order": "desc", "lag": 3600}


def sequence() -> dict[str, Any]:
    auth = {"type": "http_basic", "username": "id", "password": "secret"}
    endpoint = {
        "path": "activity-logs",
        "params": {"limit": 100, "sortOrder": "DESC"},
        "data_selector": "items",
        "incremental": CREATED,
    }
    return {
        "client": {
            "base_url": os.environ["BENCH_URL"] + "/api/",
            "auth": auth,
            "headers": {"Sequence-Version": "2024-07-30"},
            "paginator": {"type": "cursor", "cursor_path": "pagination.after", "cursor_param": "after"},
        },
        "resources": [
            {"name": "activity_logs", "primary_key": "id", "write_disposition": "merge", "endpoint": endpoint}
        ],
    }


def omni() -> dict[str, Any]:
    leads = {
        "path": "v0/analytics",
        "data_selector": "breakdown",
        "paginator": {"type": "cursor", "cursor_path": "nextToken", "cursor_param": "token"},
    }
    logs = {
        "path": "v1/leads/{resources.leads.leadId}/action-logs",
        "data_selector": "$",
        "paginator": "single_page",
    }
    return {
        "client": {
            "base_url": os.environ["BENCH_URL"] + "/api/",
            "auth": {"type": "api_key", "name": "x-api-key", "api_key": "key", "location": "header"},
        },
        "resource_defaults": {"write_disposition": "merge"},
        "resources": [
            {"name": "leads", "primary_key": "leadId", "endpoint": leads},
            {"name": "action_logs", "primary_key": "id", "endpoint": logs, "include_from_parent": ["leadId"]},
        ],
    }


def pipeline() -> dlt.Pipeline:
    url = os.environ.get("BENCH_POSTGRES")
    destination = dlt.destinations.postgres(url) if url else dlt.destinations.duckdb("loaded.duckdb")
    return dlt.pipeline("contender", destination=destination, dataset_name="bench")


if __name__ == "__main__":
    pipeline().run(rest_api_source(sequence() if os.environ["BENCH_SHAPE"] == "sequence" else omni()))
