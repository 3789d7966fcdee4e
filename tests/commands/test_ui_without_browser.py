"""The page of `gapless ui` without its browser: what the views answer, that they tell no more, and how it begins."""

from __future__ import annotations

import html
import io
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlencode

import duckdb
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from gapless.pipelines import redaction
from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.ui import opening, server
from gapless.pipelines.ui.address import parse
from gapless.pipelines.ui.charts import Part, colours, columns
from gapless.pipelines.ui.database import session
from gapless.pipelines.ui.views import VIEWS, failures, volume
from gapless.sources import SOURCES, Source
from gapless.sources.kizen.fake import KizenFake
from gapless.sources.omni.fake import OmniFake
from gapless.sources.tines.fake import TinesFake
from tests.support.page import TOKEN, Page
from tests.support.postgres import Server
from tests.support.world import World

Begin = Callable[[Any], World]
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SCRIPT = "<script>alert(1)</script>"
KEY = "canary-key-0123456789"
MENU = [name for name, view in VIEWS.items() if view.in_menu]


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return Page(tmp_path / "gapless.duckdb", tmp_path / "copy.duckdb", NOW)


def every_view(page: Page) -> dict[str, str]:
    return {name: page(name) for name in MENU}


def changed(file: Path, *statements: str) -> None:
    with duckdb.connect(str(file)) as db:
        for statement in statements:
            db.execute(statement)


def links(shown: str) -> list[str]:
    return [html.unescape(one) for one in re.findall(r'href="(\?[^"]+)"', shown)]


@pytest.mark.slow
def test_one_source_is_enough(world: Begin, page: Page) -> None:
    """Each view answers, whichever sources are there; every link of it leads to a view without an error."""
    world(TinesFake.demo()).synced()
    shown = every_view(page)
    assert [name for name, text in shown.items() if 'class="notice"><p>' in text] == []
    assert "problem" not in shown["health"]
    assert shown["health"].count("never synced") == 3
    # One of each kind: a hundred events lead to a hundred rows.
    found = [link for text in shown.values() for link in links(text)]
    kinds = {re.sub(r"=[^&]*", "", link.replace("?view=", "")): link for link in found}
    for link in kinds.values():
        answer = page.get(link)
        assert (answer.status, "was left out" in answer.text) == (200, False), link


@pytest.mark.slow
def test_counts_are_the_views(world: Begin, page: Page) -> None:
    """Columns of the chart and lines of the timeline are what the views hold."""
    here = world(TinesFake.demo())
    here.synced()
    ((records,),) = here.sql("select sum(records) from activity.daily_volume")
    counts = re.findall(r"<title>[^<]*: ([\d,]+) records?</title>", page("volume"))
    assert sum(int(count.replace(",", "")) for count in counts) == records
    ((errors,),) = here.sql("select count(*) from activity.timeline where status = 'error'")
    assert f"{errors} events" in page("timeline", status="error")


@pytest.mark.slow
def test_pages_of_the_timeline_have_every_event_once(world: Begin, page: Page) -> None:
    """Whatever stands at the seam; events without a time are the last."""
    here = world(TinesFake.demo())
    here.synced()
    changed(
        here.folder / "gapless.duckdb",
        "update tines.action_logs set created_at = '2026-03-01 00:00:00Z' where id % 2 = 0",
        "alter table tines.action_logs alter created_at drop not null",
        "update tines.action_logs set created_at = null where id % 5 = 0",
    )
    rows, at = list[str](), "?view=timeline"
    while at:
        shown = page.get(at).text
        rows += re.findall(r"id=([^&\"]+)\" aria-label=\"Details", shown)
        older = re.search(r'id="older" href="([^"]+)"', shown)
        at = html.unescape(older[1]) if older else ""
    ((count,),) = here.sql("select count(*) from activity.timeline")
    assert (len(rows), len(set(rows))) == (count, count)


