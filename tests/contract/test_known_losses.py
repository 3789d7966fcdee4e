"""Losses that are known: what is named ends the alarm, and no copy of the file hides one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from tests.contract.commands import fill, gapless, gaps, lose, typed
from tests.contract.conftest import NAMES, Begin, of
from tests.contract.subject import Subject
from tests.contract.test_alarms_end import ended
from tests.contract.test_proofs import lost
from tests.support.databases import DATABASES, require
from tests.support.oracle import mismatches
from tests.support.postgres import Server
from tests.support.world import World, some


@pytest.mark.slow
@of(NAMES[1])
def test_a_sync_that_brought_back_some_of_what_is_lost(subject: Subject, synced: World) -> None:
    """The repair that is named ends the alarm, also about the rows below what the sync had brought back."""
    time = subject.column(subject.time)
    newest = f"select _dlt_id from {subject.main} order by {time} desc limit 7"
    lose(synced, f"_dlt_id in ({newest})")  # some of them within the look-back
    assert synced.sync().outcome == "partial"
    result = gapless(synced, "verify", subject.name, "--repair")
    assert (result.exit_code, gaps(synced)) == (0, []), result.output
    synced.complete()
    synced.assert_exact()


@pytest.mark.slow
@of(NAMES[-1])
def test_a_copy_of_a_file_with_a_loss(
    subject: Subject, synced: World, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy lacks the same, and says so until it is repaired or copied again from a file that is."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", server.database())
    there, copied = ("--destination", "postgres"), ("copy", "--to", "postgres")
    lost(subject, synced)
    assert synced.sync().outcome == "partial"
    assert gaps(synced)
    codes = [gapless(synced, *command).exit_code for command in (copied, ("gaps", *there))]
    assert codes == [3, 3]
    assert gapless(synced, "verify", subject.name, "--repair").exit_code == 0
    codes = [gapless(synced, *command).exit_code for command in (copied, ("gaps", *there))]
    assert codes == [0, 0]
    verified = gapless(synced, "verify", subject.name, "--whole", *there)
    assert verified.exit_code == 0, verified.output


@pytest.mark.slow
@of(NAMES[0])
def test_a_copy_of_a_file_that_lacks_a_row_below(
    subject: Subject, synced: World, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record of the copy says so itself: a sync of it ends as `gaps` does, and the repair ends both."""
    if not subject.source.main.schema.children:
        pytest.skip("no rows are below its records")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", server.database())
    there = ("--destination", "postgres")
    child = subject.source.main.schema.children[0].name
    synced.database.change(
        subject.name,
        f"delete from {child} where _dlt_id = (select min(_dlt_id) from {child} where _dlt_list_idx = 0)",
    )
    commands = (("copy", "--to", "postgres"), ("sync", subject.name, *there), ("gaps", *there))
    assert [gapless(synced, *command).exit_code for command in commands] == [3, 3, 3]
    repair = ("verify", subject.name, "--repair", *there)
    assert [gapless(synced, *command).exit_code for command in (repair, *commands[1:])] == [0, 0, 0]


@pytest.mark.slow
@of(NAMES[0])
@pytest.mark.parametrize("engine", some(["duckdb", "postgres", "sqlalchemy"], "duckdb", "postgres"))
def test_cells_of_what_is_gone_are_told(engine: str, subject: Subject, world: Begin, tmp_path: Path) -> None:
    """Their column was taken away and made again, and the vendor does not serve the record any more."""
    require(engine)
    here = world(subject.filled())
    here.database = DATABASES[engine](tmp_path)
    here.set(**here.database.settings)
    here.complete()
    column = subject.column(subject.text)
    cascade = " cascade" if engine == "postgres" else ""

    def lose() -> None:
        here.database.change(subject.name, f'alter table {subject.main} drop column "{column}"{cascade}')
        gapless(here, "sync", subject.name)
        gapless(here, "sync", subject.name)

    lose()
    assert gaps(here) == []
    here.complete()
    assert here.letters() == []
    here.fake.delete(subject.records(here.fake)[0][subject.id])
    lose()
    assert gapless(here, "sync", subject.name).exit_code == 3
    (told,) = gaps(here)
    assert (told["kind"], told["stream"]) == ("lost", subject.main)
    assert f"the column {column} " in told["why"]
    assert " 1 row " in told["why"]
    fill(here, [told])
    here.complete()


@pytest.mark.slow
@of(NAMES[0])
def test_rows_below_what_is_gone_are_told(subject: Subject, world: Begin) -> None:
    """Their table was dropped, and the vendor does not serve the record any more."""
    children = [shape.name for shape in subject.source.main.schema.tree() if shape.parent]
    if not children:
        pytest.skip("its records have no rows below them")
    here = world(subject.filled())
    parent = subject.parents(here.fake)[0]
    key = subject.add(here.fake, parent, **subject.with_children)[subject.id]
    here.complete()
    here.fake.delete(key)
    here.database.change(subject.name, *(f"drop table {name}" for name in reversed(children)))
    gapless(here, "sync", subject.name)
    assert gapless(here, "sync", subject.name).exit_code == 3
    assert {gap["kind"] for gap in gaps(here)} >= {"lost"}
    assert ended(here)
    here.complete()


DAMAGED: dict[str, Callable[[Subject], str]] = {
    "a column": lambda subject: f"alter table {subject.main} drop column {subject.text_column}",
    "the ledger": lambda subject: "drop table coverage",
    "a table": lambda subject: f"drop table {[*subject.source.main.schema.tree()][-1].name}",
    "rows twice": lambda subject: f"insert into {subject.main} select * from {subject.main} limit 3",
}


@pytest.mark.parametrize("damage", some(DAMAGED, "a column", "rows twice"))
@of(NAMES[3])
def test_a_copy_of_a_file_that_is_damaged(subject: Subject, synced: World, tmp_path: Path, damage: str) -> None:
    """Nothing goes over what the copy has already: it is refused, and works when what is named was typed."""
    copy = tmp_path / "copy.duckdb"
    synced.set(DESTINATION__SECOND__DESTINATION_TYPE="duckdb", DESTINATION__SECOND__CREDENTIALS=str(copy))
    copied = ("copy", "--to", "second")

    def wrong() -> list[str]:
        with duckdb.connect(str(copy), read_only=True) as db:
            return mismatches(db, subject.name, synced.fake.truth())

    assert gapless(synced, *copied).exit_code == 0
    subject.add_one(synced.fake)
    synced.complete()
    synced.database.change(subject.name, DAMAGED[damage](subject))
    before = wrong()
    refused = gapless(synced, *copied)
    named = re.search("`(gapless [^`]+)`", " ".join(refused.output.split()))
    assert (refused.exit_code, bool(named)) == (1, True), refused.output
    assert wrong() == before
    assert named
    typed(synced, named[1])
    again = gapless(synced, *copied)
    assert again.exit_code == 0, again.output
    assert gaps(synced) == []
    assert wrong() == []
