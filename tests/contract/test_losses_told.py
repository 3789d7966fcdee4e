"""A loss ends with a word: how many records came back, and how many nobody serves, whichever command told it."""

from __future__ import annotations

import pytest

from tests.contract.commands import document, gapless, gaps, lose
from tests.contract.conftest import NAMES, of
from tests.contract.subject import Subject
from tests.support.world import World, some

FIRST = {
    "none": [],
    "a sync": ["sync"],
    "two syncs": ["sync", "sync"],
    "gaps and status": ["gaps", "status"],
    "a comparison": ["verify --whole"],
    "a sync and a comparison": ["sync", "verify --whole"],
    "a comparison and a sync": ["verify --whole", "sync"],
}


@pytest.mark.slow
@of(NAMES[0], NAMES[1])
@pytest.mark.parametrize("first", some(FIRST, "a sync"))
def test_some_come_back_and_some_do_not(first: str, subject: Subject, synced: World) -> None:
    """Two old records are lost here, and one of them is deleted at the vendor."""
    time = subject.column(subject.time)
    rows = synced.sql(f"select {subject.id_column} from {subject.main} order by {time} limit 2")
    ids = [str(record) for (record,) in rows]
    quoted = ", ".join(f"'{one}'" for one in ids)
    synced.fake.delete(int(ids[0]) if subject.numbered else ids[0])
    lose(synced, f"cast({subject.id_column} as varchar) in ({quoted})")
    commands = [command.split() for command in (*FIRST[first], "verify --repair")]
    said = " ".join(
        word for one, *more in commands for word in gapless(synced, one, subject.name, *more).output.split()
    )
    # Once, by the first comparison that finds it so.
    assert said.count("the vendor serves them no more") == 1, said
    # A letter that a comparison wrote is read again by the next sync, and a parent that lacks rows by any.
    back = ("1 record brought back", "a sync has brought them back already")
    assert any(one in said for one in back) or first == "a comparison and a sync", said
    assert gaps(synced) == []
    after = document(synced, "verify", subject.name, "--repair")
    assert (after["exit_code"], after["problems"], after["sources"][0]["lost_before"]) == (0, [], 0)
