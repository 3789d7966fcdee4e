"""Is all there that the vendors serve: their own totals and ids beside ours. Loads nothing, unless told to repair.

What is here and not served any more is kept, and no error: nothing is deleted here. What was created after the proof
is the next sync's, and no error either. Compared are records by their ids, not their cells.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from gapless.pipelines.destinations.reader import reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import COMPLETE, FAILED, PARTIAL, explain
from gapless.pipelines.ledger import state
from gapless.pipelines.ledger.status import BEGINNING, COMPLETED, as_utc
from gapless.pipelines.outcome import Outcome
from gapless.pipelines.sync.request import SyncRequest, Watch
from gapless.pipelines.sync.run import sync
from gapless.pipelines.verify.listings import only, open_client
from gapless.sources import SOURCES, Source
from gapless.sources._dlt.tables import LOADS
from gapless.sources._http.client import Client
from gapless.sources._http.errors import NotFound, VendorError
from gapless.sources._incremental.concurrency import map_concurrently
from gapless.sources._incremental.listing import ListedPage, ListedParent
from gapless.sources._ledger.window import Window
from gapless.sources._schema.arrow import digest

SAMPLE = 20
WORKERS = 8
TOGETHER = 2_000
"""Ids that the destination is asked for at once."""
BY_ID = 1_000
"""So many lost records of one listing are read one by one; of more a walk is cheaper."""
FOR_EVER = datetime.max.replace(tzinfo=UTC)
"""In the place of a proof that was set back: what is not here may not be left to the next sync."""
HIDDEN = "a count may hide that others are missing: --whole compares ids"


@dataclass
class Verified:
    """What came of one source. Counts are of records, in the parents that were compared."""

    source: str
    by: str = "ids"
    """ids, or count: then a loss may be hidden by what the vendor deleted."""
    parents: int = 0
    """Compared."""
    of: int = 0
    served: int = 0
    here: int = 0
    newer: int = 0
    """Served and not here, as they were created after what is proven: the next sync's."""
    missing: int = 0
    kept: int = 0
    """Here and not served any more."""
    not_asked: int = 0
    """Parents that no sync has met yet."""
    undecided: str | None = None
    failed: dict[str, str] = field(default_factory=dict)
    """Parents that the vendor did not answer for."""
    absent: dict[str, dict[str, datetime | None]] = field(default_factory=dict)
    """What is missing, by parent and id, with its time; a count knows no ids."""
    requests: int = 0
    repaired: int | None = None
    error: str | None = None

    @property
    def complete(self) -> bool:
        return not (self.missing or self.failed or self.error)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "absent": {p: list(ids) for p, ids in self.absent.items()}, "complete": self.complete}


def exit_code(found: list[Verified]) -> int:
    if all(one.complete for one in found):
        return COMPLETE
    return FAILED if all(one.error for one in found) else PARTIAL


def synced(target: Target, names: list[str]) -> list[str]:
    """Those of `names` that are in the destination."""
    with reading(target) as reader:
        return [name for name in names if reader.rows(name, "select count(*) from {0}", "coverage") is not None]


def verify(target: Target, names: list[str], sample: int | None, seed: int) -> Iterator[Verified]:
    """Of each of `names`: `sample` of its parents, or (None) all, by id. Raises Locked while a sync writes."""
    for name in names:
        yield _Comparison(target, SOURCES[name], sample, random.Random(seed)).verified()


def repaired(target: Target, found: Verified, watch: Watch) -> tuple[Outcome, Verified]:
    """What is missing is read again, then all is compared once more. `found` must be of all, by id."""
    name = found.source
    (outcome,) = sync([name], target, SyncRequest(ids=_asked_again(target, name, found.absent)), watch)
    (after,) = verify(target, [name], None, 0)
    after.repaired = found.missing - after.missing
    return outcome, after


def _asked_again(target: Target, name: str, absent: dict[str, dict[str, datetime | None]]) -> tuple[str, ...]:
    """Ids to read again; none: the next sync reads what is unproven, after this has set back the proof of it."""
    stream = SOURCES[name].stream
    times = [at for ids in absent.values() for at in ids.values()]
    if stream.by_id == "record" and (not stream.walks or len(times) <= BY_ID or None in times):
        return tuple(record for ids in absent.values() for record in ids)
    if stream.walks:
        dated = [at for at in times if at]
        state.rewind(target, name, min(dated)) if len(dated) == len(times) else state.reset(target, name)
        return ()
    state.mark_unproven(target, name, absent)
    return tuple(absent) if stream.by_id == "parent" else ()


def _proven(to: datetime | None, checked: datetime | None) -> datetime | None:
    """Up to when a record that is not here is missing: one that is newer is left to the next sync."""
    return FOR_EVER if to and (to == BEGINNING or checked is None) else to


