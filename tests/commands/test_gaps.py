"""`gapless gaps`: every kind of gap is found, told with the command that fills it, and gone after that command."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import httpx2 as httpx
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.cli.render import syncs
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.ledger import gaps as seeking
from gapless.pipelines.observability import webhook
from gapless.sources import SOURCES
from gapless.sources.omni.fake import OmniFake
from gapless.sources.sequence.fake import SequenceFake
from tests.contract.subject import subject
from tests.support.page import Page
from tests.support.world import World, some

Begin = Callable[[Any], World]


def found(*names: str) -> list[dict[str, Any]]:
    """The gaps; the exit code says the same."""
    result = CliRunner().invoke(app, ["gaps", *names, "--json"])
    document = json.loads(result.stdout)
    gaps: list[dict[str, Any]] = document["gaps"]
    assert result.exit_code == document["exit_code"] == (3 if gaps else 0)
    return gaps


def fill(gaps: list[dict[str, Any]]) -> None:
    """Runs what was printed, each command once; then there must be no gap any more."""
    for line in dict.fromkeys(gap["fill"] for gap in gaps):
        for command in line.split(" && "):
            program, *arguments = shlex.split(command)
            done = CliRunner().invoke(app, arguments)
            assert (program, done.exit_code) == ("gapless", 0), done.output
    assert found() == []


def kinds(gaps: list[dict[str, Any]]) -> dict[str, int]:
    return {kind: sum(gap["kind"] == kind for gap in gaps) for kind in {gap["kind"] for gap in gaps}}


def change(here: World, statement: str) -> None:
    """Behind everyone's back."""
    with duckdb.connect(str(here.folder / "gapless.duckdb")) as db:
        db.execute(f"use {here.name}")
        db.execute(statement)


def fakes(name: str) -> Any:
    fake = subject(name).empty()
    fake.fill(4, 12)
    return fake


def test_before_anything(world: Begin) -> None:
    """Nothing was synced, so nothing is missing; but of a source that is asked for all is. No file is made."""
    here = world(fakes("tines"))
    assert found() == []
    (gap,) = found("tines")
    assert (gap["kind"], gap["fill"]) == ("never synced", "gapless sync tines")
    assert list(here.folder.iterdir()) == []
    assert CliRunner().invoke(app, ["gaps", "nobody"]).exit_code == 2


@pytest.mark.sweep
def test_an_interrupted_walk(world: Begin) -> None:
    """Its interval, open to the beginning; people see it, too."""
    fake = SequenceFake(page_cap=10)
    fake.seed(35)
    here = world(fake)
    here.fail_after(2)
    assert here.sync(package_records=20).outcome == "failed"
    (gap,) = found()
    ((oldest,),) = here.sql("select min(created_at) from activity_logs")
    assert (gap["kind"], gap["since"], gap["until"]) == ("interval", None, oldest.isoformat())
    here.mend()
    shown = CliRunner().invoke(app, ["gaps"])
    assert (shown.exit_code, "interval" in shown.stdout, "gapless sync sequence" in shown.stdout) == (3, True, True)
    fill([gap])
    here.assert_exact()
    assert "no gaps" in CliRunner().invoke(app, ["gaps"]).stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", some([name for name in SOURCES if SOURCES[name].split_by], "tines"))
def test_parents(name: str, world: Begin) -> None:
    """One that fails, one that was never asked, one whose proof was taken back; an action without logs is none."""
    here = world(fakes(name))
    ids = [str(parent) for parent in subject(name).parents(here.fake)]
    here.fake.failing[f"/{ids[0]}/"] = 403
    assert here.sync().outcome == "partial"
    change(here, f"delete from coverage where parent = '{ids[1]}'")
    change(here, f"update coverage set last_checked_at = null, digest = null where parent = '{ids[2]}'")
    found_now = found()
    assert {gap["kind"]: gap["parent"] for gap in found_now} == dict(
        zip(("failing", "never asked", "set back"), ids, strict=False)
    )
    assert "403" in next(gap["why"] for gap in found_now if gap["kind"] == "failing")
    here.mend()
    fill(found_now)


@pytest.mark.sweep
def test_a_lead_is_asked_for_alone(world: Begin) -> None:
    """Of Omni: one that failed, and one that holds a record which cannot be read."""
    here = world(fakes("omni"))
    failed, other = (lead["leadId"] for lead in here.fake.truth()["leads"][:2])
    here.fake.failing[f"/{failed}/"] = 403
    bad = here.fake.add_log(other, summary=[])
    assert here.sync().outcome == "partial"
    gaps = found()
    assert [gap["fill"] for gap in gaps] == [f"gapless sync omni --id {lead}" for lead in (failed, other)]
    here.mend()
    here.fake.change(bad["id"], summary="mended")
    here.fake.requests.clear()
    fill(gaps)
    assert here.asked() == 2
    here.assert_exact()


@pytest.mark.sweep
def test_state_set_back(world: Begin) -> None:
    """After `state rewind` and `state reset` every parent is a gap until the next sync; also one that the vendor
    lists no longer, or without a record that is left."""
    name = "tines"
    here = world(fakes(name))
    here.synced()
    ((parents,),) = here.sql("select count(*) from coverage")
    to = (here.fake.now - timedelta(days=3)).isoformat()
    for command in (["rewind", name, "--to", to], ["reset", name]):
        assert CliRunner().invoke(app, ["state", *command, "--yes"]).exit_code == 0
        gaps = found()
        assert kinds(gaps) == {"set back": parents}
    first, second, *_ = here.fake.truth()["actions"]
    here.fake.delete_action(first["id"])
    for log in [log for log in here.fake.truth()["action_logs"] if log["action_id"] == second["id"]]:
        here.fake.delete(log["id"])
    fill(gaps)


