"""The benchmark measures the work it says: valid records, pages as documented, and no lost row unseen."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gapless.sources._schema.parse import parse
from gapless.sources.omni import api as omni_api
from gapless.sources.omni.models import ActionLog, Lead
from gapless.sources.sequence import api as sequence_api
from gapless.sources.sequence.models import ActivityLog
from tests.bench import chart, checks, floors, postgres, start, table
from tests.bench.contenders import CONTENDERS, IN_POSTGRES
from tests.bench.environments import HERE
from tests.bench.measure import Cost, measure
from tests.bench.records import Truth, omni_leads, omni_logs, sequence_logs
from tests.bench.server import Service
from tests.bench.trial import Sync, Trial, Work, served
from tests.bench.vendors import BAD_REQUEST, Answer, Omni, Sequence

COST = Cost(wall=2.0, cpu=3.0, peak_mb=100.0, processes=1, exit_code=0)
SYNC = Sync(COST, requests=10, throttled=0, least=10, verdict="same")
WORK = Work("sequence", 2_000, 1_000, 1)
HEAD = b"get / http/1.1\r\nauthorization: basic x"


def body(answer: Answer) -> Any:
    status, pieces = answer
    assert status == 200
    return json.loads(b"".join(pieces))


def walked(vendor: Sequence) -> list[str]:
    """The ids of all pages from the newest on, as the vendor documents a walk."""
    ids, query = [], {"limit": "100", "sortOrder": "DESC"}
    while True:
        page = body(vendor.answer("/api/activity-logs", query))
        ids += [log["id"] for log in page["items"]]
        if not page["pagination"]["after"]:
            return ids
        query["after"] = page["pagination"]["after"]


def test_records_are_the_vendors() -> None:
    """Our models take every record, none is a dead letter and no field is unknown; the same seed, the same bytes."""
    truth = Truth()
    rows = list(sequence_logs(50, truth))
    assert rows == list(sequence_logs(50, Truth()))
    assert 2_000 < sum(map(len, rows)) / 50 < 2_800
    found = [parse(ActivityLog, rows), parse(Lead, [line for _, line in omni_leads(20)])]
    found.append(parse(ActionLog, list(omni_logs(50, truth)), {"leadId": "lead"}))
    for each in found:
        assert not each.unreadable
        assert not any(record.extra for record in each.records)
    assert (truth.logs, truth.items) == (100, 50 * 3 + 50)


def test_a_walk_gives_each_log_once() -> None:
    """Newest first and each once; new ones come in front, and an old cursor still leads where it led."""
    vendor = Sequence(300, 200)
    old = walked(vendor)
    vendor.grow()
    assert len(set(old)) == 300
    assert len(set(walked(vendor))) == 500
    assert walked(vendor)[200:] == old
    assert vendor.truth.logs == 500
    assert vendor.least_requests == 3
    created = [log["createdAt"] for log in body(vendor.answer("/api/activity-logs", {"limit": "100"}))["items"]]
    assert created == sorted(created, reverse=True)
    assert vendor.answer("/api/activity-logs", {"limit": "7"}) == BAD_REQUEST


def test_leads_share_the_logs() -> None:
    """The listing names each lead once over its pages; each lead's answer holds its share, then its new ones too."""
    vendor, leads, token = Omni(1_200, 5, 600), [], {}
    while token is not None:
        page = body(vendor.answer("/api/v0/analytics", token))
        leads += [row["leadId"] for row in page["breakdown"]]
        token = {"token": page["nextToken"]} if page["nextToken"] else None
    counts = [[len(body(vendor.answer(f"/api/v1/leads/{lead}/action-logs", {}))) for lead in leads]]
    vendor.grow()
    counts += [[len(body(vendor.answer(f"/api/v1/leads/{lead}/action-logs", {}))) for lead in leads]]
    assert counts == [[2] * 600, [3] * 5 + [2] * 595]
    assert vendor.least_requests == 602