@pytest.mark.parametrize("size", [1, 120, 121, 900, 901, 5000])
def test_no_record_falls_between_two_buckets(size: int) -> None:
    """Days, weeks or months: each record is in one column, which stands upon the one below."""
    first = date(2024, 1, 31)
    days = [first + timedelta(days=n) for n in range(0, size + 1, max(1, size // 50))]
    unit = volume.size_of(days[0], days[-1])
    cells = [(volume.start_of(day, unit), name, 3) for day in days for name in ("a", "b")]
    chart = columns(cells, {"b": "#111111", "a": "#222222"}, unit, "records")
    assert chart
    assert sum(int(part.title.split()[-2]) for part in chart.parts) == 6 * len(days)
    highest, marked = chart.counts[-1]
    places: dict[float, list[Part]] = {}
    for part in chart.parts:
        places.setdefault(part.x, []).append(part)
    for parts in places.values():
        lower, upper = parts
        assert (lower.colour, upper.colour) == ("#111111", "#222222")
        assert upper.y + upper.height == pytest.approx(lower.y, abs=0.02)
        assert lower.y + lower.height == pytest.approx(chart.height, abs=0.02)
        counted = sum(int(part.title.split()[-2]) for part in parts)
        assert upper.y == pytest.approx(chart.height * (1 - counted / marked), abs=0.02)
    assert highest == 0
    ends = [x + width for x, width in sorted({(part.x, part.width) for part in chart.parts})]
    assert max(ends) == pytest.approx(100, abs=0.01)
    assert all(end <= x + 0.01 for end, x in zip(ends, sorted(places)[1:], strict=False))


def test_accounts_of_one_vendor_have_shades_of_its_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each its own, the same whichever others are shown."""
    for number in range(4):
        monkeypatch.setitem(SOURCES, f"tines_{number}", Source(f"tines_{number}", SOURCES["tines"].package))
    every = colours([*SOURCES])
    assert len({*every.values()}) == len(SOURCES)
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in every.values())
    assert every["tines"] == SOURCES["tines"].facts.colour
    assert colours({"tines_2"}) == {"tines_2": every["tines_2"]}


@pytest.mark.parametrize("highest", [1, 4, 5, 6, 24, 25, 26, 60, 99, 100, 101, 999_999])
def test_marks_of_counts_are_whole_and_reach_above(highest: int) -> None:
    """At most six of them, evenly apart, the last one no lower than the highest column."""
    chart = columns([(date(2026, 3, 1), "a", highest)], {"a": "#111111"}, "day", "records")
    assert chart
    marks = [count for _, count in chart.counts]
    steps = {after - before for before, after in pairwise(marks)}
    assert (marks[0], len(steps), len(marks) <= 6, marks[-1] >= highest) == (0, 1, True, True)
    assert columns([(date(2026, 3, 1), "a", 0)], {"a": "#111111"}, "day", "records") is None


STREAMED = """
import sys, duckdb
from gapless.pipelines.ui.database.in_duckdb import DuckdbDatabase

db = duckdb.connect()
db.execute("set threads = 2")
for name in "ab":
    db.execute(f"create table {name} as select i, 'some text ' || i as t from range(1000000) as r (i)")
joined = "select a.i, a.t, b.t as u from a left join b using (i)"
page = DuckdbDatabase(db)
print(page.statement(f"{joined} union all {joined}", 20).num_rows, page.statement(joined, 30).num_rows)
print(len(page.rows(f"{joined} union all {joined} limit 5000")))
"""


@pytest.mark.slow
def test_parts_of_a_large_result_do_not_wait_for_each_other() -> None:
    """DuckDB streams a result for ever, uninterrupted, whose parts are large joins: it is not streamed."""
    ended = subprocess.run([sys.executable, "-c", STREAMED], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.split() == ["20", "30", "5000"]


@pytest.mark.slow
def test_what_vendors_say_is_text(world: Begin, page: Page) -> None:
    """HTML in a message, a summary or an id does nothing, and a key that got into a record is not shown."""
    here = world(OmniFake.demo())
    here.synced()
    changed(
        here.folder / "gapless.duckdb",
        f"update omni.action_logs set summary = 'a {SCRIPT} {KEY}', error = '{SCRIPT}'",
        "update omni.action_logs set lead_id = '\"><i>' || lead_id",
        "update omni.leads set first_name = '<i>', last_name = '\" onfocus=alert(1) x=\"'",
        f"update omni.action_logs__messages set body = 'x {SCRIPT} &lt;script&gt; {KEY}', subject = '{SCRIPT}'",
    )
    redaction._known.add(KEY)
    try:
        shown = every_view(page)
        shown["sql"] = page("sql", sql=f"select summary, '{SCRIPT}' as \"<i>\" from omni.action_logs")
        shown["search"] = page("timeline", q=f'"{SCRIPT}', object='lead:"><i>')
        shown["row"] = page.get(next(one for one in links(shown["timeline"]) if "view=row" in one)).text
        files = page.get("download?" + urlencode({"sql": "select summary from omni.action_logs"}))
    finally:
        redaction._known.discard(KEY)
    bad = ("<script>", "<i>", KEY, '" onfocus')
    assert [name for name, text in shown.items() if any(one in text for one in bad)] == []
    assert "&lt;script&gt;" in shown["conversations"]
    assert KEY in files.text  # a download is the data as it is


@pytest.mark.slow
def test_raw_json_only_when_asked_for(world: Begin, page: Page) -> None:
    """A dead letter's reason is shown; its JSON when it is asked for."""
    here = world(TinesFake.demo())
    log = here.fake.truth()["action_logs"][0]
    here.fake.add_log(log["action_id"], id="no number")
    assert here.sync().outcome == "partial"
    plain, raw = page("dead_letters"), page("dead_letters", raw="1")
    assert ("no number" in plain, "inbound_event" in plain, "inbound_event" in raw) == (True, False, True)
    card = page("health").split('id="card-tines"')[1].split("</section>")[0]
    assert ("1 problem" in card, "could not be read" in card, "proven complete." in card) == (True, True, False)


def test_the_picture_of_coverage(world: Begin, page: Page) -> None:
    """A gap has its pattern and its label, above what is proven; a reset parent is all gap; one without news none."""
    here = world(TinesFake.demo())
    here.synced()
    whole = page("coverage", source="tines")
    assert whole.count('class="gap" x=') == 0
    first, second, third = (row[0] for row in here.sql("select parent from coverage order by parent limit 3"))
    changed(
        here.folder / "gapless.duckdb",
        f"""update tines.coverage set missing = '[[null, "2026-02-28T00:00:00Z"]]' where parent = '{first}'""",
        f"update tines.coverage set covered_to = '1970-01-01T00:00:00Z' where parent = '{second}'",
        f"update tines.coverage set failures = 3, error = 'no' where parent = '{third}'",
    )
    drawn = page("coverage", source="tines")
    ((parents,),) = here.sql("select count(*) from coverage")
    assert f"3 of {parents} with gaps" in drawn
    names = dict(here.sql("select id::varchar, name from actions"))
    told = re.findall(r'<rect class="gap"[^>]*><title>([^:]+): (\w+)', drawn)
    assert {(names[first], "gap"), (names[second], "reset"), (names[third], "failed")} == {
        one for one in told if one[0] in names.values()
    }
    assert "gapless sync tines" in drawn
    only = page("coverage", source="tines", show="gaps", q=names[first])
    assert (only.count('<div class="lane'), names[second] in only) == (2, False)
    near = page("coverage", source="tines", **{"from": "2026-03-01", "to": "2026-03-02"})
    assert ('id="whole"' in near, 'data-start="2026-03-01T00:00:00+00:00"' in near) == (True, True)
    card = page("health").split('id="card-tines"')[1].split("</section>")[0]
    assert "not all of it is proven" in card


@pytest.mark.slow
def test_a_source_that_fails(world: Begin, page: Page) -> None:
    """Its card says why and since when, and never that nothing is missing."""
    here = world(TinesFake.demo()).set(GAPLESS_RETRY_BUDGET="0")
    here.synced()
    here.intercept = lambda request: __import__("httpx2").Response(401, json={"error": "no"})
    assert [here.sync().outcome for _ in range(2)] == ["failed", "failed"]
    card = page("health").split('id="card-tines"')[1].split("</section>")[0]
    assert ("✕" in card, "failed</span>" in card) == (False, True)
    assert re.search(r"answered 401.*second round in a row, first at", card, re.DOTALL), card
    assert "proven complete." not in card


@pytest.mark.slow
def test_many_parents_are_no_wall(world: Begin, page: Page) -> None:
    """Ten thousand are one lane; those with gaps come first, a page at a time, by name or id."""
    here = world(TinesFake.demo())
    here.synced()
    changed(
        here.folder / "gapless.duckdb",
        "insert into tines.coverage by name select 'many-' || n as parent, * exclude (parent, n)"
        " from (select * from tines.coverage limit 1), range(10000) as again (n)",
        "update tines.coverage set failures = 1, error = 'no' where parent = 'many-9999'",
    )
    first = page("coverage")
    assert (first.count('class="lane'), "1 of 10,0" in first, len(first) < 60_000) == (1, True, True)
    lanes = re.findall(r'<span title="([^"]+)">', page("coverage", source="tines", stream="action_logs"))
    assert (len(lanes), lanes[0]) == (60, "many-9999")
    found = page("coverage", source="tines", stream="action_logs", q="many-77")
    assert re.findall(r'<span title="([^"]+)">', found)[:2] == ["many-77", "many-770"]


@pytest.mark.slow
def test_names_instead_of_ids(world: Begin, page: Page) -> None:
    """Where the data know one: in timeline, conversations and coverage, and to search by."""
    here = world(OmniFake.demo())
    here.synced()
    name, key = here.sql(
        "select any_value(concat_ws(' ', first_name, last_name)), lead_id from leads join action_logs using (lead_id)"
        " group by lead_id order by count(*) desc, 2 limit 1"
    )[0]
    shown = page("timeline", q=name.upper())
    assert f"> {name}</a>" in shown
    assert key in re.findall(r'title="lead ([^"]+)"', shown)
    assert set(re.findall(r'title="lead [^"]+"[^>]*><span class="kind">lead</span> ([^<]+)</a>', shown)) == {name}
    assert f"<h2>lead {name}</h2>" in page("timeline", object=f"lead:{key}")
    assert name in page("coverage", source="omni", q=key)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("view=nothing", "There is no view"),
        ("view=runs&colour=red", "is no filter of Runs"),
        ("view=runs&source=nobody", "source has no value"),
        ("view=timeline&period=1y", "period has no value"),
        ("view=sql&sql=" + "x" * 9000, "sql is longer than 8,000 characters"),
    ],
)
def test_what_is_not_known_of_an_address_is_said(query: str, said: str) -> None:
    """And left out of the links of the view."""
    address = parse(query, VIEWS)
    assert (len(address.ignored), said in address.ignored[0], address.given) == (1, True, {})


def test_an_address_holds_the_view(page: Page, world: Begin) -> None:
    """Filters that are not set are not in it; a form sends all of its fields, the address has those that are set."""
    world(TinesFake.demo()).synced()
    assert "Part of this address is not known" in page("runs", colour="red")
    answer = page.get("?view=runs&source=tines&outcome=", hx_request="true", hx_target="result")
    assert (answer.headers["hx-push-url"], "<main" in answer.text) == ("?view=runs&source=tines", False)
    part = page.get("?view=runs", hx_request="true", hx_target="view").text
    assert ("<title>Runs" in part, "<nav" in part, "<h1>Runs" in part) == (True, False, True)


def test_nothing_yet(page: Page) -> None:
    """Each view says how to begin."""
    assert ["Nothing synced yet" in text for text in every_view(page).values()] == [True] * len(MENU)


@pytest.mark.slow
def test_the_demo_is_found(page: Page, tmp_path: Path) -> None:
    """Where nothing is synced yet beside the demo's file, the page says how to see that."""
    (tmp_path / "gapless-demo.duckdb").touch()
    assert "DESTINATION__DUCKDB__CREDENTIALS=gapless-demo.duckdb gapless ui" in page("health")


def test_stories_and_contacts_have_names(world: Begin, page: Page) -> None:
    """A story is named by the listing of stories, a contact by the record about it, and both head their timeline."""
    world(TinesFake.demo()).synced()
    assert '<span class="kind">story</span> Offboard a leaver</a>' in page("timeline", q="offboard")
    assert "<h2>story Offboard a leaver</h2>" in page("timeline", object="story:41")
    world(KizenFake.demo()).synced()
    shown = re.findall(
        r'title="(\w+) ([^"]+)"[^>]*><span class="kind">[\w ]+</span> ([^<]+)</a>', page("timeline", source="kizen")
    )
    kind, key, name = shown[0]
    assert f"<h2>{kind.replace('_', ' ')} {name}</h2>" in page("timeline", object=f"{kind}:{key}")


def test_the_copy_is_asked(world: Begin, page: Page) -> None:
    """As soon as there is one, also while a sync writes."""
    here = world(TinesFake.demo())
    here.synced()
    here.set(GAPLESS_PUBLISH="copy.duckdb")
    assert CliRunner().invoke(app, ["publish", "copy.duckdb"]).exit_code == 0
    assert page.site.target.is_copy
    with Target.find("duckdb").locked():
        shown = page("health")
    assert ("Streams" in shown, "copy.duckdb" in shown, "published <time" in shown) == (True, True, True)


def test_failures_of_one_kind_are_one_line() -> None:
    """Whatever number, id, address or time stands in their reasons; other words are another kind."""
    rows = [
        (
            "x",
            f"invoice {n} of {n:08d}-aaaa-bbbb-cccc-dddddddddddd to ada{n}@example.com: 5{n} s, INV-2026-{n}",
            2,
            NOW,
        )
        for n in range(10, 20)
    ]
    (found,) = failures.kinds(rows)
    assert found[:3] == ("x", "invoice … of … to …: … s, …", 20)
    assert (
        len(failures.kinds([*rows, ("x", "the key was refused", 1, NOW), ("y", "the key was refused", 1, NOW)])) == 3
    )


# -- SQL -------------------------------------------------------------------------------------------


def test_sql(world: Begin, page: Page) -> None:
    """A query's rows are shown, and are a CSV or a Parquet file with the same."""
    here = world(TinesFake.demo())
    here.synced()
    sql = "select id, message, created_at from tines.action_logs order by id"
    rows = here.sql(sql)
    assert f"{len(rows)} rows" in page("sql", sql=sql)
    csv = page.get("download?" + urlencode({"sql": sql, "format": "csv"}))
    assert csv.headers["content-disposition"] == 'attachment; filename="gapless.csv"'
    assert csv.text.count("\r\n") >= len(rows)
    parquet = page.get("download?" + urlencode({"sql": sql, "format": "parquet"})).body
    assert pq.read_table(io.BytesIO(parquet)).column("id").to_pylist() == [row[0] for row in rows]


@pytest.mark.parametrize(
    "sql",
    [
        "select 1; select 2", "delete from tines.actions", "create temp table x as select 1", "attach '/tmp/x.db'",
        "copy (select 1) to '/tmp/x.csv'", "select * from read_text('/etc/passwd')", "from '/etc/passwd'",
        "select * from glob('/etc/*')", "set lock_configuration = false", "pragma memory_limit = '9GB'", "nonsense",
        "install httpfs", "load httpfs", "export database '/tmp/x'", "begin", "select * from sql",
    ],
)  # fmt: skip
def test_sql_that_is_refused(world: Begin, page: Page, sql: str) -> None:
    """It writes nothing, reads no other file and no variable of the program, and changes no setting."""
    world(TinesFake.demo()).synced()
    assert 'class="notice bad"' in page("sql", sql=sql)
    assert "root:" not in page("sql", sql=sql)


def test_a_query_is_stopped(world: Begin, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its time is over; the page goes on."""
    world(TinesFake.demo()).synced()
    monkeypatch.setattr("gapless.pipelines.ui.database.in_duckdb.TIMEOUT", 0.3)
    endless = "select count(*) from range(1000000000) a, range(1000000000) b where a.range + b.range = 7"
    assert "was stopped" in page("sql", sql=endless)
    assert session.RUNNING.connections == []
    monkeypatch.undo()
    assert "Streams" in page("health")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_download_is_stopped(kind: str, world: Begin, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its time is over while rows are fetched, in one sentence with status 400."""
    world(TinesFake.demo()).synced()
    monkeypatch.setattr("gapless.pipelines.ui.database.in_duckdb.TIMEOUT", 0.3)
    # Rows come at once, and then none: the first ones are no answer.
    slow = "select range from range(100000000000) where range < 20000 or sin(range) > 2"
    for sql in (slow, "select repeat('x', 100000) from range(1000000)"):
        began = time.monotonic()
        found = page.get("download?" + urlencode({"sql": sql, "format": kind}))
        assert (found.status, found.text.startswith("This took longer than 0.3 seconds")) == (400, True), found.text
        assert time.monotonic() - began < 5


def test_a_spreadsheet_computes_nothing(page: Page, world: Begin) -> None:
    """A text that begins like a formula has an apostrophe before it; numbers and other texts are as they are."""
    world(TinesFake.demo()).synced()
    sql = "select '=1+1' as a, '@x' as b, -5 as c, '-5' as d, 'a=b' as e, chr(9) || '=1' as \"+f\""
    assert page.get("download?" + urlencode({"sql": sql})).text == "a,b,c,d,e,'+f\r\n'=1+1,'@x,-5,'-5,a=b,'\t=1\r\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("'infinity'::timestamp", "infinity"), ("date '0001-01-01' - 5", "0001-12-27 (BC)"), ("[1]", "[1]"),
        ("timestamp '290000-01-01'", "290000-01-01 00:00:00"), ("union_value(k := 1)", "1"),
        ("{'a': 'infinity'::date}", "{'a': infinity}"), ("'infinity'::timestamptz", "infinity"),
    ],
)  # fmt: skip
def test_what_python_cannot_hold_is_shown(value: str, shown: str, page: Page, world: Begin) -> None:
    """As DuckDB's own text, on the page and in CSV; Parquet holds it, or that text."""
    world(TinesFake.demo()).synced()
    sql = f"select {value} as a"
    assert shown in html.unescape(page("sql", sql=sql))
    csv = page.get("download?" + urlencode({"sql": sql}))
    parquet = page.get("download?" + urlencode({"sql": sql, "format": "parquet"}))
    assert (csv.status, shown in csv.text, parquet.status) == (200, True, 200)
    assert pq.read_table(io.BytesIO(parquet.body)).num_rows == 1


