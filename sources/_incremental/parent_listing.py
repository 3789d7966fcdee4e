"""Reads the listing of parents to its end: loads its rows and collects the parents for the feeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gapless.sources._http.client import Client
from gapless.sources._incremental.context import SyncContext
from gapless.sources._incremental.listing import ListedParent, Parents
from gapless.sources._ledger.dead_letters import DeadLetters
from gapless.sources._ledger.per_parent import filter_shard
from gapless.sources._ledger.session import LoadItem
from gapless.sources._schema.arrow import Batch
from gapless.sources._schema.parse import parse
from gapless.sources._schema.record import Record

Given = Callable[[Record], Mapping[str, Any]]
"""Returns the fields that a parent's records do not carry, by JSON name."""


def read_parents(parents: Parents, sync: SyncContext, found: list[Record]) -> Iterator[LoadItem]:
    """Yields a load item for each page; appends this shard's parents to `found`.

    A parent whose row is invalid but whose id is readable is appended, too: its records are read all the same.
    """
    session, table = sync.session, parents.table
    letters = DeadLetters(table.name, sync.ledger, session)
    for page in parents.pages(sync.client):
        session.counters.pages += 1
        listed = parse(table.model, page.records, refuse=session.refuse)
        own = filter_shard(listed, session.shard, parents.id)
        found += own.records
        found += [parent for bad in own.unreadable if bad.key and (parent := _named(parents, bad.key))]
        resolved = letters.resolve("record", [parents.id(parent) for parent in own.records])
        yield LoadItem([Batch(table, own.records), letters.unreadable(own.unreadable), resolved])
    yield LoadItem([letters.resolve_rest(None)])


def _named(parents: Parents, key: str) -> Record | None:
    try:
        return parents.named(key)
    except ValueError:  # a text where the id is a number: no path can be made of it
        return None


def listed_parents(parents: Parents, client: Client, given: Given | None = None) -> Iterator[list[ListedParent]]:
    """Yields each page's parents for `verify` and `plan`; `given` returns the fields that records do not carry."""
    table = parents.table
    for page in parents.pages(client):
        listed = parse(table.model, page.records)
        named = [parent for bad in listed.unreadable if bad.key and (parent := _named(parents, bad.key))]
        yield [
            ListedParent(
                parents.id(parent),
                getattr(parent, parents.count) if parents.count else None,
                given(parent) if given else {},
                parent,
            )
            for parent in [*listed.records, *named]
        ]
