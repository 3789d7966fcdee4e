"""The part of a comparison that looks at cells: which records are compared, and what a difference means.

A difference in a parent whose answer changed since the last sync is left to the next one, which reads it again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.evidence.proofs import Proof
from gapless.pipelines.verify.cells.cells import CHUNK, Cells
from gapless.pipelines.verify.found import Verified
from gapless.sources import Source
from gapless.sources._http.client import Client
from gapless.sources._incremental.concurrency import map_concurrently
from gapless.sources._incremental.listing import ListedPage, ListedParent, Parents
from gapless.sources._ledger.erasure.tombstones import NOTHING_ERASED, Tombstones
from gapless.sources._schema.parse import parse
from gapless.sources._schema.record import record_id

WORKERS = 8
"""Records read in parallel."""


class CellCheck:
    """Compares the cells of the records of pages, and those of parents; adds what differs to what is found."""

    def __init__(
        self, target: Target, source: Source, found: Verified, sample: int | None, chance: random.Random
    ) -> None:
        self._source, self._stream, self._found = source, source.stream, found
        self._sample, self._chance = sample, chance
        self._cells = Cells(target, source)
        found.corrections = self._cells.corrections
        found.cells = 0
        self.erased: Tombstones = NOTHING_ERASED
        """What was erased on purpose, and is not compared."""
        self._changed = set[str]()
        """Parents whose answer is another one than at the last sync."""

    def page(self, client: Client, parent: ListedParent, page: ListedPage, proof: Proof) -> None:
        """Compares the records of a page that were asked for; of a sample where each costs a request."""
        start = proof.covered_from
        # What is older than the initial value was never requested, so it may be absent.
        times = {key: at for key, at in page.times.items() if not (start and at and at < start)}
        if self.erased.names:
            times = {key: at for key, at in times.items() if not self.erased.hides_record(key)}
        if page.answer is not None and proof.digest not in (None, page.answer):
            self._changed.add(parent.id)
        for raws in self._raws(client, parent, page, [*times]):
            records: list[Any] = parse(self._source.main.model, raws, parent.given).records
            records = [record for record in records if record_id(record) in times]
            for start_at in range(0, len(records), CHUNK):
                self._compare(parent.id, records[start_at : start_at + CHUNK], times)

    def _raws(
        self, client: Client, parent: ListedParent, page: ListedPage, keys: list[str]
    ) -> Iterator[Sequence[bytes]]:
        """Yields the records' JSON: the page's own, or where it lists ids, that of each by its id."""
        if self._stream.by_id != "record" or self._stream.column is None:
            yield page.raws
            return
        if self._sample is not None and len(keys) > self._sample:
            keys = self._chance.sample(keys, self._sample)
        read = partial(self._record, client)
        ping = partial(self._source.api.ping, client)
        for start in range(0, len(keys), CHUNK):
            raws: list[bytes] = []
            for answer in map_concurrently(keys[start : start + CHUNK], read, WORKERS, ping):
                if answer.page is not None:
                    raws += answer.page.raws
                elif answer.error:
                    self._found.failed[parent.id] = f"{answer.parent}: {answer.error}"
            yield raws

    def _record(self, client: Client, key: str) -> Iterator[ListedPage]:
        page = self._stream.listed_record(client, key)
        if page is not None:
            yield page

    def _compare(self, parent: str, records: Sequence[Any], times: Mapping[str, datetime | None]) -> None:
        found, changed = self._found, set[str]()
        found.cells = (found.cells or 0) + len(records)
        for difference in self._cells.of_records(records):
            if parent in self._changed:
                changed.add(difference.id)
            else:
                found.differing.setdefault(parent, {})[difference.id] = times.get(difference.id)
                self._found.lack(difference)
        found.changed += len(changed)

    def listed(self, listing: Parents, listed: Sequence[ListedParent], news: set[str]) -> list[str]:
        """Compares the rows of a listing's own table; returns the ids of those that differ.

        A parent with records that are new, in `news`, changes with them.
        """
        records, differing = [one.record for one in listed], list[str]()
        for start in range(0, len(records), CHUNK):
            for difference in self._cells.of_listed(listing, records[start : start + CHUNK]):
                if difference.id in news | self._changed:
                    self._found.changed += 1
                else:
                    differing.append(difference.id)
                    self._found.lack(difference)
        return differing
