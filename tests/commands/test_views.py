"""The views of the schema `activity`: true to the vendors, the same on every engine, and never in a sync's way."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest
from typer.testing import CliRunner, Result

from gapless.pipelines.cli.app import app
from gapless.pipelines.config import DLT_SETTINGS
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.ledger import state
from gapless.pipelines.ledger.status import statuses
from gapless.pipelines.outcome import Outcome
from gapless.pipelines.sync.request import SyncRequest
from gapless.pipelines.sync.run import sync
from gapless.pipelines.views import duckdb_catalog, refresh
from gapless.sources import SOURCES
from gapless.sources._http.testing import serve
from tests.support import ocsf
from tests.support.oracle import instant
from tests.support.postgres import Server
from tests.support.world import CREDENTIALS, IN_A_HURRY, OURS, some

VIEWS = {view.name: view for view in refresh.views()}
every_view = pytest.mark.parametrize("name", VIEWS)
ALIEN = "America/New_York"
"""The reader's time zone must not matter; Postgres has another one."""
EDGES = [
    datetime(2026, 2, 27, 23, 59, 59, 999000, UTC),
    datetime(2026, 2, 28, tzinfo=UTC),
    datetime(2026, 2, 28, 2, 30, tzinfo=UTC),
]
"""Days that are others elsewhere."""
BROKEN_OFF = """
insert into {0}.coverage by name
select * replace ('broken' as parent, 'x' as _dlt_load_id, 'coverage x' as _dlt_id) from {0}.coverage limit 1;
insert into {0}.dead_letters by name
select
    'leads' as stream, 'record' as kind, load as key, 'known' as reason, 1 as attempts, now() as first_seen_at,
    now() as last_seen_at, now() as healed_at, load as _dlt_load_id, load as _dlt_id
from (select 'broken' as load union all select max(load_id) from {0}._dlt_loads where status = 0)
"""
"""Of a load that broke off: a proof that is none, and a letter that is not healed; beside it one that is."""
TABLES = set[str]().union(*(view.reads for view in VIEWS.values())) - {f"activity.{name}" for name in VIEWS}


@dataclass
class Vendors:
    """All four on the loopback interface, for as long as the module is tested."""

    fakes: dict[str, Any]
    settings: dict[str, str]


@dataclass
class Both:
    """The same rows in a DuckDB file and in Postgres."""

    vendors: Vendors
    file: Path
    url: str


@pytest.fixture(scope="module")
def vendors() -> Iterator[Vendors]:
    with ExitStack() as stack:
        found = Vendors({}, {**CREDENTIALS, **IN_A_HURRY})
        for name in SOURCES:
            fake = getattr(import_module(f"gapless.sources.{name}.fake"), f"{name.capitalize()}Fake")(page_cap=8)
            fake.fill(4, 20)
            found.fakes[name] = fake
            found.settings[f"{name.upper()}_BASE_URL"] = stack.enter_context(serve(fake.handle))
        yield found


@pytest.fixture(scope="module")
def both(vendors: Vendors, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """A bad record in Sequence; Omni and Tines once more an hour later, when an action fails; Kizen reset."""
    folder, url = tmp_path_factory.mktemp("views"), server.database()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(OURS)]:
            patch.delenv(name)
        settings = {**vendors.settings, **DLT_SETTINGS, "DLT_PROJECT_DIR": str(folder)}
        for name, value in {**settings, "DESTINATION__POSTGRES__CREDENTIALS": url}.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        _happen(vendors)
        assert [outcome.outcome for outcome in synced(*SOURCES)] == ["complete", "partial", "complete", "complete"]
        _happen_later(vendors)
        assert [outcome.outcome for outcome in synced("omni", "tines")] == ["complete", "partial"]
        vendors.fakes["tines"].failing.clear()
        state.reset(Target.find("duckdb"), "kizen")
        list(sync(list(SOURCES), Target.find("postgres"), SyncRequest()))
    with duckdb.connect(str(folder / "gapless.duckdb")) as db, closing(psycopg2.connect(url)) as other:
        db.execute("update sequence.coverage set missing = '[[null, \"2026-01-05T00:00:00Z\"]]'")
        for name in SOURCES:
            db.execute(BROKEN_OFF.format(name))
        for table in sorted(TABLES):
            _copied(table, db, other)
        other.commit()
    return Both(vendors, folder / "gapless.duckdb", url)


