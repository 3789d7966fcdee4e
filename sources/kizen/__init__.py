"""Stores from Kizen every logged activity with its fields, associations and mentions, and the activity types."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import dlt

from gapless.sources._extract.settings import DAY, Setting
from gapless.sources._extract.source import source
from gapless.sources._incremental.context import Connection
from gapless.sources._incremental.detail_feed import DetailFeed
from gapless.sources._incremental.listing import Parents
from gapless.sources._ledger.ledger import MERGE
from gapless.sources._ledger.window import parse_ids
from gapless.sources._schema.arrow import Table
from gapless.sources.kizen import api
from gapless.sources.kizen.models import Activity, LoggedActivity, Reference

LOGGED_ACTIVITIES = DetailFeed(
    Table("logged_activities", LoggedActivity, ("id",), MERGE),
    Parents(
        Table("activities", Activity, ("id",), MERGE),
        noun="types",
        label="name",
        pages=api.activities,
        # An edit does not change the count, so an unchanged one is trusted for `kizen_relist_after` only.
        count="n_submissions",
    ),
    # Never stored: a line of the listing has an id and a time, the record itself is read by its id.
    listing=Table("responses", Reference, ("id",), MERGE),
    pages=api.responses,
    record=api.logged_activity,
    column="activity_object__id",
    ping=api.ping,
    only="kizen_activity_ids",
    per_page=api.PAGE_SIZE,
)
STREAM = LOGGED_ACTIVITIES
RELIST_AFTER = Setting("kizen_relist_after", float, DAY, least=0, most=3650 * DAY, unit="seconds")


@source("kizen", LOGGED_ACTIVITIES, requests_per_minute=300, lag=3600.0, workers=8)
def kizen(
    kizen_api_key: str = dlt.secrets.value,
    kizen_business_id: str = dlt.secrets.value,
    kizen_user_id: str = dlt.secrets.value,
    kizen_base_url: str = api.DEFAULT_BASE_URL,
    kizen_activity_ids: str | list[str] | None = None,
    kizen_relist_after: float = RELIST_AFTER.default,
) -> Connection:
    """Types and logged activities. `kizen_activity_ids` reads just these logged activities and lists nothing.

    `kizen_relist_after` is for how many seconds a type's unchanged count is trusted; then its ids are listed again.
    """
    keys = (kizen_api_key, kizen_business_id, kizen_user_id)
    return Connection(
        partial(api.client, *keys, kizen_base_url),
        account=kizen_business_id,
        only=tuple(parse_ids(kizen_activity_ids, "activity_ids")),
        relist_after=timedelta(seconds=RELIST_AFTER.checked(RELIST_AFTER.name, kizen_relist_after)),
    )
