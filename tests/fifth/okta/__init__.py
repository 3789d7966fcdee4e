"""What we keep of Okta: the events of its System Log, newest first, filtered by time at the vendor."""

from __future__ import annotations

from functools import partial

import dlt

from gapless.sources._extract.source import source
from gapless.sources._incremental.context import Connection
from gapless.sources._incremental.feed import Feed
from gapless.sources._ledger.ledger import MERGE
from gapless.sources._schema.arrow import Table
from tests.fifth.okta import api
from tests.fifth.okta.models import LogEvent

LOG_EVENTS = Feed(
    Table("log_events", LogEvent, ("uuid",), MERGE),
    pages=api.log_events,
    by_time=True,
    per_page=api.PAGE_SIZE,
)
STREAM = LOG_EVENTS


@source("okta", LOG_EVENTS, requests_per_minute=60, lag=3600.0)
def okta(
    okta_api_token: str = dlt.secrets.value,
    okta_base_url: str = dlt.config.value,
) -> Connection:
    """Events of the System Log. Times are ISO 8601; lag (the look-back) and waits are seconds."""
    return Connection(partial(api.client, okta_api_token, okta_base_url))
