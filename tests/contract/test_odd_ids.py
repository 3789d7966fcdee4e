"""Ids of which no path can be made: such a parent fails with a clear reason, and no other URL is asked."""

from __future__ import annotations

import pytest

from tests.contract.commands import document, gaps
from tests.contract.conftest import NAMES, Begin, of
from tests.contract.subject import Subject
from tests.support.world import some


@pytest.mark.slow
@of(NAMES[0], NAMES[2])
@pytest.mark.parametrize("odd", some([".", ".."], ".."))
def test_dots(odd: str, subject: Subject, world: Begin) -> None:
    """All others are read; each command says that this one could not be."""
    parents = subject.source.stream.parents
    if (
        not subject.add_parent
        or not parents
        or subject.tables[parents.table.name][subject.column(subject.parent_id)] == "BIGINT"
    ):
        pytest.skip("its parents' ids are numbers, or it has none")
    here = world(subject.filled())
    subject.add_parent(here.fake, **{subject.parent_id: odd})
    for _ in range(2):
        outcome = here.sync()
        assert (outcome.outcome, len(outcome.failures)) == ("partial", 1)
        assert [one for one in here.mismatches() if odd not in one.split()] == []
        (told,) = gaps(here)
        assert (told["kind"], told["parent"]) == ("failing", odd)
        assert "cannot be part of a URL path" in told["why"]
        assert not any("/./" in path or "/../" in path for _, path, _ in here.fake.requests)
    found = document(here, "verify", subject.name, "--whole")
    assert (found["exit_code"], [*found["sources"][0]["failed"]]) == (3, [odd])
