"""Reads listings until they prove complete: of parents, whose rows are loaded, and of one parent's records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from threading import Lock
from typing import Any, Generic, TypeVar

from gapless.sources._http.client import Client
from gapless.sources._http.errors import Incomplete, NotFound
from gapless.sources._incremental.listing import ListedParent, Parents, RawPage
from gapless.sources._incremental.listing_end import ListingEnd
from gapless.sources._incremental.newest_first import until_older
from gapless.sources._ledger.dead_letters import DeadLetters
from gapless.sources._ledger.per_parent import ParentSync, filter_shard
from gapless.sources._ledger.session import LoadItem, Session
from gapless.sources._ledger.stored.reader import Ledger
from gapless.sources._ledger.walk_state import Page
from gapless.sources._schema.arrow import Batch, digest
from gapless.sources._schema.parse import parse
from gapless.sources._schema.record import Record

Given = Callable[[Record], Mapping[str, Any]]
"""Returns the fields that a parent's records do not carry, by JSON name."""


Q = TypeVar("Q", bound=RawPage)
T = TypeVar("T")
READINGS = 3
"""How often the listing is read from its first page until it proves to be read to its end."""


PAGES_READINGS = 5
"""How often one parent's pages are read from the first until they prove complete; then the next sync reads them."""


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


class ParentListing:
    """One sync's reading of the listing of parents, for all who need it; parents of other shards are left out."""

    def __init__(self, parents: Parents, client: Client, ledger: Ledger, session: Session) -> None:
        self._parents, self._client, self._ledger, self._session = parents, client, ledger, session
        self._letters = DeadLetters(parents.table.name, ledger, session)
        self.pages = Replay(self._read())
        self.proven = False
        """Whether it was read to its end; only then a parent that it lacks is not listed."""

    def found(self) -> list[Record]:
        """Returns the parents, each once; also one whose row is invalid, if its id is readable."""
        return list({self._parents.id(parent): parent for _, named in self.pages for parent in named}.values())

    def _read(self) -> Iterator[ListingPage]:
        """Yields each page, then the end. A listing that is not proven is a failure and a dead letter."""
        end, why = ListingEnd(), None
        for reading in range(READINGS):
            for page in self._parents.pages(self._client):
                yield self._page(page, end)
                # The last reading goes on, so that what comes is loaded, proven or not.
                if end.endless or (end.wasted and reading + 1 < READINGS):
                    break
            why = end.why_again()
            if why is None:
                break
            end = end.again()
        why = why or (None if end.met else self._why_not_empty())
        self.proven = why is None
        if self.proven:
            yield LoadItem([self._letters.resolve("parent", [""]), self._letters.resolve_rest(None)]), []
        else:
            yield LoadItem([self._letters.failed("parent", "", unproven(self._parents, why))]), []

    def _why_not_empty(self) -> str | None:
        """Returns why a listing without any parent is not believed yet; one that is empty twice in a row is.

        A shard believes none, as the letter may be that of another shard, written a moment ago.
        """
        table = self._parents.table
        if self._session.shard.whole and self._letters.is_open("parent", ""):
            return None
        rows = {digest(str(row[0])) for row in self._ledger.select(table.name, [table.id_column])}
        there = len(rows - self._ledger.marked(table.name, rows))
        why = f"it is empty, and {there:,} were listed before. If the next sync finds it empty again, it is believed"
        return why if there else None

    def _page(self, page: RawPage, end: ListingEnd) -> ListingPage:
        session, parents, letters = self._session, self._parents, self._letters
        session.counters.pages += 1
        listed = parse(parents.table.model, page.records, refuse=session.refuse)
        ids = [*map(parents.id, listed.records), *(bad.key for bad in listed.unreadable if bad.key)]
        nameless = [bad.raw for bad in listed.unreadable if not bad.key]
        end.see(ids, page.total, nameless=nameless)
        # After `see`: the end is proven by the whole listing, also for a shard that reads a part of it.
        own = filter_shard(listed, session.shard, parents.id)
        if session.erased.names:
            hidden = session.erased.hidden_parents(own.records)
            own.records = [parent for parent, hid in zip(own.records, hidden, strict=True) if not hid]
            own.unreadable = [bad for bad in own.unreadable if not session.erased.hides_parent(bad.key)]
        # An id is enough to read records, even if the parent's own row is invalid.
        invalid = [parent for bad in own.unreadable if bad.key and (parent := named_parent(parents, bad.key))]
        resolved = letters.resolve("record", [parents.id(parent) for parent in own.records])
        item = LoadItem([Batch(parents.table, own.records), letters.unreadable(own.unreadable), resolved])
        return item, [*own.records, *invalid]

    def unlisted(self, per: ParentSync) -> list[Record]:
        """Returns parents that are known here and lack in the listing, as far as it was read to its end.

        Their own rows are marked as gone. Each is read like the others: only the answer shows whether its records are
        gone, too, as a listing may leave out what is still served.
        """
        listed = [self._parents.id(parent) for parent in self.found()]
        if not self.proven or per.window:
            return []
        table = self._parents.table
        stored = [str(row[0]) for row in self._ledger.select(table.name, [table.id_column])]
        stored = [key for key in stored if self._session.shard.contains(key)]
        lacking = {digest(key) for key in {*stored} - {*listed}}
        self._ledger.mark_gone(table.name, lacking - self._ledger.marked(table.name, lacking), self._session.now())
        unlisted = per.unlisted(listed, stored)
        named = {key: parent for key in unlisted if (parent := named_parent(self._parents, key))}
        return [*self._as_stored(named)] if named else []

    def _as_stored(self, named: Mapping[str, Record]) -> Iterator[Record]:
        """Yields parents with the fields that their rows here have, as their records may be given some of them."""
        parents, table = self._parents, self._parents.table
        # Not how many records it had when it was listed.
        fields = table.model.model_fields.keys() - {parents.count, table.id_column}
        there = [one.name for one in table.schema.columns if one.name in fields & self._ledger.columns(table.name)]
        rows = self._ledger.select(table.name, [table.id_column, *there], (table.id_column, list(named)))
        cells = {str(key): dict(zip(there, values, strict=False)) for key, *values in rows}
        for key, parent in named.items():
            yield parent.model_copy(update=cells.get(key, {}))