def _happen(vendors: Vendors) -> None:
    omni, sequence, kizen, tines = vendors.fakes.values()
    lead, action = omni.truth()["leads"][0]["leadId"], tines.truth()["actions"][0]["id"]
    for at in EDGES:
        message = {"id": f"m {at}", "body": "%", "channel": "SMS", "direction": "INBOUND"}
        omni.add_log(lead, at=at, type="MESSAGE", tool={"name": "texter"}, messages=[message])
        sequence.add_log(at=at)
        kizen.add_logged(kizen.truth()["activities"][0]["id"], at=at)
        tines.add_log(action, at=at, level=4)
    omni.add_log(lead, id="no text", type=None, status="FAILED", error=None, summary=None, input=None)
    omni.add_log(lead, id="watched", at=omni.now - timedelta(days=30), status="PENDING", completedAt=None)
    sequence.add_log(id="no items", activityLogItems=[])
    sequence.add_log(id="bad", origin=[])
    kizen.add_logged(kizen.truth()["activities"][0]["id"], associated_entities=[], notes="")
    forms = [{"id": f"{place}", "name": f"form {place}", "value": value} for place, (value, _) in enumerate(FORMS)]
    kizen.add_logged(kizen.truth()["activities"][0]["id"], id="forms", fields=forms)
    tines.add_log(action, level=9)


def _happen_later(vendors: Vendors) -> None:
    omni, tines = vendors.fakes["omni"], vendors.fakes["tines"]
    omni.advance(60)
    tines.advance(60)
    omni.change("watched", status="COMPLETED", completedAt="2026-03-02T09:30:00.250Z")
    tines.failing[f"/{tines.truth()['actions'][0]['id']}/logs"] = 500


def synced(*names: str) -> list[Outcome]:
    return list(sync(list(names), Target.find("duckdb"), SyncRequest()))


def _copied(table: str, db: Any, other: Any) -> None:
    rows = db.execute(f"select * from {table}").fetchall()
    names = ", ".join(f'"{column[0]}"' for column in db.description)
    with other.cursor() as cursor:
        cursor.execute(f"delete from {table}")
        for row in rows:
            cursor.execute(f"insert into {table} ({names}) values ({', '.join(['%s'] * len(row))})", row)


