"""What we keep of Kizen: every logged activity with its fields, associations and mentions, and the types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import dlt
from dlt.sources import DltResource

from gapless.sources._http.client import Client
from gapless.sources._http.errors import NotFound, VendorError
from gapless.sources._incremental.concurrency import map_concurrently
from gapless.sources._incremental.dead_letters import DeadLetters
from gapless.sources._incremental.dlt_resource import shapes, tree_resource
from gapless.sources._incremental.ledger import MERGE, Coverage, Ledger, instant
from gapless.sources._incremental.per_parent import ParentSync, filter_shard
from gapless.sources._incremental.session import LoadItem, Session
from gapless.sources._incremental.window import Window, chosen, names, optional_instant
from gapless.sources._schema.arrow import Batch, Table
from gapless.sources._schema.parse import parse
from gapless.sources._schema.privacy import Privacy
from gapless.sources.kizen import api
from gapless.sources.kizen.models import Activity, LoggedActivity, Reference

LOGGED_ACTIVITIES = Table("logged_activities", LoggedActivity, ("id",), MERGE)
ACTIVITIES = Table("activities", Activity, ("id",), MERGE)
TOGETHER = 200
"""Details that become columns at once."""
TABLES = (LOGGED_ACTIVITIES, ACTIVITIES)


@dlt.source(name="kizen", section="kizen")
def kizen(
    kizen_api_key: str = dlt.secrets.value,
    kizen_business_id: str = dlt.secrets.value,
    kizen_user_id: str = dlt.secrets.value,
    kizen_base_url: str = api.DEFAULT_BASE_URL,
    kizen_activity_ids: str | list[str] | None = None,
    kizen_requests_per_minute: int = 300,
    kizen_workers: int = 8,
    kizen_lag: float = 3600.0,
    kizen_relist_after: float = 86400.0,
    kizen_initial_value: str | None = None,
    kizen_end_value: str | None = None,
    kizen_privacy: str | None = None,
    gapless_hash_key: dlt.TSecretStrValue | None = None,
    gapless_retry_max_wait: float = 60.0,
    gapless_retry_budget: float = 300.0,
    session: Session | None = None,
) -> DltResource:
    """Types and logged activities. `kizen_activity_ids` reads just these logged activities and lists nothing."""
    session = session or Session()
    client = api.client(
        kizen_api_key,
        kizen_business_id,
        kizen_user_id,
        kizen_base_url,
        requests_per_minute=session.shard.split_budget(kizen_requests_per_minute),
        workers=kizen_workers,
        retry_max_wait=gapless_retry_max_wait,
        retry_budget=gapless_retry_budget,
    )
    session.client = client
    steps = partial(
        _steps,
        client=client,
        session=session,
        workers=kizen_workers,
        only=names(kizen_activity_ids),
        lag=timedelta(seconds=kizen_lag),
        relist_after=timedelta(seconds=kizen_relist_after),
        initial=optional_instant(kizen_initial_value, "KIZEN_INITIAL_VALUE"),
        end=optional_instant(kizen_end_value, "KIZEN_END_VALUE"),
    )
    privacy = Privacy.parse(kizen_privacy, gapless_hash_key, shapes(TABLES), "KIZEN_PRIVACY")
    return tree_resource(TABLES, steps, session, privacy)


@dataclass(eq=False)
class Type:
    """One type of activity in this sync. Times by id: `held` by the destination in all, `own` of this type, `listed`
    by the vendor."""

    activity: Activity
    before: Coverage | None
    held: dict[str, datetime | None]
    own: dict[str, datetime | None]
    listed: dict[str, datetime | None] | None = None
    newest: list[datetime | None] = field(default_factory=list)
    open: int = 0
    """Details still to come."""

    @property
    def count(self) -> str | None:
        """The vendor's number of submissions; an edit does not move it, and neither do one that goes and one new."""
        return None if self.activity.n_submissions is None else str(self.activity.n_submissions)

    def must_be_listed(self, rounds: ParentSync, relist_after: timedelta) -> bool:
        """Unless the count says that nothing is new, which is believed for `relist_after`."""
        known = rounds.known(self.activity.id)
        if known is None or known.failures or known.digest is None or known.listed_at is None:
            return True
        return known.digest != self.count or known.listed_at + relist_after <= rounds.now

    def wanted(self, lag: timedelta, rounds: ParentSync) -> list[str]:
        """Ids to read: in a window all of it, else the new ones and those held within the look-back."""
        times = self.own if self.listed is None else self.listed
        kept = [i for i, at in times.items() if rounds.kept.contains(at)]
        if rounds.window:
            return kept
        watermark = self.before.covered_to if self.before else max(filter(None, self.own.values()), default=None)
        recent = Window(watermark - lag) if watermark else None
        return [i for i in kept if i not in self.held or (recent and recent.contains(self.held[i]))]

    def covered(self, rounds: ParentSync) -> list[Batch]:
        facts: dict[str, Any] = {"digest": self.count, "covered_to": rounds.newest(self.activity.id, self.newest)}
        if self.listed is not None:
            facts |= {"records": len(self.listed), "listed_at": rounds.now}
        elif self.before:
            facts |= {"records": self.before.records, "listed_at": self.before.listed_at}
        return rounds.read(self.activity.id, **facts)


