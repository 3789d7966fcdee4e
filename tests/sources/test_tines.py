"""Tines, end to end: actions and their logs in DuckDB, whatever the order of the pages."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2 as httpx
import pytest

from gapless.sources._http.fake_vendor import START
from gapless.sources._ledger.window import Window
from gapless.sources.tines.fake import TinesFake
from tests.contract.commands import document, fill, gapless, gaps
from tests.support.world import LET_THROUGH, World, some

Begin = Callable[[Any], World]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def filled(actions: int = 5, logs: int = 40, **how: Any) -> TinesFake:
    fake = TinesFake(**how)
    fake.seed(actions, logs=logs)
    return fake


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(302, headers={"Location": "https://login.example.com/"}),
        httpx.Response(
            200, json={"action_logs": [], "meta": {"next_page": "https://evil.example/", "next_page_number": 1}}
        ),
    ],
    ids=["redirect", "loop"],
)
def test_one_action_that_leads_elsewhere(world: Begin, answer: httpx.Response) -> None:
    """It fails alone, although it is the first one; the others are read, and it is tried first next time."""
    fake = filled()
    first = min(fake.truth()["actions"], key=lambda action: int(action["id"]))["id"]
    here = world(fake)
    here.intercept = lambda request: answer if f"/actions/{first}/logs" in request.url.path else None
    assert here.sync().outcome == "partial"
    read = {action for (action,) in here.sql("select distinct action_id from action_logs")}
    assert read == {log["action_id"] for log in fake.truth()["action_logs"]} - {first}
    here.mend()
    here.complete()
    here.assert_exact()


@pytest.mark.slow
def test_every_action_leads_elsewhere(world: Begin) -> None:
    """Then the source fails as a whole, and not each of its actions."""
    here = world(filled(actions=30, logs=60))
    here.intercept = lambda request: (
        httpx.Response(302, headers={"Location": "https://login.example.com/"})
        if "/logs" in request.url.path
        else None
    )
    outcome = here.sync()
    assert outcome.outcome in ("failed", "partial")
    assert len(here.fake.requests) <= 60


@pytest.mark.sweep
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"order": "oldest", "page_cap": 3, "list_key": "actions", "stamp": "mixed"},
        {"page_cap": 3},
    ],
    ids=["plain", "oldest first, short pages, mixed", "newest first, short pages"],
)
def test_whole_tables(world: Begin, how: dict[str, Any]) -> None:
    """First, idle and changed syncs end with the vendor's rows: late ones, ties, new actions with a past."""
    fake = filled(**how)
    here = world(fake)
    here.complete()
    here.assert_exact()
    here.complete()
    here.assert_exact()
    for action in fake.truth()["actions"][:2]:
        for _ in range(4):
            fake.add_log(action["id"], at=START)
    fake.advance(60)
    here.complete()
    here.assert_exact()


@pytest.mark.sweep
def test_requests(world: Begin) -> None:
    """Pages of stories and of actions, and one request per action that has logs, when its logs fit a page."""
    fake = filled(actions=7, logs=60)
    here = world(fake)
    for _ in range(2):
        here.complete()
        assert here.asked() == 2 + 6
    long = fake.add_action()["id"]
    for hours in range(1700):
        fake.add_log(long, at=START - hours * timedelta(minutes=5))
    here.complete()
    assert here.asked() == 2 + 6 + 4
    fake.add_log(long, at=START)
    here.complete()
    assert here.asked() <= 2 + 6 + 2
    here.assert_exact()


@pytest.mark.slow
def test_failing_actions(world: Begin) -> None:
    """500, 403, and 404 of an action that is listed, are recorded and healed; the other actions are whole."""
    fake = filled(actions=7, logs=24)
    down, secret, gone, *rest = [action["id"] for action in fake.truth()["actions"]]
    fake.failing = {f"/{down}/logs": 500, f"/{secret}/logs": 403, f"/{gone}/logs": 404}
    here = world(fake)
    assert here.sync().outcome == "partial"
    logs = [row for row in fake.truth()["action_logs"] if row["action_id"] in rest]
    here.assert_exact({"action_logs": logs})
    assert here.letters() == sorted(("parent", str(failed), 1) for failed in (down, secret, gone))
    here.mend()
    here.complete()
    assert here.letters() == []
    here.assert_exact()


