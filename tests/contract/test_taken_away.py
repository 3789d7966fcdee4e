"""What somebody took away by hand, and nobody serves any more, is told until somebody acknowledges it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.contract.commands import gapless, gaps, lose, run
from tests.contract.conftest import NAMES, Begin, of
from tests.contract.subject import Subject
from tests.support.world import World, some


@pytest.fixture
def unserved(subject: Subject, world: Begin) -> World:
    """A vendor who has deleted three of the 24 records that were synced."""
    here = world(subject.filled())
    here.complete()
    for record in subject.records(here.fake)[:3]:
        here.fake.delete(record[subject.id])
    return here


def lost(here: World) -> Iterator[tuple[str, str]]:
    """Each gap that nobody can fill, by its table and its reason; others are filled first."""
    for _ in range(2):
        for line in dict.fromkeys(gap["fill"] for gap in gaps(here) if gap["kind"] != "lost"):
            for command in line.split(" && "):
                run(*shlex.split(command)[1:])
    for gap in gaps(here):
        assert gap["kind"] == "lost", gap
        yield gap["stream"], gap["why"]


def acknowledge(here: World) -> None:
    """What is named ends the alarm."""
    for gap in gaps(here):
        assert "state rewind" in gap["fill"]
        for command in gap["fill"].split(" && "):
            run(*shlex.split(command)[1:])
    assert gaps(here) == []
    assert gapless(here, "sync", here.name).exit_code == 0


@pytest.mark.slow
@of(NAMES[-1])
@pytest.mark.parametrize("what", some(["table", "time", "id", "_dlt_id"], "table", "time"))
def test_records_that_are_served_no_more(what: str, subject: Subject, unserved: World) -> None:
    """Their whole table is dropped, or a column that every row needs: how many is told, and nothing new hides it."""
    column = {"time": subject.source.main.time_column, "id": subject.id_column}.get(what, what)
    change = f"drop table {subject.main}" if what == "table" else f"alter table {subject.main} drop column {column}"
    unserved.database.change(subject.name, change)
    fake = unserved.fake
    fake.now += timedelta(hours=1)
    # A new parent brings records that are older than what was proven.
    old = {"at": fake.now - timedelta(days=3)} if subject.parents_table else {}
    new = subject.add_parent(fake)[subject.parent_id] if subject.add_parent else None
    for _ in range(4):
        subject.add(fake, new, **old)
        subject.add(fake, subject.parents(fake)[0])
    found = [*lost(unserved)]
    # A column that may be null is made again in the rows that are there.
    cells = f"somebody took the column {column} away, and 3 rows could not be read again: they lack its cells"
    rows = "somebody took rows away, and 3 rows of the 24 that were there could not be read again"
    nullable = {one.name for one in subject.source.main.schema.columns if one.nullable}
    assert found == [(subject.main, cells if column in nullable else rows)]
    assert gapless(unserved, "sync", subject.name).exit_code == 3
    acknowledge(unserved)


@pytest.mark.slow
@of(NAMES[-1])
def test_a_table_of_which_nothing_says_how_many_rows_it_had(subject: Subject, unserved: World) -> None:
    unserved.database.change(subject.name, f"drop table {subject.main}", "drop table runs")
    assert [(table, "nothing says how many" in why) for table, why in lost(unserved)] == [(subject.main, True)]
    acknowledge(unserved)


@pytest.mark.slow
@of(NAMES[-1])
def test_a_dropped_table_whose_records_are_all_served(subject: Subject, world: Begin) -> None:
    """Nothing is told any more, whatever came meanwhile, and also when it happens twice."""
    here = world(subject.filled())
    here.complete()
    for _ in range(2):
        here.database.change(subject.name, f"drop table {subject.main}")
        here.fake.advance(60)
        subject.add(here.fake, subject.parents(here.fake)[-1])
        assert [*lost(here)] == []
        assert gapless(here, "sync", subject.name).exit_code == 0
    here.assert_exact()


@pytest.mark.slow
@of(NAMES[-1])
def test_a_loss_that_is_known_when_something_else_is_taken_away(subject: Subject, unserved: World) -> None:
    """A damage that sets the source back takes no note of lost rows away."""
    served = {record[subject.id] for record in subject.records(unserved.fake)}
    here = {row[0] for row in unserved.sql(f"select {subject.id_column} from {subject.main}")}
    listed = ", ".join(f"'{one}'" for one in here - served)
    unserved.database.change(
        subject.name, f"delete from {subject.main} where {subject.id_column} in ({listed})", "drop table _dlt_loads"
    )
    assert [table for table, _ in lost(unserved)] == [subject.main]
    acknowledge(unserved)


@pytest.mark.slow
@of(NAMES[-1])
@pytest.mark.parametrize("when", some(["at once", "later"], "later"))
@pytest.mark.parametrize(
    "damage",
    some(
        [
            "drop table dead_letters",
            "delete from dead_letters",
            "alter table dead_letters drop column stream",
            "alter table dead_letters drop column kind",
            "alter table dead_letters drop column first_seen_at",
            "drop table losses",
            "alter table losses drop column kind",
        ],
        "drop table dead_letters",
    ),
)
def test_a_note_outlives_damage_of_its_table(damage: str, when: str, subject: Subject, unserved: World) -> None:
    """A note stands in two tables, so that neither's damage takes it away."""
    text = next(c.name for c in subject.source.main.schema.columns if c.nullable and c.name[0] != "_")
    takes = f"alter table {subject.main} drop column {text}"
    if when == "at once":
        if "losses" in damage:
            pytest.skip("the first note makes the table `losses`, so it cannot be damaged together with the rows")
        unserved.database.change(subject.name, takes, damage)
    else:
        unserved.database.change(subject.name, takes)
        assert [table for table, _ in lost(unserved)] == [subject.main]
        unserved.database.change(subject.name, damage)
    assert [table for table, _ in lost(unserved)] == [subject.main]
    gapless(unserved, "sync", subject.name)
    unserved.database.change(subject.name, "drop table losses" if "dead" in damage else "drop table dead_letters")
    assert [table for table, _ in lost(unserved)] == [subject.main]
    acknowledge(unserved)


