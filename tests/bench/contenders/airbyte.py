"""Airbyte's declarative source, run by PyAirbyte into its DuckDB cache, or its Postgres cache.

https://docs.airbyte.com/platform/connector-development/config-based/low-code-cdk-overview (the manifest: a
CursorPagination with a stop condition, a DatetimeBasedCursor on createdAt)
https://docs.airbyte.com/developers/pyairbyte/reference/airbyte/caches/airbyte-caches-duckdb (the cache).
`is_data_feed` would end an increment at the bookmark, but PyAirbyte passes no state to a declarative source: every
increment reads everything.
"""

from __future__ import annotations

import os
import sys
from urllib.parse import urlsplit

sys.path.pop(0)  # this folder: the script is called like the package

import airbyte as ab
from airbyte.caches import CacheBase, DuckDBCache, PostgresCache

TEXT = {"type": ["null", "string"]}
THING = {"type": ["null", "object"], "properties": {"id": TEXT, "entityType": TEXT, "entityId": TEXT, "email": TEXT}}
ITEM = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("id", "activityLogId", "verb", "name", "summary", "reason"), TEXT),
        **dict.fromkeys(("activityLogActor", "activityLogObject", "activityLogTarget"), THING),
        "metadata": {"type": ["null", "array"]},
    },
}
SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {
        **dict.fromkeys(("id", "sequenceAccountId", "activityType", "apiVersion", "origin", "traceId"), TEXT),
        "createdAt": {"type": ["null", "string"], "format": "date-time", "airbyte_type": "timestamp_with_timezone"},
        "activityLogItems": {"type": ["null", "array"], "items": ITEM},
    },
}
RETRIEVER = {
    "type": "SimpleRetriever",
    "requester": {
        "type": "HttpRequester",
        "url_base": os.environ["BENCH_URL"],
        "path": "/api/activity-logs",
        "http_method": "GET",
        "authenticator": {"type": "BasicHttpAuthenticator", "username": "id", "password": "secret"},
        "request_headers": {"Sequence-Version": "2024-07-30"},
        "request_parameters": {"sortOrder": "DESC"},
    },
    "record_selector": {
        "type": "RecordSelector",
        "extractor": {"type": "DpathExtractor", "field_path": ["items"]},
    },
    "paginator": {
        "type": "DefaultPaginator",
        "pagination_strategy": {
            "type": "CursorPagination",
            "page_size": 100,
            "cursor_value": "{{ response['pagination']['after'] }}",
            "stop_condition": "{{ not response['pagination']['after'] }}",
        },
        "page_size_option": {"type": "RequestOption", "inject_into": "request_parameter", "field_name": "limit"},
        "page_token_option": {"type": "RequestOption", "inject_into": "request_parameter", "field_name": "after"},
    },
}
STREAM = {
    "type": "DeclarativeStream",
    "name": "activity_logs",
    "primary_key": ["id"],
    "retriever": RETRIEVER,
    "incremental_sync": {
        "type": "DatetimeBasedCursor",
        "cursor_field": "createdAt",
        "datetime_format": "%Y-%m-%dT%H:%M:%S.%fZ",
        "cursor_datetime_formats": ["%Y-%m-%dT%H:%M:%S.%fZ"],
        "start_datetime": "1970-01-01T00:00:00.000000Z",
        "lookback_window": "PT1H",
        "is_data_feed": True,
    },
    "schema_loader": {"type": "InlineSchemaLoader", "schema": SCHEMA},
}
MANIFEST = {
    "version": "6.0.0",
    "type": "DeclarativeSource",
    "check": {"type": "CheckStream", "stream_names": ["activity_logs"]},
    "streams": [STREAM],
    "spec": {"type": "Spec", "connection_specification": {"type": "object", "properties": {}}},
}


def main() -> None:
    source = ab.get_source("source-sequence", config={}, source_manifest=MANIFEST)
    source.select_all_streams()
    source.read(cache=cache())


def cache() -> CacheBase:
    url = urlsplit(os.environ.get("BENCH_POSTGRES", ""))
    if not url.hostname:
        return DuckDBCache(db_path="loaded.duckdb", schema_name="bench")
    return PostgresCache(
        host=url.hostname,
        port=url.port or 5432,
        username=url.username or "",
        password=url.password or "",
        database=url.path.strip("/"),
        schema_name="bench",
    )


if __name__ == "__main__":
    main()