def test_over_the_rate_it_says_when() -> None:
    """The rate is over any 60 seconds; what is over it is counted, refused, and told how long to wait."""
    service = Service(Sequence(100, 0), per_minute=2)
    target = "/api/activity-logs?limit=100"
    answers = [service.answer("GET", target, HEAD, now) for now in (0.0, 1.0, 2.0, 60.5)]
    assert [status for (status, _), _ in answers] == [200, 200, 429, 200]
    assert answers[2][1] == "Retry-After: 58\r\n"
    assert (service.requests, service.throttled) == (4, 1)
    assert service.answer("GET", target, b"get / http/1.1", 99.0)[0][0] == 401


@pytest.mark.parametrize("shape", ["sequence", "omni"])
def test_our_client_reads_the_server(shape: str) -> None:
    """Over a real socket, our own clients read all of it with the fewest requests, and those are counted."""
    with served(Work(shape, 400, 0, 4)) as vendor:
        if shape == "sequence":
            with sequence_api.client("id", "secret", vendor.url) as client:
                records = sum(len(page.items) for page in sequence_api.activity_logs(client))
        else:
            with omni_api.client("key", vendor.url) as client:
                leads = [parse(Lead, page.breakdown).records for page in omni_api.leads(client)]
                records = sum(len(omni_api.action_logs(client, lead.lead_id)) for page in leads for lead in page)
        counts = vendor.ask("counts")
    assert records == counts["truth"]["logs"] == 400
    assert counts["requests"] == counts["least"]


def test_the_same_sums_in_duckdb(tmp_path: Path) -> None:
    """DuckDB works out of a file what the generator worked out; a lost row is said, and a changed value."""
    truth, file = Truth(), tmp_path / "loaded.duckdb"
    rows = [json.loads(row) for row in sequence_logs(100, truth)]
    logs = [(row["id"], row["createdAt"], row["traceId"]) for row in rows]
    items = [(i["id"], i["summary"], i["activityLogActor"]["email"]) for row in rows for i in row["activityLogItems"]]
    columns = "unnest($1) as id, cast(unnest($2) as {}) as {}, unnest($3) as {}"
    with duckdb.connect(str(file)) as connection:
        zipped = [[list(column) for column in zip(*each, strict=True)] for each in (logs, items)]
        first, second = ("timestamptz", "created_at", "trace_id"), ("text", "summary", "actor_email")
        connection.execute(f"create table logs as select {columns.format(*first)}", zipped[0])
        connection.execute(f"create table items as select {columns.format(*second)}", zipped[1])
    queries = CONTENDERS["floor"].queries["sequence"]
    found = checks.loaded(file, *queries)
    assert checks.verdict(found, truth.to_json()) == "same"
    assert (
        checks.verdict(found | {"distinct": 99, "logs": 100}, truth.to_json()) == "lost 1 of 100 logs, 1 logs twice"
    )
    assert checks.verdict(found | {"items": 299}, truth.to_json()) == "299 of 300 items"
    assert checks.verdict(found | {"item_sum": 1}, truth.to_json()) == "values differ"
    assert "Error" in checks.verdict(checks.loaded(tmp_path / "none.duckdb", *queries), truth.to_json())


def test_who_lost_rows_is_marked() -> None:
    """Cheapest first, medians, ratios to the floor; one round with a lost row is enough to be marked in bold."""
    lost = replace(SYNC, verdict="lost 3 of 2,000 logs", cost=replace(COST, cpu=9.0))
    trials = [Trial("loser", lost, SYNC), Trial("loser", SYNC, SYNC), Trial("loser", lost, SYNC)]
    trials += [Trial("floor", SYNC, SYNC)] * 3
    lines = table.results(trials, WORK).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["floor", "loser"]
    assert [cell.strip() for cell in lines[2].split("|")][-2] == "same"
    assert "**first: lost 3 of 2,000 logs**" in lines[3]
    assert "| 3.00 " in lines[3]


