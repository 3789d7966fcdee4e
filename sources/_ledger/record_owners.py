"""Finds records that two parents serve: the first keeps the row, as one row can have only one parent.

A record that moved to another parent is not one of them: its old parent does not serve it any more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from gapless.sources._dlt.tables import ROW_ID
from gapless.sources._ledger.session import Session
from gapless.sources._ledger.stored.cells import Bounds
from gapless.sources._ledger.stored.reader import Ledger
from gapless.sources._schema.arrow import Table, digest
from gapless.sources._schema.record import record_id, record_time

IN_LIST_MAX = 2_000
"""Ids in one query, because some databases limit its length."""


class RecordOwners:
    """Knows under which parent each record stands: in the destination, or in the load package that is being made.

    `serves` asks the vendor which records a parent has, by their ids; None: unknown, so they count as served.
    """

    def __init__(
        self,
        table: Table,
        column: str,
        ledger: Ledger,
        session: Session,
        serves: Callable[[str], Collection[str] | None],
    ) -> None:
        self._table, self._column, self._ledger, self._session = table, column, ledger, session
        self._serves, self._asked = serves, dict[str, Collection[str] | None]()
        self._stored = dict[str, str]()
        """Parents by the record's id."""
        self._met, self._package = dict[str, str](), session.package

    def look_up(self, records: Iterable[Any]) -> None:
        """Reads under which parents these records stand: one query for all that `elsewhere` is asked about next."""
        if self._package is not self._session.package:  # what was met before is stored by now
            self._met, self._package = {}, self._session.package
        names = self._table.key
        records = [*records]
        known = {digest(*(getattr(record, name) for name in names)): record_id(record) for record in records}
        created = Bounds.of(self._table.time_column, map(record_time, records))
        ids = [*known]
        slices = [ids[start : start + IN_LIST_MAX] for start in range(0, len(ids), IN_LIST_MAX)]
        self._stored = {
            known[row]: str(parent)
            for some in slices
            for row, parent, completed in self._ledger.found(
                self._table.name, [ROW_ID, self._column], some, created if self._session.rows_known else None
            )
            if completed
        }

    def held(self, records: Iterable[Any], parent: str) -> int:
        """Returns how many of the records that were looked up last stand here already, under this parent."""
        return sum(self._stored.get(key) == parent for key in {record_id(record) for record in records})

    def new(self, records: Iterable[Any], parent: str) -> tuple[set[str], set[str]]:
        """Returns the ids of records that do not stand under this parent, and the other parents that have some."""
        ids = {key for record in records if self._stored.get(key := record_id(record)) != parent}
        return ids, {self._stored[key] for key in ids if key in self._stored}

    def elsewhere(self, records: Sequence[Any], parent: str) -> dict[str, str]:
        """Returns the other parent, by id, of the records that it serves as well; the rest is this parent's."""
        found = {}
        for record in records:
            key = record_id(record)
            met = self._met.get(key)
            other = met or self._stored.get(key, parent)
            # Both served it if it was met in this package; a stored one may have moved since, so the vendor is asked.
            if other != parent and (met or self._is_served(key, other)):
                found[key] = other
            else:
                self._met[key] = parent
        return found

    def _is_served(self, record: str, parent: str) -> bool:
        if parent not in self._asked:
            self._asked[parent] = self._serves(parent)
        served = self._asked[parent]
        return served is None or record in served
