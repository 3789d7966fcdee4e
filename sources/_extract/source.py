"""The decorator that makes a dlt source of a vendor's own settings and a declared stream."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial, wraps
from inspect import Parameter, cleandoc, signature
from pathlib import Path
from typing import Annotated, Any

import dlt
from dlt.sources import DltResource, DltSource

from gapless.sources._dlt.internals import NotResolved, incremental_of, joins_scheduler, settings_files
from gapless.sources._dlt.types import State
from gapless.sources._extract.extraction import LEDGER, Extraction, Extractions
from gapless.sources._extract.first_look import FirstLook, plain
from gapless.sources._extract.hints import declare
from gapless.sources._extract.resource import private_to_arrow, shapes, stream_resource
from gapless.sources._extract.settings import OF_ALL_SOURCES, Shared
from gapless.sources._extract.subjects import subjects_of
from gapless.sources._files.writers import refusal
from gapless.sources._http.client import Client
from gapless.sources._http.errors import SettingError
from gapless.sources._http.rate_limit import RateBudget, shared_budget
from gapless.sources._incremental.context import Connection, SyncContext
from gapless.sources._incremental.listing import Parents
from gapless.sources._incremental.stream import Stream, side_listings
from gapless.sources._ledger.account.evidence import Dataset, Evidence
from gapless.sources._ledger.account.identity import Account, AccountCheck
from gapless.sources._ledger.erasure.tombstones import Tombstones, stored_rows
from gapless.sources._ledger.erasure.visible import visible
from gapless.sources._ledger.package import ToArrow
from gapless.sources._ledger.session import LoadItem, Session, Unchanged
from gapless.sources._ledger.shard import Shard
from gapless.sources._ledger.stored.reader import Ledger
from gapless.sources._ledger.window import Window, effective_window, optional_instant
from gapless.sources._schema.arrow import Table, digest
from gapless.sources._schema.destination_limits import bounded, storage_check
from gapless.sources._schema.policy_history import POLICIES
from gapless.sources._schema.privacy import Privacy

SESSION = Parameter("session", Parameter.KEYWORD_ONLY, default=None, annotation=Session | None)
ROWS = Parameter("rows", Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, NotResolved()])
ALIASES = ("initial_value", "end_value", "lag")
"""Shared settings that a caller may also name as dlt's incremental does, without the source's name."""


def source(
    name: str,
    stream: Stream,
    *,
    requests_per_minute: int,
    lag: float | None = None,
    workers: int | None = None,
) -> Callable[[Callable[..., Connection]], Callable[..., DltSource]]:
    """Makes a dlt source of a function that has the vendor's own settings and returns how to reach it.

    The dlt source has the function's settings and then those that all sources share; dlt reads them from its
    configuration. `lag` is in seconds. Its resources are the stream's parents, if it has any, and its records. They
    yield Arrow tables, page by page, or nested rows with `rows=True`. Building the source sends no request; it raises
    SettingError or ValueError for a setting that is wrong, and for a file of settings that others can write. Raises
    ValueError if a record's key is not its id alone.
    """
    if stream.table.key != (stream.table.id_column,):
        # Ledger and `verify` look rows up by the digest of the id alone.
        raise ValueError(
            f"{name}: the key of {stream.table.name} must be its id, {stream.table.id_column!r}, alone; it is"
            f" {stream.table.key}"
        )

    def decorator(connect: Callable[..., Connection]) -> Callable[..., DltSource]:
        made = _made(stream, Shared(name, requests_per_minute, lag, workers), name, connect)

        @cache
        def account(own: str) -> Callable[..., DltSource]:
            return _made(stream, Shared(own, requests_per_minute, lag, workers), name, connect)

        made.account = account  # type: ignore[attr-defined]  # makes the source of an account with another name
        return made

    return decorator


def _made(
    stream: Stream, shared: Shared, vendor: str, connect: Callable[..., Connection]
) -> Callable[..., DltSource]:
    """Returns the dlt source of an account; its name takes the place of the vendor's in all names of settings."""
    name = shared.source

    def own_name(setting: str) -> str:
        return name + setting.removeprefix(vendor) if setting.startswith(f"{vendor}_") else setting

    if name != vendor and stream.only and is_dataclass(stream):
        stream = replace(stream, only=own_name(stream.only))
    aliases = [
        # Not None: dlt would make the type optional, and then read `LAG` and its like from the environment.
        Parameter(alias, Parameter.KEYWORD_ONLY, default="", annotation=Annotated[Any, NotResolved()])
        for alias in ALIASES
        if f"{name}_{alias}" in shared.declared()
    ]
    # dlt finds settings by the names in the signature, so the shared ones must appear there.
    theirs = {own_name(one.name): one for one in signature(connect).parameters.values()}
    own = [one.replace(name=renamed) for renamed, one in theirs.items()]
    whole = signature(connect).replace(
        parameters=[*own, *shared.parameters(), *aliases, ROWS, SESSION], return_annotation=list[DltResource]
    )

    @wraps(connect)
    def build(*args: Any, **kwargs: Any) -> list[DltResource]:
        # dlt gives the settings, and whoever can write its files could have the key sent elsewhere.
        if problem := next(filter(None, map(refusal, settings_files())), None):
            raise ValueError(problem)
        given = whole.bind(*args, **kwargs).arguments
        # What a caller says comes before what is configured.
        for alias in ALIASES:
            if given.get(alias) not in (None, ""):
                given[f"{name}_{alias}"] = given[alias]
        try:
            connection = connect(**{one.name: given[renamed] for renamed, one in theirs.items() if renamed in given})
        except ValueError as error:
            if name == vendor or isinstance(error, SettingError):
                raise
            raise ValueError(str(error).replace(f"{vendor.upper()}_", f"{name.upper()}_")) from None
        resources = Resources(stream, shared, given, connection)
        return resources.parents() + resources.records() + resources.side_listings()

    build.__signature__ = whole  # type: ignore[attr-defined]  # inspect reads it, and so does dlt
    build.__doc__ = f"{cleandoc(connect.__doc__ or '')}\n{OF_ALL_SOURCES}"
    build.__name__ = build.__qualname__ = name  # dlt keeps what it makes of a signature by this name
    # With the section, because dlt would take the name of this module for it.
    made: Callable[..., DltSource] = dlt.source(build, name=name, section=name)
    return made