@pytest.fixture
def here(vendors: Vendors, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, with all four vendors to sync from; the file that a sync will make."""
    for name, value in vendors.settings.items():
        monkeypatch.setenv(name, value)
    return Path.cwd() / "gapless.duckdb"


def asked(file: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(file), read_only=True) as db:
        db.execute(f"set timezone = '{ALIEN}'")
        return [tuple(map(_plain, row)) for row in db.execute(query).fetchall()]


def asked_postgres(url: str, query: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(url)) as db, db.cursor() as cursor:
        cursor.execute(query)
        return [tuple(map(_plain, row)) for row in cursor.fetchall()]


def _plain(value: Any) -> Any:
    """Instants in UTC; JSON as text, as each driver hands it out, and a list of it without the engine's spaces."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, str) and value.startswith("[{"):
        return json.dumps(json.loads(value))
    return json.dumps(value) if isinstance(value, list | dict) else value


def by_text(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=repr)


# -- what they say ---------------------------------------------------------------------------------


@every_view
def test_one_row_per_what_its_header_says(name: str, both: Both) -> None:
    """The key that stands there is one: never null, never twice."""
    key = VIEWS[name].key
    rows = asked(both.file, f"select {', '.join(key)} from activity.{name}")
    assert VIEWS[name].grain
    assert rows
    assert len(set(rows)) == len(rows)
    assert None not in {value for row in rows for value in row}


@every_view
def test_equal_answers_on_duckdb_and_postgres(name: str, both: Both) -> None:
    """Value by value and type by type, wherever the reader's clock hangs."""
    rows = by_text(asked(both.file, f"select * from activity.{name}"))
    others = by_text(asked_postgres(both.url, f"select * from activity.{name}"))
    assert rows == others
    assert [list(map(type, row)) for row in rows] == [list(map(type, row)) for row in others]


def happened(fakes: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The timeline without its links, worked out from the vendors' own records."""
    omni, sequence, kizen, tines = (fakes[name].truth() for name in SOURCES)
    leads = {lead["leadId"]: f"{lead['firstName']} {lead['lastName']}" for lead in omni["leads"]}
    for log in omni["action_logs"]:
        tool, error = (log.get("tool") or {}).get("name"), log.get("error")
        why = error or log["summary"] or "FAILED" if log["status"] == "FAILED" or error else None
        about = ("lead", log["leadId"], log.get("parentActionId"))
        what = (log["createdAt"], tool, log["type"], *about, log["status"], log["summary"], why)
        yield ("omni", log["id"], 0, *what, leads[log["leadId"]], "automation" if tool else None)
    for log in sequence["activity_logs"]:
        if log["id"] == "no items":
            yield ("sequence", log["id"], 0, log["createdAt"], None, log["activityType"], *(None,) * 8)
        for part, item in enumerate(log["activityLogItems"] if log["id"] != "bad" else []):
            actor, thing = item["activityLogActor"], item["activityLogObject"]
            who = actor.get("email", actor["id"])
            kind = {"USER": "user", "API_CLIENT": "key"}[actor["entityType"]]
            what = (item["verb"], thing["entityType"].lower(), thing["entityId"], None, None, item["summary"], None)
            yield ("sequence", log["id"], part, log["createdAt"], who, *what, None, kind)
    for row in kizen["logged_activities"]:
        for part, entity in enumerate(row["associated_entities"] or [{}]):
            about = (entity.get("object_api_name"), entity.get("entity_id"), row.get("scheduled_activity_id"))
            done = "completed" if row["completed_at"] else "logged"
            what = (
                row["logged_by"]["email"],
                row["activity_object"]["name"],
                *about,
                done,
                row["notes"] or None,
                None,
                entity.get("display_name") or entity.get("name"),
                "user",
            )
            yield ("kizen", row["id"], part, row["logged_at"], *what)
    actions = {action["id"]: action for action in tines["actions"]}
    stories = {story["id"]: story["name"] for story in tines["stories"]}
    for log in tines["action_logs"]:
        action, level = actions[log["action_id"]], log["level"]
        about = ("story", str(log["story_id"]), str(log["action_id"]))
        status = {2: "warning", 3: "info", 4: "error"}.get(level, str(level))
        why = log["message"] if level == 4 else None
        what = (action["name"], action["type"], *about, status, log["message"], why)
        yield ("tines", str(log["id"]), 0, log["created_at"], *what, stories.get(log["story_id"]), "automation")


def _instants(rows: Iterator[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    start = datetime(1970, 1, 1, tzinfo=UTC)
    return [(*row[:3], start + timedelta(microseconds=instant(row[3])), *row[4:]) for row in rows]


def unread(both: Both) -> set[str]:
    """Logs of the action that failed, which came after the first sync."""
    known = {row[0] for row in asked(both.file, "select id::varchar from tines.action_logs")}
    return {str(log["id"]) for log in both.vendors.fakes["tines"].truth()["action_logs"]} - known


def truth(both: Both) -> list[tuple[Any, ...]]:
    missing = unread(both)
    return [row for row in _instants(happened(both.vendors.fakes)) if row[0] != "tines" or row[1] not in missing]


COMMON = (
    "source, record_id, part, occurred_at, actor, action, object_type, object_id, parent_id, status, summary, error,"
    " object_name, actor_type"
)


def test_the_timeline_is_what_happened(both: Both) -> None:
    """Every record of every vendor with each of its parts, as the vendor has it, and nothing else."""
    rows = asked(both.file, f"select {COMMON} from activity.timeline")
    assert by_text(rows) == by_text(truth(both))
    assert {row[0] for row in rows} == set(SOURCES)


def test_every_row_of_the_timeline_leads_to_its_own(both: Both) -> None:
    """By table and _dlt_id, on both engines; no two rows of the timeline to the same."""
    query = "select distinct row_table from activity.timeline"
    tables = [table for (table,) in asked(both.file, query)]
    assert len(tables) == 6
    for table in tables:
        joined = f"from activity.timeline as t join {table} as r on r._dlt_id = t.row_dlt_id"
        counts = f"(select count(distinct r._dlt_id) {joined} where row_table = '{table}')"
        found = f"select count(*) = {counts} from activity.timeline where row_table = '{table}'"
        assert asked(both.file, found) == asked_postgres(both.url, found) == [(True,)], table


def test_a_filter_reaches_the_tables_of_postgres(both: Both) -> None:
    """Of each text column of the timeline: else a question about one object would build all of it first.

    Postgres does so where the branches of a union differ in a column's type, and dlt's texts are not of type `text`.
    """
    texts = "source record_id actor action object_type object_id parent_id status summary error row_dlt_id account"
    for column in (*texts.split(), "object_name", "actor_type"):
        plan = asked_postgres(both.url, f"explain select * from activity.timeline where {column} = 'x'")
        assert not any("Scan on timeline" in line for (line,) in plan), column


def test_days_failures_and_actors(both: Both) -> None:
    """Days are UTC's; a record with parts is one record and many events; failures are those with a reason."""
    rows = truth(both)
    days: dict[tuple[date, str], list[Any]] = defaultdict(list)
    actors: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in rows:
        days[row[3].date(), row[0]].append(row)
        if row[4]:
            actors[row[0], row[4]].append(row)
    kinds = {(row[0], row[4]): row[13] for row in rows}
    volume = [(*key, *_counts(found), key[1]) for key, found in days.items()]
    assert by_text(asked(both.file, "from activity.daily_volume")) == by_text(volume)
    who = [
        (*key, *_counts(found), min(r[3] for r in found), max(r[3] for r in found), key[0], kinds[key])
        for key, found in actors.items()
    ]
    assert by_text(asked(both.file, "from activity.who")) == by_text(who)
    failures = [(row[0], row[1], row[11]) for row in rows if row[11]]
    assert by_text(asked(both.file, "select source, record_id, error from activity.failures")) == by_text(failures)
    assert len(failures) > len(EDGES)


def _counts(rows: list[tuple[Any, ...]]) -> tuple[int, int, int]:
    return len({row[1] for row in rows}), len(rows), sum(row[11] is not None for row in rows)


def test_conversations_are_in_order(both: Both) -> None:
    """Every message once, by lead, time, log and place in the log; with the number of its documents."""
    logs = both.vendors.fakes["omni"].truth()["action_logs"]
    logs = sorted(logs, key=lambda log: (log["leadId"], instant(log["createdAt"]), log["id"]))
    messages = [(log["leadId"], message) for log in logs for message in log.get("messages") or []]
    said = "select lead_id, message_id, channel, direction, subject, body, documents from activity.conversations"
    told = ("id", "channel", "direction", "subject", "body")
    wanted = [(lead, *map(m.get, told), len(m.get("documents", []))) for lead, m in messages]
    assert asked(both.file, f"{said} order by lead_id, position") == wanted
    first = "select min(position), max(position) = count(*) from activity.conversations group by lead_id"
    assert set(asked(both.file, first)) == {(1, True)}


def test_how_long_a_status_lasts(both: Both) -> None:
    """From creation to completion as the vendor's clock has it, in whole seconds; the last status has no end."""
    query = "select status, position, entered_at, left_at, seconds, next_status from activity.status_durations"
    began, ended = datetime(2026, 1, 31, 9, tzinfo=UTC), datetime(2026, 3, 2, 9, 30, 0, 250000, UTC)
    assert asked(both.file, f"{query} where record_id = 'watched' order by position") == [
        ("PENDING", 1, began, ended, 30 * 86400 + 30 * 60, "COMPLETED"),
        ("COMPLETED", 2, ended, None, None, None),
    ]
    logs = "select count(*) from omni.action_logs where status is not null"
    assert asked(both.file, "select count(distinct record_id) from activity.status_durations") == asked(
        both.file, logs
    )


FORMS: list[tuple[object, tuple[object, ...]]] = [
    ({"id": 1, "code": "won", "name": "Won"}, ("Won", None, None, None)),
    ({"value": "2.50"}, ("2.50", Decimal("2.5"), None, None)),
    (["a"], ('["a"]', None, None, None)),
    (None, (None, None, None, None)),
    (-4, ("-4", Decimal(-4), None, None)),
    (False, ("false", None, None, False)),
    ("007", ("007", None, None, None)),
    ("4 \n", ("4 \n", None, None, None)),
    ("12345678901234567890", ("12345678901234567890", None, None, None)),
    ("2026-02-28", ("2026-02-28", None, datetime(2026, 2, 28, tzinfo=UTC), None)),
    ("2026-02-29", ("2026-02-29", None, None, None)),
    ("2028-02-29", ("2028-02-29", None, datetime(2028, 2, 29, tzinfo=UTC), None)),
    ("2026-04-31", ("2026-04-31", None, None, None)),
    ("2026-03-01T25:00:00Z", ("2026-03-01T25:00:00Z", None, None, None)),
    ("2026-03-01T10:00:00", ("2026-03-01T10:00:00", None, datetime(2026, 3, 1, 10, tzinfo=UTC), None)),
    ("2026-03-01T10:00:00+02:00", ("2026-03-01T10:00:00+02:00", None, datetime(2026, 3, 1, 8, tzinfo=UTC), None)),
]
"""A field's value as the vendor sends it -> its text, number, time and flag."""


def test_field_values_have_types(both: Both) -> None:
    """Every form of value that the documents name, and texts that only look like one; on both engines alike."""
    query = "select field, text, number, time, flag from activity.field_values where record_id = 'forms'"
    wanted = by_text([(f"form {place}", *typed) for place, (_, typed) in enumerate(FORMS)])
    assert by_text(asked(both.file, query)) == wanted
    assert by_text(asked_postgres(both.url, query)) == wanted


def test_freshness_says_what_status_says(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newest record, proof, failing parents, dead letters and the last run, per source and stream."""
    monkeypatch.chdir(both.file.parent)
    found = {one.source: one for one in statuses(Target.find("duckdb"))}
    rows = {row[:2]: row[2:] for row in asked(both.file, "from activity.freshness")}
    assert len(rows) == len(found) + 3  # leads, activities, actions
    for name, one in found.items():
        ((stream, seen),) = one.coverage.items()
        newest, covered, furthest, checked, parents, failing, missing, reset, _, _, outcome, account = rows[
            name, stream
        ]
        assert (newest, furthest, checked) == (one.newest, seen.newest_covered_to, seen.last_checked_at)
        assert covered == (None if missing else seen.covered_to)  # SQL of every engine does not look into JSON
        assert (parents, failing, reset) == (seen.parents, seen.failed, seen.unproven)
        assert one.last_run is not None
        assert account == name
        assert outcome == one.last_run["outcome"]
        open_ones = asked(both.file, f"select count(*) from activity.dead_letters where source = '{name}'")
        assert open_ones == [(sum(one.dead_letters.values()) + 1,)]  # the one that a broken load healed
        of_stream = f"{name}' and stream = '{stream}"
        letters = asked(both.file, f"select count(*) from activity.dead_letters where source = '{of_stream}'")
        assert letters == [(rows[name, stream][8],)]
    told = {name: next(row for key, row in rows.items() if key[0] == name) for name in SOURCES}
    assert rows["sequence", "activity_logs"][6] == 2  # what a load that broke off notes as missing counts, too
    assert rows["kizen", "logged_activities"][7] > 0
    assert rows["tines", "action_logs"][5] == 1
    assert told["tines"][-2:] == ("partial", "tines")


# -- what is not there -----------------------------------------------------------------------------


def everything(db: duckdb.DuckDBPyConnection) -> dict[str, tuple[list[Any], list[tuple[Any, ...]]]]:
    """Columns with their types, and rows, of every view."""
    found = {}
    for name in VIEWS:
        answer = db.execute(f"from activity.{name}")
        found[name] = [column[:2] for column in answer.description or []], by_text(answer.fetchall())
    return found


def _made(file: Path) -> None:
    with duckdb.connect(str(file)) as db:
        refresh.make(duckdb_catalog.DuckdbCatalog(db))


@pytest.mark.parametrize("alone", [*SOURCES, "nobody"])
def test_sources_that_are_not_there(alone: str, both: Both, tmp_path: Path) -> None:
    """Every view has the same columns of the same types; its rows are those of the sources that are there."""
    file = tmp_path / "copy.duckdb"
    shutil.copy(both.file, file)
    with duckdb.connect(str(file)) as db:
        all_there = everything(db)
        for name in SOURCES:
            if name != alone:
                db.execute(f"drop schema {name} cascade")
        refresh.make(duckdb_catalog.DuckdbCatalog(db))
        for name, (columns, rows) in everything(db).items():
            assert columns == all_there[name][0], name
            own = [row for row in all_there[name][1] if any(f"{cell}.".startswith(f"{alone}.") for cell in row)]
            assert rows == own, name


@pytest.mark.slow
@pytest.mark.parametrize("destination", some(["duckdb", "postgres"], "duckdb"))
def test_a_source_that_comes_later(destination: str, here: Path, server: Server, monkeypatch: Any) -> None:
    """It is taken in by its first sync, also where somebody's own view rests on ours."""
    url = server.database()
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url)
    ask: Callable[[str], Any] = (
        (lambda q: asked(here, q)) if destination == "duckdb" else (lambda q: asked_postgres(url, q))
    )
    held = "select source, count(*) > 0 from activity.timeline group by source order by source"
    list(sync(["tines"], Target.find(destination), SyncRequest()))
    assert ask(held) == [("tines", True)]
    if destination == "postgres":
        server.execute(url.rsplit("/", 1)[1], "create view mine as select source, object_id from activity.timeline")
    list(sync(["sequence"], Target.find(destination), SyncRequest()))
    assert ask(held) == [("sequence", True), ("tines", True)]
    assert len(ask("select * from activity.freshness")) == 3
    if destination == "postgres":
        assert ask("select distinct source from mine order by source") == [("sequence",), ("tines",)]


# -- when they are made ----------------------------------------------------------------------------


@pytest.mark.slow
def test_made_anew_only_when_they_must_be(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is done when nothing changed; a view that was taken away, or is of another text, is made again."""
    made: list[set[str]] = []
    make = duckdb_catalog.DuckdbCatalog.create
    monkeypatch.setattr(
        duckdb_catalog.DuckdbCatalog, "create", lambda self, *args: made.append({*args[0]}) or make(self, *args)
    )
    synced("tines")
    synced("tines")
    assert made == [{*VIEWS, refresh.MARK}]
    for change in (
        "drop view activity.who",
        f"create or replace view activity.{refresh.MARK} as select 'of another version' as mark",
    ):
        with duckdb.connect(str(here)) as db:
            db.execute(change)
        made.clear()
        _made(here)
        _made(here)
        assert len(made) == 1
        assert asked(here, "select count(*) > 0 from activity.who") == [(True,)]


@pytest.mark.slow
def test_no_view_breaks_a_sync(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What stands in a view's way is one line that says what mends it; the sync is complete, nothing half made."""
    with duckdb.connect(str(here)) as db:
        db.execute("create schema activity; create table activity.timeline as select 1 as x")
    with caplog.at_level(logging.WARNING):
        (outcome,) = synced("tines")
    assert (outcome.outcome, outcome.error) == ("complete", None)
    (line,) = [record.message for record in caplog.records if record.name == "gapless.pipelines.views.refresh"]
    assert "timeline" in line
    assert "The data are complete" in line
    assert "gapless views" in line
    assert asked(here, "from duckdb_views() where schema_name = 'activity'") == []
    result = gapless("views")
    assert (result.exit_code, result.stdout) == (1, "")
    with duckdb.connect(str(here)) as db:
        db.execute("drop table activity.timeline")
    assert gapless("views").exit_code == 0


@pytest.mark.sweep
def test_postgres_lets_dlt_change_tables_below_views(here: Path, server: Server, monkeypatch: Any) -> None:
    """A column is added while views rest on its table; a table that somebody dropped comes back, with the views, and
    one whose columns are others is made anew."""
    url = server.database()
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url)
    list(sync(["tines"], Target.find("postgres"), SyncRequest()))
    rest_on = "select table_name from information_schema.view_table_usage where table_schema = 'tines'"
    server.execute(
        url.rsplit("/", 1)[1],
        "alter table tines.coverage drop column _extra; drop table tines.actions cascade;"
        " delete from tines._dlt_version; create view activity.who as select 1 as of_another_version",
    )
    assert ("coverage",) in asked_postgres(url, rest_on)
    assert ("actions",) not in asked_postgres(url, rest_on)
    (outcome,) = sync(["tines"], Target.find("postgres"), SyncRequest())
    assert outcome.error is None
    assert asked_postgres(url, "select count(_extra) from tines.coverage") == [(0,)]
    assert ("actions",) in asked_postgres(url, rest_on)
    assert asked_postgres(url, "select count(*) > 0, count(actor) > 0 from activity.who") == [(True, True)]


# -- the command -----------------------------------------------------------------------------------


def gapless(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


@pytest.mark.slow
def test_the_command(both: Both, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lists every view with its rows, for people and for programs, on DuckDB as on Postgres."""
    shutil.copy(both.file, here)
    with duckdb.connect(str(here)) as db:
        db.execute("drop schema activity cascade")
    told = json.loads(gapless("views", "--json").stdout)
    counts = {name: asked(both.file, f"select count(*) from activity.{name}")[0][0] for name in VIEWS}
    assert told["file"] == str(here)
    assert told["views"] == {n: {"one_row_per": VIEWS[n].grain, "rows": rows} for n, rows in counts.items()}
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", both.url)
    assert json.loads(gapless("views", "--json", "--destination", "postgres").stdout)["views"] == told["views"]
    shown = gapless("views")
    assert shown.exit_code == 0
    assert all(f"activity.{name}" in shown.stdout for name in VIEWS)
    with Target.find("duckdb").locked():
        assert gapless("views").exit_code == 75


def test_the_command_before_the_first_sync(here: Path) -> None:
    """Nothing is there, nothing is made: it says so. A destination that is none is wrong usage."""
    result = gapless("views")
    assert (result.exit_code, "nothing synced yet" in result.stderr, here.exists()) == (0, True, False)
    assert json.loads(gapless("views", "--json").stdout)["views"] == {}
    assert gapless("views", "--destination", "nowhere").exit_code == 2


# -- what they hold, in words ----------------------------------------------------------------------

SILENT = {
    "duckdb": (
        "select schema_name, table_name, column_name from duckdb_columns() where comment is null and not internal"
        " union all select schema_name, table_name, '' from duckdb_tables() where comment is null"
        " union all select schema_name, view_name, '' from duckdb_views() where comment is null and not internal"
    ),
    "postgres": (
        "select n.nspname, c.relname, coalesce(a.attname, '') from pg_class as c join pg_namespace as n"
        " on n.oid = c.relnamespace join (select attrelid, attnum, attname from pg_attribute where attnum > 0"
        " union all select oid, 0, null from pg_class) as a on a.attrelid = c.oid"
        " where c.relkind in ('r', 'v') and n.nspname !~ '^(pg_|information_schema|.*_staging$)'"
        " and case a.attnum when 0 then obj_description(c.oid, 'pg_class') else col_description(c.oid, a.attnum) end"
        " is null"
    ),
}
"""Queries of every table, column and view without a comment; dlt's staging tables are nobody's to read."""


@pytest.mark.parametrize("engine", SILENT)
def test_every_table_column_and_view_has_a_comment(engine: str, both: Both) -> None:
    """The database explains itself to whoever has nothing else; dlt's own tables, too."""
    silent = asked(both.file, SILENT[engine]) if engine == "duckdb" else asked_postgres(both.url, SILENT[engine])
    assert silent == []


@pytest.mark.slow
@pytest.mark.described
def test_comments_are_set_when_they_are_missing_or_changed(both: Both, tmp_path: Path, monkeypatch: Any) -> None:
    """Once, and not at each sync: what is as it was is left alone, also a comment of somebody else's."""
    file, ran = tmp_path / "copy.duckdb", list[str]()
    shutil.copy(both.file, file)
    run = duckdb_catalog.DuckdbCatalog.run
    monkeypatch.setattr(duckdb_catalog.DuckdbCatalog, "run", lambda self, made: ran.extend(made) or run(self, made))
    _made(file)
    assert ran == []
    for damage in ("comment on column tines.actions.guid is null", "comment on table tines.actions is null"):
        with duckdb.connect(str(file)) as db:
            db.execute(damage)
            db.execute(
                "comment on table kizen.activities is 'somebody''s words'; create table tines.mine as select 1 as x"
            )
        _made(file)
        assert len([line for line in ran if line.startswith("comment on")]) == 3, ran
        ran.clear()
        _made(file)
        assert ran == []
        assert asked(file, SILENT["duckdb"]) == [("tines", "mine", "x"), ("tines", "mine", "")]
        with duckdb.connect(str(file)) as db:
            db.execute("drop table tines.mine")
            db.execute("comment on view activity._made is null")  # as if an older version had made it
        _made(file)
        ran.clear()


@pytest.mark.slow
@pytest.mark.described
def test_export_and_import_of_the_whole_database(both: Both, tmp_path: Path) -> None:
    """DuckDB writes views by their names and makes them again in that order; the next sync sets the comments."""
    folder, file = tmp_path / "exported", tmp_path / "imported.duckdb"
    with duckdb.connect(str(both.file), read_only=True) as db:
        before = everything(db)
        db.execute(f"export database '{folder}'")
    with duckdb.connect(str(file)) as db:
        db.execute(f"import database '{folder}'")
        assert everything(db) == before
    assert len(asked(file, SILENT["duckdb"])) > 100
    _made(file)
    assert asked(file, SILENT["duckdb"]) == []


@pytest.mark.slow
@pytest.mark.parametrize("engine", SILENT)
def test_events_of_the_schema_framework(engine: str, both: Both) -> None:
    """On each engine they are what OCSF requires, with the instant to the millisecond, whatever the reader's zone."""
    columns = VIEWS["ocsf"].column_names
    query = (
        f"select {', '.join(f'e.{name}' for name in columns)}, t.occurred_at from activity.ocsf as e"
        " join activity.timeline as t on t.account = e.account and t.record_id = e.record_id and t.part = e.part"
    )
    rows = asked(both.file, query) if engine == "duckdb" else asked_postgres(both.url, query)
    assert len(rows) > 150
    for *cells, at in rows:
        found = ocsf.event(dict(zip(columns, cells, strict=True)))
        assert ocsf.problems(found) == [], found
        assert found["time"] == (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
