"""The fakes keep what the vendors' pages promise: paging, refusals, and what time brings. No sockets."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any

import httpx2 as httpx
import pytest

from gapless.sources import SOURCES
from gapless.sources._http.fake_vendor import START, FakeVendor, instant
from gapless.sources.kizen.fake import KizenFake
from gapless.sources.omni.fake import OmniFake
from gapless.sources.sequence.fake import SequenceFake
from gapless.sources.tines.fake import TinesFake
from tests.sources.plain_reading import (
    FAKES,
    FIRST,
    HEADERS,
    READ,
    TIMES,
    Fake,
    Row,
    client,
    omni_leads,
    same_rows,
    sequence_logs,
    tines_logs,
)

# -- paging ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAKES)
def test_paging_through_a_demo_gives_the_truth_once(kind: type[Fake]) -> None:
    """Each endpoint's own paging yields all rows, whole and without repetition, over several pages."""
    fake = kind.demo()
    assert same_rows(fake)
    assert len(fake.requests) > 4


@pytest.mark.parametrize("kind", FAKES)
def test_the_same_seed_gives_the_same_vendor(kind: type[Fake]) -> None:
    """A fake is deterministic: the same calls lead to the same rows, and another seed to others."""
    one, two, other = kind.demo(), kind.demo(), kind.demo(seed=1)
    for fake in (one, two, other):
        fake.advance(60)
    assert one.truth() == two.truth() != other.truth()


def test_omni_parents_are_all_in_the_breakdown_and_the_totals() -> None:
    """Pages of analytics together hold every lead once, and totals count all of them on every page."""
    fake = OmniFake.demo()
    assert sorted(omni_leads(fake), key=str) == sorted(fake.truth()["leads"], key=str)
    assert len(fake.requests) == 3
    totals = client(fake).get("/api/v0/analytics").json()["totals"]
    rows = fake.truth()["leads"]
    assert totals["count"] == 25
    assert totals["totalMessages"] == sum(row["totalMessages"] for row in rows)
    assert totals["completion"]["totalRequired"] == sum(row["completion"]["totalRequired"] for row in rows)


def test_omni_serves_logs_bare_or_wrapped() -> None:
    """Both envelopes that Omni's page shows hold the same logs."""
    wrapped = OmniFake(envelope=True)
    wrapped.seed(3, logs=9)
    assert same_rows(wrapped)


def test_omni_filters_leads_by_creation_and_refuses_the_rest() -> None:
    """`start` and `end` bound a lead's createdAt; an unknown parameter, a bad date or token is a 400."""
    fake = OmniFake.demo()
    http, middle = client(fake), sorted(row["createdAt"] for row in fake.truth()["leads"])[12]
    older = http.get("/api/v0/analytics", params={"end": middle}).json()["totals"]["count"]
    newer = http.get("/api/v0/analytics", params={"start": middle}).json()["totals"]["count"]
    assert older + newer == 26  # both ends are closed
    for query in ("limit=5", "start=yesterday", "start=2026-03-02&end=2026-03-01", "format=xml", "token=%21"):
        assert http.get(f"/api/v0/analytics?{query}").status_code == 400


@pytest.mark.parametrize("order", ["DESC", "ASC"])
@pytest.mark.parametrize("page_cap", [7, 100])
def test_sequence_pages_in_both_orders(order: str, page_cap: int) -> None:
    """Both orders yield every log once, sorted by createdAt then id, ties across short pages included."""
    fake = SequenceFake(page_cap=page_cap)
    fake.seed(60)
    rows = sequence_logs(fake, sortOrder=order)
    keys = [(datetime.fromisoformat(row["createdAt"]), row["id"]) for row in rows]
    assert len({key[0] for key in keys}) < len(keys) == 60
    assert keys == sorted(keys, reverse=order == "DESC")


def test_sequence_defaults_to_newest_first_and_pages_back() -> None:
    """Without sortOrder the newest comes first, and `before` leads back to the page one came from."""
    http = client(SequenceFake.demo())
    first = http.get("/api/activity-logs?limit=10").json()
    second = http.get("/api/activity-logs", params={"limit": "10", "after": first["pagination"]["after"]}).json()
    back = http.get("/api/activity-logs", params={"limit": "10", "before": second["pagination"]["before"]}).json()
    assert back["items"] == first["items"]
    assert http.get("/api/activity-logs?limit=10&sortOrder=DESC").json() == first
    assert "before" not in first["pagination"]
    assert first["pagination"]["totalResultSize"] == 450