@pytest.mark.slow
def test_an_action_that_fails_half_way(world: Begin) -> None:
    """Its first page is kept, its watermark is not: the next sync reads it whole."""
    fake = filled(actions=2, logs=0, page_cap=3)
    action = fake.truth()["actions"][0]["id"]
    for hours in range(12):
        fake.add_log(action, at=START - 2 * hours * HOUR)
    here = world(fake)
    here.fail_after(3)
    here.sync()
    here.mend()
    here.complete()
    here.assert_exact()


@pytest.mark.sweep
def test_bad_records(world: Begin) -> None:
    """A log that fits no row is a dead letter; it heals once mended, far behind the look-back too."""
    fake = filled(actions=3, logs=8)
    action = fake.truth()["actions"][0]["id"]
    fake.add_log(action, source={"ip": None}, _dlt_load_id=1)
    good = fake.truth()["action_logs"]
    bad = fake.add_log(action, at=START - 5 * DAY, message=["no", "text"])["id"]
    fake.add_log(action, id=2**63, at=START - DAY)
    here = world(fake)
    assert here.sync().outcome == "partial"
    here.assert_exact({"action_logs": good})
    assert here.letters() == sorted([("record", str(bad), 1), ("record", str(2**63), 1)])
    fake.change(bad, message="text")
    assert here.sync().outcome == "partial"
    here.assert_exact({"action_logs": [row for row in fake.truth()["action_logs"] if row["id"] < 2**63]})
    assert here.letters() == [("record", str(2**63), 2)]


def test_a_bad_action_keeps_its_logs(world: Begin) -> None:
    """An action whose own row cannot be read is a dead letter; its logs, kept 7 days, are read all the same."""
    fake = filled(actions=3, logs=8)
    odd = fake.add_action(name={"not": "text"})["id"]
    fake.add_log(odd)
    here = world(fake)
    assert here.sync().outcome == "partial"
    assert here.sql("select count(*) from action_logs where action_id = " + str(odd)) == [(1,)]


def test_options_are_never_kept(world: Begin) -> None:
    """Options may hold secrets: no table has them, not even the dead letter of an action."""
    fake = filled(actions=2, logs=2)
    fake.add_action(name={"not": "text"})
    here = world(fake)
    here.sync()
    assert b"in-the-options" not in (here.folder / "gapless.duckdb").read_bytes()
    assert here.sql("select count(*) from dead_letters") == [(1,)]


@pytest.mark.slow
@pytest.mark.parametrize("order", some(["newest", "oldest"], "newest"))
def test_pages_that_shift_under_us(world: Begin, order: str) -> None:
    """A log that vanishes from a page already read moves the rest up: none of them is skipped for good."""
    fake = filled(actions=1, logs=0, order=order, page_cap=3)
    action = fake.truth()["actions"][0]["id"]
    for hours in range(12):
        fake.add_log(action, at=START - 2 * hours * HOUR)
    here = world(fake)

    def vanish(request: httpx.Request) -> httpx.Response | None:
        if request.url.params.get("page") == "3" and "/logs" in request.url.path:
            served = [row["id"] for row in fake.truth()["action_logs"]]
            fake.delete(served[0] if order == "newest" else served[-1])
            here.mend()
            return LET_THROUGH
        return None

    here.intercept = vanish
    here.sync()
    here.mend()
    here.complete()
    here.assert_exact()


@pytest.mark.sweep
def test_pages_that_shift_before_an_early_end(world: Begin) -> None:
    """Also when the page after the gap is older than the look-back and would end the reading."""
    fake = filled(actions=1, logs=0, page_cap=3)
    action = fake.truth()["actions"][0]["id"]
    old = [fake.add_log(action, at=START - 2 * hours * HOUR)["id"] for hours in range(12)]
    here = world(fake)
    here.complete()
    fake.now += DAY
    newest = [fake.add_log(action, at=fake.now - hours * 3 * HOUR)["id"] for hours in range(7)]

    def vanish(request: httpx.Request) -> httpx.Response | None:
        if request.url.params.get("page") == "3" and "/logs" in request.url.path:
            fake.delete(newest[0])  # of page 1, which was read: the seventh moves up to page 2
            fake.delete(old[0])  # the watermark's own, else it would stand on page 3
            here.mend()
            return LET_THROUGH
        return None

    here.intercept = vanish
    here.sync()
    here.mend()
    for days in range(5):  # so that the gap is no longer on the first page
        fake.add_log(action, at=fake.now + days * DAY)
    here.complete()
    here.assert_exact()