def _steps(
    ledger: Ledger,
    state: dict[str, Any],
    *,
    client: Client,
    session: Session,
    workers: int,
    only: Sequence[str],
    lag: timedelta,
    relist_after: timedelta,
    initial: datetime | None,
    end: datetime | None,
) -> Iterator[LoadItem]:
    rounds = ParentSync(LOGGED_ACTIVITIES.name, ledger, session, chosen(session.window, initial, end), initial)
    single = [logged for logged in session.ids or only if session.shard.contains(logged)]
    # One whose type is not known may be read by the shard of its type at this moment, too.
    letters = [letter for letter in rounds.letters.records() if letter.parent or session.shard.whole]
    first = single or [letter.key for letter in letters if not rounds.backfill]
    details = partial(_details, client, rounds, workers)
    yield from details([(i, None) for i in first])
    if session.ids or only:
        rounds.finish()
        return
    activities: list[Activity] = []
    yield from _activities(client, session, DeadLetters(ACTIVITIES.name, ledger, session), activities)
    yield LoadItem(rounds.close_vanished(activity.id for activity in activities))
    session.counters.parents_total = len(activities)
    by_type = _held(ledger)
    held = {i: at for own in by_type.values() for i, at in own.items()}
    types = [Type(a, rounds.coverage.get(a.id), held, by_type.get(a.id, {})) for a in activities]
    readable: list[Type] = []
    yield from _listed(client, rounds, workers, relist_after, types, readable)
    wanted = {_key(i, kind): (i, kind) for kind in readable for i in kind.wanted(lag, rounds) if i not in first}
    todo = [wanted[key] for key in (rounds.backfill.left(wanted) if rounds.backfill else wanted)]
    for _, kind in todo:
        kind.open += 1
    for kind in readable:
        if not kind.open:
            yield LoadItem(kind.covered(rounds))
    yield from details(todo)
    rounds.finish()


def _key(logged: str, kind: Type) -> str:
    """What a backfill knows a logged activity by."""
    return f"{kind.activity.id} {logged}"


def _held(ledger: Ledger) -> dict[str, dict[str, datetime | None]]:
    """What the destination has: id -> time, by type."""
    held: dict[str, dict[str, datetime | None]] = {}
    columns = ["activity_object__id", "id", "logged_at"]
    for activity, logged, at, completed in ledger.select(LOGGED_ACTIVITIES.name, columns):
        if completed:
            held.setdefault(activity, {})[logged] = instant(at)
    return held


def _activities(client: Client, session: Session, letters: DeadLetters, found: list[Activity]) -> Iterator[LoadItem]:
    for items in api.activities(client):
        session.counters.pages += 1
        listed = parse(Activity, items, refuse=session.refuse)
        activities = filter_shard(listed, session.shard, lambda activity: activity.id)
        found += [*activities.records, *(Activity(id=bad.key) for bad in activities.unreadable if bad.key)]
        healed = letters.resolve("record", [activity.id for activity in activities.records])
        yield LoadItem([Batch(ACTIVITIES, activities.records), letters.unreadable(activities.unreadable), healed])
    yield LoadItem([letters.resolve_rest(None)])