@pytest.mark.parametrize(("end", "expected"), [("absent", {}), ("null", {"after": None}), ("empty", {"after": ""})])
def test_sequence_writes_its_end_in_three_ways(end: Any, expected: Row) -> None:
    """The last page's `after` is left out, null or empty, as the fake is told."""
    fake = SequenceFake(end=end)
    fake.seed(3)
    pagination = client(fake).get("/api/activity-logs").json()["pagination"]
    assert {name: value for name, value in pagination.items() if name == "after"} == expected


def test_a_sequence_cursor_is_bound_to_its_order_and_can_expire() -> None:
    """A cursor under another sortOrder, an unknown and an expired one are 400, and a new walk goes on."""
    fake = SequenceFake.demo()
    http = client(fake)
    after = http.get("/api/activity-logs").json()["pagination"]["after"]
    assert http.get("/api/activity-logs", params={"after": after}).status_code == 200
    assert http.get("/api/activity-logs", params={"after": after, "sortOrder": "ASC"}).status_code == 400
    assert http.get("/api/activity-logs", params={"after": "MDE4NDUyNjY="}).status_code == 400
    fake.cursors_expire()
    refused = http.get("/api/activity-logs", params={"after": after})
    assert refused.status_code == 400
    assert refused.json()["error"].keys() == {"type", "message"}
    assert same_rows(fake)


@pytest.mark.parametrize("limit", ["0", "101", "-1", "ten"])
def test_sequence_refuses_a_limit_outside_its_bounds(limit: str) -> None:
    """A limit must lie between 1 and 100."""
    assert client(SequenceFake.demo()).get("/api/activity-logs", params={"limit": limit}).status_code == 400


def test_sequence_filters_by_object() -> None:
    """The two documented filters name the object of an item, and totalResultSize counts what they leave."""
    fake = SequenceFake.demo()
    rows = fake.truth()["activity_logs"]
    thing = rows[0]["activityLogItems"][0]["activityLogObject"]
    for parameter, name in (("activityLogObjectId", "id"), ("activityLogObjectEntityId", "entityId")):
        page = client(fake).get("/api/activity-logs", params={parameter: thing[name]}).json()
        about = [
            log["id"]
            for log in rows
            if thing[name] in [i["activityLogObject"][name] for i in log["activityLogItems"]]
        ]
        assert sorted(row["id"] for row in page["items"]) == sorted(about)
        assert page["pagination"]["totalResultSize"] == len(about) < 10


def test_kizen_pages_are_capped_and_linked_on_the_asked_host() -> None:
    """page_size holds up to the cap, `next` is absolute on the asked host, a page past the end is a 404."""
    fake = KizenFake()
    fake.seed(1, logged=1001)
    http, kind = client(fake), fake.truth()["activities"][0]
    url = f"/api/activities/{kind['api_name']}/responses"  # the identifier may be the api_name
    assert len(http.post(url, json={}).json()["results"]) == 100
    page = http.post(f"{url}?page_size=5000", json={}).json()
    assert (len(page["results"]), page["count"], kind["n_submissions"]) == (1000, 1001, 1001)
    assert page["next"] == f"https://vendor.test{url}?page_size=5000&page=2"
    assert http.post(f"{url}?page=99", json={}).status_code == 404
    assert http.post(url, content=b"{").status_code == 400


def test_kizen_has_three_envelopes_for_responses() -> None:
    """Responses come as a page, as a page without its count, or as a bare list of all rows."""
    for envelope, keys in (("page", {"count"}), ("uncounted", set())):
        fake = KizenFake(envelope=envelope)
        fake.seed(1, logged=3)
        answer = client(fake).post("/api/activities/discovery_call/responses", json={}).json()
        assert answer.keys() == {"next", "previous", "results"} | keys
    bare = KizenFake(envelope="bare")
    bare.seed(1, logged=150)
    assert len(client(bare).post("/api/activities/discovery_call/responses", json={}).json()) == 150


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_tines_pages_in_the_order_it_is_told(order: Any) -> None:
    """Logs come by created_at in either order, per_page is capped, meta counts and links the pages."""
    fake = TinesFake(order=order)
    fake.seed(2, logs=45)
    http, action = client(fake), fake.truth()["actions"][0]["id"]
    page = http.get(f"/api/v1/actions/{action}/logs").json()
    assert page["meta"] == {
        "current_page": f"https://vendor.test/api/v1/actions/{action}/logs?per_page=20&page=1",
        "previous_page": None,
        "next_page": f"https://vendor.test/api/v1/actions/{action}/logs?per_page=20&page=2",
        "next_page_number": 2,
        "per_page": 20,
        "pages": 3,
        "count": 45,
    }
    whole = http.get(f"/api/v1/actions/{action}/logs?per_page=9999").json()
    times = [row["created_at"] for row in whole["action_logs"]]
    assert whole["meta"]["per_page"] == 500
    assert times == sorted(times, reverse=order == "newest")


