"""`verify --cells`: what somebody changed in a record, or in the rows below it, is named, mended and then silent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from tests.contract.commands import document, fill, gapless, gaps
from tests.contract.conftest import NAMES, Begin, elsewhere, of
from tests.contract.subject import JSON, TEXT, Subject
from tests.support.world import World

SECRET = "canary of the cell"
SEED = "2"
"""With it the one parent that is chosen has records, in each source."""


class Done(NamedTuple):
    """A damage: the table and the column that must be named, and the statement that does it."""

    table: str
    column: str
    statement: str


@dataclass(frozen=True)
class Place:
    """The record of a source that is damaged, by its number."""

    subject: Subject
    number: int = 0

    @property
    def main(self) -> str:
        return self.subject.main

    @property
    def child(self) -> str | None:
        return f"{self.main}__{self.subject.column(self.subject.child)}" if self.subject.child else None

    @property
    def root(self) -> str:
        return f"(select _dlt_id from {self.main} order by _dlt_id limit 1 offset {self.number})"

    @property
    def record(self) -> str:
        return f"_dlt_id = {self.root}"

    @property
    def first_child(self) -> str:
        return f"_dlt_root_id = {self.root} and _dlt_list_idx = 0"

    def update(self, table: str, column: str, value: str, where: str) -> Done:
        return Done(table, column, f"update {table} set {column} = {value} where {where}")


Damage = Callable[[Place], Done | None]
"""None: the source has no such table."""


def altered(place: Place) -> Done:
    return place.update(place.main, place.subject.text_column, f"'{SECRET}'", place.record)


def emptied(place: Place) -> Done:
    return place.update(place.main, place.subject.text_column, "null", place.record)


def extra(place: Place) -> Done:
    return place.update(place.main, "_extra", f"""'{{"a": "{SECRET}"}}'""", place.record)


def json_altered(place: Place) -> Done:
    column, known = place.subject.column(place.subject.json), place.subject.tables
    table = next(t for t in known if t.startswith(place.main) and known[t].get(column) == JSON)
    where = place.record if table == place.main else place.first_child
    return place.update(table, column, f"""'[1, true, "{SECRET}"]'""", where)


def id_altered(place: Place) -> Done:
    other = "-7" if place.subject.numbered else f"'{SECRET}'"
    return place.update(place.main, place.subject.id_column, other, place.record)


def child_missing(place: Place) -> Done | None:
    return Done(place.child, "", f"delete from {place.child} where {place.first_child}") if place.child else None


def child_doubled(place: Place) -> Done | None:
    """As a row of its own, so that none stands there twice by its id."""
    if not place.child:
        return None
    names = [*place.subject.tables[place.child], "_dlt_parent_id", "_dlt_root_id", "_dlt_load_id"]
    listed = ", ".join(f'"{name}"' for name in names)
    row = f"select {listed}, _dlt_id || 'x', 7 from {place.child} where {place.first_child}"
    return Done(place.child, "", f"insert into {place.child} ({listed}, _dlt_id, _dlt_list_idx) {row}")


def children_in_another_order(place: Place) -> Done | None:
    swapped, own = "2 - _dlt_list_idx", f"_dlt_root_id = {place.root}"
    return place.update(place.child, "_dlt_list_idx", swapped, own) if place.child else None


def child_altered(place: Place) -> Done | None:
    column = place.subject.column(place.subject.child_text)
    return place.update(place.child, column, f"'{SECRET}'", place.first_child) if place.child else None


def child_of_nobody(place: Place) -> Done | None:
    change = f"update {place.child} set _dlt_parent_id = 'x', _dlt_root_id = 'x' where {place.first_child}"
    return Done(place.child, "", change) if place.child else None


def parent_changed(place: Place) -> Done | None:
    column = place.subject.source.stream.column
    other = f"(select max({column}) from {place.main} where {column} <> (select {column} from {place.main} where"
    return place.update(place.main, column, f"{other} {place.record}))", place.record) if column else None


def parents_row_altered(place: Place) -> Done | None:
    if not (table := place.subject.parents_table):
        return None
    column = place.subject.column(place.subject.parent_text)
    return place.update(table, column, f"'{SECRET}'", f"_dlt_id = (select min(_dlt_id) from {table})")


def derived(place: Place) -> tuple[str, str, str] | None:
    """A derived table, a text in it, and the condition on the record's row."""
    for table, known in place.subject.derived.items():
        (of_record, column) = [name for name, kind in known.items() if kind == TEXT]
        record = f"(select {place.subject.id_column} from {place.main} where {place.record})"
        return table, column, f"{of_record} = {record}"
    return None


def derived_altered(place: Place) -> Done | None:
    found = derived(place)
    return place.update(found[0], found[1], f"'{SECRET}'", found[2]) if found else None


def derived_missing(place: Place) -> Done | None:
    found = derived(place)
    return Done(found[0], "", f"delete from {found[0]} where {found[2]}") if found else None


DAMAGES: list[Damage] = [
    derived_altered, derived_missing, altered, emptied, extra, json_altered, child_missing, child_doubled,
    children_in_another_order, child_altered, child_of_nobody, parent_changed, parents_row_altered, id_altered,
]  # fmt: skip


