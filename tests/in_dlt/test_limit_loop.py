"""Limited runs in a loop: each comes further, and the state says when all was read."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.in_dlt.conftest import User


def unfinished(user: User, limit: int, rows: bool = False, **how: object) -> bool:
    """Does one limited run; returns whether there is more, as the page about dlt says."""
    source = user.source(rows=rows, **how).add_limit(limit)
    user.pipeline().run(source)
    return any("unfinished" in one.state for one in source.resources.values())


@pytest.mark.sweep
@pytest.mark.parametrize("limit", [1, 3])
def test_a_loop_of_limited_runs_comes_to_the_end(user: User, limit: int) -> None:
    """Every run but the last brings something, whatever belongs together: even with a limit of one page."""
    runs, rows = 0, limit == 3
    while unfinished(user, limit, rows):
        runs += 1
        print(runs, user.count(), len(user.fake.requests))
        assert runs < 30
    assert user.differences() == []
    # A later pass begins at the newest records again, and ends as well.
    user.fake.advance(60)
    user.subject.add_one(user.fake, at=user.fake.now - timedelta(minutes=50))
    while unfinished(user, limit, rows):
        runs += 1
        assert runs < 30
    assert user.differences() == []