class Resources:
    """The dlt resources of one source, as it is set."""

    def __init__(self, stream: Stream, shared: Shared, given: Mapping[str, Any], connection: Connection) -> None:
        self._stream, self._connection, self._values = stream, connection, shared.values(given)
        self._rows, session = bool(given.get("rows")), given.get("session")
        policy = f"{shared.source}_privacy".upper()
        privacy = Privacy.parse(self._values.privacy, self._values.hash_key, shapes(stream.tables), policy)
        self._to_arrow = private_to_arrow((*stream.tables, *LEDGER), privacy)
        shard = session.shard if session else Shard()
        self._client = connection.client(
            requests_per_minute=shard.split_budget(self._values.requests_per_minute),
            **({"budget": self._shared_budget(shard)} if self._values.budget else {}),
            workers=self._values.workers,
            retry_max_wait=self._values.retry_max_wait,
            retry_budget=self._values.retry_budget,
        )
        account = Account(self._client.host, connection.account and digest(connection.account), self._client.access)
        self._account = AccountCheck(
            shared.source, account, partial(_prove, shared.source, stream, self._client, self._to_arrow)
        )
        if session:
            session.client, session.account, session.look = self._client, self._account, partial(self._look, session)
            session.keep, session.left_out = self._values.keep, connection.left_out
            # What a setting or a scheduler bounds is a part as well.
            bounds = self._values.initial, self._values.end
            session.window = effective_window(session.window, *bounds, scheduled=session.obeys_scheduler)
        # A vendor's words about an error may name a person.
        self._client.quotes_vendor = not privacy.active
        self._source, self._policy, width = shared.source, privacy, self._values.max_record_mb
        self._extractions = Extractions(
            shared.source, stream.table.name, stream.tables, session, self._account, self._policy, width
        )
        self._extractions.erased = self._erased
        if session is None:
            # `discover_schema()` has all tables before the first request; a command of ours leaves it to the load.
            self._declare(dlt.current.source_schema())

    def _declare(self, schema: dlt.Schema) -> None:
        stream = self._stream
        for table in (*stream.tables, *LEDGER):
            own = _is_of(table, stream.parents) or any(_is_of(table, one) for one in side_listings(stream))
            declare(schema, table, table.name if own else stream.table.name, self._source)

    def _shared_budget(self, shard: Shard) -> RateBudget:
        assert self._values.budget
        name, per_minute = self._values.budget
        # Each shard has its part of the budget, and the parts may be on several machines.
        own = name if shard.whole else f"{name} {shard}"
        folder = os.environ.get("DLT_DATA_DIR")  # where dlt keeps what is for all processes of a user
        return shared_budget(own, shard.split_budget(per_minute), Path(folder) / "budgets" if folder else None)

    def parents(self) -> list[DltResource]:
        """Returns the resource of what the records belong to; none if they are one listing."""
        parents = self._stream.parents
        return [self._listing(parents, lambda listing, sync: sync.parent_items(listing))] if parents else []

    def side_listings(self) -> list[DltResource]:
        """Returns a resource for each listing beside the records."""
        return [self._listing(one, _side_items) for one in side_listings(self._stream)]

    def _listing(self, listing: Parents, read: Callable[[Parents, SyncContext], Iterator[LoadItem]]) -> DltResource:
        def start(extraction: Extraction, table: Table, began: datetime | None) -> Iterator[LoadItem]:
            steps = read(replace(listing, table=table), context_of(extraction))
            return visible(steps, extraction.session.erased)

        return stream_resource(
            self._extractions, listing.table, start, self._to_arrow, begin=self._begin, rows=self._rows
        )

    def records(self) -> list[DltResource]:
        """Returns the resource of the records, with the tables that are made from them."""
        stream = self._stream
        listed = [one.table for one in (stream.parents, *side_listings(stream)) if one]
        derived = tuple(one for one in stream.tables if one not in (stream.table, *listed))

        def start(extraction: Extraction, table: Table, began: datetime | None) -> Iterator[LoadItem]:
            context = context_of(extraction)
            context.pass_began = began
            if extraction.load_id is not None:
                resource = dlt.current.resource()
                incremental = time_incremental(resource, stream.table.time_column)
                if extraction.own_session:
                    context.session.obeys_scheduler = joins_scheduler(incremental)
                context.state = extraction.state_of(stream.table, table, dlt.current.resource_state())
                context.bound(bounds(incremental))
            parents = stream.parents and replace(stream.parents, table=extraction.table(stream.parents.table))
            return visible(stream.named(table, parents).steps(context), context.session.erased)

        made = stream_resource(
            self._extractions,
            stream.table,
            start,
            self._to_arrow,
            begin=self._begin,
            derived=derived,
            column=stream.column,
            by_id=stream.one_by_one,
            rows=self._rows,
        )
        return [made]

    def _begin(self, loaded: bool) -> Extraction:
        extraction = self._extractions.begin(loaded)
        if extraction.context is None:
            extraction.session.client = self._client
            extraction.context = self._context(extraction.session, extraction.ledger, {})
        return extraction

    def _erased(self, ledger: Ledger) -> Tombstones:
        """Returns what was erased of a dataset. Raises LostKey."""
        rows, keep = stored_rows(ledger.rows, self._source), self._values.keep
        return Tombstones(subjects_of(self._source, self._stream), rows, datetime.now(UTC) - keep if keep else None)

    def _context(self, session: Session, ledger: Ledger, state: State) -> SyncContext:
        values = self._values
        initial = max(filter(None, (values.initial, session.erased.kept_from)), default=None)
        return SyncContext(
            self._client,
            session,
            ledger,
            state,
            self._connection,
            workers=values.workers,
            lag=values.lag,
            initial=initial,
            end=values.end,
        )

    def _look(self, session: Session, kind: str, state: State) -> list[Unchanged] | None:
        """Returns what a sync of everything new finds as it was; None if there may be something to load.

        `kind` is dlt's word for the destination, `state` the source's stored state. What was read waits in the
        session for its load package.
        """
        stream, known = self._stream, state.get("resources", {})
        states = [known.get(table.name, {}) for table in stream.tables]
        # A key that was proven to be another one of this account is remembered by a load package.
        if (
            not self._account.is_known(state)
            or self._policy.mark not in state.get(POLICIES, ())
            or not all(map(plain, states))
        ):
            return None
        session.refuse = bounded(storage_check(kind), self._values.max_record_mb)
        ledger = Ledger(session.shard)
        context = self._context(session, ledger, dict(known.get(stream.table.name, {})))
        if context.window or context.reads_ids:
            return None
        look = FirstLook(session, ledger, self._to_arrow)
        resources = [(stream.table.name, stream.steps(context))]
        if stream.parents:
            resources.insert(0, (stream.parents.table.name, context.parent_items(stream.parents)))
        resources += [(one.table.name, _side_items(one, context)) for one in side_listings(stream)]
        resources = [(name, visible(steps, session.erased)) for name, steps in resources]
        for name, steps in resources:
            session.keep_open(name, steps)
        if not all(look.finds_nothing(name, steps, known.get(name, {})) for name, steps in resources):
            return None
        session.end()
        return look.unchanged


