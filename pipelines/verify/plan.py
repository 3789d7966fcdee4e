"""What a first sync, or a backfill, will cost: requests, minutes, rows and megabytes. Nothing is written.

Worked out of what the vendors tell for a few requests: listings of parents, totals, and a sample of records that is
measured. What can be counted is a bound; what is multiplied up from the sample is an estimate, and says so.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from math import ceil
from typing import Any

from gapless.pipelines.errors import COMPLETE, FAILED, PARTIAL, explain
from gapless.pipelines.verify.listings import VENDORS, Page, Parent, open_client, settings
from gapless.sources import SOURCES, Source
from gapless.sources._http.client import Client
from gapless.sources._http.errors import Rejected, VendorError
from gapless.sources._incremental.window import Window, names, optional_instant
from gapless.sources._schema.arrow import to_arrow
from gapless.sources._schema.parse import parse

SAMPLE = 5
"""Parents whose first page is read, and records that are read one by one where pages tell ids only."""


@dataclass
class Plan:
    """Of one source; what is here already is not asked about."""

    source: str
    requests: int = 0
    at_most: int = 0
    """A bound, as long as nothing new comes meanwhile and nothing must be asked twice."""
    minutes: float = 0.0
    """At the rate budget; the first minute's requests may come in a burst."""
    parents: int = 0
    records: int = 0
    rows: int = 0
    """Of records and all below them, and of parents."""
    megabytes: float = 0.0
    """Of JSON, as the vendor sends the records."""
    estimated: list[str] = field(default_factory=list)
    """Which of these numbers are multiplied up; the others are counted."""
    asked: int = 0
    """Requests that planning cost."""
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def exit_code(found: list[Plan]) -> int:
    if not any(one.error for one in found):
        return COMPLETE
    return FAILED if all(one.error for one in found) else PARTIAL


def plan(chosen: list[str], window: Window) -> Iterator[Plan]:
    for name in chosen:
        source = SOURCES[name]
        found = Plan(name)
        with open_client(source) as client:
            try:
                (_walk if VENDORS[name].column is None else _Parents)(source, client, window, found)
            except VendorError as error:
                found.error = explain(error)
            found.asked = client.stats.requests
            found.minutes = round(found.requests / client.requests_per_minute, 1)
        yield found


def _window(source: Source, asked: Window) -> Window:
    initial = f"{source.name}_initial_value"
    found = settings(source, initial).get(initial)
    return asked or Window(optional_instant(found, initial.upper()))


def _walk(source: Source, client: Client, asked: Window, found: Plan) -> None:
    """A listing that is walked from its newest page: down to the oldest, or to where the span begins."""
    window = _window(source, asked)
    page = next(VENDORS[source.name].pages(client, Parent("")), None)
    if page is None or not page.times:
        found.requests = found.at_most = 1
        return
    total, size = max(page.total or 0, len(page.times)), len(page.raws)
    found.requests = found.at_most = ceil(total / size)
    found.records = total
    if window:
        newest = max(filter(None, page.times.values()), default=None)
        oldest = source.api.oldest(client) if total > size else None
        first = next(iter(_page_times(source, oldest)), None) if oldest else min(filter(None, page.times.values()))
        share, down = _shares(window, first, newest)
        found.records = round(total * share)
        found.requests = min(found.at_most, int(total * down / size) + 1)
        found.estimated += ["requests", "records"] if down < 1 else ["records"]
    if page.total is None:
        found.estimated += ["requests", "records"]
    _measured(source, [(page.raws, {})], found)


def _page_times(source: Source, raws: Any) -> list[datetime]:
    return [record.created_at for record in parse(source.module.TABLES[0].model, raws).records]


def _shares(window: Window, oldest: datetime | None, newest: datetime | None) -> tuple[float, float]:
    """How much of the records lies in the window, and how much from its beginning on, if they come evenly."""
    if oldest is None or newest is None or oldest >= newest:
        return 1.0, 1.0
    length = newest - oldest
    down = 1.0 if window.since is None else min(1.0, max(0.0, (newest - window.since) / length))
    after = 0.0 if window.until is None else min(1.0, max(0.0, (newest - window.until) / length))
    return max(0.0, down - after), down