def test_tines_filters_by_level_and_names_its_list_as_told() -> None:
    """`level` filters logs and their count; the list of actions stands under `agents` or `actions`."""
    fake = TinesFake(list_key="actions")
    fake.seed(2, logs=60)
    http = client(fake)
    (first, second) = http.get("/api/v1/actions").json()["actions"]
    page = http.get(f"/api/v1/actions/{first['id']}/logs?level=4&per_page=500").json()
    assert {row["level"] for row in page["action_logs"]} == {4}
    assert 0 < page["meta"]["count"] < first["logs_count"] == 60
    assert second["logs_count"] == 0


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAKES)
def test_every_credential_is_needed_and_checked(kind: type[Fake]) -> None:
    """A missing or wrong value in any header of authentication is a 401, with a JSON body."""
    fake = kind.demo()
    for name in HEADERS[kind].keys() - {"sequence-version"}:
        for headers in ({name: "wrong"}, {}):
            known = {each: value for each, value in HEADERS[kind].items() if each != name} | headers
            answer = fake.handle(httpx.Request("GET", "https://vendor.test" + FIRST[kind], headers=known))
            assert answer.status_code == 401
            assert answer.json()


@pytest.mark.parametrize("kind", FAKES)
def test_unknown_paths_methods_and_failing_resources(kind: type[Fake]) -> None:
    """An unknown path is a 404, a wrong method a 405, a path told to fail answers as told until healed."""
    fake = kind.demo()
    http = client(fake)
    assert http.get("/api/v9/nothing").status_code == 404
    assert http.get(FIRST[kind] + "/").status_code == 404
    assert http.delete(FIRST[kind]).status_code == 405
    fake.failing[FIRST[kind]] = 503
    assert http.get(FIRST[kind]).status_code == 503
    fake.failing.clear()
    assert http.get(FIRST[kind]).status_code == 200


def test_sequence_needs_its_version() -> None:
    """Activity logs exist only in version 2024-07-30: without it they are a 404, under another a 400."""
    fake = SequenceFake.demo()
    key = {"authorization": HEADERS[SequenceFake]["authorization"]}
    missing = fake.handle(httpx.Request("GET", "https://vendor.test/api/activity-logs", headers=key))
    assert missing.status_code == 404
    assert client(fake, sequence_version="2023-01-01").get("/api/activity-logs").status_code == 400


def test_kizen_answers_a_trailing_slash_with_html_and_a_missing_record_with_json() -> None:
    """A trailing slash is no endpoint, so its 404 is HTML; a record one may not see is {detail, code}."""
    http = client(KizenFake.demo())
    assert http.get("/api/activities/").headers["content-type"].startswith("text/html")
    missing = http.get("/api/activities/logged/nobody")
    assert (missing.status_code, missing.json().keys()) == (404, {"detail", "code"})
    assert http.get("/api/activities/logged").status_code == 404
    assert http.get("/api/activities/discovery_call/responses").status_code == 405


def test_missing_parents_are_not_found() -> None:
    """A lead, type or action that is unknown or was deleted is a 404."""
    omni, kizen, tines = OmniFake.demo(), KizenFake.demo(), TinesFake.demo()
    lead, kind = omni.truth()["leads"][0]["leadId"], kizen.truth()["activities"][0]["id"]
    action = tines.truth()["actions"][0]["id"]
    omni.delete_lead(lead)
    kizen.delete_type(kind)
    tines.delete_action(action)
    assert client(omni).get(f"/api/v1/leads/{lead}/action-logs").status_code == 404
    assert client(kizen).post(f"/api/activities/{kind}/responses", json={}).status_code == 404
    assert client(tines).get(f"/api/v1/actions/{action}/logs").status_code == 404


# -- life ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAKES)
def test_time_brings_new_rows_and_late_ones(kind: type[Fake]) -> None:
    """`advance` brings rows on both sides of the old present, and paging gives the new truth."""
    fake, (_, table) = kind.demo(), READ[kind]
    name = {"action_logs": "created_at", "logged_activities": "logged_at"}.get(table, "createdAt")
    name = "createdAt" if kind is OmniFake else name
    before, known = fake.now, {str(row["id"]) for row in fake.truth()[table]}
    fake.advance(60)
    times = [datetime.fromisoformat(r[name]) for r in fake.truth()[table] if str(r["id"]) not in known]
    assert fake.now - before == timedelta(minutes=60)
    assert max(times) > before
    assert any(before - timedelta(minutes=30) <= at <= before for at in times)
    assert same_rows(fake)


