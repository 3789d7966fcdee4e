"""A tap for Sequence's activity logs, as the Singer SDK's pages have one made: a RESTStream with a typed schema,
records and cursor by JSONPath, `createdAt` as its replication key.

https://sdk.meltano.com/en/latest/dev_guide.html and .../classes/singer_sdk.pagination.JSONPathPaginator.html.
The listing is newest first and has no filter, so an increment ends by `has_more`: at the first page that reaches
below the bookmark less an hour.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import requests
from singer_sdk import Stream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import BasicAuthenticator
from singer_sdk.pagination import JSONPathPaginator
from singer_sdk.streams import RESTStream

LAG = timedelta(hours=1)
TEXT = th.StringType
THING = [th.Property("id", TEXT), th.Property("entityType", TEXT), th.Property("entityId", TEXT)]
ITEM = th.ObjectType(
    *[th.Property(name, TEXT) for name in ("id", "activityLogId", "verb", "name", "summary", "reason")],
    th.Property("metadata", th.ArrayType(th.AnyType())),
    th.Property("activityLogActor", th.ObjectType(*THING, th.Property("email", TEXT))),
    th.Property("activityLogObject", th.ObjectType(*THING)),
    th.Property("activityLogTarget", th.ObjectType(*THING)),
)


class DownTo(JSONPathPaginator):
    """Cursors, until a page reaches below `floor`."""

    def __init__(self, floor: datetime | None) -> None:
        super().__init__("$.pagination.after")
        self.floor = floor

    def has_more(self, response: requests.Response) -> bool:
        items = response.json()["items"] if self.floor else []
        return not items or datetime.fromisoformat(items[-1]["createdAt"]) >= self.floor


class ActivityLogs(RESTStream):
    name = "activity_logs"
    path = "/api/activity-logs"
    primary_keys = ("id",)
    replication_key = "createdAt"
    records_jsonpath = "$.items[*]"
    schema = th.PropertiesList(
        *[th.Property(name, TEXT) for name in ("id", "sequenceAccountId", "activityType", "apiVersion")],
        *[th.Property(name, TEXT) for name in ("origin", "traceId")],
        th.Property("createdAt", th.DateTimeType),
        th.Property("activityLogItems", th.ArrayType(ITEM)),
    ).to_dict()

    @property
    def url_base(self) -> str:
        return self.config["url"]

    @property
    def authenticator(self) -> BasicAuthenticator:
        return BasicAuthenticator(username="id", password="secret")

    @property
    def http_headers(self) -> dict[str, str]:
        return {"Sequence-Version": "2024-07-30"}

    def get_new_paginator(self) -> DownTo:
        bookmark = self.get_starting_timestamp(None)
        return DownTo(bookmark - LAG if bookmark else None)

    def get_url_params(self, context: Any, next_page_token: Any) -> dict[str, Any]:
        params = {"limit": 100, "sortOrder": "DESC"}
        return params | ({"after": next_page_token} if next_page_token else {})


class TapSequence(Tap):
    name = "tap-sequence"
    config_jsonschema = th.PropertiesList(th.Property("url", TEXT, required=True)).to_dict()

    def discover_streams(self) -> list[Stream]:
        return [ActivityLogs(self)]


if __name__ == "__main__":
    TapSequence.cli()
