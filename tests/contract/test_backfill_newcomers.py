"""A backfill that was broken off reads what came meanwhile, wherever its id sorts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gapless.sources._ledger.window import Window
from tests.contract.conftest import NAMES, Begin, of
from tests.contract.subject import Subject


@pytest.mark.sweep
@of(NAMES[0])
def test_a_new_parent_before_the_mark(subject: Subject, world: Begin) -> None:
    """Parents are read in the order of their ids; a new one may sort before those that are done."""
    if not subject.add_parent:
        pytest.skip("the source has no parents")
    fake = subject.filled(6, 48)
    here = world(fake)
    here.set(**{f"{subject.prefix}_WORKERS": "1"})
    window = Window(fake.now - timedelta(days=9), fake.now)
    here.complete()
    here.database.remove()
    here.fail_after(here.asked() * 3 // 4, status=401)
    assert here.sync(window=window, backfill=True, package_records=6).outcome == "failed"
    here.mend()
    first = 1 if subject.numbered or isinstance(subject.parents(fake)[0], int) else "0"
    subject.add_parent(fake, **{subject.parent_id: first})
    row = subject.add(fake, first, at=fake.now - timedelta(days=2))
    here.complete(window=window, backfill=True)
    here.assert_exact()
    assert here.sql(f"select count(*) from {subject.main} where {subject.id_column} = '{row[subject.id]}'") == [(1,)]
