"""Estimates what a first sync, or a backfill, will cost: requests, minutes, rows and megabytes. Writes nothing.

A few requests are enough: listings of parents, totals, and a sample of records. Numbers that are counted are bounds;
numbers scaled up from the sample are estimates, and are marked as such.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from math import ceil
from typing import Any

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import COMPLETE, FAILED, USAGE, Locked, explain
from gapless.pipelines.verify.listings import configured_ids, open_client, settings
from gapless.sources import SOURCES, Source
from gapless.sources._http.client import Client
from gapless.sources._http.errors import Rejected, VendorError
from gapless.sources._incremental.listing import ListedPage, ListedParent
from gapless.sources._incremental.parent_listing import listed_parents
from gapless.sources._incremental.stream import side_listings
from gapless.sources._ledger.account.identity import AnotherAccount
from gapless.sources._ledger.window import Window, as_named, optional_instant
from gapless.sources._schema.arrow import to_arrow
from gapless.sources._schema.parse import parse

SAMPLE = 5
"""Parents whose first page is read, and records that are read by id where pages hold only ids."""


@dataclass
class Plan:
    """The estimate for one source. It does not consider what was synced already."""

    source: str
    requests: int | None = 0
    """None, here and below: unknown, because the vendor does not say how many records it has."""
    at_most: int | None = 0
    """A bound, if nothing new is created meanwhile and no request is retried."""
    minutes: float | None = 0.0
    """Duration at the rate budget; the first minute's requests may be sent in a burst."""
    parents: int = 0
    records: int | None = 0
    rows: int | None = 0
    """Rows of records with their child tables, and of parents."""
    megabytes: float | None = 0.0
    """Size of the records' JSON."""
    estimated: list[str] = field(default_factory=list)
    """The numbers that are scaled up from a sample; the others are counted."""
    asked: int = 0
    """Requests sent for the estimate."""
    error: str | None = None
    refused: bool = False
    """Whether the settings name another account than the one whose rows are in the destination."""
    destination: str = "duckdb"
    """What commands to type must name."""

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        found = asdict(self)
        del found["refused"], found["destination"]
        return found


def exit_code(found: list[Plan]) -> int:
    """Returns 0 without errors, 1 if a source failed, else 2 if one is of another account."""
    if any(one.error and not one.refused for one in found):
        return FAILED
    return USAGE if any(one.refused for one in found) else COMPLETE


def plan(chosen: list[str], window: Window, target: Target) -> Iterator[Plan]:
    """Yields the estimate for each source; a vendor's error, or another account, is in its `error`.

    Raises WrongSettings, and GaplessError where `target` cannot be read.
    """
    for name in chosen:
        found = Plan(name, destination=target.destination)
        try:
            with _opened(SOURCES[name], target) as client:
                _estimate(SOURCES[name], client, window, found)
        except (VendorError, AnotherAccount) as error:
            found.error, found.refused = explain(error), isinstance(error, AnotherAccount)
        yield found


@contextmanager
def _opened(source: Source, target: Target) -> Iterator[Client]:
    """Opens the client of the account whose rows are in `target`. Raises as `open_client`."""
    with ExitStack() as stack:
        try:
            client = stack.enter_context(open_client(source, target))
        except Locked:  # a sync is writing, which has checked the account itself
            client = stack.enter_context(open_client(source))
        yield client


def _estimate(source: Source, client: Client, window: Window, found: Plan) -> None:
    try:
        (_walk if source.stream.parents is None else _Parents)(source, client, window, found)
    except VendorError as error:
        found.error = explain(error)
    found.asked = client.stats.requests
    known = found.requests is not None
    found.minutes = round((found.requests or 0) / client.requests_per_minute, 1) if known else None


def _window(source: Source, asked: Window) -> Window:
    initial = f"{source.name}_initial_value"
    found = settings(source, initial).get(initial)
    return asked or Window(optional_instant(found, initial.upper()))


def _walk(source: Source, client: Client, asked: Window, found: Plan) -> None:
    """Estimates a listing that is read from its newest page down to the oldest, or to the start of the window."""
    window = _window(source, asked)
    stream = source.stream
    page = next(stream.listed_pages(client, ListedParent(""), window), None)
    if page is None or not page.times:
        found.requests = found.at_most = 1
        return
    # A first page says nothing of those behind it, so any number would be a guess.
    if page.total is None and not page.last:
        found.requests = found.at_most = found.records = found.rows = found.megabytes = None
        return
    total, size = max(page.total or 0, len(page.times)), len(page.raws)
    found.requests = found.at_most = ceil(total / size)
    found.records = total
    if window and not stream.by_time:
        newest = max(filter(None, page.times.values()), default=None)
        oldest = stream.oldest_record(client) if total > size else None
        first = min(filter(None, (oldest or page).times.values()), default=None)
        share, down = _shares(window, first, newest)
        found.records = round(total * share)
        # One more page than that share: the walk ends with the first one that is older as a whole.
        found.requests = min(ceil(total / size), int(total * down / size) + 1)
        found.estimated += ["requests", "records"] if down < 1 else ["records"]
    _measured(source, [(page.raws, {})], found)


def _shares(window: Window, oldest: datetime | None, newest: datetime | None) -> tuple[float, float]:
    """Returns the share of records in the window, and the share since its start, for an even distribution."""
    if oldest is None or newest is None or oldest >= newest:
        return 1.0, 1.0
    length = newest - oldest
    down = 1.0 if window.since is None else min(1.0, max(0.0, (newest - window.since) / length))
    after = 0.0 if window.until is None else min(1.0, max(0.0, (newest - window.until) / length))
    return max(0.0, down - after), down