@pytest.mark.sweep
def test_a_time_yet_to_come_moves_nothing(world: Begin) -> None:
    """A log dated 2099 is kept, and everything after it is still seen."""
    fake = filled(actions=1, logs=0, now=datetime.now(UTC), page_cap=2)
    action = fake.truth()["actions"][0]["id"]
    for hours in range(6):
        fake.add_log(action, at=fake.now - 5 * hours * HOUR)
    fake.add_log(action, at=datetime(2099, 1, 1, tzinfo=UTC))
    here = world(fake)
    here.complete()
    fake.add_log(action)
    here.complete()
    here.assert_exact()
    assert here.sql("select covered_to <= now() from coverage") == [(True,)]


@pytest.mark.sweep
def test_windows(world: Begin) -> None:
    """A window keeps what was created in it and proves nothing; a lowered `initial_value` is made up for."""
    fake = filled(actions=1, logs=0, page_cap=2)
    action = fake.truth()["actions"][0]["id"]
    ids = [fake.add_log(action, at=START - hours * HOUR)["id"] for hours in range(9)]
    here = world(fake)
    here.complete(window=Window(START - 5 * HOUR, START - 2 * HOUR))
    assert here.sql("select id from action_logs order by id") == [(i,) for i in ids[3:6]]
    assert here.sql("select count(*) from coverage") == [(0,)]
    here.set(TINES_INITIAL_VALUE=(START - 6 * HOUR).isoformat()).complete()
    assert here.sql("select id from action_logs order by id") == [(i,) for i in ids[:7]]
    here.monkeypatch.delenv("TINES_INITIAL_VALUE")
    here.complete()
    here.assert_exact()


@pytest.mark.slow
def test_a_bad_record_older_than_the_look_back_heals(world: Callable[[Any], World]) -> None:
    """Its parent is read whole as long as the letter is open, far below the watermark."""
    fake = TinesFake(page_cap=2)
    action = fake.add_action()["id"]
    for days in range(6):
        fake.add_log(action, at=fake.now - timedelta(days=days))
    bad = fake.add_log(action, at=fake.now - timedelta(days=6), message=[])["id"]
    here = world(fake)
    assert here.sync().outcome == "partial"
    fake.change(bad, message="mended")
    here.complete()
    here.assert_exact()
    assert here.letters() == []


@pytest.mark.slow
@pytest.mark.parametrize("retention", [DAY * 7, HOUR], ids=["7 days", "an hour"])
def test_an_outage_longer_than_logs_are_kept(world: Begin, retention: timedelta) -> None:
    """What nobody can read any more stays told: from what was covered to the oldest that is served."""
    fake = TinesFake(retention=retention, page_cap=4)
    action = fake.add_action()["id"]
    for part in range(6):
        fake.add_log(action, at=START - retention * part / 10)
    here = world(fake)
    here.complete()
    fake.now += retention * 3
    fake._logs[action].clear()
    oldest = fake.now - retention * 0.9
    for at in (oldest, fake.now - retention / 2, fake.now):
        fake.add_log(action, at=at)
    outcome = here.sync()
    assert [("lost" in str(failure)) for failure in outcome.failures] == [True]
    lost = [[START.isoformat(), oldest.replace(microsecond=0).isoformat()]]
    for _ in range(2):
        ((missing, error),) = here.sql("select missing, error from coverage")
        assert (json.loads(missing), error.startswith("lost: ")) == (lost, True)
        fake.add_log(action)
        (failure,) = here.sync().failures
        assert "lost: " in failure.reason
    fake.failing[f"/{action}/"] = 404  # a failure in between does not wipe it
    here.sync()
    assert {gap["kind"] for gap in gaps(here)} == {"failing", "lost"}
    here.mend()
    here.sync()
    told = gaps(here)
    assert [(gap["kind"], gap["since"], gap["until"]) for gap in told] == [("lost", *lost[0])]
    here.assert_exact()
    gapless(here, "state", "reset", "tines", "--yes")
    here.sync()
    assert [gap["kind"] for gap in gaps(here)] == ["lost"]
    fill(here, told)
    here.complete()
    here.assert_exact()


