"""What the vendor does not serve any more is marked, where a whole listing proves it, until it is served again."""

from __future__ import annotations

from typing import Any

import pytest

from gapless.sources._incremental.detail_feed import DetailFeed
from tests.contract.commands import gapless, gaps
from tests.contract.conftest import NAMES, elsewhere, of
from tests.contract.subject import Subject, copied
from tests.contract.test_gone import delete_parent, parents_of
from tests.support.world import World


def marked(subject: Subject, here: World, table: str = "") -> list[str]:
    """Ids of the rows that are marked."""
    name = table or subject.main
    found = here.sql(f"select {subject.keys[name]} from {name} where gone_at is not null order by 1")
    return [str(one) for (one,) in found]


def in_views(here: World) -> list[str]:
    """Ids of the records that the timeline says are gone; the others are left without it."""
    gone = "select distinct record_id from activity.timeline where gone_at is not null"
    rest = f"select count(*) from activity.timeline where gone_at is null and record_id in ({gone})"
    assert here.sql(rest) == [(0,)]
    return [str(one) for (one,) in here.sql(f"{gone} order by 1")]


def one_of_many(subject: Subject, here: World) -> Any:
    """The id of a record, of a parent that has several: neither the oldest one, nor one of the look-back."""
    rows: dict[str, list[Any]] = {}
    for row in subject.records(here.fake):
        rows.setdefault(subject.of_parent(row) if subject.parents_table else "", []).append(row)
    several = sorted(max(rows.values(), key=len), key=lambda row: str(row[subject.time]))
    return several[1][subject.id]


def verified(here: World) -> None:
    """A comparison of all ids ends well."""
    done = gapless(here, "verify", here.name, "--whole")
    assert done.exit_code == 0, done.output


def reset(here: World) -> None:
    assert gapless(here, "state", "reset", here.name, "--yes").exit_code == 0


@pytest.mark.slow
@elsewhere(1)
@of(NAMES[0], NAMES[2])
def test_a_record_that_goes_and_comes_back(subject: Subject, synced: World) -> None:
    """Marked by the sync that reads its whole listing, else by `verify --whole`; the mark goes in the same way."""
    before = copied(synced.fake)
    going = one_of_many(subject, synced)
    synced.fake.delete(going)
    gone = str(going)
    synced.complete()
    proves = subject.whole or isinstance(subject.source.stream, DetailFeed)
    assert marked(subject, synced) == ([gone] if proves else [])
    verified(synced)
    assert marked(subject, synced) == [gone]
    # SQLite has no views.
    assert synced.database.name == "sqlalchemy" or in_views(synced) == [gone]
    marks = synced.sql(f"select gone_at from {subject.main} where gone_at is not null")
    synced.complete()
    if synced.database.name == "duckdb":  # Postgres spells JSON in its own way, so a look-back is loaded there
        assert synced.complete().packages == 0
    verified(synced)
    assert gapless(synced, "verify", synced.name, "--cells").exit_code == 0
    assert gaps(synced) == []
    assert synced.sql(f"select gone_at from {subject.main} where gone_at is not null") == marks
    synced.assert_exact()
    vars(synced.fake).update(vars(copied(before)))
    synced.complete()
    assert marked(subject, synced) in ([], [] if proves else [gone])
    verified(synced)
    assert marked(subject, synced) == []
    synced.assert_exact()


@pytest.mark.slow
@of(NAMES[3])
def test_a_parent_that_is_read_whole_again(subject: Subject, synced: World) -> None:
    """After a reset every parent is read whole: what it lacks is marked by that sync."""
    going = one_of_many(subject, synced)
    synced.fake.delete(going)
    gone = str(going)
    reset(synced)
    synced.complete()
    assert marked(subject, synced) == ([gone] if subject.parents_table else [])
    synced.assert_exact()


@pytest.mark.slow
@of(NAMES[0])
def test_a_parent_that_goes_and_comes_back(subject: Subject, synced: World) -> None:
    """It and its records are marked, once it is neither listed nor found; all of it is taken back."""
    parent = parents_of(subject, synced)[-1]
    before = copied(synced.fake)
    own = sorted(
        str(row[subject.id]) for row in subject.records(synced.fake) if subject.of_parent(row) == str(parent)
    )
    delete_parent(subject, synced.fake, parent)
    synced.complete()
    assert sorted(marked(subject, synced)) == own
    assert marked(subject, synced, str(subject.parents_table)) == [str(parent)]
    assert synced.complete().packages == 0
    vars(synced.fake).update(vars(copied(before)))
    synced.complete()
    assert marked(subject, synced) == marked(subject, synced, str(subject.parents_table)) == []
    synced.assert_exact()


@pytest.mark.slow
@of(NAMES[1])
def test_what_a_sync_left_to_read_is_not_gone(subject: Subject, synced: World) -> None:
    """Records that are not read yet, or could not be, are no reason for a mark; nor is a window or an id."""
    synced.fake.advance(30)
    bad = subject.add_one(synced.fake, **subject.with_text([]))
    synced.sync()
    if subject.source.stream.by_id:
        known = subject.parents(synced.fake)[0] if subject.source.stream.by_id == "parent" else bad
        synced.sync(ids=(str(known),))
    synced.sync()
    verify = gapless(synced, "verify", synced.name, "--whole")
    assert verify.exit_code in (0, 3)
    assert marked(subject, synced) == []