# -- Postgres --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_same_page_on_postgres(
    world: Begin, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: Page
) -> None:
    """Each view shows what it shows of the file; SQL only reads there, too, and is stopped."""
    here = world(OmniFake.demo())
    here.synced()
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", server.database())
    assert CliRunner().invoke(app, ["copy", "--to", "postgres"]).exit_code == 0
    other = Page(Target.find("postgres"), now=NOW)
    assert "proven complete." in other("health")
    for view, parameters in {
        "timeline": {"q": "the", "status": "FAILED", "period": "30d"},
        "conversations": {},
        "failures": {},
        "volume": {},
        "coverage": {"source": "omni"},
    }.items():
        ours, theirs = _facts(page(view, **parameters)), _facts(other(view, **parameters))
        assert (theirs, len(theirs) > 3) == (ours, True), view
    row = next(link for link in links(other("timeline")) if "view=row" in link)
    assert "As JSON" in other.get(row).text
    assert "omni.leads" in other("tables", q="lead")
    # A superuser's query could read the server's files, whatever the transaction.
    refused = other("sql", sql="select pg_read_file('/etc/hostname')")
    assert ("create role gapless_reader" in refused, "could hand out" in refused) == (True, True)
    url = os.environ["DESTINATION__POSTGRES__CREDENTIALS"]
    database = url.rpartition("/")[2]
    for role, may in ((f"reader_{database}", ""), (f"taker_{database}", f"; grant gapless to taker_{database}")):
        server.execute(database, f"create role {role} login; grant pg_read_all_data to {role}{may}")
        monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url.replace("gapless:canary-password", role))
        other = Page(Target.find("postgres"), now=NOW)
        assert ("1 row" in other("sql", sql="select count(*) from omni.leads")) is (not may)
        if may:
            assert "could hand out" in other("sql", sql="select set_config('role', 'gapless', true)")
        else:
            reader = other
    other = reader
    for sql in WRITING:
        assert 'class="notice bad"' in other("sql", sql=sql), sql
    monkeypatch.setattr("gapless.pipelines.ui.database.in_postgres.TIMEOUT", 0.3)
    assert "was stopped" in other("sql", sql="select pg_sleep(30)")
    assert "1 row" in other("sql", sql="select count(*) from omni.leads")
    monkeypatch.undo()
    for value in ("'infinity'::timestamp", "timestamp '290000-01-01'", "date '0044-03-15 BC'", "'infinity'::date"):
        assert '<div id="result">' in other("sql", sql=f"select {value} as a"), value