def context_of(extraction: Extraction) -> SyncContext:
    """Returns what all resources of the extraction read with."""
    assert extraction.context
    return extraction.context


def _is_of(table: Table, parents: Parents | None) -> bool:
    return parents is not None and table == parents.table


def time_incremental(resource: DltResource, time_column: str | None) -> Any:
    """Returns dlt's incremental on a resource's creation time; None without one."""
    incremental = incremental_of(resource.incremental)
    # On another column dlt filters what was read, and no request can be spared.
    return incremental if incremental and incremental.cursor_path == time_column else None


def bounds(incremental: Any) -> Window:
    """Returns the creation times that dlt's incremental asks for; everything without one."""
    if incremental is None:
        return Window()
    given = (incremental.initial_value, incremental.end_value)
    since, until = (optional_instant(str(one) if one else None, "incremental") for one in given)
    return Window(since, until)


def _prove(source: str, stream: Stream, client: Client, to_arrow: ToArrow, dataset: Dataset) -> Evidence:
    # Here, as it is asked only of a key that is another one than before.
    from gapless.sources._extract.account_proof import prove

    return prove(source, stream, client, to_arrow, dataset)


def _side_items(listing: Parents, sync: SyncContext) -> Iterator[LoadItem]:
    # Here, as few sources have one.
    from gapless.sources._incremental.rounds.side_listing import side_items

    return side_items(listing, sync)
