"""Omni, end to end: leads and the whole of each lead's action logs in DuckDB, changed ones too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from math import ceil
from typing import Any

import pytest

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.verify.verify import verify
from gapless.sources._http.fake_vendor import START
from gapless.sources._ledger.window import Window
from gapless.sources.omni.fake import OmniFake
from tests.support.world import World

Begin = Callable[[Any], World]
HOUR = timedelta(hours=1)


def filled(leads: int = 5, logs: int = 30, **how: Any) -> OmniFake:
    fake = OmniFake(**how)
    fake.seed(leads, logs=logs)
    return fake


@pytest.mark.sweep
@pytest.mark.parametrize(
    "how", [{}, {"stamp": "mixed", "page_cap": 2, "envelope": True}], ids=["bare", "enveloped, short pages, mixed"]
)
def test_whole_tables(world: Begin, how: dict[str, Any]) -> None:
    """First, idle and changed syncs end with the vendor's rows; requests are pages of leads and one per lead."""
    fake = filled(**how)
    here = world(fake)

    def least() -> int:
        return ceil(len(fake.truth()["leads"]) / fake.page_cap) + len(fake.truth()["leads"])

    here.complete()
    here.assert_exact()
    assert here.asked() == least()
    idle = here.complete()
    here.assert_exact()
    assert here.asked() == least()
    assert (idle.packages, idle.rows) == (0, {})
    _shrink(fake)
    fake.advance(60)
    here.complete()
    here.assert_exact()
    assert here.asked() == least()


def _shrink(fake: OmniFake) -> None:
    """One log loses its messages, another the documents of one, and another is null where a list was."""
    talking = [row for row in fake.truth()["action_logs"] if row.get("messages")]
    first, second, third = sorted(talking, key=lambda row: -len(row["messages"]))[:3]
    fake.change(first["id"], messages=[])
    fake.change(second["id"], messages=[{**second["messages"][0], "documents": []}])
    fake.change(third["id"], messages=None)


@pytest.mark.sweep
def test_every_status_is_remembered(world: Begin) -> None:
    """A log that closes leaves one row per status it came to, with the time when it was first seen in it; also one
    that comes back to an earlier status."""
    fake = filled(leads=2, logs=0)
    lead = fake.truth()["leads"][0]["leadId"]
    fake.add_log(lead, id="open", status="PENDING")
    here = world(fake)
    here.complete()
    fake.change("open", status="COMPLETED")
    here.complete()
    fake.change("open", summary="once more")
    here.complete()
    seen = here.sql("select record_id, status from status_changes order by seen_at")
    assert seen == [("open", "PENDING"), ("open", "COMPLETED")]
    assert here.sql("select count(distinct seen_at) from status_changes") == [(2,)]
    fake.change("open", status="PENDING")
    here.complete()
    stays = here.sql("select status, left_at is null from activity.status_durations order by position")
    assert stays == [("PENDING", False), ("COMPLETED", False), ("PENDING", True)]


@pytest.mark.sweep
def test_failing_leads(world: Begin) -> None:
    """500, 403, and 404 of a lead that is listed, are recorded and healed; the other leads are whole."""
    fake = filled(leads=6, logs=20)
    leads = sorted(fake.truth()["leads"], key=lambda lead: lead["createdAt"])  # as analytics name them
    early, down, secret, gone, *rest = [lead["leadId"] for lead in leads]
    fake.failing = {down: 500, secret: 403, gone: 404}
    here = world(fake)
    assert here.sync().outcome == "partial"
    here.assert_exact({"action_logs": [r for r in fake.truth()["action_logs"] if r["leadId"] in (early, *rest)]})
    assert here.letters() == sorted(("parent", failed, 1) for failed in (down, secret, gone))
    fake.failing = {down: 500}
    here.set(OMNI_WORKERS="1").sync()
    assert here.letters() == [("parent", down, 2)]
    first = next(path for _, path, _ in fake.requests if "leads/" in path)
    assert first.split("/")[4] in (down, secret, gone)
    here.mend()
    here.complete()
    assert here.letters() == []
    here.assert_exact()