class _Comparison:
    """One source's records there and here."""

    def __init__(self, target: Target, source: Source, sample: int | None, chance: random.Random) -> None:
        self._target, self._source, self._sample, self._chance = target, source, sample, chance
        self._stream = source.stream
        self._main = source.main.name
        self._found = Verified(source.name)
        self._waiting: list[tuple[str, str, datetime | None]] = []
        self._seen: dict[str, int] = {}
        """Of a parent's records, how many are here."""

    def verified(self) -> Verified:
        if not self._known():
            self._found.error = f"never synced into this destination: gapless sync {self._source.name}"
            return self._found
        with open_client(self._source) as client:
            try:
                self._compare(client)
            except VendorError as error:
                self._found.error = explain(error)
            finally:
                self._found.requests = client.stats.requests
        return self._found

    def _known(self) -> bool:
        """Reads the proofs and counts what is here; the file is not kept open while vendors are asked."""
        column = self._stream.column or "''"
        group = f" group by {column}" if self._stream.column else ""
        columns = "parent, covered_from, covered_to, last_checked_at"
        proofs = f"select {columns} from {{0}} where stream = '{self._main}' and {COMPLETED}"
        with reading(self._target) as reader:
            found = reader.rows(self._source.name, proofs, "coverage", LOADS)
            held = reader.rows(self._source.name, f"select {column}, count(*) from {{0}}{group}", self._main)
        self._proofs = {
            p: (as_utc(start), as_utc(to) if checked or to is None else FOR_EVER)
            for p, start, to, checked in found or []
        }
        self._held = {str(parent): int(count) for parent, count in held or []}
        return found is not None

    def _compare(self, client: Client) -> None:
        chosen = self._chosen(client)
        self._found.parents = len(chosen)
        counted = self._stream.column is None and self._sample is not None

        def pages(parent: ListedParent) -> Iterator[ListedPage]:
            return self._stream.listed_pages(client, parent, Window(since=self._proofs[parent.id][0]))

        read = partial(self._newest, pages) if counted else pages
        total, ended = None, list[str]()
        ping = partial(self._source.api.ping, client)
        for answer in map_concurrently(chosen, read, WORKERS, ping):
            if answer.page is not None:
                total = answer.page.total if total is None else total
                self._take(answer.parent, answer.page)
            elif answer.error and not isinstance(answer.error, NotFound):
                self._found.failed[answer.parent.id] = str(answer.error)
            else:
                ended.append(answer.parent.id)
        self._look()
        if not counted:
            self._found.kept = sum(max(0, self._held.get(p, 0) - self._seen.get(p, 0)) for p in ended)
        elif chosen and not self._found.failed:
            self._count(total)

    def _chosen(self, client: Client) -> list[ListedParent]:
        """Parents with a proof; of a sample first those that, by the vendor's listing, have more than is here."""
        parents = [parent for page in self._parents(client) for parent in page]
        known = [parent for parent in parents if parent.id in self._proofs]
        reads_empty = self._stream.parents is None or self._stream.parents.reads_empty
        asked = [parent for parent in parents if reads_empty or parent.count != 0]
        self._found.of = len(parents)
        self._found.not_asked = sum(parent.id not in self._proofs for parent in asked)
        if self._sample is None or len(known) <= self._sample:
            return known
        fewer = [p for p in known if p.count is not None and p.count > self._held.get(p.id, 0)][: self._sample]
        others = [p for p in known if p not in fewer]
        return [*fewer, *self._chance.sample(others, min(len(others), self._sample))]

    def _parents(self, client: Client) -> Iterator[list[ListedParent]]:
        named = self._stream.named_parents(only(self._source))
        return iter([named]) if named else self._stream.listed_parents(client)

    def _newest(
        self, pages: Callable[[ListedParent], Iterator[ListedPage]], parent: ListedParent
    ) -> Iterator[ListedPage]:
        """As far down as records can be new."""
        _, proven = self._proofs[parent.id]
        for page in pages(parent):
            yield page
            if proven and all(at and at <= proven for at in page.times.values()):
                return

    def _take(self, parent: ListedParent, page: ListedPage) -> None:
        start, _ = self._proofs[parent.id]
        wanted = [(parent.id, i, at) for i, at in page.times.items() if not (start and at and at < start)]
        self._found.served += len(wanted) + page.nameless
        self._found.missing += page.nameless
        self._waiting += wanted
        if len(self._waiting) >= TOGETHER:
            self._look()

    def _look(self) -> None:
        """Which of those that wait are here. The `_dlt_id` is a digest of the id: no vendor's text is in a query."""
        while self._waiting:
            some, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
            ids = ", ".join(f"'{digest(i)}'" for _, i, _ in some)
            select = f"select _dlt_id from {{0}} where _dlt_id in ({ids})"
            with reading(self._target) as reader:
                here = {row[0] for row in reader.rows(self._source.name, select, self._main) or []}
            for parent, i, at in some:
                self._note(parent, i, at, digest(i) in here)

    def _note(self, parent: str, record: str, at: datetime | None, here: bool) -> None:
        _, proven = self._proofs[parent]
        if here:
            self._found.here += 1
            self._seen[parent] = self._seen.get(parent, 0) + 1
        elif at and (proven is None or at > proven):
            self._found.newer += 1
        else:
            self._found.missing += 1
            self._found.absent.setdefault(parent, {})[record] = at

    def _count(self, total: int | None) -> None:
        """A listing without parents: its total beside what is here."""
        found, (start, _) = self._found, self._proofs[""]
        if total is None:
            found.undecided = (
                f"the vendor tells no total, so the ids of the newest {found.served:,} were compared, and"
                f" {self._held.get('', 0):,} are here: gapless verify {found.source} --whole compares all"
            )
            return
        found.by, found.here = "count", self._held.get("", 0)
        if start:
            found.undecided = "the vendor's total holds older ones than are kept: --whole compares ids"
            return
        found.served = total
        fewer = total - found.newer - found.here
        found.missing = max(found.missing, fewer)
        found.kept = max(0, -fewer)
        if found.kept:
            found.undecided = f"{found.kept:,} are kept that are not served any more, so {HIDDEN}"
