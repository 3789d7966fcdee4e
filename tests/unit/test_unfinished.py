"""A pass in several limited runs leaves out what its earlier runs have loaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gapless.sources._extract.steps.unfinished import UNFINISHED, Pass
from gapless.sources._ledger.ledger import MERGE
from gapless.sources._ledger.session import LoadItem
from gapless.sources._ledger.stored.reader import EmptyLedger
from gapless.sources._schema.arrow import Batch, Table, digest
from gapless.sources._schema.record import Record, Text


class Log(Record):
    id: Text
    of: Text


LOGS = Table("logs", Log, ("id",), MERGE)
(PARENT,) = [column for column in LOGS.schema.columns if column.name == "of"]
ROWS = {digest("a"): ("1795.5", True), digest("b"): ("1794.5", True), digest("c"): ("1795.5", False)}
"""Load and whether it was completed, by row: of the pass, of one before, and of a killed load."""


class _Ledger(EmptyLedger):
    def __init__(self) -> None:
        super().__init__()
        self.looked = 0

    def select(self, table: str, columns: Any, within: Any = None) -> Iterator[tuple[Any, ...]]:
        self.looked += 1
        return ((key, *ROWS[key]) for key in within[1] if key in ROWS)

    def newest_loads(self, table: str, parent: str) -> dict[str, str]:
        return {"p": "1795.5", "q": "1794.5"}


def step(*ids: str, of: str = "p") -> LoadItem:
    return LoadItem([Batch(LOGS, [Log(id=one, of=of) for one in ids])])


def rest(done: Pass, item: LoadItem, parent: Any = PARENT) -> list[str]:
    (batch,) = done.rest(item, LOGS, parent).batches
    return [record.id for record in batch.records if isinstance(record, Log)]


def test_what_the_pass_has_loaded_is_left_out() -> None:
    """Not what was loaded before it, nor what a killed load left behind."""
    done = Pass([{UNFINISHED: "1795.0"}, {}], _Ledger(), limited=True)
    assert rest(done, step("a", "b", "c", "d")) == ["b", "c", "d"]


def test_only_what_may_be_loaded_is_looked_up() -> None:
    """Parents without rows of the pass; and of a listing all that follows a page of new records."""
    ledger = _Ledger()
    done = Pass([{UNFINISHED: "1795.0"}], ledger, limited=True)
    assert (rest(done, step("a", of="q")), rest(done, step("a", of="new")), ledger.looked) == (["a"], ["a"], 0)
    assert (rest(done, step("d"), None), rest(done, step("a"), None), ledger.looked) == (["d"], ["a"], 1)


def test_a_run_without_a_limit_begins_a_pass_of_its_own() -> None:
    """It leaves nothing out, and ends what another one began."""
    state: dict[str, Any] = {UNFINISHED: "1795.0", "mine": 1}
    done = Pass([state], _Ledger(), limited=False)
    assert (rest(done, step("a")), done.began) == (["a"], None)
    done.update(state, "1796.0", cut=False)
    assert state == {"mine": 1}


def test_the_state_names_the_first_load_of_the_pass() -> None:
    """Of all resources: one that is done does not begin anew before the others are."""
    state: dict[str, Any] = {}
    Pass([state, {UNFINISHED: "1795.0"}], _Ledger(), limited=True).update(state, "1796.0", cut=True)
    assert state == {UNFINISHED: "1795.0"}