@pytest.mark.parametrize("before", [3, 0], ids=["that had logs", "that never had one"])
def test_an_outage_after_which_nothing_is_left(world: Begin, before: int) -> None:
    """An action whose logs came and went while nobody looked: what nobody can read any more stays told."""
    fake = TinesFake(retention=7 * DAY, page_cap=4)
    action = fake.add_action()["id"]
    for days in range(before):
        fake.add_log(action, at=START - days * DAY)
    here = world(fake)
    here.complete()
    here.complete()
    # As long ago as the vendor's clock goes on below.
    here.database.change("tines", "update coverage set last_checked_at = last_checked_at - interval '20 days'")
    here.database.change(
        "tines", "update coverage set covered_to = last_checked_at - interval '1 hour' where records > 0"
    )
    fake._logs[action].clear()
    outcome = here.sync()
    assert [("lost" in str(failure)) for failure in outcome.failures] == [True]
    for _ in range(2):
        here.sync()
        assert [gap["kind"] for gap in gaps(here)] == ["lost"]
    fill(here, gaps(here))
    here.complete()
    assert gaps(here) == []


@pytest.mark.slow
def test_logs_that_go_as_they_should_are_not_lost(world: Begin) -> None:
    """A pause shorter than the last log had lasted: that one went, and no other."""
    fake = TinesFake(now=datetime.now(UTC))
    action = fake.add_action()["id"]
    fake.add_log(action, at=fake.now - 6 * DAY)
    here = world(fake)
    here.complete()
    fake._logs[action].clear()
    fake.add_log(action, at=datetime.now(UTC) + timedelta(seconds=1))
    here.complete()
    assert here.sql("select missing, error from coverage") == [(None, None)]


def test_a_log_goes_and_a_late_one_comes(world: Begin) -> None:
    """Between two pages: the count stays equal, and one moves up across the seam, which is noticed."""
    fake = filled(actions=1, logs=0, page_cap=20)
    action = fake.truth()["actions"][0]["id"]
    ids = [fake.add_log(action, at=START - hours * HOUR)["id"] for hours in range(61)]
    here = world(fake)

    def swap(request: httpx.Request) -> httpx.Response | None:
        if request.url.params.get("page") == "2" and "/logs" in request.url.path:
            fake.delete(ids[3])
            fake.add_log(action, at=START - 40.5 * HOUR)
            here.mend()
            return LET_THROUGH
        return None

    here.intercept = swap
    here.complete()
    here.assert_exact()


@pytest.mark.slow
def test_parents_of_one_age_are_told_apart_by_their_global_ids(world: Begin) -> None:
    """Where no log is kept any more, actions prove the account; two made at the same time have other ids."""
    here = world(filled())
    here.complete()
    for log in here.fake.truth()["action_logs"]:
        here.fake.delete(log["id"])
    here.fake.api_key = "rotated"
    assert "the account is the same" in (here.set(TINES_API_KEY="rotated").sync().note or "")
    for action in here.fake._actions.values():
        action["guid"] = f"other-{action['guid']}"
    here.fake.api_key = "another"
    assert here.set(TINES_API_KEY="another").sync().refused


def stories(here: World, columns: str = "id, name") -> list[tuple[Any, ...]]:
    return here.sql(f"select {columns} from stories order by id")


def test_stories_have_names(world: Begin) -> None:
    """One request lists them; a renamed one, and one that is not listed any more, are seen in the next sync."""
    fake = filled(actions=3, logs=6)
    here = world(fake)
    here.complete()
    first = min(fake._stories)
    assert here.asked("/stories") == 1
    assert stories(here) == [(number, fake._stories[number]["name"]) for number in sorted(fake._stories)]
    names = "select distinct object_name from activity.timeline where object_type = 'story'"
    assert {name for (name,) in here.sql(names)} <= {name for _, name in stories(here)} != set()
    fake._stories[first] |= {"name": "Renamed"}
    here.complete()
    assert stories(here)[0] == (first, "Renamed")
    fake.delete_story(first)
    here.complete()
    assert [gone is not None for (gone,) in stories(here, "gone_at")] == [True] + [False] * len(fake._stories)


@pytest.mark.parametrize("status", [403, 404])
def test_a_key_without_a_right_to_stories(world: Begin, status: int) -> None:
    """The logs are complete all the same, in every sync, and what failed before is no gap any more."""
    here = world(filled(actions=3, logs=6))
    here.fake.failing = {"/stories": 500}
    assert here.sync().outcome == "partial"
    here.fake.failing = {"/stories": status}
    here.complete()
    assert (stories(here), gaps(here, "tines")) == ([], [])