def named_parent(parents: Parents, key: str) -> Record | None:
    """Returns a parent with only its id set; None for an id of which no path can be made."""
    try:
        return parents.named(key)
    except ValueError:  # a text where the id is a number
        return None


def listed_parents(parents: Parents, client: Client, given: Given | None = None) -> Iterator[list[ListedParent]]:
    """Yields each page's parents, each once, for `verify` and `plan`; `given` returns what records do not carry.

    Raises Incomplete if no reading of the listing proves to be complete.
    """
    table, end, known = parents.table, ListingEnd(), set[str]()
    for _ in range(READINGS):
        for page in parents.pages(client):
            listed = parse(table.model, page.records)
            named = [parent for bad in listed.unreadable if bad.key and (parent := named_parent(parents, bad.key))]
            found = {parents.id(parent): parent for parent in [*listed.records, *named]}
            readable = {*map(parents.id, listed.records)}
            end.see([*found], page.total, nameless=[bad.raw for bad in listed.unreadable if not bad.key])
            yield [
                ListedParent(
                    key,
                    getattr(parent, parents.count) if parents.count else None,
                    given(parent) if given else {},
                    parent,
                    key in readable,
                )
                for key, parent in found.items()
                if key not in known
            ]
            known |= found.keys()
            if end.endless:
                break
        why = end.why_again()
        if why is None:
            return
        end = end.again()
    raise unproven(parents, why)


def unproven(parents: Parents, why: str | None) -> Incomplete:
    """Returns the error of a listing of parents that is not proven to be read to its end."""
    detail = f"the list of {parents.noun} is not proven to be read to its end: {why}"
    return Incomplete(method="GET", path=parents.noun, detail=detail)


def proven_pages(
    path: str,
    read: Callable[[], Iterable[Q]],
    typed: Callable[[Q], Page[Record]],
    *,
    floor: datetime | None = None,
    counted: Callable[[ListingEnd], int | None] = lambda end: None,
) -> Iterator[Page[Record]]:
    """Yields the pages that `read` requests, down to `floor` if they prove to be newest first, else all of them.

    `typed` parses a page; `counted` returns the number of records according to another listing. Raises Incomplete,
    with `path`, if no reading proved to be complete.
    """
    end, why = ListingEnd(), None
    for reading in range(PAGES_READINGS):
        pages = _until_broken(read(), typed, end, to_the_end=reading + 1 == PAGES_READINGS)
        try:
            if floor is None:
                yield from pages
            elif (yield from until_older(pages, floor)):
                return
            why = end.why_again(counted(end))
        except NotFound as error:
            # The first request shows whether the parent is there; a later one that is not found is a fault of paging.
            if end.began:
                why = str(error)
            else:
                raise
        if why is None:
            return
        end = end.again()
    detail = f"{why}; read {PAGES_READINGS} times, and what is missing is read by the next sync"
    raise Incomplete(method="GET", path=path, detail=detail)


def _until_broken(
    pages: Iterable[Q], typed: Callable[[Q], Page[Record]], end: ListingEnd, *, to_the_end: bool
) -> Iterator[Page[Record]]:
    """Yields the pages up to one that shows that others were missed, or `to_the_end`: what comes is loaded."""
    hollow = False
    for raw in pages:
        page = typed(raw)
        overlaps = getattr(raw, "overlaps", False)
        end.see(page.every_id, page.total, nameless=page.nameless, overlaps=overlaps, seam=page.may_be_last)
        # What an empty page should have held may be new, so the times of later pages end nothing; the total does.
        yield replace(page, shifted=hollow or end.broken is not None)
        hollow = hollow or not page.count
        if end.endless or (end.wasted and not to_the_end):
            return