def test_the_table_of_postgres() -> None:
    """Cheapest first, client and server together; a query that cannot be asked is a verdict, in bold."""
    done = postgres.Done(wall=1.0, client=2.0, server=1.0, peak_mb=100.0, verdict="same")
    wrong = replace(done, server=3.0, verdict='column "x" does not exist')
    measured = {"gapless": [[done, wrong], [done, done]], "floor": [[replace(done, client=1.0), done]] * 2}
    lines = [
        [cell.strip() for cell in line.split("|")][1:-1] for line in postgres.rendered(measured, WORK).splitlines()
    ]
    assert [(line[0], line[4], line[-1]) for line in lines[2:]] == [
        ("floor", "1.00", "same"),
        ("**gapless**", "1.50", '**column "x" does not exist**'),
    ]


def test_a_page_keeps_its_other_sections(tmp_path: Path) -> None:
    """A size that is measured again replaces its own section and no other."""
    file = tmp_path / "RESULTS.md"
    for heading, text in (("a", "old"), ("b", "kept"), ("a", "new")):
        table.put(file, "# Title\n", heading, text)
    assert file.read_text() == "# Title\n\n## a\n\nnew\n\n## b\n\nkept\n"


def test_chart_and_start_name_all() -> None:
    """A bar per contender, escaped; a command that failed says so."""
    svg = chart.bars("CPU & wall", {"gapless": 1.5, "floor": 1.0}, {"gapless": "(1.5 x floor)"})
    assert svg.count("<rect") == 2
    assert "1.5 s (1.5 x floor)" in svg
    assert "CPU &amp; wall" in svg
    assert "(**failed**)" in start.rendered({start.BASE: [COST], "gapless --help": [replace(COST, exit_code=1)]})


def test_a_pipe_is_measured_as_a_whole(tmp_path: Path) -> None:
    """A command's cost has its descendants in it, and its exit code."""
    child = (
        "x = b'x' * 50_000_000; t = __import__('time'); e = t.process_time() + 0.1\nwhile t.process_time() < e: pass"
    )
    both = f"import subprocess as s, sys\np = [s.Popen([sys.executable, '-c', {child!r}]) for _ in '12']\n"
    cost = measure(
        [sys.executable, "-c", both + "[x.wait() for x in p]; sys.exit(3)"],
        folder=tmp_path,
        env={},
        output=tmp_path / "output.txt",
    )
    assert cost.exit_code == 3
    assert cost.cpu > 0.2
    assert cost.peak_mb > 50


def test_contenders_are_pinned() -> None:
    """Every contender has its script and its requirements, each with an exact version."""
    for contender in (*CONTENDERS.values(), *IN_POSTGRES.values()):
        assert (HERE / contender.script).exists()
        for file in contender.environments.values():
            lines = [line for line in (HERE / file).read_text().splitlines() if not line.startswith(("#", "-"))]
            assert all("==" in line for line in lines), file


def test_the_floors_say_whether_the_bound_can_be_reached() -> None:
    """By the sum of the libraries alone; a part of a piece is not counted twice in what is left."""
    pieces = [
        floors.Piece("fetched", int, floors.HTTPX, int),
        floors.Piece("of it checked", int, floors.CUT, int, part=True),
        floors.Piece("decoded", int, floors.DECODED, int),
        floors.Piece("columns", int, floors.ARRAYS, int),
        floors.Piece("", None, floors.LOADED, int),
    ]
    alone = dict.fromkeys(floors.REACHABLE, 1.0)
    spent = {**alone, "fetched": 3.0, "of it checked": 2.0, "decoded": 1.0, "columns": 2.0, "gapless": 12.0}
    text = floors.rendered(pieces, {**spent, "floor": 4.0})
    (rest,) = (line for line in text.splitlines() if line.startswith("| the rest"))
    assert "| 6.00 " in rest
    assert "is 1.50 x the floor" in text
    assert "1.2 x cannot be reached" in text
    assert "1.2 x could be reached" in floors.rendered(pieces, {**spent, "floor": 5.0})
