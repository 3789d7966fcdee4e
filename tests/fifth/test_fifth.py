"""A source of another shape than ours, registered by its dotted path: what it promises, and that nobody knows it.

It filters by time, its next pages stand in a `Link` header, its records have `uuid` and `published`, and no total.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.sources import OUR_PACKAGES, SOURCES, Source
from gapless.sources._http.transport import httpx
from gapless.sources._ledger.window import Window
from gapless.sources._schema.parse import parse
from gapless.sources.register import register
from tests.fifth.okta.fake import OktaFake
from tests.support import warm
from tests.support.page import Page
from tests.support.world import World, some

Begin = Callable[[OktaFake], World]
HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def filled(events: int = 40, *, page_cap: int = 4, days: float = 10) -> OktaFake:
    fake = OktaFake(page_cap=page_cap)
    fake.seed(events, days=days)
    return fake


def gapless(*arguments: str) -> Any:
    """What a command says with --json; its exit code is the one that it says."""
    result = CliRunner().invoke(app, [*arguments, "--json"])
    found = json.loads(result.stdout)
    assert result.exit_code == found["exit_code"], result.output
    return found


def whole(here: World) -> bool:
    """Whether events and their targets are here, each once, and no others."""
    rows = here.sql("select uuid, published from log_events order by all")
    events = here.fake.truth()["log_events"]
    told = sorted((event["uuid"], datetime.fromisoformat(event["published"])) for event in events)
    targets = here.sql("select count(*) from log_events__target")[0][0]
    return rows == told and targets == sum(len(event["target"] or ()) for event in events)


def spans(fake: OktaFake) -> list[tuple[str | None, str | None]]:
    """`since` and `until` of each request."""
    return [(dict(query).get("since"), dict(query).get("until")) for _, _, query in fake.requests]


# -- what the vendor says ------------------------------------------------------------------------


def test_the_vendors_sample_is_one_row() -> None:
    """The documented event is read whole: nothing is left over for `_extra`."""
    raws = [json.dumps(one).encode() for one in json.loads((HERE / "samples" / "log_events.json").read_text())]
    found = parse(SOURCES["okta"].main.model, raws)
    ((event,), unreadable) = found.records, found.unreadable
    assert (event.uuid, unreadable, event.extra) == ("f790999f-fe87-467a-9880-6982a583986c", [], None)
    assert event.published == datetime(2017, 9, 30, 22, 23, 7, 777000, UTC)
    assert event.client.user_agent.browser == "UNKNOWN"


def test_the_fake_serves_what_the_sample_has() -> None:
    """Each field of the documented sample, and the two links of the documented header."""
    (sample,) = json.loads((HERE / "samples" / "log_events.json").read_text())
    answer = filled(5).handle(
        httpx.Request(
            "GET",
            "http://okta.test/api/v1/logs?since=2026-01-01T00:00:00Z&until=2026-03-03T00:00:00Z&sortOrder=DESCENDING",
            headers={"authorization": "SSWS demo-token"},
        )
    )
    assert answer.json()[0].keys() >= sample.keys() - {"client"}
    assert 'rel="self"' in answer.headers["link"]
    assert 'rel="next"' in answer.headers["link"]


# -- sync ----------------------------------------------------------------------------------------


@pytest.mark.sweep
def test_a_first_sync_has_all(okta: Begin) -> None:
    """Every event with its targets, over as many pages as there are, by the vendor's links."""
    here = okta(filled(40))
    here.complete()
    assert len(here.fake.requests) == 10 + 1  # the last page is a full one, so it is asked whether it is the last
    assert whole(here)


@pytest.mark.slow
def test_an_idle_sync_asks_for_the_look_back_alone(okta: Begin) -> None:
    """One request, whose `since` is the watermark less the look-back."""
    here = okta(filled(40))
    here.synced()
    newest = max(datetime.fromisoformat(event["published"]) for event in here.fake.truth()["log_events"])
    here.complete()
    ((since, _),) = spans(here.fake)
    assert since is not None
    assert timedelta(0) <= newest - timedelta(hours=1) - datetime.fromisoformat(since) <= timedelta(milliseconds=2)