WRITING = (
    "delete from omni.leads",
    "select 1; select 2",
    "with x as (delete from omni.leads returning 1) select 1 from x",
    "select nextval('x')",
    "copy omni.leads to '/tmp/x'",
    "select set_config('transaction_read_only', 'off', false)",
    "select lo_import('/etc/passwd')",
)


def _facts(shown: str) -> list[str]:
    """What a view shows, without its addresses."""
    result = shown.split('<div id="result">')[1].split("</main>", maxsplit=1)[0]
    return [" ".join(text.split()) for text in re.findall(r">([^<>]+)<", result) if text.strip()]


# -- how it begins ---------------------------------------------------------------------------------


def test_how_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, on another destination and on a port that is taken it says what to do."""
    run = CliRunner().invoke
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    done = run(app, ["ui"])
    assert (done.exit_code, "pip install -e '.[ui]'" in done.stderr) == (2, True)
    monkeypatch.setattr(server, "find_spec", lambda name: object())
    monkeypatch.setenv("DESTINATION__REDSHIFT__CREDENTIALS", "redshift://u:p@127.0.0.1:1/d")
    done = run(app, ["ui", "--destination", "redshift"])
    assert (done.exit_code, "reads a DuckDB file or Postgres" in " ".join(done.stderr.split())) == (2, True)
    with server._listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        done = run(app, ["ui", "--port", str(port)])
    assert (done.exit_code, f"port {port}: Address already in use" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--base-path", "x"], "is no path"), (["--base-path", "/a b"], "is no path"),
        (["--base-path", "/a/../b?"], "is no path"), (["--origin", "data.example.com"], "is no address"),
        (["--origin", "https://x/path"], "is no address"), (["--host", "no.such.host.invalid"], "of this machine"),
    ],
)  # fmt: skip
def test_a_wrong_place(arguments: list[str], said: str) -> None:
    """Is refused with what was expected."""
    done = CliRunner().invoke(app, ["ui", "--headless", *arguments])
    assert (done.exit_code, said in " ".join(done.stderr.split())) == (2, True), done.stderr


def test_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one for each start, or that of the environment, which must be long and is not printed."""
    assert len({server._token() for _ in range(3)}) == 3
    monkeypatch.setenv(server.TOKEN, "short")
    done = CliRunner().invoke(app, ["ui", "--headless"])
    assert (done.exit_code, "at least 16" in done.stderr) == (2, True)
    monkeypatch.setenv(server.TOKEN, TOKEN)
    monkeypatch.setattr(server, "_run", lambda *_: None)
    done = CliRunner().invoke(app, ["ui", "--headless", "--host", "0.0.0.0"])
    assert (done.exit_code, TOKEN in done.output, "without TLS" in " ".join(done.stderr.split())) == (0, False, True)


def test_no_command_line_has_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser is given a file that only this user can read and that leads to the page; it is gone at the end."""
    opened: list[tuple[str, int, int, str]] = []

    def open_(url: str) -> bool:
        file = Path(url.removeprefix("file://"))
        modes = (stat.S_IMODE(file.parent.stat().st_mode), stat.S_IMODE(file.stat().st_mode))
        opened.append((url, *modes, file.read_text()))
        return True

    monkeypatch.setattr("webbrowser.open", open_)
    monkeypatch.setattr(opening, "BROWSER_AFTER", 0)
    with opening.open_browser("http://127.0.0.1:1/#key=a&b"):
        assert _until(lambda: bool(opened))
    ((url, folder, mode, text),) = opened
    assert (folder, mode, "key" in url, 'content="0;url=http://127.0.0.1:1/#key=a&amp;b"' in text) == (
        0o700,
        0o600,
        False,
        True,
    )
    assert not Path(url.removeprefix("file://")).parent.exists()


def _until(done: Callable[[], bool]) -> bool:
    return any(done() or Event().wait(0.02) for _ in range(200)) or done()