def _listed(
    client: Client, rounds: ParentSync, workers: int, relist_after: timedelta, types: list[Type], readable: list[Type]
) -> Iterator[LoadItem]:
    """Lists the ids of every type that may have new ones; all but those that failed are put into `readable`."""
    readable += [kind for kind in types if not kind.must_be_listed(rounds, relist_after)]
    todo = rounds.order((t for t in types if t not in readable), key=lambda kind: kind.activity.id)
    ping = partial(api.ping, client)
    for read in map_concurrently(todo, lambda kind: api.responses(client, kind.activity.id), workers, ping):
        kind, letters = read.parent, rounds.letters
        if read.page is not None:
            rounds.session.counters.pages += 1
            lines = parse(Reference, read.page, refuse=rounds.session.refuse)
            kind.listed = (kind.listed or {}) | {line.id: line.logged_at for line in lines.records}
            kind.listed |= {line.key: None for line in lines.unreadable if line.key}  # its detail will tell
            nameless = [line for line in lines.unreadable if not line.key]
            yield LoadItem([letters.unreadable(nameless, parent=kind.activity.id)])
        elif read.error:
            yield LoadItem(rounds.failed(kind.activity.id, read.error))
        else:
            readable.append(kind)


def _details(
    client: Client, rounds: ParentSync, workers: int, todo: Sequence[tuple[str, Type | None]]
) -> Iterator[LoadItem]:
    """Reads logged activities by id. A type is covered when the last of its own is read."""
    read: list[tuple[str, bytes, Type | None]] = []
    ping = partial(api.ping, client)
    for answer in map_concurrently(todo, lambda item: [api.logged_activity(client, item[0])], workers, ping):
        logged, kind = answer.parent
        if answer.page is not None:
            read.append((logged, answer.page, kind))
            continue
        batches = [_refused(logged, kind, answer.error, rounds)] if answer.error else []
        if kind:
            kind.open -= 1
        covered = kind is not None and kind.open == 0
        if covered or len(read) >= TOGETHER:
            batches += _loaded(read, rounds)
            read.clear()
        if kind and covered:
            batches += kind.covered(rounds)
        if batches:
            yield LoadItem(batches)
    yield LoadItem(_loaded(read, rounds))


def _refused(logged: str, kind: Type | None, error: VendorError, rounds: ParentSync) -> Batch:
    """Gone between listing and reading is no failure; all else is tried again next time."""
    if isinstance(error, NotFound):
        if kind is None and logged in rounds.session.ids:
            rounds.session.failures.append(str(error))
        if kind and rounds.backfill:
            rounds.backfill.done(_key(logged, kind))
        return rounds.letters.resolve("record", [logged])
    if kind and rounds.backfill:
        rounds.backfill.failed(_key(logged, kind))
    return rounds.letters.failed("record", logged, error, parent=kind.activity.id if kind else None)


def _loaded(read: list[tuple[str, bytes, Type | None]], rounds: ParentSync) -> list[Batch]:
    """The listing told the ids, so a record that has no readable one of its own is no nameless letter."""
    rounds.session.counters.records += len(read)
    loaded: list[LoggedActivity] = []
    batches: list[Batch] = []
    for asked, raw, kind in read:
        logged = parse(LoggedActivity, [raw], refuse=rounds.session.refuse)
        loaded += [record for record in logged.records if not kind or rounds.kept.contains(record.logged_at)]
        bad = [replace(record, key=asked) for record in logged.unreadable]
        batches.append(rounds.letters.unreadable(bad, parent=kind.activity.id if kind else None))
        if kind:
            kind.newest += [record.logged_at for record in logged.records]
            if rounds.backfill:
                rounds.backfill.done(_key(asked, kind))
    healed = rounds.letters.resolve("record", [record.id for record in loaded])
    return [Batch(LOGGED_ACTIVITIES, loaded), *batches, healed]
