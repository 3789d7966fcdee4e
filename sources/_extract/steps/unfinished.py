"""A pass over a source in several limited runs: each run goes on where the one before was cut by its limit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from gapless.sources._dlt.tables import LOAD_ID, ROW_ID
from gapless.sources._dlt.types import State
from gapless.sources._extract.write_strategy import IN_LIST_MAX
from gapless.sources._ledger.session import LoadItem
from gapless.sources._ledger.stored.reader import Ledger
from gapless.sources._schema.arrow import Batch, Table, digest
from gapless.sources._schema.columns import Column
from gapless.sources._schema.record import record_id

UNFINISHED = "unfinished"
"""Key of a resource's state: the load with which the pass began, while a limit cuts it; else the key is not there."""


class Pass:
    """What earlier runs of a pass have loaded; nothing, for a pass of one run, which is the usual one."""

    def __init__(self, states: Iterable[State], ledger: Ledger, *, limited: bool) -> None:
        """Takes the states of all resources of the run; a run without a limit begins a pass of its own."""
        self._ledger = ledger
        # One pass for all: a resource that is done must not begin anew before the others are, or none would end.
        begun = [state[UNFINISHED] for state in states if UNFINISHED in state]
        self.first_load: str | None = min(begun, default=None) if limited else None
        """The load with which it began; None: it begins with this run."""
        self._begun: dict[str, str] | None = None
        """The newest load of each parent's records; None: not asked yet."""
        self._all_new = False
        """Whether a page of a listing without parents had only new records: what follows is new, too."""

    @property
    def began(self) -> datetime | None:
        """Returns when it began, in UTC; None: with this run."""
        return datetime.fromtimestamp(float(self.first_load), UTC) if self.first_load else None

    def rest(self, step: LoadItem, table: Table, parent: Column | None) -> LoadItem:
        """Returns a step without the records of `table` that the pass has loaded; `parent` is the parent's column.

        A page of which nothing is left does not count for the limit, so each run comes further than the one before.
        """
        if self.first_load is None:
            return step
        own = [self._rest(one, parent) if one.table.name == table.name else one for one in step.batches]
        return replace(step, batches=own)

    def _rest(self, batch: Batch, parent: Column | None) -> Batch:
        if not batch.records or not self._may_be_loaded(batch, parent):
            return batch
        keys = [digest(record_id(record)) for record in batch.records]  # type: ignore[arg-type]  # to dlt they are objects
        loaded = self._loaded(batch.table, keys)
        self._all_new = parent is None and not loaded
        pairs = zip(keys, batch.records, strict=True)
        return Batch(batch.table, [record for key, record in pairs if key not in loaded])

    def _may_be_loaded(self, batch: Batch, parent: Column | None) -> bool:
        # A look at every page would cost more than the page.
        if parent is None:
            return not self._all_new
        if self._begun is None:
            self._begun = self._ledger.newest_loads(batch.table.name, parent.name)
        return any(self._begun.get(str(one), "") >= (self.first_load or "") for one in parent.cells([*batch.records]))

    def _loaded(self, table: Table, keys: Sequence[str]) -> set[str]:
        slices = [keys[at : at + IN_LIST_MAX] for at in range(0, len(keys), IN_LIST_MAX)]
        rows = [row for some in slices for row in self._ledger.select(table.name, [ROW_ID, LOAD_ID], (ROW_ID, some))]
        return {str(key) for key, load, completed in rows if completed and str(load) >= (self.first_load or "")}

    def update(self, state: State, load_id: str, *, cut: bool) -> None:
        """Writes to a resource's state whether this run, the load `load_id`, was cut by its limit."""
        if cut:
            state[UNFINISHED] = self.first_load or load_id
        else:
            state.pop(UNFINISHED, None)