@pytest.mark.slow
@of(NAMES[-1])
@pytest.mark.parametrize(
    "damage",
    some(
        [
            "drop table runs",
            "delete from runs",
            "alter table runs drop column scope",
            "alter table runs drop column outcome",
            "alter table runs drop column shard",
        ],
        "alter table runs drop column scope",
        "drop table runs",
    ),
)
def test_rounds_that_nobody_knows_any_more(damage: str, subject: Subject, synced: World) -> None:
    """Rounds failed, and what says so is taken away: a sync of a part ends no alarm, one of all that is new does."""
    synced.fail_after(0, status=401)
    assert synced.sync().outcome == "failed"
    synced.mend()
    assert [gap["kind"] for gap in gaps(synced)] == ["not asked"]
    synced.database.change(subject.name, damage)
    gapless(synced, "sync", subject.name, "--since", "2020-01-01", "--until", "2020-01-02")
    assert [gap["kind"] for gap in gaps(synced)] == ["not asked"]
    assert gapless(synced, "sync", subject.name).exit_code in (0, 3)
    assert [gap for gap in gaps(synced) if gap["kind"] == "not asked"] == []


@pytest.mark.slow
@of(NAMES[-1])
@pytest.mark.parametrize("command", some(["--repair", "--whole"], "--repair"))
def test_records_that_nobody_serves_and_somebody_deleted(command: str, subject: Subject, unserved: World) -> None:
    """The command that ends the alarm says how many nobody can bring back, and does not end as if all were well."""
    served = {str(record[subject.id]) for record in subject.records(unserved.fake)}
    here = {str(row[0]) for row in unserved.sql(f"select {subject.id_column} from {subject.main}")}
    gone = ", ".join(f"'{one}'" for one in sorted(here - served))
    lose(unserved, f"cast({subject.id_column} as varchar) in ({gone})")
    assert {gap["kind"] for gap in gaps(unserved)} == {"lost"}
    told = gapless(unserved, "verify", subject.name, command)
    assert (told.exit_code, "3 records that were here are lost" in " ".join(told.output.split())) == (3, True)
    for gap in gaps(unserved):  # of rows below them
        run(*shlex.split(gap["fill"].partition(" && ")[0])[1:])
    assert gapless(unserved, "sync", subject.name).exit_code == 0
    assert gapless(unserved, "verify", subject.name, "--whole").exit_code == 0
    assert gaps(unserved) == []
