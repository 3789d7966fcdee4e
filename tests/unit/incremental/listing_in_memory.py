"""A listing in memory, and what a destination would have of it: for the tests of walks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from json import dumps, loads
from typing import Any

from gapless.sources._http.errors import BadRequest
from gapless.sources._http.paging import LoopGuard
from gapless.sources._incremental.newest_first import newest_first
from gapless.sources._ledger.walk_state import Page, WalkState

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


LAG = timedelta(hours=1)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


@dataclass(frozen=True, order=True)
class Entry:
    created_at: datetime
    id: int


@dataclass
class Listing:
    """Newest first, by cursors that name the entry after which they go on."""

    size: int = 2
    entries: list[Entry] = field(default_factory=list)
    refused: set[str | None] = field(default_factory=set)
    generation: int = 0
    """Cursors of earlier ones are refused."""
    reads: int = 0
    ends_on_empty_page: bool = False

    def add(self, at: datetime) -> Entry:
        entry = Entry(at, len(self.entries))
        self.entries.append(entry)
        return entry

    def pages(self, after: str | None, floor: datetime | None = None) -> Iterator[Page[Entry]]:
        guard = LoopGuard("listing")
        while True:
            if after is not None:
                guard.pass_on(after)
            page = self.page(after)
            yield page
            after = page.after
            if after is None:
                return

    def page(self, after: str | None) -> Page[Entry]:
        self.reads += 1
        at, number, generation = after.split() if after else ("", "", self.generation)
        if after in self.refused or int(generation) != self.generation:
            raise BadRequest(method="GET", path="listing", status=400)
        place = Entry(datetime.fromisoformat(at), int(number)) if after else None
        below = [e for e in sorted(self.entries, reverse=True) if place is None or e < place]
        rows = below[: self.size]
        more = len(below) > self.size or (self.ends_on_empty_page and rows)
        last = f"{rows[-1].created_at.isoformat()} {rows[-1].id} {self.generation}" if rows else None
        return Page(rows, after=last if more else None)


@dataclass
class FilteredListing(Listing):
    """Leaves out what is older than the floor; its cursors carry the filter that they were made with."""

    grain: timedelta = timedelta(0)
    """The filter is as coarse as this: it lets more through."""
    floors: list[datetime | None] = field(default_factory=list)
    """Of each request."""

    def pages(self, after: str | None, floor: datetime | None = None) -> Iterator[Page[Entry]]:
        cursor, _, own = (after or "").partition("|")
        floor = floor if after is None else datetime.fromisoformat(own) if own else None
        everything = self.entries
        least = floor - self.grain if floor else None
        guard, place = LoopGuard("listing"), cursor or None
        while True:
            if place is not None:
                guard.pass_on(place)
            self.floors.append(floor)
            self.entries = [entry for entry in everything if least is None or entry.created_at >= least]
            try:
                page = self.page(place)
            finally:
                self.entries = everything
            place = page.after
            yield replace(page, after=f"{place}|{floor.isoformat() if floor else ''}" if place else None)
            if place is None:
                return


@dataclass
class CoarselyFilteredListing(FilteredListing):
    """A filter by the day, say: pages of records below the floor come before the end."""

    grain: timedelta = timedelta(hours=3)


@dataclass
class OldestFirst(Listing):
    """A listing that turns round: while it is `turned` it serves the oldest entries first."""

    turned: bool = False

    def page(self, after: str | None) -> Page[Entry]:
        if not self.turned:
            return super().page(after)
        self.reads += 1
        rows = sorted(self.entries)
        begin = next((n + 1 for n, entry in enumerate(rows) if after and str(entry.id) == after.split()[1]), 0)
        some = rows[begin : begin + self.size]
        more = begin + self.size < len(rows)
        return Page(some, after=f"{some[-1].created_at.isoformat()} {some[-1].id} 0" if more else None)


@dataclass
class Sync:
    """What a destination would have after so many syncs: entries, and the state as JSON."""

    listing: Listing
    state: dict[str, Any] = field(default_factory=dict)
    kept: set[Entry] = field(default_factory=set)
    changed: bool = False
    """Whether the last sync took the listing for another one than before."""

    def run(self, pages: int | None = None, *, now: datetime = NOON, initial: datetime | None = None) -> list[Entry]:
        """One sync, killed after so many pages; what it read."""
        progress, read = WalkState.from_json(loads(dumps(self.state))).back_to(initial), []
        filtered = isinstance(self.listing, FilteredListing)
        walk = newest_first(self.listing.pages, progress, lag=LAG, now=now, filtered=filtered)
        for page in islice(walk, pages):
            read += page.records
            self.kept.update(page.records)
            self.state = progress.to_json()
        self.changed = progress.listing_changed
        return read

    @property
    def watermark(self) -> str | None:
        return self.state.get("watermark")

    @property
    def whole(self) -> bool:
        return self.kept == set(self.listing.entries)


def filled(count: int = 9, size: int = 2, step: float = 40, kind: type[Listing] = Listing) -> Any:
    """Entries `step` minutes apart, the newest at noon."""
    listing = kind(size)
    for index in range(count):
        listing.add(NOON - minutes(step) * index)
    return listing