@pytest.mark.sweep
def test_delayed_events_within_the_look_back_are_seen(okta: Begin) -> None:
    """The documents say that events may be delayed."""
    here = okta(filled(40))
    here.synced()
    here.fake.advance(30)
    here.complete()
    assert whole(here)


@pytest.mark.sweep
@pytest.mark.parametrize("expired", [False, True])
def test_interrupted_and_resumed(okta: Begin, expired: bool) -> None:
    """From the link that was kept, or anew when the vendor refuses it; whole either way."""
    here = okta(filled(40))
    here.fail_after(4, status=401)
    assert here.sync().outcome == "failed"
    here.mend()
    here.fake.advance(10)
    if expired:
        here.fake.cursors_expire()
    here.complete()
    assert whole(here)
    assert len(here.fake.requests) <= (16 if expired else 9)


@pytest.mark.sweep
def test_another_organization_is_read_whole(okta: Begin) -> None:
    """Nothing known is met, although the filter left out what is older: all is read, and a failure says so."""
    here = okta(filled(40))
    here.synced()
    other = OktaFake(page_cap=4, seed=7)
    other.seed(40, days=10)
    before, here.fake = here.fake, other
    outcome = here.sync()
    assert (outcome.outcome, len(outcome.failures)) == ("partial", 1)
    keys = [event["uuid"] for fake in (before, other) for event in fake.truth()["log_events"]]
    assert here.sql("select uuid from log_events order by all") == sorted((key,) for key in keys)


