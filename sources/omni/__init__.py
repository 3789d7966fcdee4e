"""What we keep of Omni: every lead's action logs, whole whenever its answer changed, and the leads themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import dlt
from dlt.sources import DltResource

from gapless.sources._http.client import Client
from gapless.sources._incremental.concurrency import map_concurrently
from gapless.sources._incremental.dead_letters import DeadLetters
from gapless.sources._incremental.dlt_resource import shapes, tree_resource
from gapless.sources._incremental.ledger import MERGE, STATUS_CHANGES, Ledger, StatusChange
from gapless.sources._incremental.per_parent import ParentSync, filter_shard
from gapless.sources._incremental.session import LoadItem, Session
from gapless.sources._incremental.window import chosen, names, optional_instant
from gapless.sources._schema.arrow import Batch, Table, digest
from gapless.sources._schema.parse import parse
from gapless.sources._schema.privacy import Privacy
from gapless.sources.omni import api
from gapless.sources.omni.models import ActionLog, Lead

ACTION_LOGS = Table("action_logs", ActionLog, ("id",), MERGE)
LEADS = Table("leads", Lead, ("lead_id",), MERGE)
TABLES = (ACTION_LOGS, LEADS, STATUS_CHANGES)


@dlt.source(name="omni", section="omni")
def omni(
    omni_api_key: str = dlt.secrets.value,
    omni_base_url: str = api.DEFAULT_BASE_URL,
    omni_lead_ids: str | list[str] | None = None,
    omni_requests_per_minute: int = 300,
    omni_workers: int = 8,
    omni_initial_value: str | None = None,
    omni_end_value: str | None = None,
    omni_privacy: str | None = None,
    gapless_hash_key: dlt.TSecretStrValue | None = None,
    gapless_retry_max_wait: float = 60.0,
    gapless_retry_budget: float = 300.0,
    session: Session | None = None,
) -> DltResource:
    """Leads and their action logs. `omni_lead_ids` reads just these leads instead of all that analytics names."""
    session = session or Session()
    client = api.client(
        omni_api_key,
        omni_base_url,
        requests_per_minute=session.shard.split_budget(omni_requests_per_minute),
        workers=omni_workers,
        retry_max_wait=gapless_retry_max_wait,
        retry_budget=gapless_retry_budget,
    )
    session.client = client
    steps = partial(
        _steps,
        client=client,
        session=session,
        workers=omni_workers,
        lead_ids=names(omni_lead_ids),
        initial=optional_instant(omni_initial_value, "OMNI_INITIAL_VALUE"),
        end=optional_instant(omni_end_value, "OMNI_END_VALUE"),
    )
    privacy = Privacy.parse(omni_privacy, gapless_hash_key, shapes(TABLES), "OMNI_PRIVACY")
    return tree_resource(TABLES, steps, session, privacy)


def _steps(
    ledger: Ledger,
    state: dict[str, Any],
    *,
    client: Client,
    session: Session,
    workers: int,
    lead_ids: Sequence[str],
    initial: datetime | None,
    end: datetime | None,
) -> Iterator[LoadItem]:
    rounds = ParentSync(ACTION_LOGS.name, ledger, session, chosen(session.window, initial, end), initial)
    leads = [lead for lead in session.ids or lead_ids if session.shard.contains(lead)]
    if not (session.ids or lead_ids):
        yield from _leads(client, session, DeadLetters(LEADS.name, ledger, session), leads)
        yield LoadItem(rounds.close_vanished(leads))
    session.counters.parents_total = len(leads)
    todo, ping = rounds.todo(leads, key=str), partial(api.ping, client)
    for answer in map_concurrently(todo, lambda lead: [api.action_logs(client, lead)], workers, ping):
        if answer.page is not None:
            yield _history(answer.parent, answer.page, rounds)
        elif answer.error:
            yield LoadItem(rounds.failed(answer.parent, answer.error))
    rounds.finish()


def _leads(client: Client, session: Session, letters: DeadLetters, ids: list[str]) -> Iterator[LoadItem]:
    """All leads; their ids are put into `ids`, also of those whose other fields cannot be read."""
    for page in api.leads(client):
        session.counters.pages += 1
        listed = parse(Lead, page.breakdown, key="leadId", refuse=session.refuse)
        leads = filter_shard(listed, session.shard, lambda lead: lead.lead_id)
        found = [lead.lead_id for lead in leads.records]
        ids += [*found, *(lead.key for lead in leads.unreadable if lead.key)]
        healed = letters.resolve("record", found)
        yield LoadItem([Batch(LEADS, leads.records), letters.unreadable(leads.unreadable), healed])
    yield LoadItem([letters.resolve_rest(None)])


def _history(lead: str, answer: list[bytes], rounds: ParentSync) -> LoadItem:
    """One lead's answer: nothing to load when it is the one we know, else all of it."""
    rounds.session.counters.pages += 1
    rounds.session.counters.records += len(answer)
    seen, known = digest(rounds.kept.since, *answer), rounds.known(lead)
    if known and known.digest == seen:
        return LoadItem(rounds.read(lead, digest=seen, covered_to=known.covered_to, records=known.records))
    logs = parse(ActionLog, answer, {"leadId": lead}, refuse=rounds.session.refuse)
    kept = [log for log in logs.records if rounds.kept.contains(log.created_at)]
    changes = [StatusChange(record_id=log.id, status=log.status, seen_at=rounds.now) for log in kept if log.status]
    newest = rounds.newest(lead, (log.created_at for log in kept))
    return LoadItem(
        [
            Batch(ACTION_LOGS, kept),
            Batch(STATUS_CHANGES, changes),
            rounds.letters.unreadable(logs.unreadable, parent=lead),
            rounds.letters.resolve("record", [log.id for log in logs.records]),
            rounds.letters.resolve_rest(lead),
            *rounds.read(lead, covered_to=newest, digest=seen, records=len(answer)),
        ]
    )
