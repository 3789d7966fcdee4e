"""Reads a sync before dlt begins a load package: mostly nothing is new, and then the package is not needed.

It costs a third of an idle sync, though all that it would change is when the vendor was asked. Where there may be
something to load, all that was read is kept for the package, which is made as without this look.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from time import monotonic

from gapless.sources._dlt.types import State
from gapless.sources._extract.write_strategy import changed_roots
from gapless.sources._ledger.ledger import Coverage, DeadLetter
from gapless.sources._ledger.package import Package, ToArrow
from gapless.sources._ledger.session import LoadItem, Session, Unchanged
from gapless.sources._ledger.stored.reader import Ledger
from gapless.sources._ledger.walk_state import WALK_KEYS
from gapless.sources._schema.arrow import Table

MOST_RECORDS = 5_000
"""Records and proofs that are held; with more there is something new, or a package costs little beside them."""
MOST_SECONDS = 20.0
"""Seconds after which what was read is loaded, as a crash would lose it."""
CHECKS = frozenset({"last_checked_at", "listed_at", "covered_from"})
"""Columns of `coverage` that change although nothing is new; what is kept begins later and later."""


class FirstLook:
    """One look at what the resources of a source yield."""

    def __init__(self, session: Session, ledger: Ledger, to_arrow: ToArrow) -> None:
        self._session, self._ledger, self._to_arrow = session, ledger, to_arrow
        self._held, self._until = 0, monotonic() + MOST_SECONDS
        self.unchanged: list[Unchanged] = []
        """What was asked for, and is as it was."""
        session.begin_package()

    def finds_nothing(self, resource: str, steps: Iterator[LoadItem], state: State) -> bool:
        """Returns whether a resource, with this stored state, is read to its end and brings nothing new.

        What it yields, or raises, is kept in the session.
        """
        held: list[LoadItem] = []
        error, whole = None, False
        try:
            whole = self._reads_all(steps, held)
        except Exception as failed:
            error = failed
        # An error is raised again when the package reads it, where failures are handled.
        self._session.keep_open(resource, _again(held, steps, error))
        try:
            return whole and self._is_stored(held, state)
        except Exception:  # what cannot be compared, as a time that Python cannot hold, is loaded
            return False

    def _reads_all(self, steps: Iterator[LoadItem], held: list[LoadItem]) -> bool:
        most = self._session.max_bytes
        for step in steps:
            held.append(step)
            self._held += sum(len(batch.records) for batch in step.batches)
            full = self._held > MOST_RECORDS or (most is not None and self._session.counters.bytes > most)
            # A dead letter is something to load.
            if full or monotonic() > self._until or any(_fails(step)):
                return False
        return True

    def _is_stored(self, held: Sequence[LoadItem], state: State) -> bool:
        states = [step.state for step in held if step.state is not None]
        if states and not _same(states[-1], state):
            return False
        package, tables = Package(self._to_arrow), dict[str, Table]()
        proofs: dict[tuple[str, str], Coverage] = {}
        for batch in (batch for step in held for batch in step.batches):
            if batch.table.model is Coverage:
                # Of two proofs of one parent the last one counts, as in a package.
                proofs |= {(row.stream, row.parent): row for row in batch.records if isinstance(row, Coverage)}
            elif batch.records:
                package.add(batch)
                tables[batch.table.name] = batch.table
        if not self._proves_the_same(proofs):
            return False
        return not any(map(partial(self._differ, package), tables.values()))

    def _differ(self, package: Package, table: Table) -> set[str]:
        known = self._session.rows_known
        return changed_roots(self._ledger, [*package.tables(table)], table.time_column, known=known)

    def _proves_the_same(self, proofs: dict[tuple[str, str], Coverage]) -> bool:
        """Returns whether only CHECKS differ from what is stored, and adds what they are to `unchanged`."""
        streams = {stream for stream, _ in proofs}
        stored = {one: self._ledger.coverage(one, [key for of, key in proofs if of == one]) for one in streams}
        found: dict[tuple[str, tuple[tuple[str, datetime], ...]], list[str]] = {}
        for (stream, parent), row in proofs.items():
            before = stored[stream].get(parent)
            # Without a check it is of a load that broke off, or was set back: an update would leave it so.
            if before is None or before.last_checked_at is None:
                return False
            now = {name: value for name, value in row if value != getattr(before, name)}
            times = tuple((name, value) for name, value in now.items() if isinstance(value, datetime))
            # A check without a time cannot be noted by an update of times.
            if not now.keys() <= CHECKS or len(times) < len(now):
                return False
            # By equal times, so that one statement updates many parents.
            found.setdefault((stream, times), []).append(parent)
        self.unchanged += [Unchanged(stream, tuple(parents), times) for (stream, times), parents in found.items()]
        return True


def _same(now: State, before: State) -> bool:
    """Returns whether two states say the same, but for a later beginning: that of a retention moves on by itself."""
    begins, began = (state.get("initial_value") for state in (now, before))
    later = bool(begins and began and begins >= began)
    return {**now, "initial_value": began} == before if later else now == before


def plain(state: State) -> bool:
    """Returns whether a resource's state is one that a run without a user's own steps or limits leaves."""
    return state.keys() <= {*WALK_KEYS}


def _fails(step: LoadItem) -> Iterator[bool]:
    return (batch.table.model is DeadLetter and bool(batch.records) for batch in step.batches)


def _again(held: list[LoadItem], steps: Iterator[LoadItem], error: Exception | None) -> Iterator[LoadItem]:
    """Yields what was read and what is still to come; raises again what reading raised."""
    yield from held
    if error:
        raise error
    yield from steps
