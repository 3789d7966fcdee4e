"""What vendors serve, for whoever counts and compares: parents, and what is below each, page by page. Loads nothing.

An entry a source; pages and parents come by the source's own `api.py`, with its rate budget and its retries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gapless.pipelines.sync.build import build, check_settings
from gapless.sources import SOURCES, Source
from gapless.sources._http.client import Client
from gapless.sources._incremental.session import Session
from gapless.sources._schema.parse import parse


@dataclass(frozen=True)
class Parent:
    """A lead, a type, an action; Sequence has one, without a name, that is all of it."""

    id: str
    count: int | None = None
    """How many records it has, as the listing of parents says."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """What its records do not carry."""


@dataclass(frozen=True)
class Page:
    """Records by id, with the time each was created at."""

    times: dict[str, datetime | None]
    raws: Sequence[bytes]
    nameless: int = 0
    """Records whose id cannot be read."""
    total: int | None = None
    """Over all pages."""


@dataclass(frozen=True)
class Vendor:
    parents: Callable[[Client], Iterator[list[Parent]]]
    pages: Callable[[Client, Parent], Iterator[Page]]
    column: str | None
    """In the table of the records: whose they are."""
    only: str | None = None
    """The setting that names what to read instead of all that is listed."""
    per_page: int | None = None
    """Records on a page; none: all in one answer."""
    detail: Callable[[Client, str], bytes] | None = None
    """Where pages tell ids only: a record."""
    empty: bool = True
    """Whether a parent without records is asked for them."""


@contextmanager
def open_client(source: Source) -> Iterator[Client]:
    """The source's client. Raises WrongSettings as a sync would."""
    session = Session()
    build(source, session)
    assert session.client is not None
    try:
        yield session.client
    finally:
        session.client.close()


def settings(source: Source, *names: str) -> dict[str, Any]:
    """Those of these settings that are set, as dlt finds them."""
    from gapless.pipelines.destinations._dlt.config import resolved_settings

    found = resolved_settings(lambda: check_settings(source))
    return {setting.key: setting.value for setting in found if setting.key in names and setting.value}


def _page(
    model: Any, raws: Sequence[Any], time: str, given: Mapping[str, Any] | None = None, total: int | None = None
) -> Page:
    found = parse(model, raws, given)
    times = {str(record.id): getattr(record, time) for record in found.records}
    times |= {bad.key: None for bad in found.unreadable if bad.key}
    nameless = sum(bad.key is None for bad in found.unreadable)
    return Page(times, [bytes(raw) for raw in raws], nameless, total)


def _all(client: Client) -> Iterator[list[Parent]]:
    yield [Parent("")]


def _leads(client: Client) -> Iterator[list[Parent]]:
    from gapless.sources.omni.models import Lead

    for page in SOURCES["omni"].api.leads(client):
        leads = parse(Lead, page.breakdown, key="leadId")
        ids = [*(lead.lead_id for lead in leads.records), *(bad.key for bad in leads.unreadable if bad.key)]
        yield [Parent(lead, given={"leadId": lead}) for lead in ids]


def _lead(client: Client, lead: Parent) -> Iterator[Page]:
    from gapless.sources.omni.models import ActionLog

    logs = SOURCES["omni"].api.action_logs(client, lead.id)
    yield _page(ActionLog, logs, "created_at", {"leadId": lead.id}, len(logs))


def _activity_logs(client: Client, _: Parent) -> Iterator[Page]:
    from gapless.sources.sequence.models import ActivityLog

    for page in SOURCES["sequence"].api.activity_logs(client):
        yield _page(ActivityLog, page.items, "created_at", total=page.pagination.total_result_size)


def _types(client: Client) -> Iterator[list[Parent]]:
    from gapless.sources.kizen.models import Activity

    for items in SOURCES["kizen"].api.activities(client):
        yield [Parent(activity.id, activity.n_submissions) for activity in parse(Activity, items).records]


def _responses(client: Client, activity: Parent) -> Iterator[Page]:
    from gapless.sources.kizen.models import Reference

    for items in SOURCES["kizen"].api.responses(client, activity.id):
        yield _page(Reference, items, "logged_at", total=activity.count)


def _logged(client: Client, logged: str) -> bytes:
    found: bytes = SOURCES["kizen"].api.logged_activity(client, logged)
    return found


def _actions(client: Client) -> Iterator[list[Parent]]:
    from gapless.sources.tines.models import Action

    for page in SOURCES["tines"].api.actions(client):
        actions = parse(Action, page.items).records
        yield [Parent(str(a.id), a.logs_count, {"action_id": a.id, "story_id": a.story_id}) for a in actions]


def _action_logs(client: Client, action: Parent) -> Iterator[Page]:
    from gapless.sources.tines.models import ActionLog

    for page in SOURCES["tines"].api.action_logs(client, action.id):
        yield _page(ActionLog, page.items, "created_at", action.given, page.meta.count)


VENDORS = {
    "omni": Vendor(_leads, _lead, "lead_id", only="omni_lead_ids"),
    "sequence": Vendor(_all, _activity_logs, None, per_page=100),
    "kizen": Vendor(
        _types,
        _responses,
        "activity_object__id",
        only="kizen_activity_ids",
        per_page=1000,
        detail=_logged,
    ),
    "tines": Vendor(_actions, _action_logs, "action_id", per_page=500, empty=False),
}
