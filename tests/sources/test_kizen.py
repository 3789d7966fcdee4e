"""Kizen, end to end: types, and every logged activity with its fields, associations and mentions in DuckDB."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import timedelta
from math import ceil
from typing import Any

import httpx2 as httpx
import pytest

from gapless.sources._http.fake_vendor import START
from gapless.sources._ledger.window import Window
from gapless.sources.kizen import fake as kizen
from gapless.sources.kizen.fake import KizenFake
from tests.support.world import LET_THROUGH, World

Begin = Callable[[Any], World]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def filled(types: int = 3, logged: int = 15, **how: Any) -> KizenFake:
    fake = KizenFake(**how)
    fake.seed(types, logged=logged)
    return fake


@pytest.mark.sweep
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"order": "oldest", "page_cap": 2, "envelope": "uncounted", "stamp": "mixed"},
        {"envelope": "bare", "stamp": "+02:00"},
    ],
    ids=["plain", "oldest first, short pages, mixed", "bare lists"],
)
def test_whole_tables(world: Begin, how: dict[str, Any]) -> None:
    """First, idle and changed syncs end with the vendor's rows: late ones, new types, shorter field lists."""
    fake = filled(**how)
    here = world(fake)
    here.complete()
    here.assert_exact()
    assert here.asked("/logged/") == 15
    here.complete()
    here.assert_exact()
    assert here.asked("/responses") == 0
    fake.advance(60)
    here.complete()
    here.assert_exact()


@pytest.mark.sweep
def test_requests(world: Begin) -> None:
    """Lists, the details of new ids and of those within the look-back; an idle sync asks just for these."""
    fake = filled(types=1, logged=0, page_cap=10)
    kind = fake.truth()["activities"][0]["id"]
    for hours in range(25):
        fake.add_logged(kind, at=START - 10 * hours * HOUR)
    here = world(fake)
    here.complete()
    assert here.asked() == 1 + ceil(25 / 10) + 25
    here.complete()
    assert here.asked() == 1 + 1  # the newest is within the look-back of itself
    fake.add_logged(kind, at=START - 20 * DAY)
    here.complete()
    assert here.asked() == 1 + ceil(26 / 10) + 1 + 1
    here.assert_exact()


@pytest.mark.sweep
def test_failures(world: Begin) -> None:
    """Types and details that answer 500, 403 or, though they are listed, 404 are recorded and healed."""
    fake = filled(types=4, logged=16)
    secret, gone, *_ = [kind["id"] for kind in fake.truth()["activities"]]
    of_rest = [r for r in fake.truth()["logged_activities"] if r["activity_object"]["id"] not in (secret, gone)]
    down, hidden, vanished, *rest = of_rest
    fake.failing = {f"{secret}/responses": 403, f"{gone}/responses": 404}
    fake.failing |= {down["id"]: 500, hidden["id"]: 403, vanished["id"]: 404}
    here = world(fake)
    assert here.sync().outcome == "partial"
    here.assert_exact({"logged_activities": rest})
    failed = [("parent", each, 1) for each in (secret, gone)]
    failed += [("record", each["id"], 1) for each in (down, hidden, vanished)]
    assert here.letters() == sorted(failed)
    here.mend()
    fake.failing = {vanished["id"]: 404}
    here.sync()
    assert here.letters() == [("record", vanished["id"], 2)]
    fake.failing = {}
    here.complete()
    here.assert_exact()
    assert here.letters() == []


@pytest.mark.sweep
def test_bad_records(world: Begin) -> None:
    """A record that fits no row is a dead letter, heals once mended; unknown fields stand in `_extra`."""
    fake = filled(types=2, logged=6)
    kind = fake.truth()["activities"][0]["id"]
    fake.add_logged(kind, id="new", mood="x", logged_by={"id": "p", "team": 3}, fields=[{"value": 1e2, "hue": {}}])
    fake.add_logged(kind, id="bare", fields=None, mentions=None, associated_entities=None, logged_by=None)
    good = fake.truth()["logged_activities"]
    fake.add_logged(kind, id="bad", at=START - 20 * DAY, notes={"not": "text"})
    here = world(fake)
    assert here.sync().outcome == "partial"
    here.assert_exact({"logged_activities": good})
    assert here.sql("select kind, key, parent, stream from dead_letters") == [
        ("record", "bad", kind, "logged_activities")
    ]
    fake.change("bad", notes="text")
    here.complete()
    here.assert_exact()
    assert here.letters() == []