# -- windows -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backfill", some([False, True], False))
def test_a_window_asks_for_the_window_alone(okta: Begin, backfill: bool) -> None:
    """Requests carry since and until, and are as many as the window has pages, however old it is."""
    here = okta(filled(80))
    since, until = here.fake.now - timedelta(days=8), here.fake.now - timedelta(days=7)
    here.complete(window=Window(since, until), backfill=backfill)
    published = [datetime.fromisoformat(event["published"]) for event in here.fake.truth()["log_events"]]
    wanted = sum(since <= at < until for at in published)
    assert here.sql("select count(*) from log_events") == [(wanted,)]
    assert 1 < len(here.fake.requests) <= -(-wanted // 4) + 1 < 80 / 4 / 2
    for first, last in spans(here.fake):
        assert first is not None
        assert timedelta(0) <= since - datetime.fromisoformat(first) <= timedelta(milliseconds=2)
        assert last == "2026-02-23T09:00:00.000Z"


@pytest.mark.sweep
def test_a_backfill_that_was_interrupted_goes_on(okta: Begin) -> None:
    """With the rest of its window; what was read is not asked for again, but for the newest page."""
    here = okta(filled(80))
    window = Window(here.fake.now - timedelta(days=8), here.fake.now - timedelta(days=4))
    here.fail_after(4, status=401)
    assert here.sync(window=window, backfill=True).outcome == "failed"
    assert [gap["kind"] for gap in gapless("gaps", "okta")["gaps"]].count("backfill") == 1
    here.mend()
    here.complete(window=window, backfill=True)
    pages = -(-here.sql("select count(*) from log_events")[0][0] // 4)
    assert len(here.fake.requests) <= pages - 4 + 2
    assert "backfill" not in [gap["kind"] for gap in gapless("gaps", "okta")["gaps"]]


def test_plan_of_a_window_counts_what_fits_on_a_page(okta: Begin) -> None:
    """The vendor filters, so a page without a next link is all of the window; else the cost is unknown."""
    okta(filled(80, page_cap=1000))
    (found,) = gapless("plan", "okta", "--since", "2026-02-22", "--until", "2026-02-23")["sources"]
    assert (found["requests"], found["estimated"]) == (1, ["rows", "megabytes"])
    assert 0 < found["records"] < 40


# -- without a total -----------------------------------------------------------------------------


def test_plan_without_a_total_is_unknown(okta: Begin) -> None:
    """No number is made up out of the first page."""
    okta(filled(40))
    (found,) = gapless("plan", "okta")["sources"]
    assert [found[name] for name in ("requests", "at_most", "records", "rows", "megabytes")] == [None] * 5
    assert "unknown" in CliRunner().invoke(app, ["plan", "okta"]).stdout


@pytest.mark.slow
def test_verify_without_a_total_says_what_decides(okta: Begin) -> None:
    """The newest ids are compared, it says how many of how many, and names the command that compares all."""
    here = okta(filled(40))
    here.synced()
    (found,) = gapless("verify", "okta")["sources"]
    assert (found["by"], found["served"], found["here"]) == ("ids", 4, 4)
    assert "the ids of the newest 4 were compared, and 40 are here" in found["undecided"]
    assert "gapless verify okta --whole" in found["undecided"]
    (found,) = gapless("verify", "okta", "--whole")["sources"]
    assert (found["served"], found["here"], found["missing"], found["undecided"]) == (40, 40, 0, None)


@pytest.mark.sweep
def test_verify_finds_a_loss_and_repairs_it(okta: Begin) -> None:
    """Without an endpoint for one event the walk goes down to the oldest that is missing."""
    here = okta(filled(40))
    here.synced()
    oldest = here.sql("select uuid from log_events order by published limit 3")
    with duckdb.connect(str(here.folder / "gapless.duckdb")) as db:
        db.execute(f"delete from okta.log_events where uuid in {tuple(key for (key,) in oldest)}")
        db.execute(
            "delete from okta.log_events__target where _dlt_root_id not in (select _dlt_id from okta.log_events)"
        )
    (gap,) = [
        gap for gap in gapless("gaps", "okta")["gaps"] if gap["kind"] == "lost" and gap["stream"] == "log_events"
    ]
    assert gap["fill"] == "gapless verify okta --repair"
    (found,) = gapless("verify", "okta", "--whole")["sources"]
    assert (found["missing"], sorted(found["absent"][""])) == (3, sorted(key for (key,) in oldest))
    (found,) = gapless("verify", "okta", "--repair")["sources"]
    assert (found["missing"], found["repaired"]) == (0, 3)
    assert whole(here)


# -- without an endpoint for one event -----------------------------------------------------------


def test_a_single_id_is_refused(okta: Begin) -> None:
    """With the reason, before any request."""
    here = okta(filled(4))
    result = CliRunner().invoke(app, ["sync", "okta", "--id", "x"])
    assert (result.exit_code, here.fake.requests) == (2, [])
    assert "Okta has no endpoint for one event" in result.stderr


@pytest.mark.sweep
def test_a_bad_event_heals_when_the_walk_meets_it_again(okta: Begin) -> None:
    """Within the look-back: the sync that reads it is complete."""
    here = okta(filled(40))
    bad = here.fake.add(displayMessage=[])
    assert here.sync().outcome == "partial"
    assert here.letters() == [("record", bad, 1)]
    here.fake.change(bad, displayMessage="mended")
    here.complete()
    assert whole(here)
    assert here.sql("select count(*) from dead_letters where healed_at is null") == [(0,)]


@pytest.mark.sweep
def test_an_old_bad_event_is_named_until_all_is_read_again(okta: Begin) -> None:
    """Each sync says so and is partial; the command that `gaps` proposes mends it."""
    here = okta(filled(40))
    bad = here.fake.add(displayMessage=[], at=here.fake.now - timedelta(days=6))
    here.sync()
    here.fake.change(bad, displayMessage="mended")
    outcome = here.sync()
    assert (outcome.outcome, len(outcome.failures)) == ("partial", 1)
    assert bad in str(outcome.failures[0])
    (gap,) = gapless("gaps", "okta")["gaps"]
    assert gap["fill"] == "gapless state reset okta --yes && gapless sync okta"
    for command in gap["fill"].split(" && "):
        assert CliRunner().invoke(app, command.split()[1:]).exit_code == 0
    assert gapless("gaps", "okta")["gaps"] == []
    assert whole(here)


# -- everywhere, without a line elsewhere --------------------------------------------------------


@pytest.mark.sweep
def test_state_and_status_know_it(okta: Begin) -> None:
    """Shown, set back and forgotten like any other."""
    here = okta(filled(40))
    here.synced()
    for command in (["status"], ["state", "show"]):
        shown = CliRunner().invoke(app, [*command, "--json"])
        assert (shown.exit_code, '"okta"' in shown.stdout) == (0, True), command
    assert CliRunner().invoke(app, ["state", "rewind", "okta", "--to", "2026-02-25", "--yes"]).exit_code == 0
    here.complete()
    ((since, _), *_) = spans(here.fake)
    assert since is not None
    assert since < "2026-02-25"


@pytest.mark.sweep
def test_its_views(okta: Begin) -> None:
    """An event has a row per target in the timeline; freshness, coverage, runs and dead letters have it, too."""
    here = okta(filled(40))
    here.fake.add(displayMessage=[])
    here.sync()
    rows = sum(max(1, len(e["target"] or ())) for e in here.fake.truth()["log_events"] if e["displayMessage"])
    assert here.sql("select count(*), min(source) from activity.timeline") == [(rows, "okta")]
    for view in ("coverage", "freshness", "runs", "dead_letters", "daily_volume"):
        assert here.sql(f"select distinct source from activity.{view} where source = 'okta'") == [("okta",)], view


@pytest.mark.sweep
def test_the_page_has_its_card_and_its_colour(okta: Begin) -> None:
    """Overview, volume and timeline are drawn from the register and the facts."""
    here = okta(filled(40))
    here.synced()
    page = Page(here.folder / "gapless.duckdb", now=here.fake.now)
    assert 'id="card-okta"' in page("health")
    assert SOURCES["okta"].facts.colour in page("volume")
    assert "user.session.start" in page("timeline", source="okta")


def test_its_assets_in_dagster(okta: Begin) -> None:
    """A table each, scheduled as the facts say."""
    pytest.importorskip("dagster")
    from gapless.pipelines.integrations.dagster_assets import definitions  # noqa: PLC0415 - an extra

    made = definitions()
    keys = {key.to_user_string() for key in made.resolve_asset_graph().get_all_asset_keys()}
    assert {"okta/log_events", "okta/log_events__target", "okta/log_events__request__ip_chain"} <= keys


def test_its_dag_in_airflow(okta: Begin) -> None:
    pytest.importorskip("airflow")
    from gapless.pipelines.integrations.airflow_dags import dags  # noqa: PLC0415 - an extra

    assert any("okta" in name for name in dags())


# -- a package of one's own ----------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a source of its own, `acme.okta`, registered in its configuration."""
    shutil.copytree(HERE / "okta", tmp_path / "acme" / "okta", ignore=shutil.ignore_patterns("__pycache__"))
    for file in (tmp_path / "acme" / "okta").glob("*.py"):
        file.write_text(file.read_text().replace("tests.fifth.okta", "acme.okta"))
    (tmp_path / "acme" / "__init__.py").touch()
    return registered(tmp_path, 'sources = ["acme.okta"]')


def registered(folder: Path, line: str) -> Path:
    (folder / ".dlt").mkdir(exist_ok=True)
    (folder / ".dlt" / "config.toml").write_text(f"[gapless]\n{line}\n")
    return folder


def run(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """`gapless` in a process of its own."""
    command = [sys.executable, "-m", "gapless.pipelines", *arguments]
    return warm.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder), **settings})


