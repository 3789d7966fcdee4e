"""The numbers that a vendor told: every command says the same of them, and what is named ends an alarm about them."""

from __future__ import annotations

import shlex

import pytest

from tests.contract.commands import gapless, gaps, run
from tests.contract.conftest import NAMES, Begin, of
from tests.contract.subject import Subject
from tests.support.world import World


def told(subject: Subject, here: World) -> None:
    """Skips a source whose vendor tells no numbers."""
    if not here.sql("select 1 from coverage where records > 0"):
        pytest.skip("the vendor tells no total")


@pytest.mark.slow
@of(NAMES[0])
def test_a_number_that_somebody_raised(subject: Subject, synced: World) -> None:
    """The command that is named ends the alarm, also while the vendor has nothing new."""
    told(subject, synced)
    which = "(select min(parent) from coverage where records > 0)"
    synced.database.change(subject.name, f"update coverage set records = records + 1 where parent = {which}")
    (gap,) = gaps(synced)
    assert (gap["kind"], "the vendor told" in gap["why"]) == ("lost", True)
    assert run(*shlex.split(gap["fill"])[1:]).exit_code == 0
    assert gaps(synced) == []
    synced.complete()
    synced.assert_exact()


@pytest.mark.slow
@of(NAMES[0])
def test_a_letter_that_somebody_deleted(subject: Subject, world: Begin) -> None:
    """Its record is told and not here: a sync that finds nothing new says so, as `gaps` does."""
    here = world(subject.filled())
    subject.add_one(here.fake, **subject.with_text([]))
    assert here.sync().outcome == "partial"
    told(subject, here)
    here.database.change(subject.name, "delete from dead_letters")
    assert gaps(here)
    assert here.sync().outcome == "partial"
    assert gaps(here)
    gapless(here, "verify", subject.name, "--repair")
    assert len(here.letters()) == 1