def vendor(subject: Subject) -> Any:
    """A vendor whose records have a text, and three rows below each where they can have any."""
    fake = subject.filled()
    item = (subject.with_children.get(subject.child or "") or [{"id": "a"}])[0]
    for number, row in enumerate(subject.records(fake)):
        rows = [{**item, subject.child_text: f"{each} of {number}"} for each in range(3)]
        below = {subject.child: rows} if subject.child else {}
        fake.change(row[subject.id], **subject.with_text(f"text {number}", row), **below)
    return fake


def cells(here: World, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code of `verify --cells`, and what it says of the one source."""
    found = document(here, "verify", here.name, "--cells", *arguments)
    (source,) = found["sources"]
    return found["exit_code"], source


def named(found: dict[str, Any]) -> set[tuple[str, str]]:
    return {(one["table"], name) for one in found["differences"] for name in one["columns"] or [""]}


def hurt(here: World, *done: Done) -> None:
    here.database.change(here.name, *(one.statement for one in done))


@pytest.mark.slow
@elsewhere(0)
@of(NAMES[3])
def test_all_damages_at_once(subject: Subject, world: Begin) -> None:
    """Each is named with its table and column, and without a cell's content; a repair mends all of them."""
    here = world(vendor(subject))
    here.synced()
    code, found = cells(here, "--whole")
    assert (code, found["cells"], found["differences"]) == (0, 24, [])
    done = [one for number, damage in enumerate(DAMAGES) if (one := damage(Place(subject, number)))]
    hurt(here, *done)
    code, found = cells(here, "--whole")
    assert (code, {(one.table, one.column) for one in done} - named(found)) == (3, set())
    told = gaps(here)
    assert told
    assert SECRET not in f"{found}{told}{here.sql('select reason from dead_letters')}"
    result = gapless(here, "verify", subject.name, "--cells", "--repair")
    assert result.exit_code == 0, result.output
    here.assert_exact()
    assert (cells(here, "--whole")[0], gaps(here)) == (0, [])


@pytest.mark.sweep
@pytest.mark.parametrize("damage", DAMAGES)
@elsewhere(4)
@of()
def test_each_damage(damage: Damage, subject: Subject, world: Begin) -> None:
    """The command that `gaps` names mends it, and then nobody says anything any more."""
    here = world(vendor(subject))
    here.synced()
    if (done := damage(Place(subject))) is None:
        pytest.skip("it has no such table")
    hurt(here, done)
    code, found = cells(here, "--whole")
    assert (code, (done.table, done.column) in named(found)) == (3, True), found
    fill(here, gaps(here))
    here.assert_exact()
    assert cells(here, "--whole")[0] == 0


@pytest.mark.sweep
@pytest.mark.parametrize("damage", DAMAGES)
@of()
def test_the_next_sync_after_a_finding(damage: Damage, subject: Subject, world: Begin) -> None:
    """It reads again what was found where the vendor can be asked for it; what is not mended stays a gap."""
    here = world(vendor(subject))
    here.synced()
    if (done := damage(Place(subject))) is None:
        pytest.skip("it has no such table")
    hurt(here, done)
    assert cells(here, "--whole")[0] == 3
    here.sync()
    assert gaps(here) or (cells(here, "--whole")[0] == 0 and not here.mismatches())


@pytest.mark.sweep
@of(NAMES[2])
def test_what_the_vendor_changed(subject: Subject, world: Begin) -> None:
    """An edit that the next sync sees is left to it; another is named and, read again, is no alarm any more."""
    here = world(vendor(subject))
    here.synced()
    oldest = min(subject.records(here.fake), key=lambda row: str(row[subject.time]))
    subject.edit(here.fake, oldest[subject.id], "edited")
    code, found = cells(here, "--whole")
    if subject.whole:
        assert (code, found["differing"], found["changed"] > 0) == (0, {}, True)
        here.complete()
    else:
        edited = (subject.main, subject.text_column)
        assert (code, named(found)) == (3, {edited})
        assert gapless(here, "verify", subject.name, "--cells", "--repair").exit_code == 0
    here.assert_exact()
    assert (cells(here, "--whole")[0], gaps(here)) == (0, [])


@pytest.mark.slow
@of(NAMES[0], NAMES[3])
def test_what_is_new_is_left_to_the_next_sync(subject: Subject, synced: World) -> None:
    """Neither it nor its parent, whose row changes with it, differs."""
    subject.add_one(synced.fake, at=synced.fake.now + timedelta(hours=3))
    code, found = cells(synced, "--whole")
    assert (code, found["newer"], found["differences"]) == (0, 1, [])


@pytest.mark.sweep
@of(NAMES[2])
def test_a_sample(subject: Subject, synced: World) -> None:
    """It reads fewer records; what differs in them is a gap as well, until it is mended."""
    synced.fake.requests.clear()
    code, found = cells(synced, "--sample", "1", "--seed", SEED)
    assert (code, 0 < found["cells"] < 24) == (0, True)
    synced.database.change(synced.name, altered(Place(subject)).statement.partition(" where ")[0])
    code, found = cells(synced, "--sample", "1", "--seed", SEED)
    assert (code, named(found)) == (3, {(subject.main, subject.text_column)})
    assert {gap["kind"] for gap in gaps(synced)} == {"dead letter"}
    fill(synced, gaps(synced))
    synced.assert_exact()
