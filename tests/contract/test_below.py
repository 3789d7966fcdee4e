"""Rows below records: what is lost of them is seen whatever became of `runs`, and what an alarm names mends it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from gapless.pipelines.sync import run as runs
from tests.contract.commands import document, fill, gapless, gaps
from tests.contract.conftest import NAMES, elsewhere, of
from tests.contract.subject import Subject, copied
from tests.support.world import World

Forgotten = Callable[[World, pytest.MonkeyPatch], Any]


def _killed(here: World, patch: pytest.MonkeyPatch) -> None:
    """A sync is killed before it writes how it ended."""
    with patch.context() as killed:
        killed.setattr(runs, "write_run", lambda *_, **__: True)
        here.sync()


FORGOTTEN: dict[str, Forgotten] = {
    "kept": lambda here, _: None,
    "a killed sync": _killed,
    "no counts": lambda here, _: here.database.change(here.name, "update runs set held = null"),
    "no runs": lambda here, _: here.database.change(here.name, "delete from runs"),
}
"""What takes away the counts that a sync noted at its end."""


def below(subject: Subject) -> list[str]:
    """The tables below the records, the deepest last."""
    found = [shape.name for shape in subject.source.main.schema.tree() if shape.parent]
    if not found:
        pytest.skip("it has no tables below its records")
    return found


@pytest.mark.slow
@elsewhere(0)
@of(NAMES[1])
@pytest.mark.parametrize("forgotten", FORGOTTEN.values(), ids=FORGOTTEN)
def test_lost_rows_are_seen(
    forgotten: Forgotten, subject: Subject, synced: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `gaps`, `status`, a sync and `verify`, until the one command that is named has brought them back."""
    table = below(subject)[-1]
    forgotten(synced, monkeypatch)
    synced.database.change(subject.name, f"delete from {table}")
    told = [gap for gap in gaps(synced) if "__" in gap["stream"]]
    command = " ".join(["gapless verify", subject.name, "--repair", *synced.database.option])
    assert [(gap["kind"], gap["fill"]) for gap in told] == [("lost", command)]
    assert synced.sync().outcome == "partial"
    if not synced.mismatches():  # all of it was within the look-back
        assert [gap for gap in gaps(synced) if "__" in gap["stream"]] == []
        return
    told = gaps(synced)
    assert command in {gap["fill"] for gap in told}
    found = document(synced, "verify", subject.name, "--whole")
    assert (found["exit_code"], found["sources"][0]["torn"] > 0) == (3, True)
    fill(synced, told)
    synced.assert_exact()
    assert synced.sync().outcome == "complete"


@pytest.mark.slow
@elsewhere(2)
@of(NAMES[2])
def test_rows_that_moved_or_were_invented(subject: Subject, synced: World) -> None:
    """Their number is right, and `verify` sees them without asking for a cell; a repair makes it exact."""
    table = below(subject)[0]
    roots = f"select min(_dlt_root_id) from {table}", f"select max(_dlt_root_id) from {table}"
    move = f"update {table} set _dlt_root_id = ({roots[1]}) where _dlt_root_id = ({roots[0]})"
    synced.database.change(subject.name, move)
    assert gaps(synced) == []
    code = document(synced, "verify", subject.name, "--whole")["exit_code"]
    assert (code, gapless(synced, "verify", subject.name, "--repair").exit_code, gaps(synced)) == (3, 0, [])
    synced.assert_exact()


@pytest.mark.slow
@elsewhere(3)
@of(NAMES[1])
def test_what_nobody_can_bring_back(subject: Subject, synced: World) -> None:
    """What is lost below a record that the vendor deleted is said once more by the command that ends the alarm."""
    table = below(subject)[-1]
    ((row,),) = synced.sql(f"select max(_dlt_root_id) from {table}")
    (gone,) = synced.sql(f"select {subject.id_column} from {subject.main} where _dlt_id = '{row}'")
    synced.fake.delete(*gone)
    synced.sync()
    synced.database.change(subject.name, f"delete from {table} where _dlt_root_id = '{row}'")
    assert [gap["kind"] for gap in gaps(synced)] == ["lost"]
    result = gapless(synced, "verify", subject.name, "--repair")
    assert (result.exit_code, "nobody can bring that back" in result.output) == (3, True), result.output
    assert gaps(synced) == []
    assert gapless(synced, "verify", subject.name, "--whole").exit_code == 0


def _another_only(here: World, subject: Subject, record: str, parent: str) -> None:
    """The setting that names what is read names another."""
    only = subject.source.stream.only
    if only is None:
        pytest.skip("it has no such setting")
    rows = here.sql(f"select {subject.source.stream.column}, {subject.id_column} from {subject.main}")
    other = next(one for one in rows if parent != str(one[0]))
    here.set(**{only.upper(): str(other[0] if subject.source.stream.by_id == "parent" else other[1])})


def _begun_later(here: World, subject: Subject, record: str, parent: str) -> None:
    """The initial value is set to after the record."""
    here.set(**{f"{subject.prefix}_INITIAL_VALUE": (here.fake.now + timedelta(hours=1)).isoformat()})


def _empty(here: World, subject: Subject, record: str, parent: str) -> None:
    """The vendor answers as if its parent had no record."""
    if subject.source.stream.parents is None or subject.one_by_one:
        pytest.skip("each record can be asked for by its id")
    gone = [row[subject.id] for row in subject.records(here.fake) if str(subject.of_parent(row)) == parent]
    memory = copied(here.fake)
    for one in gone:
        memory.delete(one)
    here.intercept = lambda request: memory.handle(request) if parent in str(request.url) else None


NOT_ASKED = {"another one only": _another_only, "begun later": _begun_later, "an empty answer": _empty}
"""Why a record that is served is not met."""