class _Parents:
    """Estimates a source whose records are read by parent."""

    def __init__(self, source: Source, client: Client, asked: Window, found: Plan) -> None:
        self._source, self._client, self._found = source, client, found
        self._stream, self._window = source.stream, _window(source, asked)
        ids = as_named(configured_ids(source), lambda _: ())
        if ids and self._stream.by_id == "record":
            self._single(ids)
            return
        parents = self._stream.named_parents(ids) or self._listed()
        self._list_beside()
        listing = client.stats.requests
        reads_empty = self._stream.parents is None or self._stream.parents.reads_empty
        todo = [parent for parent in parents if reads_empty or parent.count != 0]
        # A fixed seed: the same plan twice shows the same numbers.
        chance = random.Random(0)
        self._unknown = False
        self._sampled = list(self._sample(chance.sample(todo, min(SAMPLE, len(todo)))))
        self._counted(parents, todo, listing, chance)
        if self._unknown:
            found.requests = found.at_most = found.records = found.rows = found.megabytes = None

    def _listed(self) -> list[ListedParent]:
        return [parent for page in self._stream.listed_parents(self._client) for parent in page]

    def _list_beside(self) -> None:
        """Reads the listings beside the records, so that their requests count; one that is refused is left out."""
        for listing in side_listings(self._stream):
            with suppress(Rejected):
                for _ in listed_parents(listing, self._client):
                    pass

    def _single(self, ids: list[str]) -> None:
        self._found.requests = self._found.at_most = self._found.records = len(ids)
        self._measure_details(ids[:SAMPLE])

    def _sample(self, parents: list[ListedParent]) -> Iterator[tuple[ListedParent, ListedPage]]:
        """Yields the first page of each parent; skips those that refuse it. Raises the refusal if all of them do."""
        refused: list[Rejected] = []
        for parent in parents:
            try:
                pages = self._stream.listed_pages(self._client, parent)
                page = next(pages, None)
                uncounted = page is not None and page.total is None and parent.count is None
                # Where nothing says how many a parent has, only a second page shows that the first is not all.
                self._unknown |= uncounted and self._stream.per_page is not None and next(pages, None) is not None
            except Rejected as error:
                refused.append(error)
                continue
            if page:
                yield parent, page
        if refused and len(refused) == len(parents):  # nothing was seen, so nothing can be said
            raise refused[-1]

    def _counted(
        self, parents: list[ListedParent], todo: list[ListedParent], listing: int, chance: random.Random
    ) -> None:
        found = self._found
        mean = sum(self._size(parent, page) for parent, page in self._sampled) / max(1, len(self._sampled))
        counts = [parent.count if parent.count is not None else mean for parent in todo]
        if any(parent.count is None for parent in todo):
            found.estimated.append("records")
        size = self._per_page()
        pages = sum(max(1, ceil(count / size)) if size else 1 for count in counts)
        share = self._share()
        found.parents, found.records = len(parents), round(sum(counts) * share)
        if share < 1:
            found.estimated.append("records")
        found.requests = found.at_most = listing + pages
        if self._stream.by_id == "record":
            found.at_most += ceil(sum(counts))
            found.requests += found.records or 0
            ids = [i for _, page in self._sampled for i in page.times]
            self._measure_details(chance.sample(ids, min(SAMPLE, len(ids))))
        else:
            _measured(self._source, [(page.raws, parent.given) for parent, page in self._sampled], found)
        if size and "records" in found.estimated:
            found.estimated.append("requests")
        found.rows = (found.rows or 0) + len(parents)

    def _size(self, parent: ListedParent, page: ListedPage) -> int:
        return parent.count if parent.count is not None else page.total or len(page.raws)

    def _per_page(self) -> int | None:
        """Returns the size of a full page, which may be smaller than the vendor documents."""
        full = [len(page.raws) for parent, page in self._sampled if len(page.raws) < self._size(parent, page)]
        return max(full, default=self._stream.per_page or 0) or None

    def _share(self) -> float:
        """Returns the share of the sampled records in the window."""
        times = [at for _, page in self._sampled for at in page.times.values()]
        if not self._window or not times:
            return 1.0
        return sum(self._window.contains(at) for at in times) / len(times)

    def _measure_details(self, ids: list[str]) -> None:
        raws: list[bytes] = []
        for key in ids:
            try:
                page = self._stream.listed_record(self._client, key)
            # It may be gone since it was listed.
            except Rejected:
                continue
            raws += page.raws if page else []
        _measured(self._source, [(raws, {})], self._found)


def _measured(source: Source, sample: list[tuple[Any, Any]], found: Plan) -> None:
    """Adds rows and megabytes, scaled up from a sample of records."""
    main, count, size, rows = source.main, 0, 0, 0
    for raws, given in sample:
        count += len(raws)
        size += sum(map(len, raws))
        records = parse(main.model, raws, given).records
        rows += sum(batch.num_rows for batch in to_arrow(main, records).rows.values()) if records else 0
    if count:
        found.rows = (found.rows or 0) + round((found.records or 0) * rows / count)
        found.megabytes = round((found.records or 0) * size / count / 1e6, 1)
    found.estimated = list(dict.fromkeys([*found.estimated, "rows", "megabytes"]))