@pytest.mark.parametrize(
    ("kind", "parents"), [(OmniFake, "leads"), (KizenFake, "activities"), (TinesFake, "actions")]
)
def test_a_new_parent_comes_with_its_history(kind: type[Fake], parents: str) -> None:
    """`advance` adds one parent that already has rows older than itself, unless told not to."""
    fake = kind.demo()
    count = len(fake.truth()[parents])
    fake.advance(10)
    assert len(fake.truth()[parents]) == count + 1
    fake.advance(10, newcomers=False)
    assert len(fake.truth()[parents]) == count + 1


def test_open_omni_logs_close_in_silence() -> None:
    """PENDING becomes COMPLETED with output and time, AWAITING_APPROVAL CANCELLED; createdAt stays."""
    fake = OmniFake.demo()
    past = {row["id"]: row for row in fake.truth()["action_logs"]}
    fake.advance(60)
    rows = [row for row in fake.truth()["action_logs"] if row["id"] in past]
    moves = {(past[row["id"]]["status"], row["status"]) for row in rows if row != past[row["id"]]}
    assert moves == {("PENDING", "COMPLETED"), ("AWAITING_APPROVAL", "CANCELLED")}
    for row in rows:
        assert row["createdAt"] == past[row["id"]]["createdAt"]
        if row["status"] == "COMPLETED" and past[row["id"]]["status"] == "PENDING":
            assert row["completedAt"] is not None
            assert row["output"] == {"success": True, "summary": "Done"}


def test_a_kizen_edit_shrinks_the_fields_and_moves_no_count() -> None:
    """An edited record has other notes and fewer fields; logged_at and n_submissions stay."""
    fake = KizenFake.demo()
    rows = {row["id"]: row for row in fake.truth()["logged_activities"]}
    row, kinds_before = next(row for row in rows.values() if row.get("fields")), fake.truth()["activities"]
    fake.edit(row["id"])
    edited = client(fake).get(f"/api/activities/logged/{row['id']}").json()
    assert edited == row | {"notes": row["notes"] + " (edited)", "fields": row["fields"][:-1]}
    assert fake.truth()["activities"] == kinds_before
    fake.advance(60, newcomers=False)
    changed = [each for each in fake.truth()["logged_activities"] if each["id"] in rows and each != rows[each["id"]]]
    assert len(changed) == 2  # this one, and the one that time edited


def test_tines_retention_drops_what_the_truth_keeps_if_it_was_served() -> None:
    """Logs past retention vanish from the answers; only those served before stay in the truth."""
    seen, unseen = TinesFake.demo(), TinesFake.demo()
    tines_logs(seen)
    for fake in (seen, unseen):
        fake.advance(3 * 1440, newcomers=False)
    assert len(tines_logs(seen)) < len(seen.truth()["action_logs"])
    assert len(tines_logs(unseen)) == len(unseen.truth()["action_logs"])


@pytest.mark.parametrize("kind", FAKES)
def test_a_row_can_be_changed_deleted_and_made_bad(kind: type[Fake]) -> None:
    """`change` shows at once, a deleted row stays in the truth as last shown, a bad one is served."""
    fake, (read, table) = kind.demo(), READ[kind]
    first = read(fake)[0]
    fake.change(first["id"], extra="new")
    assert first | {"extra": "new"} in read(fake)
    fake.delete(first["id"])
    assert first | {"extra": "new"} not in read(fake)
    assert first | {"extra": "new"} in fake.truth()[table]
    bad: Row = {"id": None, "extra": "lone \ud800 surrogate"}
    if isinstance(fake, SequenceFake):
        fake.add_log(createdAt="garbage", **bad)
    elif isinstance(fake, OmniFake):
        fake.add_log(first["leadId"], createdAt="garbage", **bad)
    elif isinstance(fake, TinesFake):
        fake.add_log(first["action_id"], created_at="garbage", **bad)
    else:
        fake.add_logged(first["activity_object"]["id"], logged_at="garbage", **bad)
    assert kind is KizenFake or any(row["id"] is None for row in read(fake))


