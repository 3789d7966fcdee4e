"""Stores from Omni every lead, and all of a lead's action logs whenever its answer changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

import dlt

from gapless.sources._extract.source import source
from gapless.sources._incremental.context import Connection
from gapless.sources._incremental.listing import Parents, PlainPage, Stored
from gapless.sources._incremental.parent_feed import ParentFeed
from gapless.sources._ledger.ledger import MERGE, STATUS_CHANGES, StatusChange
from gapless.sources._ledger.stored.cells import instant
from gapless.sources._ledger.window import parse_ids
from gapless.sources._schema.arrow import Batch, Table
from gapless.sources.omni import api
from gapless.sources.omni.models import ActionLog, Lead


def _status_changes(logs: Sequence[ActionLog], now: datetime, stored: Stored) -> list[Batch]:
    """Returns the statuses that are not those seen last, because Omni changes a log without telling when."""
    rows = stored(STATUS_CHANGES, ("record_id", "status", "seen_at"), [log.id for log in logs if log.status])
    last = {record: status for record, status, _ in sorted(rows, key=lambda row: (row[0], instant(row[2])))}
    seen = [(log.id, log.status) for log in logs if log.status and last.get(log.id) != log.status]
    changes = [StatusChange(record_id=key, status=status, seen_at=now) for key, status in seen]
    return [Batch(STATUS_CHANGES, changes)]


LEADS = Parents(
    Table("leads", Lead, ("lead_id",), MERGE),
    noun="leads",
    pages=api.leads,
    label="nullif(concat_ws(' ', first_name, last_name), '')",
)
ACTION_LOGS = ParentFeed(
    Table("action_logs", ActionLog, ("id",), MERGE),
    LEADS,
    pages=lambda client, lead: iter([_all(api.action_logs(client, lead.lead_id))]),
    column="lead_id",
    given=lambda lead: {"leadId": lead.lead_id},
    ping=api.ping,
    # One answer is the whole history and nothing in it says what changed, so answers are compared as a whole.
    whole=True,
    # A lead can be read without being listed: the analytics leave out deleted and test leads.
    alone=True,
    only="omni_lead_ids",
    derived=(STATUS_CHANGES,),
    derive=_status_changes,
)


def _all(logs: list[bytes]) -> PlainPage:
    """Returns the one page of a lead's history."""
    return PlainPage(logs, len(logs))


STREAM = ACTION_LOGS


@source("omni", ACTION_LOGS, requests_per_minute=300, workers=8)
def omni(
    omni_api_key: str = dlt.secrets.value,
    omni_base_url: str = api.DEFAULT_BASE_URL,
    omni_lead_ids: str | list[str] | None = None,
) -> Connection:
    """Leads and their action logs. `omni_lead_ids` reads just these leads instead of all that analytics names."""
    only = tuple(parse_ids(omni_lead_ids, "lead_ids"))
    return Connection(partial(api.client, omni_api_key, omni_base_url), only=only)