@pytest.mark.slow
@elsewhere(2)
@of(NAMES[0], NAMES[1], NAMES[-1])
@pytest.mark.parametrize("hide", NOT_ASKED.values(), ids=NOT_ASKED)
def test_what_was_not_asked_is_not_given_up(hide: Callable[..., None], subject: Subject, synced: World) -> None:
    """What a comparison did not meet stays told, or is read again by its id."""
    table = below(subject)[-1]
    ((row,),) = synced.sql(f"select min(_dlt_root_id) from {table}")
    column = subject.source.stream.column or "''"
    ((record, parent),) = synced.sql(
        f"select {subject.id_column}, {column} from {subject.main} where _dlt_id='{row}'"
    )
    synced.database.change(subject.name, f"delete from {table} where _dlt_root_id = '{row}'")
    hide(synced, subject, str(record), str(parent))
    result = gapless(synced, "verify", subject.name, "--repair")
    brought = not synced.mismatches()
    assert (result.exit_code == 0) == brought, result.output
    assert "nobody can bring that back" not in result.output
    told = " ".join(result.output.split())
    assert brought or "were not asked for" in told, result.output
    synced.mend()
    for setting in (str(subject.source.stream.only).upper(), f"{subject.prefix}_INITIAL_VALUE"):
        synced.monkeypatch.delenv(setting, raising=False)
    assert brought or [gap["kind"] for gap in gaps(synced) if "__" in gap["stream"]] == ["lost"]
    synced.sync()  # where the initial value was later it reads what is older
    gapless(synced, "verify", subject.name, "--repair")
    synced.assert_exact()


@pytest.mark.slow
@elsewhere(3)
@of(NAMES[1])
def test_counts_tell_what_records_hide(subject: Subject, synced: World) -> None:
    """Who deletes rows and changes what the record says is told by the last sync's counts, until a reset."""
    table = below(subject)[-1]
    ((row, fewer),) = synced.sql(f"select _dlt_root_id, count(*) from {table} group by 1 order by 1 limit 1")
    synced.database.change(
        subject.name,
        f"delete from {table} where _dlt_root_id = '{row}'",
        f"update {subject.main} set rows_below = rows_below - {fewer} where _dlt_id = '{row}'",
    )
    for _ in range(2):
        told = gaps(synced)
        assert [(gap["kind"], gap["stream"]) for gap in told] == [("lost", table)]
        assert synced.sync().outcome == "partial"
    fill(synced, told)
    synced.assert_exact()
    assert synced.sync().outcome == "complete"


@pytest.mark.slow
@elsewhere(2)
@of(NAMES[1])
@pytest.mark.parametrize("forgotten", [FORGOTTEN["kept"], FORGOTTEN["a killed sync"]], ids=["kept", "a killed sync"])
def test_one_that_says_nothing(
    forgotten: Forgotten, subject: Subject, synced: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hides nothing of the others, and says it again as soon as no loss is known."""
    table = below(subject)[-1]
    ((silent, row),) = synced.sql(f"select min(_dlt_root_id), max(_dlt_root_id) from {table}")
    forgotten(synced, monkeypatch)
    synced.database.change(
        subject.name,
        f"update {subject.main} set rows_below = null where _dlt_id = '{silent}'",
        f"delete from {table} where _dlt_root_id = '{row}'",
    )
    told = gaps(synced)
    assert [gap["kind"] for gap in told if "__" in gap["stream"]] == ["lost"]
    fill(synced, told)
    subject.add_one(synced.fake)
    synced.complete()
    if synced.database.name != "postgres":  # it says that no row came or went, and counts them once a day
        assert synced.sql(f"select count(*) from {subject.main} where rows_below is null") == [(0,)]
    synced.assert_exact()


@pytest.mark.slow
@elsewhere(1)
@of(NAMES[1])
def test_a_reset_ends_what_was_not_asked(subject: Subject, synced: World) -> None:
    """`state reset` takes what is left below a record for all, and the next sync reads again what is served."""
    table = below(subject)[-1]
    ((row,),) = synced.sql(f"select max(_dlt_root_id) from {table}")
    (gone,) = synced.sql(f"select {subject.id_column} from {subject.main} where _dlt_id = '{row}'")
    synced.fake.delete(*gone)
    synced.sync()
    synced.database.change(subject.name, f"delete from {table}")
    lost = len(synced.mismatches())
    assert gapless(synced, "state", "reset", subject.name, "--yes").exit_code == 0
    synced.complete()
    assert (gaps(synced), lost > 0) == ([], True)
    assert gapless(synced, "verify", subject.name, "--whole", "--cells").exit_code == 0


@pytest.mark.slow
@elsewhere(1)
@of(NAMES[3])
def test_an_id_that_somebody_changed(subject: Subject, synced: World) -> None:
    """`verify --whole` names the record that is missing and the row that nobody serves; a repair makes it exact."""
    column, main, other = subject.id_column, subject.main, "-7" if subject.numbered else "foreign"
    ((row, own),) = synced.sql(f"select _dlt_id, {column} from {main} order by _dlt_id limit 1")
    synced.database.change(subject.name, f"update {main} set {column} = '{other}' where _dlt_id = '{row}'")
    found = document(synced, "verify", subject.name, "--whole")
    (one,) = found["sources"]
    absent = [record for ids in one["absent"].values() for record in ids]
    assert (found["exit_code"], absent, one["foreign"]) == (3, [str(own)], {str(own): other})
    result = gapless(synced, "verify", subject.name, "--repair")
    assert (result.exit_code, f"{other} here" in result.output) == (0, True), result.output
    assert "not served by the vendor" in " ".join(result.output.split())
    synced.assert_exact()
    assert gaps(synced) == []
