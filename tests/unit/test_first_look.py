"""A first look at a sync finds nothing, or whatever it is that must be loaded; what it read is not lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import Any

import pytest

from gapless.sources._extract.first_look import MOST_RECORDS, FirstLook
from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, MERGE, Coverage, DeadLetter
from gapless.sources._ledger.session import LoadItem, Session, Unchanged
from gapless.sources._ledger.stored.reader import EmptyLedger
from gapless.sources._schema.arrow import Batch, Table, to_arrow
from gapless.sources._schema.record import Instant, Many, Record, Text

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BEFORE = NOW - timedelta(hours=1)
STATE = {"watermark": "2026-02-28T00:00:00+00:00"}


class Feather(Record):
    """A feather."""

    colour: Text | None = None
    """Its colour."""


class Bird(Record):
    """A bird."""

    id: Text
    """Its ring."""
    created_at: Instant
    """When it was ringed."""
    name: Text | None = None
    """What people call it."""
    feathers: Many[Feather] = []


BIRDS = Table("birds", Bird, ("id",), MERGE)
ROBIN = Bird(id="1", created_at=BEFORE, name="Robin", feathers=[Feather(colour="red")])
WREN = Bird(id="2", created_at=BEFORE)
PROOF = Coverage(stream="birds", parent="", covered_to=BEFORE, records=2, last_checked_at=BEFORE)


class Stored(EmptyLedger):
    """What a destination holds: these birds, of a completed load or not, and their proof."""

    def __init__(self, birds: Iterable[Bird], completed: bool = True, proof: Coverage | None = PROOF) -> None:
        super().__init__()
        self._trees, self._completed, self._proof = to_arrow(BIRDS, [*birds]).rows, completed, proof

    def coverage(self, stream: str, parents: Any = None) -> dict[str, Coverage]:
        return {self._proof.parent: self._proof} if self._proof and stream == self._proof.stream else {}

    def select(self, table: str, columns: Any, within: Any = None, bounds: Any = None) -> Iterator[tuple[Any, ...]]:
        (name, wanted), rows = within, self._trees[table].to_pylist()
        return ((*(row[one] for one in columns), self._completed) for row in rows if row[name] in set(wanted))


HERE = Stored([ROBIN, WREN])


def item(*birds: Bird, proof: Coverage | None = None, letters: Iterable[DeadLetter] = ()) -> LoadItem:
    """What a page adds when it was read at NOW."""
    proof = proof or PROOF.model_copy(update={"last_checked_at": NOW})
    return LoadItem([Batch(BIRDS, birds), Batch(DEAD_LETTERS, [*letters]), Batch(COVERAGE, [proof])], dict(STATE))


def looked(items: Iterable[LoadItem], ledger: EmptyLedger = HERE) -> tuple[bool, FirstLook, Session]:
    session = Session(max_records=20_000)
    look = FirstLook(session, ledger, to_arrow)
    return look.finds_nothing("birds", iter(items), STATE), look, session


def read_again(session: Session) -> list[LoadItem]:
    """What the load package is made of that comes next."""
    session.begin_package("1")
    return list(session.load_items("birds", lambda: pytest.fail("it was read anew")))


def test_nothing_is_new() -> None:
    """What is served is what is stored, so only the time of the check is written."""
    pages = [item(ROBIN), item(WREN)]
    nothing, look, session = looked(pages)
    assert (nothing, look.unchanged) == (True, [Unchanged("birds", ("",), (("last_checked_at", NOW),))])
    session.end()
    assert session.done


LETTER = DeadLetter(stream="birds", kind="record", key="3", reason="no bird", first_seen_at=NOW, last_seen_at=NOW)
NEWS: dict[str, tuple[LoadItem, EmptyLedger]] = {
    "a record": (item(ROBIN, WREN, Bird(id="3", created_at=NOW)), HERE),
    "another text": (item(ROBIN, WREN.model_copy(update={"name": "Wren"})), HERE),
    "another row below it": (item(ROBIN.model_copy(update={"feathers": [Feather(colour="blue")]}), WREN), HERE),
    "a row less below it": (item(ROBIN.model_copy(update={"feathers": []}), WREN), HERE),
    "a record that was lost here": (item(ROBIN, WREN), Stored([WREN])),
    "a record of a load that was broken off": (item(ROBIN, WREN), Stored([ROBIN, WREN], completed=False)),
    "a letter": (item(ROBIN, WREN, letters=[LETTER]), HERE),
    "a count": (item(ROBIN, WREN, proof=PROOF.model_copy(update={"records": 3})), HERE),
    "a failure": (item(ROBIN, WREN, proof=PROOF.model_copy(update={"error": "503", "failures": 1})), HERE),
    "a parent": (item(ROBIN, WREN, proof=PROOF.model_copy(update={"parent": "nest"})), HERE),
    "the first proof": (item(ROBIN, WREN), Stored([ROBIN, WREN], proof=None)),
    "a state": (replace(item(ROBIN, WREN), state={"watermark": "2026-03-01T00:00:00+00:00"}), HERE),
}


@pytest.mark.parametrize(("page", "ledger"), NEWS.values(), ids=NEWS)
def test_something_is_new(page: LoadItem, ledger: EmptyLedger) -> None:
    """Then the load package is made of all that was read, each item once."""
    pages = [item(WREN), page]
    nothing, _, session = looked(pages, ledger)
    assert (nothing, session.done) == (False, False)
    assert list(map(id, read_again(session))) == list(map(id, pages))


def test_what_reading_raised_is_raised_in_the_load_package() -> None:
    """After what came before it, as without the look."""

    def pages() -> Iterator[LoadItem]:
        yield item(ROBIN)
        raise ConnectionError("503")

    nothing, _, session = looked(pages())
    assert not nothing
    assert len(read_again(session)) == 1
    session.begin_package("2")
    with pytest.raises(ConnectionError, match="503"):
        list(session.load_items("birds", pages))


def _slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoadItem]:
    monkeypatch.setattr("gapless.sources._extract.first_look.MOST_SECONDS", -1.0)
    return repeat(item(ROBIN, WREN), 2)


FULL: dict[str, Callable[[pytest.MonkeyPatch], Iterator[LoadItem]]] = {
    "records": lambda monkeypatch: repeat(item(ROBIN, WREN), MOST_RECORDS),
    "seconds": _slow,
}


@pytest.mark.parametrize("pages", FULL.values(), ids=FULL)
def test_a_long_look_ends(
    pages: Callable[[pytest.MonkeyPatch], Iterator[LoadItem]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if nothing is new: what was read is loaded before it is too much to lose or to hold."""
    source = pages(monkeypatch)
    nothing, _, session = looked(source)
    assert not nothing
    assert next(source)  # the rest waits
    session.close("birds")


def test_what_was_looked_at_belongs_to_the_package_that_follows() -> None:
    """Whoever asks whether rows may be stored by now is told so from the next package on."""
    _, _, session = looked([])
    looked_at = session.package
    session.begin_package("1")
    assert session.package is looked_at
    session.begin_package("2")
    assert session.package is not looked_at
