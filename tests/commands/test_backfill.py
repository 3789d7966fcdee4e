"""`gapless backfill`: a span once more; stopped at any moment it goes on where it was, and is done once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from typer.testing import CliRunner, Result

from gapless.pipelines.cli import progress
from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.ledger import backfills
from gapless.pipelines.outcome import Outcome
from gapless.sources._ledger.session import Session
from gapless.sources._ledger.window import Window
from tests.contract.subject import subject
from tests.support import warm
from tests.support.world import LET_THROUGH, World, some

Begin = Callable[[Any], World]
REQUESTS = 12
"""What a whole one needs, about: a request per page or parent."""
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
from datetime import datetime
from gapless.pipelines.ledger import backfills
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.sync.run import sync
from dataclasses import replace
from gapless.sources._incremental.rounds import detail_sync
detail_sync.BATCH_RECORDS = 5  # a package may be as small as these tests'
name, since, until = sys.argv[1:]
job = backfills.sync_request(datetime.fromisoformat(since), datetime.fromisoformat(until))
list(sync([name], Target.find("duckdb"), replace(job, package_records=30)))
"""


Before = Callable[[str], tuple[World, datetime, datetime]]


@pytest.fixture
def before(world: Begin) -> Before:
    """A vendor with a month of records, none of which is here, and the span that holds all but the last days'."""

    def begin(name: str) -> tuple[World, datetime, datetime]:
        fake = subject(name).empty(page_cap=10)
        fake.fill(12, 120)
        here, until = world(fake), fake.now - timedelta(days=4)
        here.set(**{f"{name.upper()}_WORKERS": "1"})
        return here, until - timedelta(days=40), until

    return begin


def assert_all_of_it(here: World, until: datetime) -> None:
    """What was created before `until` is here, whole; and nothing else is."""
    truth, of = here.fake.truth(), subject(here.name)
    rows = [row for row in truth[of.main] if datetime.fromisoformat(row[of.time]) < until]
    here.assert_exact({**truth, of.main: rows})


def gapless(since: datetime, until: datetime, name: str, *more: str) -> Result:
    span = ["--since", since.isoformat(), "--until", until.isoformat()]
    return CliRunner().invoke(app, ["backfill", name, *span, *more])


def sync(here: World, since: datetime, until: datetime) -> Outcome:
    return here.sync(**{**vars(backfills.sync_request(since, until)), "package_records": 30})


@pytest.mark.sweep
@pytest.mark.parametrize("name", some(["sequence", "omni"], "sequence"))
def test_killed(name: str, before: Before) -> None:
    """kill -9 in the middle: exact after the next one, which asks for less than all."""
    here, since, until = before(name)
    whole = REQUESTS
    command = [sys.executable, "-c", SCRIPT, name, since.isoformat(), until.isoformat()]
    here.fake.requests.clear()
    with warm.Popen(command, cwd=here.folder) as process:

        def kill(request: httpx.Request) -> httpx.Response | None:
            if len(here.fake.requests) < whole * 3 // 4:
                return None
            process.kill()
            return LET_THROUGH

        here.intercept = kill
        assert process.wait(60) == -signal.SIGKILL
    here.mend()
    assert sync(here, since, until).outcome == "complete"
    assert here.asked() < whole * 3 // 4
    assert_all_of_it(here, until)


@pytest.mark.sweep
def test_who_failed_is_tried_again(before: Before) -> None:
    """A parent that fails stops no other; asked for once more, the backfill reads just that one."""
    here, since, until = before("omni")
    lead = here.fake.truth()["leads"][0]["leadId"]
    here.fake.failing[f"/{lead}/"] = 403
    result = gapless(since, until, "omni")
    assert result.exit_code == 3
    assert len({row["leadId"] for row in here.fake.truth()["action_logs"]}) == 11
    here.mend()
    here.fake.requests.clear()
    result = gapless(since, until, "omni")
    assert (result.exit_code, "1 that failed are tried again" in result.stderr) == (0, True)
    assert here.asked("action-logs") == 1
    assert_all_of_it(here, until)


@pytest.mark.sweep
def test_once_more(before: Before) -> None:
    """A sync in between changes nothing; --again reads all and leaves the watermark; a reset forgets it."""
    here, since, until = before("sequence")
    assert gapless(since, until, "sequence").exit_code == 0
    here.complete()
    kept = here.sql("select * from coverage")
    here.fake.requests.clear()
    assert "was finished" in gapless(since, until, "sequence").stderr
    assert here.asked() == 0
    assert gapless(since, until, "sequence", "--again").exit_code == 0
    assert here.asked() >= 12
    assert here.sql("select * from coverage") == kept
    assert CliRunner().invoke(app, ["state", "reset", "sequence", "--yes"]).exit_code == 0
    assert backfills.saved_progress(Target.find("duckdb"), "sequence", Window(since, until)).done_at is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sequence", "--since", "2026-02-01"], "--until"),
        (["sequence", "--since", "2026-02-01", "--until", "2026-02-01"], "nothing can lie between"),
        (["sequence", "--since", "then", "--until", "2026-02-01"], "--since: 'then' is not an ISO 8601 time"),
        (["sequenec", "--since", "2026-01-01", "--until", "2026-02-01"], "Did you mean sequence?"),
        (["sequence", "--since", "2026-01-01", "--until", "2026-02-01"], "SEQUENCE_CLIENT_ID"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str, tmp_path: Path) -> None:
    """Ends with 2 and writes nothing."""
    result = CliRunner().invoke(app, ["backfill", *arguments])
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    assert not list(tmp_path.glob("*.duckdb"))


def test_how_long_it_takes() -> None:
    """What is done of it, and how long the rest takes at the pace of this session, not of those before."""
    session = Session(backfill=True)
    session.counters.part, session.counters.part_before = 0.6, 0.5
    assert "60%, about 6 min left" in progress.progress_text(session, 90.0)
    assert "60%, about 40 s left" in progress.progress_text(session, 10.0)
    session.counters.part = 0.5
    assert " · 50%" in progress.progress_text(session, 10.0)
    assert "left" not in progress.progress_text(session, 10.0)
    assert "%" not in progress.progress_text(Session(), 10.0)


@pytest.mark.sweep
def test_who_failed_and_is_gone_holds_up_nothing(before: Before) -> None:
    """A parent that could not be asked, and that its vendor lists no more: the backfill is done without it."""
    here, since, until = before("omni")
    lead = here.fake.truth()["leads"][3]["leadId"]
    here.fake.failing[lead] = 500
    assert sync(here, since, until).outcome == "partial"
    here.mend()
    here.fake.delete_lead(lead)
    assert sync(here, since, until).outcome == "complete"
    kept = backfills.saved_progress(Target.find("duckdb"), "omni", backfills.sync_request(since, until).window)
    assert kept.done_at
