"""After `gapless forget` nothing of a person is in any byte, on each destination; a kill leaves all or nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from gapless.pipelines.erasure.tables import Tables
from tests.contract.commands import document, gapless, gaps
from tests.contract.subject import subject
from tests.destinations.test_compact import CANARY, destination, holding
from tests.support import warm
from tests.support.world import World, some

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


OLD = timedelta(days=2000)
KILLED = """
import os, sys
from gapless.pipelines.destinations import publish
from gapless.pipelines.erasure import unfinished
from gapless.pipelines.maintenance import compact
where, command = sys.argv[1], sys.argv[2:]
owner = {"compact": compact, "publish": publish}[where]
setattr(owner, where, lambda *_: os.kill(os.getpid(), 9))
from gapless.pipelines.cli.app import app
app(command)
"""


def killed(where: str, *command: str) -> None:
    """Runs a command that is killed when it would begin to compact, or to publish."""
    done = warm.run([sys.executable, "-c", KILLED, where, *command], env=dict(os.environ))
    assert done.returncode == -9, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "where"),
    some(product(["forget", "keep"], ["compact", "publish"]), ("forget", "compact"), ("keep", "publish")),
)
def test_a_kill_before_the_end(verb: str, where: str, world: Begin) -> None:
    """Bytes are left, or the copy has the rows: doctor says so, and the same command again finishes it."""
    here = world(OMNI.filled())
    copy = here.folder / "readers.duckdb"
    if here.database.name == "duckdb":
        here.set(GAPLESS_PUBLISH=str(copy))
    elif where == "publish":
        return  # only a DuckDB file has a copy
    if verb == "keep":
        lead = OMNI.add(here.fake, OMNI.parents(here.fake)[0], at=here.fake.now - OLD, **{OMNI.text: CANARY})[OMNI.id]
        command = ("keep", "omni", "1000d", "--yes")
    else:
        lead, _ = with_a_person(here)
        command = ("forget", "omni", "--id", lead, "--yes")
    here.sync()
    killed(where, *command, *here.database.option)
    assert holding(here) != []
    assert "gapless compact omni" in gapless(here, "doctor").stdout
    ends = " ".join(("gapless compact omni", *here.database.option))
    for command_that_looks in ("gaps", "status"):
        assert [note["fill"] for note in document(here, command_that_looks)["notes"]] == [ends]
        assert ends in gapless(here, command_that_looks).stderr
    # By a process of its own, which finds the key that another one has made.
    line = [sys.executable, "-m", "gapless.pipelines", "sync", "omni", *here.database.option]
    synced = warm.run(line, env=dict(os.environ))
    assert (synced.returncode, ends in synced.stderr) == (0, True), synced.stderr
    done = document(here, *command)
    assert (done["error"], done["compacted"], sum(done["rows"].values())) == (None, True, 0)
    assert holding(here) + holding(here, str(lead)) == []
    assert "gapless compact omni" not in gapless(here, "doctor").stdout
    assert here.sql("select 1 from erased where kind = 'uncompacted'") == []
    again = gapless(here, *command)
    assert again.exit_code == (2 if verb == "forget" else 0)
    assert here.sync().outcome == "complete"


@pytest.mark.slow
def test_a_policy_whose_compaction_was_killed(world: Begin) -> None:
    """Values that it dropped are in the bytes: every command says so until the database is compacted."""
    here = world(OMNI.filled())
    OMNI.add_one(here.fake, **{OMNI.text: CANARY})
    here.sync()
    here.set(OMNI_PRIVACY=f"{OMNI.main}.{OMNI.column(OMNI.text)}=drop")
    killed("compact", "privacy", "apply", "omni", "--yes", *here.database.option)
    assert holding(here) != []
    assert [note["kind"] for note in document(here, "gaps")["notes"]] == ["erasure"]
    assert gapless(here, "compact", "omni").exit_code == 0
    assert holding(here) == []
    assert document(here, "gaps")["notes"] == []


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