@pytest.mark.sweep
def test_a_parent_that_failed_and_went(world: Begin) -> None:
    """A type that failed and is then deleted at the vendor is no gap for ever."""
    here = world(fakes("kizen"))
    kind = here.fake.truth()["activities"][0]["id"]
    here.fake.failing[f"/{kind}/"] = 403
    here.sync()
    gaps = found()
    assert kinds(gaps) == {"failing": 1}
    here.mend()
    here.fake.delete_type(kind)
    fill(gaps)
    assert here.sql("select count(*) from coverage where error like 'gone:%'") == [(1,)]


@pytest.mark.sweep
def test_records_that_cannot_be_read(world: Begin) -> None:
    """Of Sequence one with an id is asked for by the next sync; one without is mended by a walk over all."""
    fake = SequenceFake()
    fake.seed(3)
    bad, nameless = fake.add_log(origin=[]), fake.add_log()
    here = world(fake)
    here.intercept = lambda request: _nameless(here, request, nameless["id"])
    here.sync()
    gaps = sorted(found(), key=lambda gap: gap["fill"])
    assert [gap["fill"] for gap in gaps] == [
        "gapless state reset sequence --yes && gapless sync sequence", "gapless sync sequence",
    ]  # fmt: skip
    assert bad["id"] in gaps[1]["why"]
    here.mend()
    fake.change(bad["id"], origin="API")
    fill(gaps[:1])
    here.assert_exact()


def _nameless(here: World, request: httpx.Request, log_id: str) -> httpx.Response:
    return httpx.Response(200, text=here.fake.handle(request).text.replace(f'"{log_id}"', "[]"))


@pytest.mark.sweep
def test_lost_rows(world: Begin) -> None:
    """Rows that somebody deleted, and rows below records."""
    fake = SequenceFake()
    fake.seed(12)
    here = world(fake)
    here.synced()
    change(here, "delete from activity_logs__activity_log_items where _dlt_list_idx = 0")
    (gap,) = found()
    assert (gap["kind"], gap["stream"]) == ("lost", "activity_logs__activity_log_items")
    fill([gap])
    here.assert_exact()


@pytest.mark.slow
def test_what_the_ledger_says_counts(world: Begin) -> None:
    """Tines keeps logs for 7 days: who asks more rarely loses some, and is told. A proof of a load that was never
    completed is in doubt."""
    here = world(fakes("tines"))
    here.synced()
    place, now = Target.find("duckdb"), datetime.now(UTC)
    assert list(seeking.gaps(place, [], now + timedelta(days=6.9))) == []
    (gap,) = seeking.gaps(place, [], now + timedelta(days=7.1))
    assert (gap.kind, gap.fill) == ("stale", "gapless sync tines")
    change(here, "update coverage set _dlt_load_id = 'broken' where parent = (select min(parent) from coverage)")
    assert kinds(found()) == {"set back": 1}


@pytest.mark.slow
def test_a_shard_that_never_ran(world: Begin) -> None:
    """Its parents are not even listed: it is named, until all was read at once, as no shard can write to a file."""
    here = world(OmniFake())
    here.synced()
    with duckdb.connect(str(here.folder / "gapless.duckdb")) as db:
        for number in (1, 2, 4):
            db.execute(
                "insert into omni.runs by name select * replace (? as run_id, ? as _dlt_id, ? as shard,"
                " finished_at + interval 10 milliseconds as finished_at) from omni.runs where shard is null",
                [str(number), str(number), f"{number}/4"],
            )
    told = json.loads(CliRunner().invoke(app, ["gaps", "--json"]).stdout)["gaps"]
    assert [(gap["kind"], gap["fill"]) for gap in told] == [("shard", "gapless sync omni")]
    here.complete()
    assert CliRunner().invoke(app, ["gaps"]).exit_code == 0


@pytest.mark.slow
def test_one_reason_is_one_line_everywhere(world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dozen parents that answered 500 are one line of a sync, of gaps, status, doctor, verify, the page and the
    webhook, with one command."""
    fake = subject("tines").empty()
    fake.fill(13, 13)
    here = world(fake).set(GAPLESS_RETRY_BUDGET="0")
    here.alone().fake.failing["/logs"] = 500
    outcome = here.sync()
    told = re.compile("12 of 13 actions")  # one has no logs, and was asked for none
    assert (outcome.outcome, len(outcome.problems)) == ("partial", 1)
    assert len(outcome.failures) > 10
    assert len(told.findall(" ".join(syncs.reasons([outcome])))) == 1
    for command in (["gaps"], ["status"], ["doctor"]):
        done = CliRunner().invoke(app, command)
        assert len(told.findall(" ".join(done.output.split()))) == 1, done.output
        assert done.output.count("answered 500") == 1
        assert "--id" not in done.output
    assert CliRunner().invoke(app, ["gaps"]).stdout.splitlines()[-1] == "to fill: gapless sync tines"
    assert json.loads(CliRunner().invoke(app, ["gaps", "--json"]).stdout)["remedies"] == ["gapless sync tines"]
    verified = CliRunner().invoke(app, ["verify", "--whole"])
    assert verified.output.count("answered 500") == 1
    assert len(told.findall(Page(here.folder / "gapless.duckdb")("coverage"))) == 1
    assert len(told.findall(webhook.document("partial", 3, "duckdb", [outcome], None)["text"])) == 1
