"""A dead letter is closed only by its record: open ones before, less the records loaded, are the open ones after."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from gapless.sources._ledger.window import Window
from tests.contract.commands import gapless, lose
from tests.contract.conftest import NAMES, Begin, everywhere, of
from tests.contract.subject import Subject
from tests.support.world import World

JOBS = ["since", "until", "backfill", "end value", "interval", "id"]


def run(job: str, subject: Subject, here: World, since: datetime, until: datetime) -> None:
    """One job that reads from `since` to `until`, or another record than the bad ones."""
    if job == "id":
        if subject.source.stream.by_id != "record":
            pytest.skip("the source reads no record by its id")
        other = next(row for row in subject.records(here.fake) if subject.text_of(row) != [])
        here.sync(ids=(str(other[subject.id]),))
    elif job == "end value":
        here.set(**{f"{subject.prefix}_INITIAL_VALUE": since.isoformat()})
        here.set(**{f"{subject.prefix}_END_VALUE": until.isoformat()})
        here.sync()
        for setting in ("INITIAL", "END"):
            here.monkeypatch.delenv(f"{subject.prefix}_{setting}_VALUE")
    elif job == "interval":
        here.set(DLT_INTERVAL_START=since.isoformat(), DLT_INTERVAL_END=until.isoformat())
        here.sync()
        for bound in ("START", "END"):
            here.monkeypatch.delenv(f"DLT_INTERVAL_{bound}")
    else:
        here.sync(window=Window(since, None if job == "since" else until), backfill=job == "backfill")


def _open(here: World) -> set[tuple[str, str]]:
    return {(kind, key) for kind, key in here.sql("select kind, key from dead_letters where healed_at is null")}


def _held(subject: Subject, here: World) -> set[str]:
    return {str(key) for (key,) in here.sql(f"select {subject.id_column} from {subject.main}")}


def _with_bad(subject: Subject, world: Begin) -> tuple[World, list[Any]]:
    """A first sync of a vendor of whom some records are bad, far older than the look-back, of now, and between."""
    fake = subject.filled()
    ages = [timedelta(days=4), timedelta(days=3, hours=5), timedelta(minutes=5), timedelta(0)]
    ids = [subject.add_one(fake, at=fake.now - age, **subject.with_text([])) for age in ages]
    here = world(fake)
    assert here.sync().outcome == "partial"
    assert _open(here) == {("record", str(one)) for one in ids}
    return here, ids


@pytest.mark.slow
@of(NAMES[1])
@pytest.mark.parametrize("job", ["since", *(pytest.param(job, marks=pytest.mark.sweep) for job in JOBS[1:])])
@pytest.mark.parametrize("mended", [True, pytest.param(False, marks=pytest.mark.sweep)], ids=["mended", "still bad"])
def test_a_job_closes_what_it_loads(subject: Subject, world: Begin, job: str, mended: bool) -> None:
    """Bad records are mended or not, some are in the job's span: what it meets and does not load stays open."""
    here, ids = _with_bad(subject, world)
    if mended:
        for one in ids:
            subject.edit(here.fake, one, "mended")
    before, held = _open(here), _held(subject, here)
    now = here.fake.now
    run(job, subject, here, now - timedelta(days=3, hours=12), now - timedelta(days=1))
    loaded = {("record", key) for key in _held(subject, here) - held}
    assert _open(here) == before - loaded
    if mended:
        here.sync()
        if here.letters():  # a listing alone does not go down to them
            assert subject.source.stream.by_id is None
            assert gapless(here, "state", "reset", subject.name, "--yes").exit_code == 0
            here.complete()
        here.assert_exact()
        assert here.letters() == []


@pytest.mark.slow
@everywhere
@of(NAMES[0])
def test_named_again_is_read_again(subject: Subject, synced: World) -> None:
    """`--id` reads what it names, whatever was read before and however little of it is here."""
    by_id = subject.source.stream.by_id
    if by_id is None:
        pytest.skip("the source reads nothing by id")
    row = subject.records(synced.fake)[0]
    lose(synced)
    key = subject.of_parent(row) if by_id == "parent" else str(row[subject.id])
    assert gapless(synced, "sync", subject.name, "--id", key).exit_code in (0, 3)
    own = [one for one in subject.records(synced.fake) if by_id == "record" or subject.of_parent(one) == key]
    expected = {str(one[subject.id]) for one in own} if by_id == "parent" else {key}
    assert _held(subject, synced) == expected


@pytest.mark.slow
@of(NAMES[0])
@pytest.mark.parametrize("how", ["option", "setting"])
def test_an_id_that_is_mistyped(subject: Subject, synced: World, how: str) -> None:
    """It is said, with the id and where it was named; it leaves no alarm behind."""
    stream = subject.source.stream
    if stream.by_id is None or (how == "setting" and stream.only is None):
        pytest.skip("the source reads nothing by id")
    if how == "setting":
        synced.set(**{str(stream.only).upper(): "nobody"})
    outcome = synced.sync(ids=("nobody",) if how == "option" else ())
    (failure,) = outcome.failures
    assert "nobody" in str(failure)
    assert ("--id" if how == "option" else str(stream.only).upper()) in str(failure)
    assert outcome.outcome == "partial"
    if how == "setting":
        synced.monkeypatch.delenv(str(stream.only).upper())
    synced.complete()
    assert synced.letters() == []
    assert synced.sql("select count(*) from coverage where parent = 'nobody'") == [(0,)]
