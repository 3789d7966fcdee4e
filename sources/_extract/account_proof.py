"""Asks a vendor for some of what is here, newest first: cheap proof that the rows are of the same account."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import MAXYEAR, timedelta
from itertools import islice
from typing import Any

from gapless.sources._extract.subjects import subjects_of
from gapless.sources._http.client import Client
from gapless.sources._http.errors import BadRequest, NotFound, Stop, VendorError
from gapless.sources._incremental.detail_feed import DetailFeed
from gapless.sources._incremental.feed import Feed
from gapless.sources._incremental.listing import RawPage
from gapless.sources._incremental.parent_feed import ParentFeed
from gapless.sources._incremental.stream import Stream
from gapless.sources._ledger.account.evidence import Dataset, Evidence, newest_rows, rows_of, was_filled
from gapless.sources._ledger.erasure.tombstones import Tombstones, stored_rows
from gapless.sources._ledger.package import ToArrow
from gapless.sources._ledger.stored.cells import instant
from gapless.sources._schema.arrow import Table
from gapless.sources._schema.parse import parse
from gapless.sources._schema.record import record_id

PAGES = 2
"""Pages of a listing that are asked for."""
LISTED = 10
"""Pages of a listing that are asked for, newest first, where the vendor serves no record by its id."""
SEARCHED = 100
"""Pages or parents that are looked through for what was erased, where that is all that can prove the account."""
ASKED = 3
"""The newest records, or the parents with the newest ones, that are asked for one by one."""
Record = Callable[[Client, str], bytes]
"""Reads one record by its id."""
Answers = Iterator[tuple[Table, Sequence[Any]]]
"""Records that are served, with their table; each one takes a request."""


def prove(source: str, stream: Stream, client: Client, to_arrow: ToArrow, dataset: Dataset) -> Evidence:
    """Compares what is served with the rows of the dataset, up to the first answer that decides.

    It takes one request where the newest record is still served, and less than ten in any case. A record or a parent
    that cannot be read is passed over. Where no row is left, what was erased is compared. Raises VendorError where
    that leaves the question open, LostKey.
    """
    # Rows that were derived from records say nothing: a load that was broken off may have left them alone.
    compared = [stream.table, *([stream.parents.table] if stream.parents else [])]
    evidence = Evidence(stored=any(dataset.rows("select 1 from {0} limit 1", table.name) for table in compared))
    if not evidence.stored:
        evidence.emptied = was_filled(dataset)
        return _among_erased(source, stream, client, dataset, evidence) if evidence.emptied else evidence
    failures: list[VendorError] = []
    for table, records in _answers(stream, client, dataset, failures):
        parent = stream.column if table == stream.table else None
        evidence.add(dataset, table, rows_of(table, records, to_arrow), parent)
        if evidence.decided:
            return evidence
    if failures:
        raise failures[0]
    return evidence


def _among_erased(source: str, stream: Stream, client: Client, dataset: Dataset, evidence: Evidence) -> Evidence:
    """Adds what the vendor serves of that which was erased; asks for nothing where no tombstone can show it."""
    subjects = subjects_of(source, stream)
    erased = Tombstones(subjects, stored_rows(dataset.rows, source))
    failures: list[VendorError] = []
    for records in _served(stream, client, failures) if erased.dates else ():
        evidence.add_erased(erased, records)
        if evidence.decided:
            return evidence
    if failures:
        raise failures[0]
    return evidence


def _served(stream: Stream, client: Client, failures: list[VendorError]) -> Iterator[Sequence[Any]]:
    """Yields records as the vendor lists them, of its first pages and parents."""
    if isinstance(stream, Feed):
        for page in islice(stream.pages(client, None), SEARCHED):
            yield _parsed(stream.table, page)
    for parent in islice(_first_parents(stream, client), SEARCHED):
        with _passed_over(failures):
            if isinstance(stream, ParentFeed):
                yield _parsed(stream.table, next(iter(stream.pages(client, parent))), stream.given(parent))
            elif isinstance(stream, DetailFeed):
                listed = _parsed(stream.listing, next(iter(stream.pages(client, record_id(parent)))))[:ASKED]
                records = [stream.record(client, record_id(one)) for one in listed]
                yield parse(stream.table.model, records).records


def _first_parents(stream: Stream, client: Client) -> Iterator[Any]:
    if parents := stream.parents:
        for page in islice(parents.pages(client), PAGES):
            yield from filter(parents.is_read, _parsed(parents.table, page))


@contextmanager
def _passed_over(failures: list[VendorError]) -> Iterator[None]:
    """Notes the error of one record or parent, which is about it alone unless nothing at all can be asked."""
    try:
        yield
    except (NotFound, BadRequest):  # an account may have deleted its newest record
        return
    except Stop:
        raise
    except VendorError as error:
        failures.append(error)


def _answers(stream: Stream, client: Client, dataset: Dataset, failures: list[VendorError]) -> Answers:
    # Records first: parents of two accounts may be as old, as those that were made from one template.
    if isinstance(stream, ParentFeed):
        yield from _of_parents(stream, client, dataset, failures)
    if isinstance(stream, Feed | DetailFeed) and stream.record:
        yield from _one_by_one(stream.table, stream.record, client, dataset, failures)
    if isinstance(stream, Feed):
        yield from _listed(stream, client, dataset)
    if stream.parents:
        for page in islice(stream.parents.pages(client), PAGES):
            yield stream.parents.table, _parsed(stream.parents.table, page)


def _one_by_one(
    table: Table, record: Record, client: Client, dataset: Dataset, failures: list[VendorError]
) -> Answers:
    for key, *_ in newest_rows(dataset, table, f'"{table.id_column}"', limit=ASKED):
        with _passed_over(failures):
            yield table, parse(table.model, [record(client, str(key))]).records


def _of_parents(stream: ParentFeed, client: Client, dataset: Dataset, failures: list[VendorError]) -> Answers:
    for key, *_ in newest_rows(dataset, stream.table, f'"{stream.column}"', stream.column, ASKED):
        parent = stream.parents.named(str(key))
        with _passed_over(failures):
            for page in islice(stream.pages(client, parent), PAGES):
                yield stream.table, _parsed(stream.table, page, stream.given(parent))


def _listed(stream: Feed, client: Client, dataset: Dataset) -> Answers:
    """Yields the pages of a listing down to the newest record that is here; one that filters by time begins there."""
    newest = [instant(at) for *_, at in newest_rows(dataset, stream.table, f'"{stream.table.id_column}"', limit=1)]
    # A time of the year 9999 has none after it.
    until = newest[0] + timedelta(seconds=1) if newest and newest[0] and newest[0].year < MAXYEAR else None
    span = (None, until) if stream.by_time else ()
    for page in islice(stream.pages(client, None, *span), PAGES if stream.record else LISTED):
        yield stream.table, _parsed(stream.table, page)


def _parsed(table: Table, page: RawPage, given: Mapping[str, Any] | None = None) -> Sequence[Any]:
    return parse(table.model, page.records, given).records
