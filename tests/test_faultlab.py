"""The fault laboratory's sampled layer, and the laboratory itself held to what it must notice.

The whole sweep is `python -m tests.faultlab`; what it found stands in tests/faultlab/REPORT.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from sources import SOURCES
from tests.faultlab import http_faults, kills, report
from tests.faultlab.destinations import Duckdb
from tests.faultlab.http_faults import FOUND
from tests.faultlab.runs import Zygote
from tests.faultlab.verdict import Expect, judge
from tests.faultlab.wire import plain
from tests.faultlab.world import PHASES, Lab, Trial

SEED = 20
KILLS, CASES = 8, 6
"""So many of each; a trial is two processes, about 1.5 s of CPU. The sweep takes as many as one has time for."""
PLACES = [(source, PHASES[number % 3]) for number, source in enumerate(SOURCES)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    zygote = Zygote()
    yield Lab(tmp_path_factory.mktemp("faultlab"), zygote)
    zygote.end()


def test_killed_at_counted_side_effects(lab: Lab) -> None:
    """kill -9 at a sample of points: one more sync ends exact and reads no more than one chunk again."""
    effects = {place: kills.count(lab, *place) for place in PLACES}
    assert all(len(found) > 1000 for found in effects.values())
    killed = list(kills.run(lab, kills.chosen(effects, KILLS, SEED)))
    assert sum(bool(one.last) for one in killed) >= KILLS - 1
    assert [one for one in killed if not one.verdict.good] == []


def test_http_faults(lab: Lab) -> None:
    """A sample of wrong answers: exact, or said and exact after the next sync; never silent, never for ever."""
    todo = http_faults.chosen(http_faults.cases(tuple(SOURCES)), len(FOUND) + CASES, SEED)[len(FOUND) :]
    tried = list(http_faults.run(lab, todo))
    assert [one for one in tried if not one.verdict.good] == []


@pytest.mark.parametrize("place", sorted(FOUND), ids=" ".join)
def test_what_was_found(place: tuple[str, str, str, str], lab: Lab) -> None:
    """A fault that the sweep found to be silent stays mended."""
    (case,) = (case for case in http_faults.cases((place[0],)) if case.place == place)
    (tried,) = http_faults.run(lab, [case])
    assert tried.verdict.good, tried.verdict


def test_what_it_must_notice(lab: Lab) -> None:
    """The judge's twin: a lost page, a changed row, an orphan, a key on the screen and a lie about requests."""
    with lab.trial("sequence", "first") as trial, trial.vendor() as url:
        trial.answer = lambda request: plain(_last_page(trial.good(request)))
        harmed = trial.run(url)
        trial.answer = None
        healed = trial.run(url)
        truth = trial.fake.truth()
        assert _judged(trial, Expect(), truth, harmed, healed) == "SILENT"
        trial.run(url, args=["state", "reset", "sequence", "--yes"])
        healed = trial.run(url)
        assert _judged(trial, Expect(), truth, healed, healed) == "exact"
        assert _judged(trial, Expect(("resumed",), (1,)), truth, healed, healed) == "OTHER"
        assert _judged(trial, Expect(requests=3), truth, healed, healed) == "COSTLY"
        assert _judged(trial, Expect(), truth, replace(healed, code="hang"), healed) == "HANG"
        assert _judged(trial, Expect(), truth, replace(healed, code=1), replace(healed, code=1)) == "BROKEN"
        (trial.folder / "a.log").write_text("x-key: canary-sequence-K2x9")
        assert _judged(trial, Expect(), truth, healed, healed) == "LEAK"
        changed = {"activity_logs": [row | {"origin": "elsewhere"} for row in truth["activity_logs"]]}
        assert _judged(trial, Expect(), changed, healed, healed) == "SILENT"


def _judged(trial: Trial, expect: Expect, truth: object, harmed: object, healed: object) -> str:
    return judge(trial, expect, truth, harmed, healed, after=[], requests=trial.arrived).kind


def _last_page(response: httpx.Response) -> httpx.Response:
    """The page as if none followed, as the vendor writes it."""
    body = response.json()
    return httpx.Response(200, json=body | {"pagination": {"totalResultSize": 5}})


def test_every_fault_has_its_verdict_before_it_runs() -> None:
    """At least 40 kinds over four sources and three phases, each with an expectation that can be failed."""
    cases = http_faults.cases(tuple(SOURCES))
    assert len({case.fault for case in cases}) >= 40
    assert {(case.source, case.phase) for case in cases} == {(s, p) for s in SOURCES for p in PHASES}
    assert all(case.expect.first and case.expect.exits for case in cases)
    assert len({case.place for case in cases}) == len(cases)


def test_a_sample_is_the_same_every_time_and_wide() -> None:
    cases = http_faults.cases(tuple(SOURCES))
    faults = len({case.fault for case in cases})
    one, other = (http_faults.chosen(cases, faults, SEED) for _ in range(2))
    assert one == other
    assert {case.place for case in one[: len(FOUND)]} == FOUND
    assert len({case.fault for case in one}) >= faults - len(FOUND)
    assert http_faults.chosen(cases, None, SEED) == cases


def test_the_report_is_of_this_catalogue() -> None:
    """REPORT.md was written by the sweep and names only faults that there are, with plain dlt beside."""
    text = (Path(report.__file__).with_name("REPORT.md")).read_text()
    assert "plain dlt 1.31" in text
    named = re.findall(r"^\| (.+?) \|", text.split("## HTTP faults")[1], re.MULTILINE)[2:]
    assert named
    assert set(named) <= {bend.name for bend in http_faults.BENDS}


def test_the_destination_is_a_seam(lab: Lab) -> None:
    """A laboratory takes another destination; DuckDB is the one it has by itself."""
    assert Lab(lab.folder, lab.zygote).destination.name == "duckdb"
    other = Duckdb()
    assert Lab(lab.folder, lab.zygote, other).destination is other
