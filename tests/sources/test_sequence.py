"""Sequence, end to end: the account's log in DuckDB, whole tables, and no request too many."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

import pytest

from gapless.sources._http.fake_vendor import START
from gapless.sources._ledger.window import Window
from gapless.sources.sequence.fake import SequenceFake
from tests.contract.commands import fill, gapless, gaps
from tests.support.world import World, some

Begin = Callable[[Any], World]
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.mark.sweep
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"end": "null", "stamp": "+02:00", "page_cap": 9},
        {"end": "empty", "stamp": "mixed", "page_cap": 100},
    ],
    ids=["plain", "short pages", "mixed"],
)
def test_whole_tables(world: Begin, how: dict[str, Any]) -> None:
    """First, idle and changed syncs end with the vendor's rows, items, JSON and times, late rows and ties too."""
    fake = SequenceFake(**how)
    fake.seed(30, days=2)
    here = world(fake)
    here.complete()
    here.assert_exact()
    assert here.asked() == ceil(30 / fake.page_cap)
    here.complete()
    here.assert_exact()
    newest = max(fake.truth()["activity_logs"], key=lambda row: datetime.fromisoformat(row["createdAt"]))
    fake.change(newest["id"], activityLogItems=newest["activityLogItems"][:0])  # a child list that shrinks
    fake.advance(40)
    tie = datetime.fromisoformat(newest["createdAt"])
    fake.add_log(at=tie, id="tie-a")
    fake.add_log(at=tie, id="tie-b")
    here.complete()
    here.assert_exact()


@pytest.mark.slow
def test_requests(world: Begin) -> None:
    """A first sync asks for each page once, an idle one for one, a later one for what is new and one more."""
    fake = SequenceFake(page_cap=10)
    fake.seed(45, days=30)
    here = world(fake)
    here.complete()
    assert here.asked() == 5
    here.complete()
    assert here.asked() <= 2
    fake.now += HOUR
    for index in range(12):
        fake.add_log(at=fake.now - index * timedelta(seconds=200))
    here.complete()
    assert here.asked() <= ceil(12 / 10) + 1
    here.assert_exact()


@pytest.mark.sweep
def test_what_was_read_before_a_failure_is_kept(world: Begin) -> None:
    """An error on the third page loses neither the first two nor their place: the next sync goes on from there."""
    fake = SequenceFake(page_cap=10)
    fake.seed(50, days=20)
    here = world(fake)
    here.fail_after(2)
    failed = here.sync()
    assert failed.outcome == "failed"
    assert here.sql("select count(*) from activity_logs") == [(20,)]
    here.mend()
    here.complete()
    here.assert_exact()
    assert here.asked() <= 2 + 3  # what is new, down to a whole page older than the look-back; then pages 3 to 5


@pytest.mark.sweep
def test_an_interrupted_walk_outlives_its_cursor(world: Begin) -> None:
    """Chunks are kept, the walk goes on where it was, and a cursor that expired meanwhile costs only requests."""
    fake = SequenceFake(page_cap=5)
    fake.seed(25, days=20)
    here = world(fake)
    here.fail_after(2)
    assert here.sync(package_records=5).outcome == "failed"
    assert here.sql("select count(*) from activity_logs") == [(10,)]
    fake.advance(60)
    fake.cursors_expire()
    here.mend()
    here.complete()
    here.assert_exact()
    ((missing,),) = here.sql("select missing from coverage")
    assert missing is None


@pytest.mark.slow
def test_a_time_yet_to_come_moves_nothing(world: Begin) -> None:
    """A log dated 2099 is kept, and everything after it is still seen."""
    fake = SequenceFake(now=datetime.now(UTC), page_cap=5)
    fake.seed(12, days=5)
    fake.add_log(at=datetime(2099, 1, 1, tzinfo=UTC), id="from 2099")
    here = world(fake)
    here.complete()
    fake.add_log(at=fake.now, id="later")
    here.complete()
    here.assert_exact()
    assert here.sql("select covered_to <= now() from coverage") == [(True,)]


@pytest.mark.sweep
def test_bad_records(world: Begin) -> None:
    """A record that fits no row is a dead letter with its JSON and the reason, and leaves when it is mended."""
    fake = SequenceFake()
    fake.seed(10, days=5)
    good = fake.truth()
    fake.add_log(at=START - DAY, id="bad", createdAt="yesterday")
    here = world(fake)
    assert here.sync().outcome == "partial"
    here.assert_exact(good)
    ((raw, reason, parent),) = here.sql("select raw_json, reason, parent from dead_letters where key = 'bad'")
    assert '"yesterday"' in raw
    assert "createdAt" in reason
    assert "yesterday" not in reason
    assert parent is None
    fake.change("bad", createdAt="2026-01-15T10:00:00Z")  # far older than any look-back
    here.complete()
    here.assert_exact()
    assert here.letters() == []


