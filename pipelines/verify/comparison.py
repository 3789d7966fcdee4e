"""Compares one source's records at the vendor and here, by id or, for a listing that tells its total, by count."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from functools import cached_property, partial

from gapless.pipelines.destinations.reader import Reader, reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import LostErasureKey, explain
from gapless.pipelines.evidence.gap import Commands
from gapless.pipelines.evidence.policy import configured_policy
from gapless.pipelines.evidence.rows.below import count_orphans
from gapless.pipelines.evidence.rows.counts import count_doubled, once_tables
from gapless.pipelines.verify.cells.cell_check import CellCheck
from gapless.pipelines.verify.conclusions import Conclusions
from gapless.pipelines.verify.found import Difference, Verified
from gapless.pipelines.verify.gone import GoneRows
from gapless.pipelines.verify.here import read_here
from gapless.pipelines.verify.listings import (
    configured_ids,
    is_newer,
    listed_beside,
    not_here,
    open_client,
)
from gapless.pipelines.verify.torn_records import TornRecords
from gapless.sources import Source
from gapless.sources._http.client import Client
from gapless.sources._http.errors import NotFound, Rejected, VendorError
from gapless.sources._incremental.concurrency import map_concurrently
from gapless.sources._incremental.listing import ListedPage, ListedParent, Parents
from gapless.sources._ledger.account.identity import AnotherAccount
from gapless.sources._ledger.session import Session
from gapless.sources._ledger.window import Window, as_named
from gapless.sources._schema.arrow import digest
from gapless.sources._schema.parse import parse

WORKERS = 8
"""Parents read in parallel."""
IN_LIST_MAX = 2_000
"""Ids in one query, because some databases limit its length."""


class Comparison:
    """Compares one source's records at the vendor and here."""

    def __init__(
        self, target: Target, source: Source, sample: int | None, chance: random.Random, *, cells: bool = False
    ) -> None:
        self._target, self._source, self._sample, self._chance = target, source, sample, chance
        self._stream = source.stream
        self._main = source.main.name
        self._found = Verified(source.name, destination=target.destination, appends=target.appends)
        self._waiting: list[tuple[str, str, datetime | None]] = []
        self._present: dict[str, int] = {}
        """Records found here, by parent."""
        self._of_others = Counter[str]()
        """Records that a parent's listing has and that name another parent themselves, by the listing's parent."""
        self._elsewhere = dict[str, set[str]]()
        """Ids of these records, by the parent that they name."""
        self._unlisted = set[str]()
        """Parents that were read before and that the vendor does not list."""
        self._newly_gone = set[str]()
        """Parents of which rows are here that their listing lacks for the first time."""
        self._news = set[str]()
        """Parents with records that are left to the next sync."""
        self._torn = TornRecords(source, self._found)
        self._gone, self._session = GoneRows(source), Session()
        self._check = CellCheck(target, source, self._found, sample, chance) if cells else None

    def verified(self) -> Verified:
        """Returns the comparison; a vendor's error is in its `error`."""
        try:
            with reading(self._target) as reader:  # before any request, to close the file
                here = read_here(reader, Commands.at(self._source, self._target))
                if isinstance(here, str):
                    self._found.error = here
                    return self._found
                self._here = here
                self._proves = Conclusions(self._target, self._source, self._found, here)
                self._read_evidence(reader)
        except LostErasureKey as error:
            self._found.error, self._found.refused = str(error), True
            return self._found
        if self._check:
            self._check.erased = here.erased
        try:
            with open_client(self._source, self._target, self._session) as client:
                try:
                    self._compare(client)
                finally:
                    self._found.requests = client.stats.requests
        except (VendorError, AnotherAccount) as error:
            self._found.error, self._found.refused = explain(error), isinstance(error, AnotherAccount)
        return self._found

    def _read_evidence(self, reader: Reader) -> None:
        """Reads what the tables themselves show."""
        self._gone.read_marks(reader)
        # Where rows are only added, a changed record rightly has several with one id.
        if not self._target.appends:
            # As `gaps` looks for them.
            doubled = count_doubled(reader, self._source, once_tables(self._source))
            self._found.doubled = sum(doubled.values())
            self._found.orphans = count_orphans(reader, self._source, self._source.main)
        self._torn.read(reader)

    def _compare(self, client: Client) -> None:
        chosen, short = self._chosen(client)
        self._found.parents = len(chosen)
        self._proves.doubt_what_was_never_read(len(chosen))
        self._proves.doubt_listing(short)
        counted = self._stream.column is None and self._sample is not None

        def pages(parent: ListedParent) -> Iterator[ListedPage]:
            return self._stream.listed_pages(client, parent, Window(since=self._here.proofs[parent.id].covered_from))

        read = partial(self._pages_to_proof, pages) if counted else pages
        total, ended = None, list[str]()
        ping = partial(self._source.api.ping, client)
        for answer in map_concurrently(chosen, read, WORKERS, ping):
            if answer.page is not None:
                total = answer.page.total if total is None else total
                self._add_page(client, answer.parent, answer.page)
                # What records of a parent that is not listed are given is not known.
                if self._check and answer.parent.id not in self._unlisted:
                    self._check.page(client, answer.parent, answer.page, self._here.proofs[answer.parent.id])
            elif isinstance(answer.error, NotFound) and answer.parent.id in self._unlisted:
                self._found.vanished += filter(self._is_overcounted, [answer.parent.id])
            # A parent that is noted as gone may answer so: that is what was found before.
            elif answer.error and not (
                isinstance(answer.error, NotFound) and self._here.proofs[answer.parent.id].gone
            ):
                self._found.failed[answer.parent.id] = str(answer.error)
            else:
                ended.append(answer.parent.id)
        self._query_waiting(client)
        self._proves.doubt_vanished()
        self._torn.ask_unmet(client, self._target, whole=self._sample is None, by_id=self._ids_are_plain)
        self._torn.add_met()
        self._found.foreign_served = [one for one in self._found.foreign.values() if self._gone.is_served(one)]
        late = self._compare_listed(client, chosen)
        if not counted:
            self._find_gone(ended)
            told = {parent: self._listed_own(parent) for parent in ended if self._is_overcounted(parent)}
            # What one reading alone denies may be an answer that was cut short.
            self._found.told = {parent: count for parent, count in told.items() if parent not in self._newly_gone}
            self._proves.doubt_fewer_still(len(told.keys() & self._newly_gone))
            self._proves.doubt_nothing_served()
            # Only of parents that were read to their end: more of the others may be served.
            self._found.kept = sum(max(0, self._here.row_counts.get(p, 0) - self._present.get(p, 0)) for p in ended)
        elif chosen and not self._found.failed:
            self._proves.conclude_from(total, known_gone=len(self._gone.marked))
        if self._sample is not None:  # what is known to be lost may be in none of the parents of a sample
            self._found.missing = max(self._found.missing, self._here.lost.get(self._main, 0))
        self._found.newer += late
        self._proves.doubt_newer()

    def _compare_listed(self, client: Client, chosen: list[ListedParent]) -> int:
        """Compares the rows of parents, and of listings beside the records, with what is listed: ids, or cells.

        Returns how many rows are left to the next sync.
        """
        found, parents = self._found, self._stream.parents
        if parents:
            found.differing_parents = self._differing(parents, chosen, self._news)
        checked = max(filter(None, (proof.last_checked_at for proof in self._here.proofs.values())), default=None)
        late = 0
        for listing, every in listed_beside(self._target, self._source, client, self._session):
            if isinstance(every, Exception):
                found.failed[""] = str(every)
                continue
            self._proves.doubt_listing(self._proves.why_short(listing, [one.id for one in every]))
            listed = [one for one in every if not is_newer(one, checked)]
            # Each sync reads all that is listed: where no row went, what is not here came into view later.
            unmet = set(self._unmet(listing, listed)) if self._here.lost_none(listing.table.name) else set[str]()
            late += len(unmet)
            if differing := self._differing(listing, [one for one in listed if one.id not in unmet], set()):
                found.differing_listed[listing.table.name] = differing
        return late

    def _unmet(self, listing: Parents, listed: Sequence[ListedParent]) -> list[str]:
        """Returns the ids of what a listing lists and of which no row is here."""
        ids = [one.id for one in listed if one.whole and one.record is not None]
        return not_here(self._target, self._source, listing.table, ids)

    def _differing(self, listing: Parents, listed: list[ListedParent], news: set[str]) -> list[str]:
        """Returns the ids of what a listing lists that is not here, or with `cells` differs; `news` may change."""
        if self._check:
            whole = [one for one in listed if one.whole and one.record is not None]
            return self._check.listed(listing, whole, news)
        lacking = self._unmet(listing, listed)
        for one in lacking:
            self._found.lack(Difference(listing.table.name, one, missing=1))
        return lacking

    def _is_overcounted(self, parent: str) -> bool:
        """Returns whether the ledger says that a parent has more records than are here, and its listing denies it."""
        proof, here = self._here.proofs[parent], self._here.kept_or_erased(parent)
        told = proof.records if proof.counts_all else None
        return told is not None and here < told > self._listed_own(parent)

    def _listed_own(self, parent: str) -> int:
        """Returns how many records the listing of a parent has that are its own."""
        return self._gone.count(parent) - self._of_others[parent]

    def _find_gone(self, ended: list[str]) -> None:
        """Finds what the listings that were read to their end lack, where more is here than they have."""
        for parent, records in self._elsewhere.items():
            self._present[parent] = self._present.get(parent, 0) + self._gone.take(parent, records)
        more = [one for one in ended if self._here.row_counts.get(one, 0) > self._present.get(one, 0)]
        self._found.back = self._gone.back()
        if more and not self._target.appends:
            with reading(self._target) as reader:
                for parent in more:
                    gone = [*self._gone.lacking(reader, {parent: self._here.proofs[parent]})]
                    self._found.gone += gone
                    self._newly_gone |= {parent} if gone else set()
        for parent, record, at in self._gone.twins.values():
            self._found.differing.setdefault(parent, {})[record] = at
            self._found.name(Difference(self._main, record, extra=1))
        self._torn.give_up(self._gone, self._here.proofs, ended)

    def _chosen(self, client: Client) -> tuple[list[ListedParent], str | None]:
        """Returns the parents to compare, and why their listing proves nothing, or None.

        First come those that have fewer records here than the vendor lists.
        """
        listed = [parent for page in self._parents(client) for parent in page]
        parents = [parent for parent in listed if not self._here.is_erased(parent)]
        known = [parent for parent in parents if parent.id in self._here.proofs]
        reads_empty = self._stream.parents is None or self._stream.parents.reads_empty
        asked = [parent for parent in parents if reads_empty or parent.count != 0]
        self._found.of = len(parents)
        known += self._not_listed({parent.id for parent in listed})
        short = None
        if self._stream.parents and not configured_ids(self._source):
            gone = [one for one, proof in self._here.proofs.items() if proof.gone]
            short = self._proves.why_short(self._stream.parents, [one.id for one in listed], gone)
        self._found.of += len(self._unlisted)
        self._found.not_asked = sum(parent.id not in self._here.proofs for parent in asked)
        if self._sample is None or len(known) <= self._sample:
            return known, short
        # Such parents are most likely to miss records, so a sample must not leave them out.
        fewer = [p for p in known if p.count is not None and p.count > self._here.kept_or_erased(p.id)][
            : self._sample
        ]
        others = [p for p in known if p not in fewer]
        return [*fewer, *self._chance.sample(others, min(len(others), self._sample))], short

    def _not_listed(self, listed: Collection[str]) -> list[ListedParent]:
        """Returns the parents that a sync has read and that are not listed, or not named by the setting.

        They may be served all the same.
        """
        if self._stream.parents is None:
            return []
        ids = sorted(one for one, proof in self._here.proofs.items() if one not in listed and not proof.gone)
        bare = [ListedParent(one, whole=False) for one in ids]
        parents = bare if self._stream.one_by_one else self._stream.named_parents(ids)
        self._unlisted = {one.id for one in parents}
        return [one for one in parents if not self._here.is_erased(one)]

    def _parents(self, client: Client) -> Iterator[list[ListedParent]]:
        ids = as_named(configured_ids(self._source), lambda _: self._here.proofs)
        named = self._stream.named_parents(ids)
        return iter([named]) if named else self._stream.listed_parents(client)

    def _pages_to_proof(
        self, pages: Callable[[ListedParent], Iterator[ListedPage]], parent: ListedParent
    ) -> Iterator[ListedPage]:
        """Yields a parent's pages down to the first that is wholly proven; for cells as many as a sample has."""
        proven, wanted = self._here.lost_before(parent.id), self._sample if self._check else 1
        for number, page in enumerate(pages(parent), start=1):
            yield page
            if proven and all(at and at <= proven for at in page.times.values()) and number >= (wanted or 1):
                return

    def _add_page(self, client: Client, parent: ListedParent, page: ListedPage) -> None:
        start = self._here.proofs[parent.id].covered_from
        wanted = [(parent.id, i, at) for i, at in page.times.items() if not (start and at and at < start)]
        self._gone.add(parent.id, page)
        nameless = [raw for raw in page.nameless if not self._here.erased.hides_nameless(self._main, raw, parent.id)]
        self._found.erased += len(page.nameless) - len(nameless)
        if self._here.erased.names:
            every, wanted = wanted, [one for one in wanted if not self._here.erased.hides_record(one[1])]
            self._found.erased += len(every) - len(wanted)
        self._found.served += len(wanted) + len(nameless)
        self._found.missing += len(nameless)
        self._waiting += wanted
        if len(self._waiting) >= IN_LIST_MAX:
            self._query_waiting(client)

    def _query_waiting(self, client: Client) -> None:
        """Looks up waiting ids here, by `_dlt_id`: a digest of the id, so that no vendor's text is in a query."""
        column = self._stream.column or "''"
        # The file is opened for each query only, so that a sync may write between them.
        while self._waiting:
            some, self._waiting = self._waiting[:IN_LIST_MAX], self._waiting[IN_LIST_MAX:]
            ids = ", ".join(f"'{digest(i)}'" for _, i, _ in some)
            select = f"select _dlt_id, {column}, {self._source.main.id_column} from {{0}} where _dlt_id in ({ids})"
            with reading(self._target) as reader:
                rows = reader.rows(self._source.name, select, self._main) or []
            here = {(row, str(parent)) for row, parent, _ in rows}
            stored = {row: str(record) for row, _, record in rows}
            # Where each is stored: a listing may name another parent than the record itself does.
            elsewhere = dict(here)
            for parent, i, at in some:
                key = digest(i)
                is_here = (key, parent) in here
                if not is_here and key in elsewhere and self._names_parent(client, i, elsewhere[key]):
                    self._of_others[parent] += 1
                    self._elsewhere.setdefault(elsewhere[key], set()).add(i)
                    self._found.here += 1
                    continue
                # Cells are compared by the row, and name the column of the id with the others.
                if is_here and self._ids_are_plain and not self._check and stored[key] != i:
                    self._found.foreign[i], is_here = stored[key], False
                    self._count_missing(parent, i, at)
                    continue
                self._count_record(parent, i, at, is_here)

    def _names_parent(self, client: Client, record: str, parent: str) -> bool:
        """Returns whether a record that is read by its id names this parent itself, whatever a listing says."""
        stream = self._stream
        if stream.by_id != "record":
            return False
        try:
            page = stream.listed_record(client, record)
        except Rejected:
            return False
        columns = [one for one in stream.table.schema.columns if one.name == stream.column]
        parsed = parse(stream.table.model, page.raws).records if page else []
        return [str(cell) for one in columns for cell in one.cells([*parsed])] == [parent]

    def _count_record(self, parent: str, record: str, at: datetime | None, here: bool) -> None:
        proven = self._here.lost_before(parent)
        if here:
            self._found.here += 1
            self._present[parent] = self._present.get(parent, 0) + 1
            self._torn.meet(parent, record, at)
        elif at and (proven is None or at > proven):
            self._found.newer += 1
            self._news.add(parent)
        else:
            self._count_missing(parent, record, at)

    def _count_missing(self, parent: str, record: str, at: datetime | None) -> None:
        self._found.missing += 1
        self._found.absent.setdefault(parent, {})[record] = at

    @cached_property
    def _ids_are_plain(self) -> bool:
        """Returns whether ids are here as the vendor serves them; False where a policy hashes them."""
        hidden = configured_policy(self._source).columns(self._source.main.schema)
        return self._source.main.id_column not in {column.name for column in hidden}
