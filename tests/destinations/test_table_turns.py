"""Whose turn it is to make tables or views in Postgres: whoever waits says for whom, and not without end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
import pytest

from gapless.pipelines.destinations._postgres import turns as turns_module
from gapless.pipelines.destinations._postgres.turns import Turns
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.sync.request import SyncRequest
from gapless.pipelines.sync.run import sync
from gapless.sources import SOURCES
from gapless.sources._ledger.shard import Shard
from tests.contract.commands import gapless
from tests.support.destinations import Begin, seeded
from tests.support.world import World

SPLIT = next(name for name, source in SOURCES.items() if source.split_by)


@pytest.fixture
def destination() -> str:
    """Where `world` has its data."""
    return "postgres"


@pytest.fixture
def here(world: Begin, monkeypatch: pytest.MonkeyPatch) -> World:
    """A vendor that can be split; waits end soon."""
    monkeypatch.setattr(turns_module, "LIMIT", 1.0)
    monkeypatch.setattr(turns_module, "SAID_AFTER", 0.1)
    return world(seeded(SPLIT))


@contextmanager
def standing_still(here: World) -> Iterator[str]:
    """A shard that has the turn and does not go on; yields how it is named."""
    url = f"{here.database.settings['DESTINATION__POSTGRES__CREDENTIALS']}?application_name=shard-of-ann"
    with closing(Turns(url)) as other, other.taken():
        assert other.connection
        yield f"session {other.connection.info.backend_pid} (user gapless, application shard-of-ann, since 2"


def test_a_shard_waits_for_tables(here: World, caplog: pytest.LogCaptureFixture) -> None:
    """With a limit, once, and who is waited for is said meanwhile and at the end; the next one is exact."""
    with standing_still(here) as name:
        (outcome,) = sync([SPLIT], Target.find("postgres", Shard(1, 1 + 1)), SyncRequest())
    assert f"{name}" in str(outcome.error)
    assert "has the turn to make tables or views; waited 1 s in vain" in str(outcome.error)
    assert caplog.text.count(f"waiting: {name}") == 1
    here.complete()
    here.assert_exact()


def test_views_wait_as_well(here: World, caplog: pytest.LogCaptureFixture) -> None:
    """`gapless views` names the shard, too, and no table that somebody has locked."""
    here.complete()
    with closing(psycopg2.connect(here.database.settings["DESTINATION__POSTGRES__CREDENTIALS"])) as db, db:
        db.cursor().execute("drop schema activity cascade")
    with standing_still(here) as name:
        done = gapless(here, "views", "--destination", "postgres")
    assert done.exit_code == 75, done.output
    assert name in done.stderr
    assert gapless(here, "views", "--destination", "postgres").exit_code == 0