@pytest.mark.sweep
def test_many_failing_leads_never_stop_the_rest(world: Begin) -> None:
    """Not in the sync after either, when they are the first to be asked."""
    fake = filled(leads=12, logs=24)
    ids = [lead["leadId"] for lead in fake.truth()["leads"]]
    fake.failing = dict.fromkeys(ids[:7], 500)
    here = world(fake)
    assert here.sync().outcome == "partial"
    fake.add_log(ids[9], id="new")
    assert here.sync().outcome == "partial"
    assert here.sql("select count(*) from action_logs where id = 'new'") == [(1,)]
    assert len(here.letters()) == 7


@pytest.mark.sweep
def test_bad_records(world: Begin) -> None:
    """A log or lead that fits no row is a dead letter; the rest of its lead loads, and it heals once mended."""
    fake = filled(leads=3, logs=9)
    lead = fake.truth()["leads"][0]["leadId"]
    fake.add_log(
        lead,
        id="unknown",
        novelty={"a": [1]},
        tool={"id": "t", "vendor": "x"},
        messages=[{"channel": "SMS", "direction": "", "mood": 1}],
    )
    fake.add_log(lead, id="minimal", **dict.fromkeys(("type", "input", "messages", "tool", "createdAt")))
    good = fake.truth()
    fake.add_log(lead, id="bad", type=17)
    here = world(fake)
    assert here.sync().outcome == "partial"
    here.assert_exact({"action_logs": good["action_logs"]})
    ((stream, kind, parent, reason),) = here.sql("select stream, kind, parent, reason from dead_letters")
    assert (stream, kind, parent, "type" in reason) == ("action_logs", "record", lead, True)
    fake.change("bad", type="SYSTEM_NOTE")
    here.complete()
    here.assert_exact()
    assert here.letters() == []


SMS = {"channel": "SMS", "direction": "OUTBOUND"}
ODD: dict[str, dict[str, Any]] = {
    "half a surrogate pair in JSON": {"input": {"x": "\ud800"}},
    "half a surrogate pair in text": {"summary": "\ud800"},
    "NUL in JSON": {"input": {"x": "a\0b"}},
    "NUL in text": {"summary": "a\0b"},
    "NUL in an unknown field": {"novelty": "a\0b"},
    "private use": {"summary": "\uf8ff\uf029\ue000", "input": "\uf8ff"},
    "a deep value": {"input": None},
    "a wide value": {"input": {f"key {n}": n for n in range(3000)}},
    "keys that look alike": {"Summary": "x", "created_at": "y", "_dlt_id": "z", "leadid": 1, "_extra": 2, "extra": 3},
    "a number beyond 64 bits": {"input": 2**70, "messages": [{**SMS, "documents": [{"size": 2**63}]}]},
    "the last moment": {"createdAt": "9999-12-31T23:59:59-05:00"},
    "the first moment": {"createdAt": "0001-01-01T00:00:00+05:00"},
    "a moment in nanoseconds": {"createdAt": "2026-03-02T08:00:00.123456789Z"},
    "epoch": {"createdAt": 1772438400, "completedAt": 1772438400123},
    "an id with a separator": {"id": "a\x1fb"},
    "an empty id": {"id": ""},
    "no id": {"id": None},
    "a number for an id": {"id": 7},
    "a list for an object": {"tool": []},
    "a text for a list": {"messages": ""},
    "nulls in a list": {"messages": [{**SMS, "documents": [None]}]},
    "a record inside out": {"tool": {"id": {"id": {}}}, "messages": [{**SMS, "body": ["a", {}]}]},
}


def test_odd_values(world: Begin) -> None:
    """Whatever a record holds: it is a whole row or a dead letter, and its neighbours load."""
    fake = filled(leads=2, logs=4)
    good = {row["id"] for row in fake.truth()["action_logs"]}
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    lead = fake.truth()["leads"][0]["leadId"]
    for name, fields in ODD.items():
        fake.add_log(lead, **({"id": name} | fields | ({"input": deep} if "deep" in name else {})))
    here = world(fake)
    outcome = here.sync()
    assert outcome.error is None
    held = {i for (i,) in here.sql("select id from action_logs")}
    assert good <= held
    dead = here.sql("select key from dead_letters")
    assert len(held) + len(dead) == len(good) + len(ODD)
    whole = [row for row in fake.truth()["action_logs"] if row["id"] in held]
    here.assert_exact({"action_logs": whole})


