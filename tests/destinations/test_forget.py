"""After `gapless forget` nothing of a person is in any byte, on each destination; a kill leaves all or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gapless.pipelines.erasure.tables import Tables
from tests.contract.commands import document, gapless, gaps
from tests.contract.subject import subject
from tests.destinations.test_compact import CANARY, destination, holding
from tests.support.world import World

Begin = Callable[[Any], World]
__all__ = ["destination"]  # the fixture
OMNI = subject("omni")


def with_a_person(here: World) -> tuple[str, str]:
    """Adds a lead and two records of it, one of which cannot be read; the ids of the lead and of a record."""
    fake = here.fake
    lead = OMNI.add_parent(fake, **{OMNI.parent_text: CANARY})[OMNI.parent_id]  # type: ignore[misc]  # Omni has parents
    record = OMNI.add(fake, lead, **{OMNI.text: CANARY, **OMNI.with_children})[OMNI.id]
    OMNI.add(fake, lead, **{OMNI.text: [CANARY]})
    return str(lead), str(record)


@pytest.mark.slow
def test_no_byte_is_left(world: Begin) -> None:
    """Neither of the texts nor of the ids; also not after further syncs, and not in the published copy."""
    here = world(OMNI.filled())
    here.set(GAPLESS_PUBLISH=str(here.folder / "readers.duckdb"))
    lead, record = with_a_person(here)
    assert here.sync().outcome == "partial"  # the record that cannot be read
    assert holding(here) != [], "this looks where nothing is"
    done = document(here, "forget", "omni", "--id", lead, "--yes", "--reason", "asked by mail")
    assert (done["error"], done["compacted"], done["rows"]["dead_letters"]) == (None, True, 1)
    for _ in range(2):
        assert holding(here) == []
        for one in (lead, record):
            assert holding(here, one) == []
        here.fake.advance(10)
        OMNI.add_one(here.fake)
        assert here.sync().outcome == "complete"
        assert gaps(here) == []
    assert gapless(here, "verify", "omni", "--repair").exit_code == 0
    assert gapless(here, "compact").exit_code == 0
    assert holding(here) + holding(here, lead) == []
    assert here.sql("select kind, reason from erasures") == [("parent", "asked by mail")]


class Killed(BaseException):
    """As a kill: nothing that follows is done."""


@pytest.mark.slow
def test_a_kill_at_each_statement(world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the last statement of the transaction nothing has happened; the next command does all of it."""
    here = world(OMNI.filled())
    lead, _ = with_a_person(here)
    here.sync()
    tables = [*OMNI.tables, "coverage", "dead_letters"]
    before = {table: here.rows(table) for table in tables}
    run, number, at = Tables.run, 0, 0

    def killed(self: Tables, statement: str, *values: Any) -> None:
        nonlocal number
        number += 1
        if number == at:
            raise Killed
        run(self, statement, *values)

    monkeypatch.setattr(Tables, "run", killed)
    arguments = ("forget", "omni", "--id", lead, "--yes", "--no-compact")
    for at in range(1, 100):
        number = 0
        try:
            result = gapless(here, *arguments)
        except Killed:
            result = None
        if number < at:
            break
        assert result is None or result.exit_code != 0
        now = {table: here.rows(table) for table in tables}
        assert {t: len(r) for t, r in now.items()} == {t: len(r) for t, r in before.items()}, at
        assert now == before, at
    assert result is not None
    assert (result.exit_code, at > 8) == (0, True)
    assert here.sync().outcome == "complete"
    assert here.sql(f"select 1 from action_logs where lead_id = '{lead}'") == []
