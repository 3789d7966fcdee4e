"""A sync: the first one, one with nothing to do, one with changes, of single records, of a span."""

from __future__ import annotations

from datetime import timedelta
from json import loads

import dlt
import pytest

from tests.contract.commands import everything, gapless, gaps
from tests.contract.conftest import NAMES, Begin, elsewhere, everywhere, of
from tests.contract.subject import Subject
from tests.support.oracle import contract
from tests.support.world import World

CHECKED = "select min(last_checked_at) from coverage"


@everywhere
def test_first(subject: Subject, synced: World) -> None:
    """All that the vendor has, each record once with all below it."""
    synced.assert_exact()
    assert synced.sql(f"select count(*) from {subject.main}") == [(24,)]


@everywhere
@of(NAMES[1], NAMES[2])
def test_idle(subject: Subject, synced: World) -> None:
    """Nothing changed there, so no row changes here: all that is written is that it was asked for."""
    synced.complete()  # after news a listing still notes which records to know again
    before, checked = everything(synced, subject.tables), synced.sql(CHECKED)
    outcome = synced.complete()
    assert everything(synced, subject.tables) == before
    assert synced.sql(CHECKED) > checked
    if synced.database.name == "duckdb":
        assert (outcome.packages, outcome.rows_written) == (0, 0)
    assert (outcome.rows_new, outcome.rows_changed) == (0, None if synced.database.name == "sqlalchemy" else 0)
    assert gaps(synced, subject.name) == []


@pytest.mark.slow
@of(NAMES[1])
def test_new_after_a_look(subject: Subject, synced: World) -> None:
    """What was read to see whether anything is new is loaded with what is, whichever request fails meanwhile."""
    for number in range(4):
        subject.add_one(synced.fake)
        synced.fail_after(number, status=401)
        synced.may_not_fire()
        synced.sync()
        synced.mend()
    assert synced.complete().error is None
    synced.assert_exact()


@everywhere
@of(NAMES[0], NAMES[-1])
def test_changed(subject: Subject, synced: World) -> None:
    """New, late, edited and deleted records, new parents; what was deleted there is kept."""
    fake = synced.fake
    fake.advance(60)
    newest = max(subject.records(fake), key=lambda row: row[subject.time])
    subject.edit(fake, newest[subject.id], "edited")
    subject.add_one(fake, at=fake.now - timedelta(minutes=50))
    gone = subject.records(fake)[0]
    if not subject.one_by_one:  # a count that stays the same is believed for a while
        fake.delete(gone[subject.id])
    before = _records(subject, synced)
    outcome = synced.complete()
    synced.assert_exact()
    after = _records(subject, synced)
    changed = sum(after[record] != rows for record, rows in before.items())
    counted = (len(after) - len(before), changed, outcome.rows[subject.main] - len(after) + len(before) - changed)
    told = [counts and counts[subject.main] for counts in (outcome.new, outcome.changed, outcome.unchanged)]
    assert told == ([counted[0], None, None] if synced.database.name == "sqlalchemy" else [*counted])
    ((edited,),) = synced.sql(f"select count(*) from {subject.main} where {_column(subject)} = 'edited'")
    assert edited == 1


def _records(subject: Subject, here: World) -> dict[str, list[str]]:
    """Each record's rows, its own and those below it, by its `_dlt_id`."""
    found = dict[str, list[str]]()
    for table in (one for one in subject.tables if one.partition("__")[0] == subject.main):
        names = ", ".join(f'"{name}"' for name in subject.tables[table])
        for record, *cells in here.sql(
            f"select {'_dlt_root_id' if '__' in table else '_dlt_id'}, {names} from {table}"
        ):
            found.setdefault(record, []).append(f"{table} {cells}")
    return {record: sorted(rows) for record, rows in found.items()}


def _column(subject: Subject) -> str:
    return subject.text_column


@pytest.mark.slow
@elsewhere(0)
@of(NAMES[0], NAMES[3])
def test_by_id(subject: Subject, synced: World) -> None:
    """What is named is read again, however old; a vendor that has no endpoint for it is not asked."""
    oldest = min(subject.records(synced.fake), key=lambda row: row[subject.time])
    subject.edit(synced.fake, oldest[subject.id], "edited")
    by_id = subject.source.stream.by_id
    key = subject.of_parent(oldest) if by_id == "parent" else str(oldest[subject.id])
    synced.fake.requests.clear()
    result = gapless(synced, "sync", subject.name, "--id", key)
    if by_id is None:
        assert (result.exit_code, synced.asked()) == (2, 0)
        assert subject.source.facts.not_by_id in " ".join(result.stderr.split())
        return
    assert (result.exit_code, synced.asked()) == (0, 1), result.output
    synced.assert_exact()


@pytest.mark.slow
@elsewhere(1)
@of(NAMES[-1])
def test_a_window(subject: Subject, synced: World) -> None:
    """A span of creation times is read again, and nothing else."""
    now = synced.fake.now
    inside = subject.add_one(synced.fake, at=now - timedelta(days=3))
    outside = subject.add_one(synced.fake, at=now - timedelta(days=1))
    since, until = now - timedelta(days=4), now - timedelta(days=2)
    before = synced.rows("coverage")
    result = gapless(synced, "sync", subject.name, "--since", since.isoformat(), "--until", until.isoformat())
    assert result.exit_code == 0, result.output
    held = {key for (key,) in synced.sql(f"select {subject.id_column} from {subject.main}")}
    assert (inside in held, outside in held) == (True, False)
    assert synced.rows("coverage") == before


@pytest.mark.slow
@of(NAMES[0])
def test_a_schema_from_the_first_day(subject: Subject, world: Begin) -> None:
    """A vendor without a record: every table and column stands, with its type, key and disposition."""
    here = world(subject.empty())
    here.complete()
    name = subject.name
    for table, columns in contract(name).items():
        query = f"select column_name, data_type from information_schema.columns where table_name = '{table}'"
        held = dict(here.sql(f"{query} and table_schema = '{name}'"))
        assert {column: held.get(column) for column in columns} == columns, table
        assert {"_dlt_id", "_dlt_load_id"} & held.keys(), table
        if "__" in table:
            assert held["_dlt_parent_id"] == "VARCHAR", table
            assert held["_dlt_list_idx"] == "BIGINT", table
    extra = here.sql(f"select distinct table_name from information_schema.tables where table_schema = '{name}'")
    assert {t for (t,) in extra if not t.startswith("_dlt")} == contract(name).keys() | {"layout"}
    ((schema,),) = here.sql("select schema from _dlt_version order by inserted_at desc limit 1")
    tables = dlt.Schema.from_stored_schema(loads(schema)).tables
    for table in subject.source.tables:
        assert tables[table.name]["write_disposition"] == "merge"
        keys = [c for c, hints in tables[table.name]["columns"].items() if hints.get("primary_key")]
        assert keys == list(table.key)
        assert table.name in subject.derived or keys == [subject.keys[table.name]]