def test_unknown_fields_and_odd_values(world: Begin) -> None:
    """What no column is meant for stands in `_extra` of its row; JSON and text keep every digit and sign."""
    fake = SequenceFake()
    actor = {"id": "a", "entityType": "USER", "shoeSize": 44, "_dlt_id": "mine"}
    item = {"id": "i", "activityLogActor": actor, "metadata": [1e3, 12345678901234567890.5, "é\u2028"], "new": None}
    fake.add_log(id="new fields", activityLogItems=[item], region={"EU": [1]}, Region="x", _dlt_load_id="y", extra=1)
    fake.add_log(id="little", activityLogItems=None, sequenceAccountId=None, traceId="tab\tquote' \"")
    here = world(fake)
    here.complete()
    here.assert_exact()


@pytest.mark.parametrize("style", some(["asked", "interval", "settings"], "interval"))
def test_windows(world: Begin, style: str) -> None:
    """`--since/--until`, an outer scheduler's interval and `end_value` read that span, and move no watermark."""
    fake = SequenceFake(page_cap=5)
    for hours in range(1, 30):
        fake.add_log(at=START - hours * HOUR, id=f"{hours:02}")
    since, until = START - 12 * HOUR, START - 6 * HOUR
    here = world(fake)
    if style == "interval":
        here.set(DLT_INTERVAL_START=since.isoformat(), DLT_INTERVAL_END=until.isoformat())
    if style == "settings":
        here.set(SEQUENCE_INITIAL_VALUE=since.isoformat(), SEQUENCE_END_VALUE=until.isoformat())
    here.complete(window=Window(since, until) if style == "asked" else Window())
    assert here.sql("select string_agg(id, ' ' order by id) from activity_logs") == [("07 08 09 10 11 12",)]
    assert here.sql("select covered_to from coverage") == []
    if style == "asked":
        here.complete()
        here.assert_exact()


@pytest.mark.slow
def test_initial_value(world: Begin) -> None:
    """Nothing older than `initial_value` is kept; when it is lowered later, what lies between is read too."""
    fake = SequenceFake(page_cap=5)
    for hours in range(1, 30):
        fake.add_log(at=START - hours * HOUR, id=f"{hours:02}")
    here = world(fake).set(SEQUENCE_INITIAL_VALUE=(START - 3 * HOUR).isoformat())
    here.complete()
    assert here.sql("select string_agg(id, ' ' order by id) from activity_logs") == [("01 02 03",)]
    assert here.asked() == 1
    here.monkeypatch.delenv("SEQUENCE_INITIAL_VALUE")
    here.complete()
    here.assert_exact()


@pytest.mark.sweep
def test_single_records(world: Begin) -> None:
    """Records named by id are read again, just they; one the vendor does not have is told."""
    fake = SequenceFake()
    fake.seed(5, days=90)
    here = world(fake)
    here.complete()
    oldest, other, *_ = sorted(fake.truth()["activity_logs"], key=lambda row: row["createdAt"])
    fake.change(oldest["id"], origin="CORRECTED")
    outcome = here.sync(ids=(oldest["id"], other["id"], "nobody"))
    assert (outcome.outcome, len(outcome.failures), here.asked()) == ("partial", 1, 3)
    here.assert_exact()


@pytest.mark.sweep
def test_what_nobody_can_read_any_more_stays_told(world: Begin) -> None:
    """After an outage in which all went that was read, and perhaps more: until it is acknowledged by a command."""
    fake = SequenceFake()
    fake.seed(6, days=2)
    here = world(fake)
    here.complete()
    fake.now += DAY * 30
    for row in fake.truth()["activity_logs"]:
        fake.delete(row["id"])
    for hours in (3, 2, 1):
        fake.add_log(at=fake.now - HOUR * hours)
    for _ in range(2):
        assert here.sync().outcome == "partial"
    told = gaps(here)
    oldest = fake.now - HOUR * 3
    assert [(gap["kind"], gap["until"]) for gap in told] == [("lost", oldest.isoformat())]
    assert (told[0]["kind"], told[0]["why"].startswith("what was read before")) == ("lost", True)
    gapless(here, "state", "reset", "sequence", "--yes")
    assert here.sync().outcome == "partial"
    assert gaps(here) == told
    fill(here, told)
    here.complete()
