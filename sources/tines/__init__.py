"""What we keep of Tines: the logs of every action, and the actions. The vendor keeps them 7 days by default."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeGuard

import dlt
from dlt.sources import DltResource

from gapless.sources._http.client import Client
from gapless.sources._http.errors import Unavailable
from gapless.sources._incremental.concurrency import Read, map_concurrently
from gapless.sources._incremental.dead_letters import DeadLetters
from gapless.sources._incremental.dlt_resource import shapes, tree_resource
from gapless.sources._incremental.ledger import MERGE, Ledger
from gapless.sources._incremental.newest_first import until_older
from gapless.sources._incremental.per_parent import ParentSync, filter_shard
from gapless.sources._incremental.session import LoadItem, Session
from gapless.sources._incremental.walk_state import Page
from gapless.sources._incremental.window import chosen, optional_instant
from gapless.sources._schema.arrow import Batch, Table
from gapless.sources._schema.parse import parse
from gapless.sources._schema.privacy import Privacy
from gapless.sources.tines import api
from gapless.sources.tines.models import Action, ActionLog

ACTION_LOGS = Table("action_logs", ActionLog, ("id",), MERGE)
ACTIONS = Table("actions", Action, ("id",), MERGE)
RESTARTS = 5
"""So often the pages of one action are read from the first when they shift; then it is left for the next sync."""
TABLES = (ACTION_LOGS, ACTIONS)


@dlt.source(name="tines", section="tines")
def tines(
    tines_api_key: str = dlt.secrets.value,
    tines_base_url: str = dlt.config.value,
    tines_requests_per_minute: int = 100,
    tines_workers: int = 8,
    tines_lag: float = 3600.0,
    tines_initial_value: str | None = None,
    tines_end_value: str | None = None,
    tines_privacy: str | None = None,
    gapless_hash_key: dlt.TSecretStrValue | None = None,
    gapless_retry_max_wait: float = 60.0,
    gapless_retry_budget: float = 300.0,
    session: Session | None = None,
) -> DltResource:
    """Actions and their logs. Times are ISO 8601; lag (the look-back) and waits are seconds."""
    session = session or Session()
    client = api.client(
        tines_api_key,
        tines_base_url,
        requests_per_minute=session.shard.split_budget(tines_requests_per_minute),
        workers=tines_workers,
        retry_max_wait=gapless_retry_max_wait,
        retry_budget=gapless_retry_budget,
    )
    session.client = client
    steps = partial(
        _steps,
        client=client,
        session=session,
        workers=tines_workers,
        lag=timedelta(seconds=tines_lag),
        initial=optional_instant(tines_initial_value, "TINES_INITIAL_VALUE"),
        end=optional_instant(tines_end_value, "TINES_END_VALUE"),
    )
    privacy = Privacy.parse(tines_privacy, gapless_hash_key, shapes(TABLES), "TINES_PRIVACY")
    return tree_resource(TABLES, steps, session, privacy)


def _steps(
    ledger: Ledger,
    state: dict[str, Any],
    *,
    client: Client,
    session: Session,
    workers: int,
    lag: timedelta,
    initial: datetime | None,
    end: datetime | None,
) -> Iterator[LoadItem]:
    rounds = ParentSync(ACTION_LOGS.name, ledger, session, chosen(session.window, initial, end), initial)
    actions: list[Action] = []
    yield from _actions(client, session, DeadLetters(ACTIONS.name, ledger, session), actions)
    # logs_count: what the action still stores; without one, ask.
    todo = rounds.todo((a for a in actions if a.logs_count != 0), key=lambda action: str(action.id))
    yield LoadItem(rounds.close_vanished(str(action.id) for action in todo))
    session.counters.parents_total = len(todo)

    def pages(action: Action) -> Iterator[Page[ActionLog]]:
        known = rounds.known(str(action.id))
        watermark = known.covered_to if known else None
        return until_older(_pages(client, session, action), watermark - lag if watermark else rounds.kept.since)

    newest: dict[int, datetime | None] = {}
    for read in map_concurrently(todo, pages, workers, partial(api.ping, client)):
        yield LoadItem(_outcome(read, rounds, newest))
    rounds.finish()


def _actions(client: Client, session: Session, letters: DeadLetters, found: list[Action]) -> Iterator[LoadItem]:
    for page in api.actions(client):
        session.counters.pages += 1
        listed = parse(Action, page.items, refuse=session.refuse)
        actions = filter_shard(listed, session.shard, lambda action: str(action.id))
        found += [*actions.records, *(Action(id=int(bad.key)) for bad in actions.unreadable if _is_id(bad.key))]
        healed = letters.resolve("record", [str(action.id) for action in actions.records])
        yield LoadItem([Batch(ACTIONS, actions.records), letters.unreadable(actions.unreadable), healed])
    yield LoadItem([letters.resolve_rest(None)])


def _is_id(key: str | None) -> TypeGuard[str]:
    return key is not None and key.isdecimal()


def _pages(client: Client, session: Session, action: Action) -> Iterator[Page[ActionLog]]:
    """All pages; from the first one again when logs vanished meanwhile, as then others moved up unread."""
    for _ in range(RESTARTS):
        left: int | None = None
        for page in api.action_logs(client, action.id):
            count = page.meta.count
            shifted = count is not None and left is not None and count < left
            given = {"action_id": action.id, "story_id": action.story_id}
            logs = parse(ActionLog, page.items, given, refuse=session.refuse)
            yield Page(logs.records, logs.unreadable, total=count, shifted=shifted)
            if shifted:
                break
            left = count
        else:
            return
    detail = f"logs vanished while its pages were read, {RESTARTS} times; what moved up meanwhile may be missing"
    raise Unavailable(method="GET", path=f"actions/{action.id}/logs", detail=detail)


def _outcome(
    read: Read[Action, Page[ActionLog]], rounds: ParentSync, newest: dict[int, datetime | None]
) -> list[Batch]:
    """What to load for a page, or for the end of an action; `newest` holds the watermarks of those in between."""
    action, page, letters = str(read.parent.id), read.page, rounds.letters
    if page is not None:
        rounds.session.counters.pages += 1
        rounds.session.counters.records += len(page.records) + len(page.unreadable)
        logs = [log for log in page.records if rounds.kept.contains(log.created_at)]
        times = [newest.get(read.parent.id), *(log.created_at for log in logs)]
        newest[read.parent.id] = rounds.newest(action, times)
        return [
            Batch(ACTION_LOGS, logs),
            letters.unreadable(page.unreadable, parent=action),
            letters.resolve("record", [str(log.id) for log in page.records]),
        ]
    if read.error:
        return rounds.failed(action, read.error)
    covered_to = rounds.newest(action, [newest.pop(read.parent.id, None)])
    settled = [] if rounds.known(action) else [letters.resolve_rest(action)]
    facts = {"covered_to": covered_to, "records": read.parent.logs_count}
    return [*settled, *rounds.read(action, **facts)]
