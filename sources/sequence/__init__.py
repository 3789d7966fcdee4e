"""Stores from Sequence its activity logs with their items, newest first."""

from __future__ import annotations

from functools import partial

import dlt

from gapless.sources._extract.source import source
from gapless.sources._incremental.context import Connection
from gapless.sources._incremental.feed import Feed
from gapless.sources._ledger.ledger import MERGE
from gapless.sources._schema.arrow import Table
from gapless.sources.sequence import api
from gapless.sources.sequence.models import ActivityLog

ACTIVITY_LOGS = Feed(
    Table("activity_logs", ActivityLog, ("id",), MERGE),
    pages=api.activity_logs,
    record=api.activity_log,
    oldest=api.oldest,
    per_page=api.PAGE_SIZE,
)
STREAM = ACTIVITY_LOGS


# 1,500 requests a minute are documented per key; an older page says 100.
@source("sequence", ACTIVITY_LOGS, requests_per_minute=1500, lag=3600.0)
def sequence(
    sequence_client_id: str = dlt.secrets.value,
    sequence_client_secret: str = dlt.secrets.value,
    sequence_base_url: str = api.DEFAULT_BASE_URL,
) -> Connection:
    """Activity logs and their items. Times are ISO 8601; lag (the look-back) and waits are seconds."""
    return Connection(partial(api.client, sequence_client_id, sequence_client_secret, sequence_base_url))