class _Parents:
    """Parents are listed, and each is read by itself."""

    def __init__(self, source: Source, client: Client, asked: Window, found: Plan) -> None:
        self._source, self._client, self._found = source, client, found
        self._vendor, self._window = VENDORS[source.name], _window(source, asked)
        only = settings(source, self._vendor.only) if self._vendor.only else {}
        ids = names(only.get(self._vendor.only or ""))
        if ids and self._vendor.detail:
            self._single(ids)
            return
        parents = [Parent(i, given={"leadId": i}) for i in ids] or self._listed()
        listing = client.stats.requests
        todo = [parent for parent in parents if self._vendor.empty or parent.count != 0]
        chance = random.Random(0)
        self._sampled = list(self._sample(chance.sample(todo, min(SAMPLE, len(todo)))))
        self._counted(parents, todo, listing, chance)

    def _listed(self) -> list[Parent]:
        return [parent for page in self._vendor.parents(self._client) for parent in page]

    def _single(self, ids: list[str]) -> None:
        self._found.requests = self._found.at_most = self._found.records = len(ids)
        self._measure_details(ids[:SAMPLE])

    def _sample(self, parents: list[Parent]) -> Iterator[tuple[Parent, Page]]:
        """The first page of each; who may not be read, or is gone by now, tells nothing."""
        for parent in parents:
            try:
                page = next(self._vendor.pages(self._client, parent), None)
            except Rejected:
                continue
            if page:
                yield parent, page

    def _counted(self, parents: list[Parent], todo: list[Parent], listing: int, chance: random.Random) -> None:
        found, vendor = self._found, self._vendor
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
        if vendor.detail:
            found.at_most += ceil(sum(counts))
            found.requests += found.records
            ids = [i for _, page in self._sampled for i in page.times]
            self._measure_details(chance.sample(ids, min(SAMPLE, len(ids))))
        else:
            _measured(self._source, [(page.raws, parent.given) for parent, page in self._sampled], found)
        if size and "records" in found.estimated:
            found.estimated.append("requests")
        found.rows += len(parents)

    def _size(self, parent: Parent, page: Page) -> int:
        return parent.count if parent.count is not None else page.total or len(page.raws)

    def _per_page(self) -> int | None:
        """The vendor may serve shorter pages than the most it documents."""
        full = [len(page.raws) for parent, page in self._sampled if len(page.raws) < self._size(parent, page)]
        return max(full, default=self._vendor.per_page or 0) or None

    def _share(self) -> float:
        """How many of the sampled records lie in the window."""
        times = [at for _, page in self._sampled for at in page.times.values()]
        if not self._window or not times:
            return 1.0
        return sum(self._window.contains(at) for at in times) / len(times)

    def _measure_details(self, ids: list[str]) -> None:
        assert self._vendor.detail is not None
        raws = []
        for logged in ids:
            try:
                raws.append(self._vendor.detail(self._client, logged))
            except Rejected:
                continue
        _measured(self._source, [(raws, {})], self._found)


def _measured(source: Source, sample: list[tuple[Any, Any]], found: Plan) -> None:
    """Bytes of a record, and rows it becomes with all below it, multiplied up."""
    main, count, size, rows = source.module.TABLES[0], 0, 0, 0
    for raws, given in sample:
        count += len(raws)
        size += sum(map(len, raws))
        records = parse(main.model, raws, given).records
        rows += sum(batch.num_rows for batch in to_arrow(main, records).rows.values()) if records else 0
    if count:
        found.rows += round(found.records * rows / count)
        found.megabytes = round(found.records * size / count / 1e6, 1)
    found.estimated = list(dict.fromkeys([*found.estimated, "rows", "megabytes"]))
