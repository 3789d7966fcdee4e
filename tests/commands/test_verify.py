"""`gapless verify`: every record that a vendor serves is here, by its own totals and ids; else it is read again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx2 as httpx
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations.target import Target
from tests.commands.test_state import lose
from tests.contract.commands import gaps
from tests.contract.subject import subject
from tests.support.world import LET_THROUGH, World

Begin = Callable[[Any], World]


def verify(*arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and what it says of the one source."""
    result = CliRunner().invoke(app, ["verify", *arguments, "--json"])
    document = json.loads(result.stdout)
    (source,) = document["sources"]
    assert result.exit_code == document["exit_code"], result.output
    return result.exit_code, {**source, "seed": document["seed"]}


def numbers(found: dict[str, Any]) -> dict[str, int]:
    """Those that are not nought."""
    names = ("newer", "missing", "kept", "not_asked")
    return {name: found[name] for name in names if found[name]}


def vendor(name: str) -> Any:
    fake = subject(name).empty(page_cap=10)
    fake.fill(5, 40)
    return fake


@pytest.mark.slow
def test_sequence_by_its_total(world: Begin) -> None:
    """One request; fewer here than there is a loss, more is none but may hide one, which only ids tell."""
    here = world(vendor("sequence"))
    here.synced()
    here.fake.requests.clear()
    code, found = verify()
    assert (code, found["by"], found["served"], found["here"], len(here.fake.requests)) == (0, "count", 40, 40, 1)
    oldest = sorted(here.fake.truth()["activity_logs"], key=lambda row: row["createdAt"])[:3]
    lose("sequence", here.folder, f"id = '{oldest[0]['id']}'")
    code, found = verify()
    assert (code, numbers(found), found["absent"]) == (3, {"missing": 1}, {})
    here.fake.delete(oldest[1]["id"])
    assert verify()[0] == 3  # one went and one is gone: the totals are equal, the row counts of the last sync are not
    here.fake.delete(oldest[2]["id"])
    code, found = verify()
    assert (code, numbers(found), "--whole compares ids" in found["undecided"]) == (
        3,
        {"kept": 1, "missing": 1},
        True,
    )
    code, found = verify("--whole")
    assert (code, numbers(found)) == (3, {"missing": 1, "kept": 2})
    assert found["absent"] == {"": [oldest[0]["id"]]}


@pytest.mark.sweep
def test_a_sample(world: Begin) -> None:
    """So many parents, the same with the same seed; those of which the vendor counts more than is here come first.
    No lock is taken, and the file is not open while the vendor is asked: a sync may write meanwhile."""
    here = world(vendor("tines"))
    here.synced()

    def asked(seed: int) -> list[str]:
        here.fake.requests.clear()
        code, found = verify("--sample", "2", "--seed", str(seed))
        assert (code, found["parents"], found["of"], found["seed"]) == (0, 2, 5, seed)
        return sorted({path for _, path, _ in here.fake.requests if "logs" in path})

    samples = [asked(seed) for seed in range(5)]
    assert asked(3) == samples[3]
    assert len({tuple(sample) for sample in samples}) > 1

    one_by_one = threading.Lock()

    def writes(request: httpx.Request) -> httpx.Response:
        with one_by_one, Target.find("duckdb").opened():
            return LET_THROUGH

    here.intercept = writes
    with Target.find("duckdb").lock():
        assert verify("--whole")[0] == 0
    here.mend()
    lose("tines", here.folder, "action_id = (select max(action_id) from tines.action_logs)")
    code, found = verify("--sample", "1", "--seed", "1")
    assert (code, found["missing"]) == (3, 10)
    shown = CliRunner().invoke(app, ["verify", "--sample", "1"])
    assert (shown.exit_code, "--seed" in shown.stdout, "gapless verify tines --repair" in shown.stdout) == (
        3, True, True,
    )  # fmt: skip


@pytest.mark.slow
def test_all_are_no_sample(world: Begin) -> None:
    """Where a parent has nothing to compare, a comparison of all is not called a sample."""
    here = world(vendor("tines"))
    here.synced()
    here.fake.add_action()
    shown = {flag: CliRunner().invoke(app, ["verify", *flag.split()]).stdout for flag in ("--whole", "--sample 1")}
    assert [flag for flag, text in shown.items() if "this was a sample" in text] == ["--sample 1"]


@pytest.mark.slow
def test_one_listing_that_is_cut_short_ends_no_alarm(world: Begin) -> None:
    """What is known to be lost stays told although a lead had no logs in one reading; the next one finds it."""
    here = world(vendor("omni"))
    here.synced()
    ((lead,),) = here.sql("select min(lead_id) from action_logs")
    lose("omni", here.folder, f"_dlt_id in (select min(_dlt_id) from omni.action_logs where lead_id = '{lead}')")

    logs, here.fake._logs[lead] = here.fake._logs[lead], {}
    code, found = verify("--whole")
    here.fake._logs[lead] = logs
    assert (code, "asks once more" in found["unproven"]) == (3, True)
    assert {gap["kind"] for gap in gaps(here)} == {"lost"}
    assert here.sync().outcome == "partial"
    code, found = verify("--whole")
    assert (code, found["missing"]) == (3, 1)
    assert verify("--repair")[0] == 0
    here.complete()
    here.assert_exact()


@pytest.mark.slow
def test_parents_that_are_new_or_fail(world: Begin) -> None:
    """A new one is the next sync's; one that is not answered for is told (3); a refused key fails."""
    here = world(vendor("omni"))
    here.synced()
    known = here.fake.truth()["leads"][0]["leadId"]
    here.fake.add_log(here.fake.add_lead()["leadId"])
    here.fake.add_log(known, at=here.fake.now + timedelta(days=1))
    code, found = verify()
    assert (code, numbers(found)) == (0, {"not_asked": 1, "newer": 1})
    here.fake.failing[f"/{known}/"] = 403
    code, found = verify()
    assert (code, list(found["failed"]), found["missing"]) == (3, [known], 0)
    here.mend()
    here.set(OMNI_API_KEY="another")
    code, found = verify()
    assert (code, "the key was refused" in found["error"]) == (1, True)


@pytest.mark.slow
def test_only_what_was_asked_for(world: Begin) -> None:
    """Older records than the initial value, and leads that are not chosen, are not missed."""
    here = world(vendor("sequence"))
    here.set(SEQUENCE_INITIAL_VALUE=(here.fake.now - timedelta(days=9)).isoformat())
    here.complete()
    code, found = verify()
    assert (code, numbers(found), "older ones" in found["undecided"]) == (0, {}, True)
    code, found = verify("--whole")
    assert (code, numbers(found), found["undecided"]) == (0, {}, None)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["tines", "--sample", "3", "--whole"], 2, "leave out one of them"),
        (["tines", "--sample", "0"], 2, "--sample"),
        (["nobody"], 2, "there is no source"),
        (["tines"], 1, "never synced into this destination: gapless sync tines"),
    ],
)
def test_mistakes_are_told(arguments: list[str], code: int, said: str, world: Begin) -> None:
    """Before any vendor is asked."""
    here = world(vendor("tines"))
    result = CliRunner().invoke(app, ["verify", *arguments])
    assert (result.exit_code, said in " ".join(result.output.split())) == (code, True), result.output
    assert here.fake.requests == []
