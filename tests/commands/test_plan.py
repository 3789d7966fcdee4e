"""`gapless plan`: what a first sync or a backfill will ask for, beside what it then asks for. Nothing is written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx2 as httpx
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.outcome import LEDGER_TABLES
from gapless.sources import SOURCES
from gapless.sources._incremental.stream import side_listings
from gapless.sources._ledger.window import Window
from tests.contract.subject import subject
from tests.support.world import World, some

Begin = Callable[[Any], World]


def plan(here: World, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and the plan of the one source; the vendor's notes begin anew."""
    here.fake.requests.clear()
    result = CliRunner().invoke(app, ["plan", here.name, *arguments, "--json"])
    document = json.loads(result.stdout)
    assert result.exit_code == document["exit_code"], result.output
    (source,) = document["sources"]
    assert (source["asked"], list(here.folder.iterdir())) == (len(here.fake.requests), []) or source["error"]
    return result.exit_code, source


def vendor(name: str) -> Any:
    fake = subject(name).empty(page_cap=10)
    fake.fill(25, 301)
    return fake


@pytest.mark.parametrize("name", some(SOURCES, "tines"))
def test_a_first_sync(name: str, world: Begin) -> None:
    """Requests are right to the last one, rows about, and it costs less than a fifth; no file, no lock."""
    here = world(vendor(name))
    code, told = plan(here)
    assert code == 0
    assert told["asked"] <= 20
    truth = here.fake.truth()
    outcome = here.complete()
    assert told["requests"] == told["at_most"] == outcome.requests
    rows = sum(count for table, count in outcome.rows.items() if table not in LEDGER_TABLES)
    assert told["rows"] == pytest.approx(rows, rel=0.35)
    main = SOURCES[name].main.name
    assert told["records"] == pytest.approx(len(truth[main]), rel=0.35)
    parents = SOURCES[name].stream.parents
    assert ("records" in told["estimated"]) == (parents is not None and parents.count is None)


@pytest.mark.parametrize("name", some(["sequence", "kizen"], "sequence"))
def test_a_backfill(name: str, world: Begin) -> None:
    """Of a span: about what reading it then takes, and never more than the bound."""
    here = world(vendor(name))
    since, until = here.fake.now - timedelta(days=12), here.fake.now - timedelta(days=6)
    code, told = plan(here, "--since", since.isoformat(), "--until", until.isoformat())
    assert (code, "requests" in told["estimated"]) == (0, True)
    outcome = here.complete(window=Window(since, until))
    assert outcome.requests <= told["at_most"]
    assert told["requests"] == pytest.approx(outcome.requests, rel=0.3)


def test_minutes_and_a_table_for_people(world: Begin) -> None:
    """At the rate budget that is set; a tilde says what is an estimate."""
    here = world(vendor("omni")).set(OMNI_REQUESTS_PER_MINUTE="40")
    assert plan(here)[1]["minutes"] == 0.7  # 28 requests
    shown = CliRunner().invoke(app, ["plan", "omni"])
    assert shown.exit_code == 0
    assert "~" in shown.stdout
    assert "28" in shown.stdout


def test_only_what_is_chosen(world: Begin) -> None:
    """Leads, or logged activities, that are named in the settings are all that is asked for."""
    here = world(vendor("omni"))
    leads = [lead["leadId"] for lead in here.fake.truth()["leads"][:3]]
    here.set(OMNI_LEAD_IDS=",".join(leads))
    assert plan(here)[1]["requests"] == 3


def test_an_initial_value(world: Begin) -> None:
    """Nothing older is counted."""
    here = world(vendor("sequence"))
    here.set(SEQUENCE_INITIAL_VALUE=(here.fake.now - timedelta(days=6)).isoformat())
    assert plan(here)[1]["requests"] == pytest.approx(301 / 10 / 5, abs=1)


def test_a_vendor_that_fails(world: Begin) -> None:
    """It is said, with exit code 1."""
    here = world(vendor("tines"))
    here.set(TINES_API_KEY="another")
    code, told = plan(here)
    assert (code, "the key was refused" in told["error"]) == (1, True)


def test_an_empty_vendor(world: Begin) -> None:
    """Costs the one request that finds it empty, and one for each listing beside the records."""
    for name, source in SOURCES.items():
        assert plan(world(subject(name).empty()))[1]["requests"] == 1 + len(side_listings(source.stream))


def test_parents_without_any_count(world: Begin) -> None:
    """Where neither parents nor pages say how many records there are, and there are more pages: unknown, no bound."""
    here = world(vendor("tines"))

    def uncounted(request: httpx.Request) -> httpx.Response:
        answer = here.fake.handle(request)
        text = re.sub(rb'"(logs_count|count)": \d+', rb'"\1": null', answer.content)
        return httpx.Response(answer.status_code, content=text, headers={"content-type": "application/json"})

    here.intercept = uncounted
    _, told = plan(here)
    assert [told[name] for name in ("requests", "at_most", "records", "rows", "megabytes")] == [None] * 5


@pytest.mark.parametrize("arguments", [["--since", "then"], ["--since", "2026-02-01", "--until", "2026-01-01"]])
def test_wrong_usage(arguments: list[str]) -> None:
    """Ends with 2."""
    assert CliRunner().invoke(app, ["plan", "tines", *arguments]).exit_code == 2


@pytest.mark.parametrize("name", [name for name in SOURCES if SOURCES[name].stream.parents])
def test_every_parent_leads_elsewhere(name: str, world: Begin) -> None:
    """Nothing can be estimated: the source failed, with the reason, and no number looks like a plan."""
    here = world(vendor(name))
    parts = [subject(name).part_of_path(parent) for parent in subject(name).parents(here.fake)]
    elsewhere = httpx.Response(302, headers={"Location": "https://login.example.com/"})
    here.intercept = lambda request: elsewhere if any(part in request.url.path for part in parts) else None
    code, found = plan(here)
    assert (code, "the redirect points to https://login.example.com" in found["error"]) == (1, True), found
