"""Asks for records that lost rows below them and that no listing had: only what is denied may be given up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from gapless.pipelines.destinations.reader import Reader
from gapless.pipelines.evidence.proofs import as_utc
from gapless.sources import Source
from gapless.sources._dlt.tables import ROW_ID
from gapless.sources._http.client import Client
from gapless.sources._http.errors import NotFound, VendorError

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