def test_a_bad_type_keeps_its_activities(world: Begin) -> None:
    """A type whose own row cannot be read is a dead letter, what was logged is read all the same."""
    fake = filled(types=2, logged=4)
    odd = fake.add_type(id="odd", association_mode=["not text"])
    fake.add_logged(odd["id"], activity_object={"id": "odd"})
    here = world(fake)
    assert here.sync().outcome == "partial"
    here.assert_exact({"logged_activities": fake.truth()["logged_activities"]})


@pytest.mark.slow
def test_one_goes_and_one_comes(world: Begin) -> None:
    """A type's count stays the same, and still the new one is seen, once the count is not believed any more."""
    fake = filled(types=1, logged=5)
    kind, oldest = fake.truth()["activities"][0]["id"], fake.truth()["logged_activities"][0]["id"]
    here = world(fake).set(KIZEN_RELIST_AFTER="0")
    here.complete()
    fake.delete(oldest)
    fake.add_logged(kind, id="came")
    here.set(KIZEN_RELIST_AFTER="0").complete()
    here.assert_exact()


@pytest.mark.slow
def test_a_listing_of_a_time_to_come(world: Begin) -> None:
    """Our clock was a year ahead when a type was listed: its count is not believed until that year is over."""
    fake = filled(types=1, logged=5)
    kind, oldest = fake.truth()["activities"][0]["id"], fake.truth()["logged_activities"][0]["id"]
    here = world(fake)
    here.complete()
    here.database.change("kizen", "update coverage set listed_at = listed_at + interval '1 year'")
    fake.delete(oldest)
    fake.add_logged(kind, id="came")
    here.complete()
    here.assert_exact()


def test_the_newest_goes_and_one_comes(world: Begin) -> None:
    """The count is the same and believed, until the record in the look-back is not found: then the type is listed."""
    fake = filled(types=1, logged=5)
    kind, newest = fake.truth()["activities"][0]["id"], fake.truth()["logged_activities"][-1]["id"]
    here = world(fake)
    here.complete()
    fake.delete(newest)
    fake.add_logged(kind, id="came")
    here.complete()
    here.assert_exact()
    assert here.sql("select id from logged_activities where gone_at is not null") == [(newest,)]
    (row,) = here.sql("select records, error from coverage")
    assert row == (5, None)
    here.complete()
    assert here.asked() == 1  # of the look-back the one that came


@pytest.mark.slow
def test_chosen_ids(world: Begin) -> None:
    """`KIZEN_ACTIVITY_IDS`, and ids asked for, are read and nothing is listed."""
    fake = filled()
    first, second, third, *_ = fake.truth()["logged_activities"]
    here = world(fake).set(KIZEN_ACTIVITY_IDS=f'["{first["id"]}", "{second["id"]}"]')
    here.complete()
    assert here.asked() == 2
    assert here.sync(ids=(third["id"], "nobody")).outcome == "partial"
    assert here.asked() == 2
    here.assert_exact({"logged_activities": [first, second, third], "activities": []})


@pytest.mark.sweep
def test_windows(world: Begin) -> None:
    """A window reads what was created in it, and proves nothing."""
    fake = filled(types=1, logged=0)
    kind = fake.truth()["activities"][0]["id"]
    for hours in range(9):
        fake.add_logged(kind, at=START - hours * HOUR, id=str(hours))
    here = world(fake)
    here.complete(window=Window(START - 5 * HOUR, START - 2 * HOUR))
    assert here.sql("select string_agg(id, '' order by id) from logged_activities") == [("345",)]
    assert here.sql("select count(*) from coverage") == [(0,)]
    here.complete()
    here.assert_exact()