@pytest.mark.slow
def test_ids_with_any_characters(world: Begin) -> None:
    """Statuses are looked up by the id of the record, whatever is in it: none is seen twice, or called missing."""
    fake = filled(leads=1, logs=1)
    lead = fake.truth()["leads"][0]["leadId"]
    for name in ("a.b", "it's", "x') or ('1'='1", "\\", "{0}", '"id"', "100%s", ":name", "☃"):
        fake.add_log(lead, id=name, status="PENDING")
    here = world(fake)
    here.complete()
    fake.add_log(lead)
    here.complete()
    assert here.sql("select record_id from status_changes group by all having count(*) > 1") == []
    (found,) = verify(Target.find("duckdb"), ["omni"], None, 0, cells=True)
    assert (found.complete, found.differences) == (True, [])


def test_a_bad_lead_keeps_its_logs(world: Begin) -> None:
    """A lead whose own row cannot be read is a dead letter, its logs are read all the same."""
    fake = filled(leads=3, logs=9)
    lead = fake.add_lead(leadId="odd", firstName=["not", "a", "name"])
    fake.add_log(lead["leadId"])
    here = world(fake)
    assert here.sync().outcome == "partial"
    assert here.letters() == [("record", "odd", 1)]
    here.assert_exact({"action_logs": fake.truth()["action_logs"]})


@pytest.mark.sweep
def test_chosen_leads(world: Begin) -> None:
    """`OMNI_LEAD_IDS`, and ids asked for, are read without asking for any other; analytics are not needed."""
    fake = filled(leads=6, logs=20)
    first, second, third, *_ = [lead["leadId"] for lead in fake.truth()["leads"]]
    here = world(fake).set(OMNI_LEAD_IDS=f"{first}, {second}")
    here.complete()
    assert (here.asked(), here.asked("analytics")) == (2, 0)
    here.complete(ids=(third,))
    assert here.asked() == 1
    logs = [row for row in fake.truth()["action_logs"] if row["leadId"] in (first, second, third)]
    here.assert_exact({"action_logs": logs, "leads": []})


@pytest.mark.sweep
def test_windows(world: Begin) -> None:
    """A window keeps what was created in it and proves nothing, so the next sync has all."""
    fake = filled(leads=1, logs=0)
    lead = fake.truth()["leads"][0]["leadId"]
    for hours in range(9):
        fake.add_log(lead, at=START - hours * HOUR, id=str(hours))
    here = world(fake)
    here.complete(window=Window(START - 5 * HOUR, START - 2 * HOUR))
    assert here.sql("select string_agg(id, '' order by id) from action_logs") == [("345",)]
    assert here.sql("select count(*) from coverage") == [(0,)]
    here.complete()
    here.assert_exact()


MANY_THREADS = """
import sys, threading
from gapless.sources._schema import fast_decoder
from gapless.sources.omni.models import ActionLog
sys.setswitchinterval(1e-6)
def build():
    ready.wait()
    fast_decoder.FastDecoder(ActionLog, {}).decode(RAW)
RAW = b'{"id":"a","leadId":"b","type":"x","messages":[{"id":"1","documents":[{"id":"2"}]}],"tool":{"id":"t"}}'
for _ in range(500):
    fast_decoder._decoder.cache_clear(), fast_decoder._struct.cache_clear()
    ready = threading.Barrier(8)
    threads = [threading.Thread(target=build) for _ in range(8)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
"""


@pytest.mark.slow
def test_threads_that_build_a_decoder_at_once() -> None:
    """The workers of a first sync: msgspec ended the process when two of them built the same structs."""
    done = subprocess.run([sys.executable, "-c", MANY_THREADS], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
