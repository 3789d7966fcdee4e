"""The decorator that makes a dlt source of a vendor's own settings and a declared stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from inspect import Parameter, signature
from typing import Any

import dlt
from dlt.sources import DltResource, DltSource

from gapless.sources._dlt.types import State
from gapless.sources._extract.resource import shapes, tree_resource
from gapless.sources._extract.settings import Shared
from gapless.sources._incremental.context import Connection, SyncContext
from gapless.sources._incremental.stream import Stream
from gapless.sources._ledger.ledger import Ledger
from gapless.sources._ledger.session import LoadItem, Session
from gapless.sources._schema.privacy import Privacy

SESSION = Parameter("session", Parameter.KEYWORD_ONLY, default=None, annotation=Session | None)


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
    configuration. `lag` is in seconds. Building the source sends no request; it raises SettingError or ValueError for
    a setting that is wrong.
    """
    shared = Shared(name, requests_per_minute, lag, workers)

    def decorator(connect: Callable[..., Connection]) -> Callable[..., DltSource]:
        # dlt finds settings by the names in the signature, so the shared ones must appear there.
        own = list(signature(connect).parameters.values())
        whole = signature(connect).replace(
            parameters=[*own, *shared.parameters(), SESSION], return_annotation=DltResource
        )

        @wraps(connect)
        def build(*args: Any, **kwargs: Any) -> DltResource:
            given = whole.bind(*args, **kwargs).arguments
            connection = connect(**{one.name: given[one.name] for one in own if one.name in given})
            return _resource(stream, shared, given, connection)

        build.__signature__ = whole  # type: ignore[attr-defined]  # inspect reads it, and so does dlt
        made: Callable[..., DltSource] = dlt.source(build, name=name, section=name)
        return made

    return decorator


def _resource(stream: Stream, shared: Shared, given: Mapping[str, Any], connection: Connection) -> DltResource:
    values, session = shared.values(given), given.get("session") or Session()
    privacy = Privacy.parse(
        values.privacy, values.hash_key, shapes(stream.tables), f"{shared.source}_privacy".upper()
    )
    session.client = client = connection.client(
        requests_per_minute=session.shard.split_budget(values.requests_per_minute),
        workers=values.workers,
        retry_max_wait=values.retry_max_wait,
        retry_budget=values.retry_budget,
    )

    def read(ledger: Ledger, state: State) -> Iterator[LoadItem]:
        context = SyncContext(
            client,
            session,
            ledger,
            state,
            connection,
            workers=values.workers,
            lag=values.lag,
            initial=values.initial,
            end=values.end,
        )
        return stream.steps(context)

    return tree_resource(stream.tables, read, session, privacy)
