"""What is older than is kept is erased, stays so, and is no gap."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from typing import Any

import httpx2 as httpx
import pytest

from gapless.sources._ledger.window import instant, retention
from tests.contract.commands import document, gapless, gaps, run
from tests.contract.conftest import NAMES, elsewhere, of
from tests.contract.subject import Row, Subject
from tests.support.oracle import Truth
from tests.support.world import World

AGE = timedelta(days=400)


def aged(subject: Subject, here: World) -> list[Any]:
    """Adds records that are older than is kept; their ids."""
    old = here.fake.now - AGE - timedelta(days=30)
    added = [subject.add(here.fake, parent, at=old) for parent in subject.parents(here.fake)[:2]]
    return [row[subject.id] for row in added]


def kept(subject: Subject, truth: Truth, since: datetime) -> Truth:
    def is_kept(row: Row) -> bool:
        return instant(str(row[subject.time]), "") >= since

    return {**truth, subject.main: [row for row in truth[subject.main] if is_kept(row)]}


def holds(subject: Subject, here: World, since: datetime) -> None:
    here.assert_exact(kept(subject, here.fake.truth(), since))
    assert gaps(here) == []


@pytest.mark.slow
@elsewhere(0)
@of(NAMES[0])
def test_keep_once(subject: Subject, world: Any) -> None:
    """A command erases it; no sync, repair, backfill or reset brings it back."""
    here, name = world(subject.filled()), subject.name
    old = aged(subject, here)
    assert here.sync().outcome == "complete"
    since = here.fake.now - AGE
    found = document(here, "keep", name, "400d", "--dry-run")
    assert (found["dry_run"], found["rows"][subject.main]) == (True, len(old))
    found = document(here, "keep", name, "400d", "--yes", "--reason", "policy 7")
    assert (found["error"], found["rows"][subject.main]) == (None, len(old))
    holds(subject, here, since)
    begins = here.sql(f"select parent from coverage where covered_from is null and stream = '{subject.main}'")
    assert begins == []
    for _ in range(2):
        here.fake.advance(minutes=30)
        for parent in subject.parents(here.fake):
            subject.add(here.fake, parent)
        assert here.sync().outcome == "complete"
        holds(subject, here, since)
    for arguments in (["--whole"], ["--cells", "--repair"]):
        result = gapless(here, "verify", name, *arguments)
        assert result.exit_code == 0, result.output
    assert gapless(here, "state", "reset", name, "--yes").exit_code == 0
    assert here.sync().outcome == "complete"
    holds(subject, here, since)


@pytest.mark.slow
@of(NAMES[2], NAMES[3])
def test_keep_by_a_setting(subject: Subject, world: Any) -> None:
    """Each sync applies it: what is too old never comes, and what becomes too old goes."""
    here = world(subject.filled())
    aged(subject, here)
    assert here.sync().outcome == "complete"
    here.set(**{f"{subject.prefix}_KEEP": "400d"})
    assert here.sync().outcome == "complete"
    holds(subject, here, here.fake.now - AGE)
    ((times, reason),) = here.sql("select count(*), max(reason) from erasures where kind = 'keep'")
    assert (times, reason) == (1, None)
    here.fake.advance(minutes=30)
    subject.add_one(here.fake)
    assert here.sync().outcome == "complete"
    holds(subject, here, here.fake.now - AGE)


@of(NAMES[0])
def test_a_time_within_the_look_back(subject: Subject, synced: World) -> None:
    """It is refused before anything is done: by the command, and as a setting."""
    lag = f"{subject.prefix}_LAG"
    if not subject.has("lag"):
        pytest.skip("the source has no look-back")
    synced.set(**{lag: "7200"})
    assert document(synced, "keep", subject.name, "1h", "--yes")["exit_code"] == 2
    assert document(synced, "keep", subject.name, "soon", "--yes")["exit_code"] == 2
    synced.set(**{f"{subject.prefix}_KEEP": "1h"})
    result = run("sync", subject.name)
    assert (result.exit_code, "look-back" in result.output) == (2, True), result.output


@pytest.mark.slow
@of(NAMES[1])
def test_what_is_too_old_and_cannot_be_read(subject: Subject, world: Any) -> None:
    """Its dead letter is erased with the rest, and no comparison misses it."""
    here = world(subject.filled())
    subject.add_one(here.fake, at=here.fake.now - AGE - timedelta(days=30), **subject.with_text([]))
    if here.sync().outcome == "complete":
        pytest.skip("nothing that old is asked for")
    assert document(here, "keep", subject.name, "400d", "--yes")["error"] is None
    for arguments in (["--whole"], ["--repair"], ["--cells", "--whole"]):
        result = gapless(here, "verify", subject.name, *arguments)
        assert result.exit_code == 0, result.output
    assert here.sync().outcome == "complete"
    assert (here.letters(), gaps(here)) == ([], [])


@pytest.mark.parametrize("time", ["999999w", "999999d"])
def test_a_time_that_is_too_long(time: str) -> None:
    with pytest.raises(ValueError, match="is longer than"):
        retention(time, "TIME", timedelta())


@pytest.mark.slow
@of(NAMES[3])
def test_what_is_missing_before_the_horizon(subject: Subject, world: Any) -> None:
    """A backfill that broke off, and what the vendor deleted before it was read, are no gaps before the horizon."""
    fake = subject.empty(page_cap=3)
    fake.now -= timedelta(days=60)
    subject.fill(fake, 2, 8)
    here, name = world(fake), subject.name
    here.sync()
    asked = count()
    here.intercept = lambda request: httpx.Response(500) if next(asked) > 1 else None
    since, until = (f"{fake.now - timedelta(days=days):%Y-%m-%d}" for days in (9, 1))
    here.may_not_fire()  # two answers may hold the whole window
    gapless(here, "backfill", name, "--since", since, "--until", until)
    here.mend()
    here.sync()
    assert {gap["kind"] for gap in gaps(here)} <= {"backfill"}
    assert document(here, "keep", name, "20d", "--yes")["error"] is None
    assert gaps(here) == []
    for row in subject.records(fake):
        fake.delete(row[subject.id])
    fake.now += timedelta(days=30)
    for parent in subject.parents(fake):
        subject.add(fake, parent)
    assert here.sync().outcome == "complete"
    assert gaps(here) == []
