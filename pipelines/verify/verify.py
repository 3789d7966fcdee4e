"""Compares the destination with the vendors: their totals and record ids with ours. Only a repair loads rows.

Records that a vendor does not serve any more are kept and are no error, because nothing is deleted here. Records
created after the proof are left to the next sync. Records are compared by id, not by cell.
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
from gapless.pipelines.ledger.proofs import Proof, read_proofs
from gapless.pipelines.outcome import Outcome
from gapless.pipelines.sync.request import SyncRequest, Watch
from gapless.pipelines.sync.run import sync
from gapless.pipelines.verify.listings import configured_ids, open_client
from gapless.sources import SOURCES, Source
from gapless.sources._http.client import Client
from gapless.sources._http.errors import NotFound, VendorError
from gapless.sources._incremental.concurrency import map_concurrently
from gapless.sources._incremental.listing import ListedPage, ListedParent
from gapless.sources._ledger.ledger import is_reset
from gapless.sources._ledger.window import Window
from gapless.sources._schema.arrow import digest

SAMPLE = 20
"""Parents compared by default."""
WORKERS = 8
"""Parents read in parallel."""
IN_LIST_MAX = 2_000
"""Ids in one query, because some databases limit its length."""
MAX_READ_BY_ID = 1_000
"""The most lost records of one listing that are read by id; for more, walking the listing is cheaper."""
FOR_EVER = datetime.max.replace(tzinfo=UTC)
"""The end of a proof that was set back: no record that is missing may be left to the next sync."""
HIDDEN = "a count may hide that others are missing: --whole compares ids"


@dataclass
class Verified:
    """The comparison of one source. Counts are of records, in the parents that were compared."""

    source: str
    by: str = "ids"
    """ids or count; with a count, records that the vendor deleted may hide a loss."""
    parents: int = 0
    """Parents compared."""
    of: int = 0
    """Parents that the vendor lists."""
    served: int = 0
    here: int = 0
    newer: int = 0
    """Served and not here, because they were created after the proof."""
    missing: int = 0
    kept: int = 0
    """Records here that are not served any more."""
    not_asked: int = 0
    """Parents that no sync has read yet."""
    undecided: str | None = None
    """Why a count could not decide."""
    failed: dict[str, str] = field(default_factory=dict)
    """Errors of parents whose requests failed, by id."""
    absent: dict[str, dict[str, datetime | None]] = field(default_factory=dict)
    """Creation times of missing records, by parent and id; empty for a count."""
    requests: int = 0
    repaired: int | None = None
    error: str | None = None

    @property
    def complete(self) -> bool:
        """Returns whether nothing is missing and nothing failed."""
        return not (self.missing or self.failed or self.error)

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return {**asdict(self), "absent": {p: list(ids) for p, ids in self.absent.items()}, "complete": self.complete}


def exit_code(found: list[Verified]) -> int:
    """Returns 0 if all are complete, 1 if all failed, else 3."""
    if all(one.complete for one in found):
        return COMPLETE
    return FAILED if all(one.error for one in found) else PARTIAL


def synced(target: Target, names: list[str]) -> list[str]:
    """Returns those of `names` that were synced to the destination."""
    with reading(target) as reader:
        return [name for name in names if reader.rows(name, "select count(*) from {0}", "coverage") is not None]


def verify(target: Target, names: list[str], sample: int | None, seed: int) -> Iterator[Verified]:
    """Yields the comparison of each source: of `sample` parents, None for all. Raises Locked while a sync writes."""
    for name in names:
        yield _Comparison(target, SOURCES[name], sample, random.Random(seed)).verified()


def repaired(target: Target, found: Verified, watch: Watch) -> tuple[Outcome, Verified]:
    """Reads what is missing again, then compares again. `found` must be of all parents, by id."""
    name = found.source
    (outcome,) = sync([name], target, SyncRequest(ids=_ids_to_repair(target, name, found.absent)), watch)
    (after,) = verify(target, [name], None, 0)
    after.repaired = found.missing - after.missing
    return outcome, after


def _ids_to_repair(target: Target, name: str, absent: dict[str, dict[str, datetime | None]]) -> tuple[str, ...]:
    """Returns the ids to read again; without ids the next sync reads them, because their proof is set back here."""
    stream = SOURCES[name].stream
    times = [at for ids in absent.values() for at in ids.values()]
    if stream.by_id == "record" and (not stream.walks or len(times) <= MAX_READ_BY_ID or None in times):
        return tuple(record for ids in absent.values() for record in ids)
    if stream.walks:
        dated = [at for at in times if at]
        state.rewind(target, name, min(dated)) if len(dated) == len(times) else state.reset(target, name)
        return ()
    state.mark_unproven(target, name, absent)
    return tuple(absent) if stream.by_id == "parent" else ()


def _lost_before(proof: Proof) -> datetime | None:
    """Returns up to when an absent record is a loss; a newer one is left to the next sync.

    A proof that was set back says nothing of what is new: a repair that broke off must not hide what it did not read.
    """
    set_back = is_reset(proof.covered_to) or (proof.covered_to and proof.last_checked_at is None)
    return FOR_EVER if set_back else proof.covered_to


class _Comparison:
    """Compares one source's records at the vendor and here."""

    def __init__(self, target: Target, source: Source, sample: int | None, chance: random.Random) -> None:
        self._target, self._source, self._sample, self._chance = target, source, sample, chance
        self._stream = source.stream
        self._main = source.main.name
        self._found = Verified(source.name)
        self._waiting: list[tuple[str, str, datetime | None]] = []
        self._present: dict[str, int] = {}
        """Records found here, by parent."""

    def verified(self) -> Verified:
        """Returns the comparison; a vendor's error is in its `error`."""
        if not self._read_proofs():
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

    def _read_proofs(self) -> bool:
        """Reads proofs and row counts before any request, to close the file; returns whether it was synced."""
        column = self._stream.column or "''"
        group = f" group by {column}" if self._stream.column else ""
        with reading(self._target) as reader:
            proofs = read_proofs(reader, self._source.name, self._main)
            counts = reader.rows(self._source.name, f"select {column}, count(*) from {{0}}{group}", self._main)
        self._proofs: dict[str, Proof] = {proof.parent: proof for proof in proofs or []}
        self._row_counts = {str(parent): int(count) for parent, count in counts or []}
        return proofs is not None

    def _compare(self, client: Client) -> None:
        chosen = self._chosen(client)
        self._found.parents = len(chosen)
        counted = self._stream.column is None and self._sample is not None

        def pages(parent: ListedParent) -> Iterator[ListedPage]:
            return self._stream.listed_pages(client, parent, Window(since=self._proofs[parent.id].covered_from))

        read = partial(self._pages_to_proof, pages) if counted else pages
        total, ended = None, list[str]()
        ping = partial(self._source.api.ping, client)
        for answer in map_concurrently(chosen, read, WORKERS, ping):
            if answer.page is not None:
                total = answer.page.total if total is None else total
                self._add_page(answer.parent, answer.page)
            elif answer.error and not isinstance(answer.error, NotFound):
                self._found.failed[answer.parent.id] = str(answer.error)
            else:
                ended.append(answer.parent.id)
        self._query_waiting()
        if not counted:
            self._found.kept = sum(max(0, self._row_counts.get(p, 0) - self._present.get(p, 0)) for p in ended)
        elif chosen and not self._found.failed:
            self._compare_total(total)

    def _chosen(self, client: Client) -> list[ListedParent]:
        """Returns the parents to compare: first those that have fewer records here than the vendor lists."""
        parents = [parent for page in self._parents(client) for parent in page]
        known = [parent for parent in parents if parent.id in self._proofs]
        reads_empty = self._stream.parents is None or self._stream.parents.reads_empty
        asked = [parent for parent in parents if reads_empty or parent.count != 0]
        self._found.of = len(parents)
        self._found.not_asked = sum(parent.id not in self._proofs for parent in asked)
        if self._sample is None or len(known) <= self._sample:
            return known
        # Such parents are most likely to miss records, so a sample must not leave them out.
        fewer = [p for p in known if p.count is not None and p.count > self._row_counts.get(p.id, 0)][: self._sample]
        others = [p for p in known if p not in fewer]
        return [*fewer, *self._chance.sample(others, min(len(others), self._sample))]

    def _parents(self, client: Client) -> Iterator[list[ListedParent]]:
        named = self._stream.named_parents(configured_ids(self._source))
        return iter([named]) if named else self._stream.listed_parents(client)

    def _pages_to_proof(
        self, pages: Callable[[ListedParent], Iterator[ListedPage]], parent: ListedParent
    ) -> Iterator[ListedPage]:
        """Yields a parent's pages down to the first that is wholly proven."""
        proven = _lost_before(self._proofs[parent.id])
        for page in pages(parent):
            yield page
            if proven and all(at and at <= proven for at in page.times.values()):
                return

    def _add_page(self, parent: ListedParent, page: ListedPage) -> None:
        start = self._proofs[parent.id].covered_from
        wanted = [(parent.id, i, at) for i, at in page.times.items() if not (start and at and at < start)]
        self._found.served += len(wanted) + page.nameless
        self._found.missing += page.nameless
        self._waiting += wanted
        if len(self._waiting) >= IN_LIST_MAX:
            self._query_waiting()

    def _query_waiting(self) -> None:
        """Looks up waiting ids here, by `_dlt_id`: a digest of the id, so that no vendor's text is in a query."""
        # The file is opened for each query only, so that a sync may write between them.
        while self._waiting:
            some, self._waiting = self._waiting[:IN_LIST_MAX], self._waiting[IN_LIST_MAX:]
            ids = ", ".join(f"'{digest(i)}'" for _, i, _ in some)
            select = f"select _dlt_id from {{0}} where _dlt_id in ({ids})"
            with reading(self._target) as reader:
                here = {row[0] for row in reader.rows(self._source.name, select, self._main) or []}
            for parent, i, at in some:
                self._count_record(parent, i, at, digest(i) in here)

    def _count_record(self, parent: str, record: str, at: datetime | None, here: bool) -> None:
        proven = _lost_before(self._proofs[parent])
        if here:
            self._found.here += 1
            self._present[parent] = self._present.get(parent, 0) + 1
        elif at and (proven is None or at > proven):
            self._found.newer += 1
        else:
            self._found.missing += 1
            self._found.absent.setdefault(parent, {})[record] = at

    def _compare_total(self, total: int | None) -> None:
        """Compares the total of a listing without parents with the row count."""
        found, start = self._found, self._proofs[""].covered_from
        if total is None:
            found.undecided = (
                f"the vendor tells no total, so the ids of the newest {found.served:,} were compared, and"
                f" {self._row_counts.get('', 0):,} are here: gapless verify {found.source} --whole compares all"
            )
            return
        found.by, found.here = "count", self._row_counts.get("", 0)
        if start:
            found.undecided = "the vendor's total holds older ones than are kept: --whole compares ids"
            return
        found.served = total
        fewer = total - found.newer - found.here
        found.missing = max(found.missing, fewer)
        found.kept = max(0, -fewer)
        if found.kept:
            found.undecided = f"{found.kept:,} are kept that are not served any more, so {HIDDEN}"