@pytest.mark.sweep
def test_a_lowered_initial_value(world: Begin) -> None:
    """What lies between the old and the new one is read, though no count has changed."""
    fake = filled(types=1, logged=0)
    kind = fake.truth()["activities"][0]["id"]
    for hours in range(9):
        fake.add_logged(kind, at=START - hours * HOUR, id=str(hours))
    here = world(fake).set(KIZEN_INITIAL_VALUE=(START - 3 * HOUR).isoformat())
    here.complete()
    assert here.sql("select string_agg(id, '' order by id) from logged_activities") == [("0123",)]
    here.monkeypatch.delenv("KIZEN_INITIAL_VALUE")
    here.complete()
    here.assert_exact()


@pytest.mark.sweep
def test_what_the_listing_tells_of_held_activities(world: Begin) -> None:
    """An activity that was moved in time, or to another type, is read again, however old it is."""
    fake = filled(types=3, logged=12)
    here = world(fake)
    here.complete()
    first, second, third = (kind["id"] for kind in fake.truth()["activities"])
    moved, retyped = (next(iter(fake._logged[kind])) for kind in (first, second))
    fake.change(moved, logged_at="2026-01-05T08:00:00.000000Z")
    row = fake._logged[second].pop(retyped)
    fake._logged[third][retyped] = row | {"activity_object": {**row["activity_object"], "id": third}}
    fake.add_logged(first)
    here.complete()
    here.assert_exact()
    within_look_back = 3  # the newest of each type
    assert here.asked("/logged/") <= within_look_back + 3
    here.set(KIZEN_RELIST_AFTER="0").complete()
    assert here.asked("/logged/") <= within_look_back


@pytest.mark.sweep
@pytest.mark.parametrize("short", ["n_submissions", "count"])
def test_fewer_ids_than_the_vendor_counts(world: Begin, short: str) -> None:
    """The type is not proven: it stays open, its count is not noted, and the next sync lists it again."""
    fake = filled(types=2, logged=8)
    kind = fake.truth()["activities"][0]["id"]
    here = world(fake)

    def fewer(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith(f"{kind}/responses"):
            return None
        body = json.loads(fake.handle(request).content)
        body["results"] = body["results"][:-1]
        body["count"] -= short == "n_submissions"
        return httpx.Response(200, json=body)

    here.intercept = fewer
    assert here.sync().outcome == "partial"
    assert here.sql(f"select digest, failures from coverage where parent = '{kind}'") == [(None, 1)]
    here.mend()
    here.complete()
    here.assert_exact()
    assert here.letters() == []


def test_ids_in_another_order_at_each_request(world: Begin) -> None:
    """Pages that are cut from an unstable order hold some ids twice and others not: they are read again."""
    fake = filled(types=1, logged=12, page_cap=3)
    here = world(fake)
    chance = random.Random(4)

    def shuffled(request: httpx.Request) -> httpx.Response | None:
        kind, rows = next(iter(fake._logged.items()))
        order = list(rows.items())
        chance.shuffle(order)
        fake._logged[kind] = dict(order)
        return LET_THROUGH

    here.intercept = shuffled
    real, kizen._logged_at = kizen._logged_at, lambda row: START  # so that nothing but chance orders them
    try:
        for _ in range(4):
            if here.sync().outcome == "complete":
                break
    finally:
        kizen._logged_at = real
    here.assert_exact()


@pytest.mark.parametrize(
    "before", ["", "https://127.0.0.1{path}", "http://kizen-web.internal:8000{path}", "//web{path}/"]
)
def test_a_relative_link_to_the_next_page(world: Begin, before: str) -> None:
    """It is resolved against the page's own URL, as RFC 3986 has it; one of an inner host is requested from ours."""
    fake = filled(types=2, logged=10, page_cap=2)
    here = world(fake)

    def relative(request: httpx.Request) -> httpx.Response | None:
        answer = fake.handle(request)
        body = json.loads(answer.content)
        if answer.status_code != 200 or not isinstance(body, dict) or not body.get("next"):
            return None
        link = before.format(path=request.url.path) + "?" + body["next"].partition("?")[2]
        return httpx.Response(200, json=body | {"next": link})

    here.intercept = relative
    here.complete()
    here.assert_exact()
