"""What we keep of Sequence: its activity logs with their items, newest first, resumable to the oldest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from json import dumps
from typing import Any

import dlt
from dlt.sources import DltResource

from gapless.sources._http.client import Client
from gapless.sources._http.errors import NotFound, Rejected, Retryable
from gapless.sources._incremental.backfill_state import Backfill
from gapless.sources._incremental.dead_letters import DeadLetters
from gapless.sources._incremental.dlt_resource import shapes, tree_resource
from gapless.sources._incremental.ledger import COVERAGE, MERGE, Coverage, Ledger
from gapless.sources._incremental.newest_first import newest_first
from gapless.sources._incremental.session import LoadItem, Session
from gapless.sources._incremental.walk_state import Page, WalkState
from gapless.sources._incremental.window import Window, chosen, optional_instant
from gapless.sources._schema.arrow import Batch, Table
from gapless.sources._schema.parse import parse
from gapless.sources._schema.privacy import Privacy
from gapless.sources.sequence import api
from gapless.sources.sequence.models import ActivityLog

ACTIVITY_LOGS = Table("activity_logs", ActivityLog, ("id",), MERGE)
TABLES = (ACTIVITY_LOGS,)
ACCOUNT_CHANGED = (
    "activity_logs: not one of the newest logs of the last sync is there any more, so all were read again. If the"
    " keys are another account's, give it a database of its own (DESTINATION__DUCKDB__CREDENTIALS)"
)


@dlt.source(name="sequence", section="sequence")
def sequence(
    sequence_client_id: str = dlt.secrets.value,
    sequence_client_secret: str = dlt.secrets.value,
    sequence_base_url: str = api.DEFAULT_BASE_URL,
    sequence_requests_per_minute: int = 1500,
    sequence_lag: float = 3600.0,
    sequence_initial_value: str | None = None,
    sequence_end_value: str | None = None,
    sequence_privacy: str | None = None,
    gapless_hash_key: dlt.TSecretStrValue | None = None,
    gapless_retry_max_wait: float = 60.0,
    gapless_retry_budget: float = 300.0,
    session: Session | None = None,
) -> DltResource:
    """Activity logs and their items. Times are ISO 8601; lag (the look-back) and waits are seconds."""
    session = session or Session()
    client = api.client(
        sequence_client_id,
        sequence_client_secret,
        sequence_base_url,
        requests_per_minute=session.shard.split_budget(sequence_requests_per_minute),
        retry_max_wait=gapless_retry_max_wait,
        retry_budget=gapless_retry_budget,
    )
    session.client = client
    steps = partial(
        _steps,
        client=client,
        session=session,
        lag=timedelta(seconds=sequence_lag),
        initial=optional_instant(sequence_initial_value, "SEQUENCE_INITIAL_VALUE"),
        end=optional_instant(sequence_end_value, "SEQUENCE_END_VALUE"),
    )
    privacy = Privacy.parse(sequence_privacy, gapless_hash_key, shapes(TABLES), "SEQUENCE_PRIVACY")
    return tree_resource(TABLES, steps, session, privacy)


def _steps(
    ledger: Ledger,
    state: dict[str, Any],
    *,
    client: Client,
    session: Session,
    lag: timedelta,
    initial: datetime | None,
    end: datetime | None,
) -> Iterator[LoadItem]:
    letters = DeadLetters(ACTIVITY_LOGS.name, ledger, session)
    window = chosen(session.window, initial, end)
    pages = partial(_pages, client, session)
    if session.ids:
        yield from _by_id(client, session.ids, letters, session)
    elif window:
        backfill = Backfill(window, session.counters) if session.backfill else None
        walk = backfill.walk() if backfill else WalkState(initial_value=window.since)
        for page in newest_first(pages, walk, lag=timedelta(0), now=session.now()):
            if backfill:
                backfill.walked(walk)
            yield LoadItem(_loaded(page, window, letters))
        if backfill:
            backfill.finish()
    else:
        yield from _by_id(client, [letter.key for letter in letters.records()], letters, session)
        progress = WalkState.from_json(state).back_to(initial)
        from_nothing = progress.newest is None
        for page in newest_first(pages, progress, lag=lag, now=session.now()):
            batches = _loaded(page, Window(since=initial), letters)
            coverage = _coverage(progress, page.total, initial, session.now())
            yield LoadItem([*batches, Batch(COVERAGE, [coverage])], progress.to_json())
        if progress.another:
            session.failures.append(ACCOUNT_CHANGED)
        if from_nothing:
            yield LoadItem([letters.resolve_rest(None)])


def _pages(client: Client, session: Session, after: str | None) -> Iterator[Page[ActivityLog]]:
    for page in api.activity_logs(client, after):
        session.counters.pages += 1
        session.counters.records += len(page.items)
        logs = parse(ActivityLog, page.items, refuse=session.refuse)
        yield Page(logs.records, logs.unreadable, page.after, page.pagination.total_result_size)


def _loaded(page: Page[ActivityLog], window: Window, letters: DeadLetters) -> list[Batch]:
    logs = [log for log in page.records if window.contains(log.created_at)]
    return [
        Batch(ACTIVITY_LOGS, logs),
        letters.unreadable(page.unreadable),
        letters.resolve("record", [log.id for log in page.records]),
    ]


def _coverage(progress: WalkState, total: int | None, initial: datetime | None, now: datetime) -> Coverage:
    return Coverage(
        stream=ACTIVITY_LOGS.name,
        parent="",
        covered_from=initial,
        covered_to=progress.newest,
        missing=dumps(progress.missing()) if progress.walks else None,
        records=total,
        last_checked_at=now,
    )


def _by_id(client: Client, ids: Iterable[str], letters: DeadLetters, session: Session) -> Iterator[LoadItem]:
    """Single records: those asked for, and those that failed before, which may be gone by now.

    When the vendor cannot answer for one, the others keep for the next time: each may cost the whole retry budget.
    """
    for log_id in ids:
        try:
            logs = parse(ActivityLog, [api.activity_log(client, log_id)], refuse=session.refuse)
        except NotFound as error:
            if log_id in session.ids:
                session.failures.append(str(error))
            yield LoadItem([letters.resolve("record", [log_id])])
        except (Rejected, Retryable) as error:
            yield LoadItem([letters.failed("record", log_id, error)])
            if isinstance(error, Retryable):
                return
        else:
            yield LoadItem(_loaded(Page(logs.records, logs.unreadable), Window(), letters))
