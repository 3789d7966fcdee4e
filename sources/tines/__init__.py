"""Stores from Tines the stories, their actions and the logs of these, which it keeps for 7 days by default."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import dlt

from gapless.sources._extract.source import source
from gapless.sources._incremental.context import Connection
from gapless.sources._incremental.listing import Parents
from gapless.sources._incremental.parent_feed import ParentFeed
from gapless.sources._ledger.ledger import MERGE
from gapless.sources._schema.arrow import Table
from gapless.sources.tines import api
from gapless.sources.tines.models import Action, ActionLog, Story

ACTIONS = Parents(
    Table("actions", Action, ("id",), MERGE),
    noun="actions",
    label="name",
    pages=api.actions,
    count="logs_count",  # what the action still stores; without a count it is read
    # An action that stores no logs costs no request.
    reads_empty=False,
)
STORIES = Parents(
    Table("stories", Story, ("id",), MERGE),
    noun="stories",
    label="name",
    pages=api.stories,
)
ACTION_LOGS = ParentFeed(
    Table("action_logs", ActionLog, ("id",), MERGE),
    ACTIONS,
    pages=lambda client, action: api.action_logs(client, action.id),
    column="action_id",
    # A log names neither its action nor its story.
    given=lambda action: {"action_id": action.id, "story_id": action.story_id},
    ping=api.ping,
    per_page=api.PAGE_SIZE,
    keeps=timedelta(days=7),  # each story can set 1 hour to 365 days
    # Actions and logs name their story by its id alone.
    side_listings=(STORIES,),
)
STREAM = ACTION_LOGS


# 100 requests a minute are documented for actions; whether logs share that limit is not said.
@source("tines", ACTION_LOGS, requests_per_minute=100, lag=3600.0, workers=8)
def tines(
    tines_api_key: str = dlt.secrets.value,
    tines_base_url: str = dlt.config.value,
    tines_stories: bool = True,
) -> Connection:
    """Stories, actions and their logs. Times are ISO 8601; lag (the look-back) and waits are seconds.

    Without `tines_stories` the stories are not listed, so they have no names.
    """
    left_out = frozenset() if tines_stories else frozenset({STORIES.noun})
    return Connection(partial(api.client, tines_api_key, tines_base_url), left_out=left_out)
