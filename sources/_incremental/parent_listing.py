"""Reads the listing of parents to its end, once for all who need it: its rows to load and the parents to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Any, Generic, TypeVar

from gapless.sources._http.client import Client
from gapless.sources._incremental.listing import ListedParent, Parents
from gapless.sources._ledger.dead_letters import DeadLetters
from gapless.sources._ledger.ledger import Ledger
from gapless.sources._ledger.per_parent import filter_shard
from gapless.sources._ledger.session import LoadItem, Session
from gapless.sources._schema.arrow import Batch
from gapless.sources._schema.parse import parse
from gapless.sources._schema.record import Record

Given = Callable[[Record], Mapping[str, Any]]
"""Returns the fields that a parent's records do not carry, by JSON name."""


T = TypeVar("T")


class Replay(Generic[T]):
    """An iterator that can be iterated over several times, by several threads; each item is taken from it once.

    Raises again what the iterator raised.
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._items, self._taken, self._lock = items, list[T](), Lock()
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[T]:
        position = 0
        while self._take(position):
            yield self._taken[position]
            position += 1

    def _take(self, position: int) -> bool:
        with self._lock:
            if self._error:
                raise self._error
            if position == len(self._taken):
                try:
                    self._taken.append(next(self._items))
                except StopIteration:
                    return False
                except Exception as error:
                    # A generator that raised looks like one that ended.
                    self._error = error
                    raise
            return True


ListingPage = tuple[LoadItem, list[Record]]
"""What a page of the listing of parents adds to a load package, and the parents that it names."""


def read_parents(parents: Parents, client: Client, ledger: Ledger, session: Session) -> Iterator[ListingPage]:
    """Yields each page of the listing, then its end; parents of other shards are left out.

    A parent whose row is invalid but whose id is readable is named, too: its records are read all the same.
    """
    table = parents.table
    letters = DeadLetters(table.name, ledger, session)
    for page in parents.pages(client):
        session.counters.pages += 1
        listed = parse(table.model, page.records, refuse=session.refuse)
        own = filter_shard(listed, session.shard, parents.id)
        invalid = [parent for bad in own.unreadable if bad.key and (parent := _named(parents, bad.key))]
        resolved = letters.resolve("record", [parents.id(parent) for parent in own.records])
        item = LoadItem([Batch(table, own.records), letters.unreadable(own.unreadable), resolved])
        yield item, [*own.records, *invalid]
    yield LoadItem([letters.resolve_rest(None)]), []


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
