"""What we keep of Sequence: its activity logs with their items, newest first, resumable to the oldest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from json import dumps
from typing import Any

import dlt
from dlt.extract import DltResource

from sources._records.flatten import Batch, Table
from sources._records.parse import parse
from sources._records.privacy import Privacy
from sources._rest.client import Client
from sources._rest.errors import NotFound, Rejected, Retryable
from sources._sync.backfill import Backfill
from sources._sync.ledger import COVERAGE, MERGE, Coverage, Ledger
from sources._sync.letters import Letters
from sources._sync.progress import Page, Progress
from sources._sync.resource import shapes, tree_resource
from sources._sync.session import Session, Step
from sources._sync.walk import newest_first
from sources._sync.window import Window, chosen, optional_instant
from sources.sequence import api
from sources.sequence.models import ActivityLog

ACTIVITY_LOGS = Table("activity_logs", ActivityLog, ("id",), MERGE)
TABLES = (ACTIVITY_LOGS,)
ANOTHER = (
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
        requests_per_minute=session.shard.share(sequence_requests_per_minute),
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
) -> Iterator[Step]:
    letters = Letters(ACTIVITY_LOGS.name, ledger, session)
    window = chosen(session.window, initial, end)
    pages = partial(_pages, client, session)
    if session.ids:
        yield from _by_id(client, session.ids, letters, session)
    elif window:
        backfill = Backfill(window, session.meter) if session.backfill else None
        walk = backfill.walk() if backfill else Progress(initial_value=window.since)
        for page in newest_first(pages, walk, lag=timedelta(0), now=session.now()):
            if backfill:
                backfill.walked(walk)
            yield Step(_loaded(page, window, letters))
        if backfill:
            backfill.finish()
    else:
        yield from _by_id(client, [letter.key for letter in letters.records()], letters, session)
        progress = Progress.from_json(state).back_to(initial)
        from_nothing = progress.newest is None
        for page in newest_first(pages, progress, lag=lag, now=session.now()):
            batches = _loaded(page, Window(since=initial), letters)
            coverage = _coverage(progress, page.total, initial, session.now())
            yield Step([*batches, Batch(COVERAGE, [coverage])], progress.to_json())
        if progress.another:
            session.failures.append(ANOTHER)
        if from_nothing:
            yield Step([letters.settled(None)])


def _pages(client: Client, session: Session, after: str | None) -> Iterator[Page[ActivityLog]]:
    for page in api.activity_logs(client, after):
        session.meter.pages += 1
        session.meter.records += len(page.items)
        logs = parse(ActivityLog, page.items, refuse=session.refuse)
        yield Page(logs.records, logs.unreadable, page.after, page.pagination.total_result_size)


def _loaded(page: Page[ActivityLog], window: Window, letters: Letters) -> list[Batch]:
    logs = [log for log in page.records if window.holds(log.created_at)]
    return [
        Batch(ACTIVITY_LOGS, logs),
        letters.unreadable(page.unreadable),
        letters.healed("record", [log.id for log in page.records]),
    ]


def _coverage(progress: Progress, total: int | None, initial: datetime | None, now: datetime) -> Coverage:
    return Coverage(
        stream=ACTIVITY_LOGS.name,
        parent="",
        covered_from=initial,
        covered_to=progress.newest,
        missing=dumps(progress.missing()) if progress.walks else None,
        records=total,
        last_checked_at=now,
    )


def _by_id(client: Client, ids: Iterable[str], letters: Letters, session: Session) -> Iterator[Step]:
    """Single records: those asked for, and those that failed before, which may be gone by now.

    When the vendor cannot answer for one, the others keep for the next time: each may cost the whole retry budget.
    """
    for log_id in ids:
        try:
            logs = parse(ActivityLog, [api.activity_log(client, log_id)], refuse=session.refuse)
        except NotFound as error:
            if log_id in session.ids:
                session.failures.append(str(error))
            yield Step([letters.healed("record", [log_id])])
        except (Rejected, Retryable) as error:
            yield Step([letters.failed("record", log_id, error)])
            if isinstance(error, Retryable):
                return
        else:
            yield Step(_loaded(Page(logs.records, logs.unreadable), Window(), letters))