@pytest.mark.sweep
def test_a_source_of_ones_own_in_the_demo(project: Path) -> None:
    """Its fake is served and synced twice beside ours, and it is in the timeline."""
    done = run(project, "demo", "--json")
    shown = json.loads(done.stdout)
    assert (done.returncode, shown["first"][-1]["source"]) == (0, "okta"), done.stderr
    assert shown["tables"]["okta.log_events"]["second"] > shown["tables"]["okta.log_events"]["first"] == 300


def test_a_source_of_ones_own_is_synced(project: Path, okta: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command line, with settings under its name; the doctor checks its key."""
    here = okta(filled(40))
    settings = {name: value for name, value in os.environ.items() if name.startswith("OKTA_")}
    for source in SOURCES.values():
        for name in source.needs if source.name != "okta" else ():
            monkeypatch.delenv(name.upper(), raising=False)
    done = run(project, "doctor", "--json", **settings)
    checks = {check["name"]: check["result"] for check in json.loads(done.stdout)["checks"]}
    assert (checks["okta settings"], checks["okta key"]) == ("ok", "ok"), done.stderr
    done = run(project, "sync", "--json", **settings)
    assert [one["source"] for one in json.loads(done.stdout)["sources"]] == ["okta"], done.stderr
    assert (done.returncode, whole(here)) == (0, True)


WRONG = {
    "no such package": ("acme.nope", "acme.nope: there is no such package"),
    "no such project": ("nope.nope", "nope.nope: there is no such package"),
    "no stream": ("acme.empty", "acme.empty: its __init__.py has no STREAM"),
    "no import": ("acme.broken", "acme.broken: it cannot be imported: No module named 'nothing_of_that_name'"),
    "two of one name": ("other.okta", "other.okta: acme.okta has the name 'okta', too"),
    "one of ours": ("acme.tines", "acme.tines: gapless.sources.tines has the name 'tines', too"),
    "the views' name": ("acme.activity", "'activity' cannot be a dataset's name"),
    "no name": ("acme.Okta-2", "'acme.Okta-2' was found where the dotted path of a package was expected"),
    "no text": (7, "7 was found where the dotted path of a package was expected"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_path_that_is_no_source(project: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """What was found, what was expected and which setting mends it, with exit code 2; the other sources stand."""
    package, said = WRONG[case]
    for name, text in {"empty": "", "broken": "import nothing_of_that_name"}.items():
        (project / "acme" / name).mkdir()
        (project / "acme" / name / "__init__.py").write_text(text)
    monkeypatch.syspath_prepend(str(project))
    sources, problems = register([*OUR_PACKAGES, "acme.okta", package])
    assert {"omni", "okta"} <= sources.keys()
    monkeypatch.setattr("gapless.sources._PROBLEMS", problems)
    for name in sources.keys() - SOURCES.keys():
        monkeypatch.setitem(SOURCES, name, sources[name])
    result = CliRunner().invoke(app, ["status"])
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Correct [gapless] sources in .dlt/config.toml" in result.stderr


def test_help_and_tab_need_no_package(project: Path) -> None:
    """They offer the source by its name without importing it, and a wrong path does not stop them."""
    (project / "acme" / "okta" / "__init__.py").write_text("raise ImportError('imported for a TAB')")
    registered(project, 'sources = ["acme.okta", 7]')
    assert "okta" in run(project, "sync", "--help").stdout
    script = (
        "from types import SimpleNamespace; from gapless.pipelines.cli.completion import sources;"
        " print(sources(SimpleNamespace(params={}), 'o'))"
    )
    done = warm.run([sys.executable, "-c", script], cwd=project, check=True)
    assert done.stdout.strip() == "['omni', 'okta']"
    done = run(project, "status")
    assert (done.returncode, "7 was found" in done.stderr) == (2, True)


def test_nobody_knows_it() -> None:
    """Its name stands in no file of the product."""
    files = [
        f for folder in ("sources", "pipelines") for f in (ROOT / folder).rglob("*") if f.suffix in (".py", ".sql")
    ]
    assert [f for f in files if "okta" in f.read_text().lower().replace("acme.okta", "")] == []
    assert SOURCES["okta"] == Source.at("tests.fifth.okta")