@pytest.mark.slow
@pytest.mark.parametrize("status", [403, 404, 500])
def test_stories_that_were_read_and_are_refused(world: Begin, status: int) -> None:
    """Every command says that they grow old, and how often it failed, until a setting leaves them out."""
    here = world(filled(actions=3, logs=6))
    here.complete()
    here.fake.failing = {"/stories": status}
    for attempts in (1, 2):
        assert here.sync().outcome == "partial"
        assert here.letters() == [("parent", "", attempts)]
        assert [(gap["kind"], gap["stream"]) for gap in gaps(here, "tines")] == [("failing", "stories")]
    assert gapless(here, "verify", "tines", "--whole").exit_code == 3
    here.set(TINES_STORIES="false").complete()
    assert gaps(here, "tines") == []
    assert gapless(here, "verify", "tines", "--whole").exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("table", ["stories", "actions"])
def test_what_is_listed_and_not_here(world: Begin, table: str) -> None:
    """`verify` names a row of a listing that nobody counted; its repair brings it back. A new one is only newer."""
    fake = filled(actions=3, logs=6)
    here = world(fake)
    here.complete()
    lost = f"delete from {table} where id = (select min(id) from {table})"
    here.database.change("tines", lost, "update runs set held = null")
    assert gapless(here, "verify", "tines", "--whole").exit_code == 3
    assert [gap["stream"] for gap in gaps(here, "tines")] == [table]
    assert gapless(here, "verify", "tines", "--repair").exit_code == 0
    assert gaps(here, "tines") == []
    here.assert_exact()
    fake._stories[99] = fake._story(99) | {"created_at": "2999-01-01T00:00:00Z"}
    assert gapless(here, "verify", "tines", "--whole").exit_code == 0


@pytest.mark.slow
def test_an_old_story_that_came_into_view_is_late(world: Begin) -> None:
    """The key was given a right to it after the sync: the next one lists it, so it is not lost."""
    fake = filled()
    number = max(fake._stories) + 1
    here = world(fake)
    here.complete()
    fake._stories[number] = fake._story(number) | {"created_at": "2020-01-01T00:00:00Z"}
    for words in ((), ("--whole",), ("--cells",)):
        found = document(here, "verify", "tines", *words)
        (one,) = found["sources"]
        assert (found["exit_code"], one["missing"], one["newer"]) == (0, 0, 1), words
    assert gaps(here, "tines") == []
    here.complete()
    assert number in {story for story, _ in stories(here)}


@pytest.mark.slow
def test_stories_that_fail_or_are_cut_short(world: Begin) -> None:
    """All logs are loaded, the sync is partial, and the next one mends it."""
    fake = filled(actions=6, logs=12, page_cap=2)
    here = world(fake)
    cut = {"stories": [], "meta": {"next_page": None, "next_page_number": None, "count": 2}}
    for answer in (httpx.Response(500), httpx.Response(200, json=cut)):
        here.intercept = lambda request, answer=answer: answer if request.url.path.endswith("/stories") else None
        assert here.sync().outcome == "partial"
        assert len(here.sql("select id from action_logs")) == 12
        assert [gap["stream"] for gap in gaps(here, "tines")] == ["stories"]
        assert "the list of stories" in " ".join(gapless(here, "gaps", "tines").output.split())
    here.mend()
    here.complete()
    assert len(stories(here)) == len(fake._stories)


@pytest.mark.slow
def test_stories_are_left_out_by_a_setting(world: Begin) -> None:
    """Then no request is made, the table is empty, and the timeline has no names."""
    here = world(filled(actions=3, logs=6)).set(TINES_STORIES="false")
    here.complete()
    assert (here.asked("/stories"), stories(here)) == (0, [])


@pytest.mark.slow
def test_lost_stories_come_back_by_themselves(world: Begin) -> None:
    """The sync that lists them again says they were lost, and then nothing is told; without a list they are told."""
    here = world(TinesFake.demo())
    here.complete()
    here.database.change("tines", "delete from tines.stories where id = (select min(id) from tines.stories)")
    here.fake.failing = {"/stories": 403}
    for _ in range(2):
        assert here.sync().outcome == "partial"
        assert {gap["stream"] for gap in gaps(here, "tines")} == {"stories"}
    here.fake.failing = {}
    assert here.sync().outcome == "partial"
    assert (len(stories(here)), gaps(here, "tines")) == (len(here.fake._stories), [])
    here.complete()
