"""The records here with another number of rows below them than they were loaded with: met, asked for, or given up."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from gapless.pipelines.destinations.reader import Reader, reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.evidence.proofs import Proof, as_utc
from gapless.pipelines.evidence.rows.below import Torn, says_below, torn
from gapless.pipelines.verify.found import Difference, Verified
from gapless.pipelines.verify.gone import GoneRows
from gapless.pipelines.verify.listings import configured_ids
from gapless.sources import Source
from gapless.sources._dlt.tables import ROW_ID
from gapless.sources._http.client import Client
from gapless.sources._http.errors import NotFound, VendorError
from gapless.sources._schema.arrow import digest

AT_ONCE = 2_000
"""Rows in one query."""
MOST_ASKED = 1_000
"""The most records that one comparison asks for; the others wait for the next."""


@dataclass(frozen=True)
class Unmet:
    """A record here that no listing had."""

    row: str
    """Its `_dlt_id`."""
    parent: str
    record: str
    at: datetime | None
    """When it was created."""
    served: bool | None = None
    """Whether the vendor serves it when it is asked for it; None: it was not asked, or did not say."""


class TornRecords:
    """The torn records of one source, and what a comparison learns of each."""

    def __init__(self, source: Source, found: Verified) -> None:
        self._source, self._found = source, found
        self._torn: dict[str, Torn] = {}
        """All of them, by `_dlt_id`."""
        self._met = list[tuple[str, str, datetime | None]]()
        """Those that are served: parent, id and time."""
        self._unmet = list[Unmet]()
        """Those that no listing had and no request brought."""

    def read(self, reader: Reader) -> None:
        """Reads which records are torn, and notes how many."""
        if self._source.main in says_below(reader, self._source):
            self._torn = {one.row: one for one in torn(reader, self._source, self._source.main)}
            self._found.torn = len(self._torn)

    def meet(self, parent: str, record: str, at: datetime | None) -> None:
        """Takes a record that is here and that a listing has."""
        if self._torn and digest(record) in self._torn:
            self._met.append((parent, record, at))

    def ask_unmet(self, client: Client, target: Target, *, whole: bool, by_id: bool) -> None:
        """Asks for each torn record that no listing had; what is served is read again with the others.

        Only of a `whole` comparison one knows that; `by_id` says that ids are here as the vendor has them.
        """
        rows = [*self._torn.keys() - {digest(record) for _, record, _ in self._met}] if whole else []
        # The file is closed before the first request.
        with reading(target) as reader:
            records = unmet_records(reader, self._source, rows)
        records = [*ask(self._source, client, records, by_id=by_id)]
        self._met += [
            (one.parent, one.record, one.at) for one in records if one.served and digest(one.record) == one.row
        ]
        self._unmet = [one for one in records if not one.served]

    def add_met(self) -> None:
        """Adds records that are served and lack rows below them, or have too many, to those that are read again."""
        main = self._source.main
        names = [shape.name for shape in main.schema.tree() if shape.parent]
        table = names[0] if len(names) == 1 else f"{main.name}__*"
        for parent, record, at in self._met:
            _, said, here = self._torn[digest(record)]
            differing = self._found.differing.setdefault(parent, {})
            # A comparison of cells has named it, and said in which table.
            if record not in differing:
                lacks, more = max(0, said - here), max(0, here - said)
                self._found.name(Difference(table, record, missing=lacks, extra=more))
            differing[record] = at

    def give_up(self, gone: GoneRows, proofs: Mapping[str, Proof], ended: Collection[str]) -> None:
        """Notes which of those that nothing brought are denied; `ended` are the parents read to their end."""
        unmet = [one for one in self._unmet if one.row not in gone.twins]
        denied = {one.row for one in unmet if one.parent in ended and self._is_denied(one, gone, proofs[one.parent])}
        self._found.lost_below = [*denied]
        self._found.not_denied = [one.row for one in unmet if one.row not in denied]

    def _is_denied(self, one: Unmet, gone: GoneRows, proof: Proof) -> bool:
        """Returns whether the vendor says that it has no such record: the listing of its parent, and a request.

        A setting that names what is read says nothing of others, and an empty answer alone nothing at all.
        """
        asks = getattr(self._source.stream, "record", None) is not None
        if configured_ids(self._source) or (asks and one.served is None):
            return False
        return gone.denies(one.record, one.parent, one.at, proof, empty=asks)


def ask(source: Source, client: Client, records: list[Unmet], *, by_id: bool) -> Iterator[Unmet]:
    """Yields the records, each asked for where `by_id` says that ids are here as the vendor has them."""
    read = getattr(source.stream, "record", None) if by_id else None
    for number, one in enumerate(records):
        if read is None or number >= MOST_ASKED:
            yield one
            continue
        try:
            yield replace(one, served=bool(read(client, one.record)))
        except NotFound:
            yield replace(one, served=False)
        except VendorError:
            yield one


def unmet_records(reader: Reader, source: Source, rows: list[str]) -> list[Unmet]:
    """Returns the records of these rows."""
    main, column = source.main, source.stream.column or "''"
    found: list[Unmet] = []
    for start in range(0, len(rows), AT_ONCE):
        ids = ", ".join(f"'{row}'" for row in rows[start : start + AT_ONCE])
        select = (
            f"select {ROW_ID}, {column}, {main.id_column}, {main.time_column or 'null'} from {{0}}"
            f" where {ROW_ID} in ({ids})"
        )
        stored = reader.rows(source.name, select, main.name) or []
        found += [Unmet(str(row), str(parent), str(record), as_utc(at)) for row, parent, record, at in stored]
    return found
