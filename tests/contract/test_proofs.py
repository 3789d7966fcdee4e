"""What proves completeness: `verify`, its --repair, `gaps`, and what a `plan` foretells."""

from __future__ import annotations

import json
import shlex
from datetime import datetime, timedelta
from typing import Any

import pytest

from gapless.pipelines.outcome import LEDGER_TABLES
from gapless.sources._ledger.window import instant
from tests.contract.commands import document, fill, gapless, gaps, lose, run
from tests.contract.conftest import NAMES, Begin, elsewhere, of
from tests.contract.subject import Row, Subject
from tests.support.world import World


def verify(here: World, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and what it says of the one source."""
    found = document(here, "verify", *arguments)
    (source,) = found["sources"]
    return found["exit_code"], source


def lost(subject: Subject, here: World, number: int = 7) -> list[str]:
    """Takes so many records from the database, of all but the first in the vendor's truth; their ids."""
    ids = [str(row[subject.id]) for row in subject.records(here.fake)[1 : number + 1]]
    lose(here, f"{subject.id_column} in ({', '.join(map(repr, ids))})")
    assert len(here.mismatches()) == number
    return ids


@elsewhere(2)
@of(NAMES[2], NAMES[-1])
def test_verify(subject: Subject, synced: World) -> None:
    """All is here; what was deleted behind our back is named; what the vendor deleted is kept and no error."""
    name = subject.name
    code, found = verify(synced, name, "--whole")
    assert (code, found["served"], found["here"], found["missing"]) == (0, 24, 24, 0)
    synced.fake.delete(subject.records(synced.fake)[0][subject.id])
    ids = [str(row[subject.id]) for row in subject.records(synced.fake)[:7]]
    lose(synced, f"{subject.id_column} in ({', '.join(map(repr, ids))})")
    code, found = verify(synced, name, "--whole")
    assert (code, found["by"], found["missing"], found["kept"]) == (3, "ids", 7, 1)
    assert sorted(record for absent in found["absent"].values() for record in absent) == sorted(ids)
    command = " ".join(["gapless verify", name, "--repair", *synced.database.option])
    assert {gap["fill"] for gap in gaps(synced)} == {command}


@elsewhere(3)
@of(NAMES[3])
def test_repair(subject: Subject, synced: World) -> None:
    """What is missing is read again, exactly; then nothing is missing and there is no gap."""
    lost(subject, synced)
    result = gapless(synced, "verify", subject.name, "--repair")
    assert (result.exit_code, "7 records brought back" in result.stdout) == (0, True), result.output
    synced.assert_exact()
    assert gaps(synced) == []


def _repair_broken_off(subject: Subject, here: World, after: int) -> bool:
    """Whether the repair came to its end before the vendor answered no more; once more to the end it is exact."""
    lost(subject, here)
    here.fail_after(after, status=401)
    here.may_not_fire()  # one that is long enough ends before
    ended = gapless(here, "verify", subject.name, "--repair").exit_code
    here.mend()
    assert ended == 0 or gaps(here) or not here.mismatches(), (
        f"after {after} requests nothing says that records are lost"
    )
    result = gapless(here, "verify", subject.name, "--repair")
    assert result.exit_code == 0, result.output
    here.assert_exact()
    return ended == 0


@pytest.mark.sweep
@elsewhere(4)
@of(NAMES[0])
def test_a_repair_that_is_broken_off(subject: Subject, synced: World) -> None:
    """While it reads what is missing: `gaps` still says so, and the next one goes to the end."""
    synced.fake.requests.clear()
    assert verify(synced, subject.name, "--whole")[0] == 0
    assert not _repair_broken_off(subject, synced, len(synced.fake.requests) + 1)


@pytest.mark.sweep
def test_a_repair_that_is_broken_off_at_any_request(subject: Subject, synced: World) -> None:
    """Of comparing, of reading, of comparing once more."""
    requests = 0
    while not _repair_broken_off(subject, synced, requests):
        requests += 1
    assert requests > 6


@elsewhere(0)
@of(NAMES[-1])
def test_gaps(subject: Subject, world: Begin) -> None:
    """A sync that was broken off, or a parent that failed, leaves a gap with the command that fills it."""
    here = world(subject.filled())
    if subject.parents_table:
        failing, *_ = _read(subject, here.fake)
        here.fake.failing[subject.part_of_path(failing)] = 403
        assert here.sync().outcome == "partial"
        told = gaps(here)
        assert [(gap["kind"], gap["parent"], "403" in gap["why"]) for gap in told] == [("failing", failing, True)]
    else:
        here.fail_after(2, status=401)
        assert here.sync(package_records=4).outcome == "failed"
        told = gaps(here)
        assert [(gap["kind"], gap["since"]) for gap in told] == [("interval", None)]
    here.mend()
    fill(here, told)
    here.assert_exact()


def _read(subject: Subject, fake: Any) -> list[str]:
    """Parents that have records."""
    return list(dict.fromkeys(subject.of_parent(row) for row in subject.records(fake)))


@pytest.mark.sweep
def test_gaps_after_state_was_set_back(subject: Subject, synced: World) -> None:
    """After `state rewind` and `state reset` every parent is a gap until the next sync."""
    ((parents,),) = synced.sql("select count(*) from coverage")
    to = (synced.fake.now - timedelta(days=3)).isoformat()
    for command in (["rewind", subject.name, "--to", to], ["reset", subject.name]):
        assert gapless(synced, "state", *command, "--yes").exit_code == 0
        told = gaps(synced)
        assert [gap["kind"] for gap in told] == ["set back"] * parents
    fill(synced, told)


@of(NAMES[1])
def test_plan(subject: Subject, synced: World) -> None:
    """Requests of a first sync are right to the last one, or said to be unknown; nothing is written."""
    first = len(synced.fake.requests)
    synced.database.remove()
    before = set(synced.folder.iterdir())
    synced.fake.requests.clear()
    (told,) = document(synced, "plan", subject.name)["sources"]
    assert (told["asked"], set(synced.folder.iterdir())) == (len(synced.fake.requests), before)
    if told["requests"] is None:
        assert (told["at_most"], told["records"], told["rows"]) == (None, None, None)
        return
    if "requests" not in told["estimated"]:
        assert told["requests"] == first
    assert told["at_most"] >= first
    assert told["records"] == pytest.approx(24, rel=0.35)
    assert not set(LEDGER_TABLES) & told.keys()


@elsewhere(1)
@of(NAMES[-1])
def test_backfill(subject: Subject, synced: World) -> None:
    """Broken off it keeps what it has; the next one reads the rest; done once, it is not done again."""
    whole = len(synced.fake.requests)
    synced.database.remove()
    synced.set(**({f"{subject.prefix}_WORKERS": "1"} if subject.has("workers") else {}))
    until = synced.fake.now - timedelta(days=1)
    span = ["--since", (until - timedelta(days=9)).isoformat(), "--until", until.isoformat()]
    synced.fail_after(whole // 2)
    assert gapless(synced, "backfill", subject.name, *span).exit_code in (1, 3)
    synced.mend()
    (again,) = [gap["fill"] for gap in gaps(synced) if gap["kind"] == "backfill"]
    result = run(*shlex.split(again)[1:], "--json")
    assert (result.exit_code, f"{subject.name}: goes on at" in result.stderr) == (0, True), result.output
    truth = synced.fake.truth()
    synced.assert_exact({**truth, subject.main: [row for row in truth[subject.main] if _at(subject, row) < until]})
    assert synced.sql("select * from coverage") == []
    synced.fake.requests.clear()
    done = json.loads(gapless(synced, "backfill", subject.name, *span, "--json").stdout)
    assert (done["exit_code"], done["sources"], synced.asked()) == (0, [], 0)
    assert datetime.fromisoformat(done["done_at"])


def _at(subject: Subject, row: Row) -> datetime:
    return instant(row[subject.time], subject.time)