@pytest.mark.parametrize("stamp", ["Z", "+02:00", "mixed"])
@pytest.mark.parametrize("kind", FAKES)
def test_the_style_of_stamps_changes_no_instant(kind: type[Fake], stamp: Any) -> None:
    """All three styles of writing a time parse, and "+02:00" never says Z."""
    fake, (_, table) = kind(stamp=stamp), READ[kind]
    if isinstance(fake, SequenceFake):
        fake.seed(30)
    else:
        fake.seed(2, **{"logged" if kind is KizenFake else "logs": 30})
    names = {"createdAt", "created_at", "logged_at"}
    texts = [value for row in fake.truth()[table] for name, value in row.items() if name in names]
    assert len(texts) == 30
    assert all(datetime.fromisoformat(text).tzinfo and datetime.fromisoformat(text) <= fake.now for text in texts)
    endings = {"Z" if text.endswith("Z") else text[-6:] for text in texts}
    assert endings == {"Z": {"Z"}, "+02:00": {"+02:00"}, "mixed": {"Z", "+02:00"}}[stamp]


@pytest.mark.parametrize("kind", FAKES)
def test_requests_are_recorded_and_threads_do_not_mix(kind: type[Fake]) -> None:
    """Eight threads reading at once get whole answers, and each request is on record once."""
    fake = kind.demo()
    answers_seen: list[httpx.Response] = []

    def read() -> None:
        with client(fake) as http:
            answers_seen.extend(
                http.get(FIRST[kind], params={"page": "1"} if kind is TinesFake else {}) for _ in range(10)
            )

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers_seen} == {200}
    assert len({answer.text for answer in answers_seen}) == 1
    assert fake.requests == [("GET", FIRST[kind], (("page", "1"),) if kind is TinesFake else ())] * 80


# -- what all fakes offer --------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOURCES)
def test_a_fake_is_found_by_one_name(name: str) -> None:
    """Each vendor's fake module calls its fake `Fake`, and it derives from the shared base."""
    fake = import_module(f"gapless.sources.{name}.fake").Fake
    assert issubclass(fake, FakeVendor)
    assert fake().page_cap > 1


@pytest.mark.parametrize("kind", FAKES)
def test_records_can_be_added_changed_and_deleted_alike(kind: type[Fake]) -> None:
    """`fill` adds parents and records, `add` one record of the first parent, `change` and `delete` take its id."""
    fake: FakeVendor = kind(page_cap=4)
    table = READ[kind][1]

    def rows() -> dict[Any, Row]:
        return {row["id"]: row for row in fake.truth()[table]}

    fake.fill(3, 10)
    assert len(rows()) == 10
    parents = [len(found) for other, found in fake.truth().items() if other not in (table, "stories")]
    assert parents == ([] if kind is SequenceFake else [3])
    at = fake.now - timedelta(hours=5)
    added = fake.add(at=at, note="mine")
    times = [datetime.fromisoformat(str(v)) for k, v in rows()[added].items() if k in TIMES[kind]]
    assert (len(rows()), rows()[added]["note"], times) == (11, "mine", [at])
    assert fake.change(added, note="changed")["note"] == rows()[added]["note"] == "changed"
    fake.delete(added)
    assert added not in rows()
    assert same_rows(fake)


@pytest.mark.parametrize("kind", FAKES)
def test_a_record_needs_no_parent_to_be_added(kind: type[Fake]) -> None:
    """To an empty vendor `add` brings the parent that it needs."""
    fake = kind()
    added = fake.add()
    assert [row["id"] for row in fake.truth()[READ[kind][1]]] == [added]
    assert all(len(rows) == 1 for rows in fake.truth().values())
    assert same_rows(fake)


@pytest.mark.parametrize("kind", FAKES)
def test_refusals_come_in_one_order(kind: type[Fake]) -> None:
    """A failing path, an unknown one, a wrong key, a wrong method; and each request is noted."""
    fake = kind.demo()

    def status(method: str, path: str, headers: dict[str, str]) -> int:
        return fake.handle(httpx.Request(method, "https://vendor.test" + path, headers=headers)).status_code

    fake.failing[FIRST[kind]] = 418
    assert status("PUT", FIRST[kind], {}) == 418
    fake.failing.clear()
    assert status("PUT", "/nowhere", {}) == 404
    assert status("PUT", FIRST[kind], {}) == 401
    assert status("PUT", FIRST[kind], HEADERS[kind]) == 405
    assert [(method, path) for method, path, _ in fake.requests] == [
        ("PUT", path) for path in (FIRST[kind], "/nowhere", FIRST[kind], FIRST[kind])
    ]


@pytest.mark.parametrize("value", [None, 20260302, "garbage", {}])
def test_an_invalid_time_sorts_at_the_start(value: Any) -> None:
    """A test's bad record must stand somewhere in a listing."""
    assert instant(value) == START
