"""The fault laboratory's sampled layer, and the laboratory itself held to what it must notice.

The whole sweep is `python -m tests.lab.faultlab`; what it found stands in tests/lab/faultlab/REPORT.md.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx2 as httpx
import pytest

from gapless.sources import SOURCES
from tests.lab.faultlab import crowd, http_faults, kept, kills, report, together, zygote
from tests.lab.faultlab.destinations import Duckdb
from tests.lab.faultlab.http_faults import FOUND
from tests.lab.faultlab.runs import Run, Zygote
from tests.lab.faultlab.verdict import Expect, Verdict, forms, judge
from tests.lab.faultlab.wire import plain
from tests.lab.faultlab.world import PHASES, Lab, Trial

SEED = 20
KILLS, CASES = 4, 4
"""So many of each; a trial is two processes, about 1.5 s of CPU. The sweep takes as many as one has time for."""
TOGETHER = ("the same sync", "a sync that is killed", "a foreign reader")
PLACES = [(source, PHASES[number % 3]) for number, source in enumerate(SOURCES)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    zygote = Zygote()
    yield Lab(tmp_path_factory.mktemp("faultlab"), zygote)
    zygote.end()


@pytest.mark.sweep
def test_killed_at_counted_side_effects(lab: Lab) -> None:
    """kill -9 at a sample of points: one more sync ends exact and reads no more than one chunk again."""
    effects = {place: kills.count(lab, *place) for place in PLACES}
    assert all(len(found) > 1000 for found in effects.values())
    killed = list(kills.run(lab, kills.chosen(effects, KILLS, SEED)))
    assert sum(bool(one.last) for one in killed) >= KILLS - 1
    assert [one for one in killed if not one.verdict.good] == []


@pytest.mark.sweep
def test_a_run_that_is_frozen_leaves_what_a_kill_leaves(lab: Lab) -> None:
    """At each point its folder is copied, and each copy heals; what it had at the first point is less than later."""
    effects = kills.count(lab, *PLACES[1])
    points = [len(effects) * part // 4 for part in (1, 2, 3)]
    todo = [kills.Kill(*PLACES[1], at, frozen=True) for at in points]
    killed = list(kills.run(lab, todo))
    assert [(one.kill, one.verdict.kind, one.last.split()[0]) for one in killed] == [
        (kill, "resumed", str(kill.at)) for kill in todo
    ]


@pytest.mark.parametrize(
    ("program", "waits"), [("import time; print(); time.sleep(60)", True), ("print()\nwhile True: pass", False)]
)
def test_who_waits_or_computes_too_long_hangs(program: str, waits: bool) -> None:
    """Other work on the machine counts for neither: who would compute if there were a free core does not wait."""
    with subprocess.Popen([sys.executable, "-u", "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.read(1)
        assert wait_until(lambda: zygote._waits(process.pid) == waits)
        assert zygote._wait(process.pid, 0.3, "", []) == "hang"
        process.returncode = -9  # it has been waited for


def wait_until(so: Callable[[], bool]) -> bool:
    return any(so() or time.sleep(0.01) for _ in range(500))


def test_a_sweep_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    """What one run has tried, the next with the same file has, too, and need not try again."""
    case = http_faults.cases(("tines",), ("first",))[0]
    trials: list[kept.Trial] = [
        kills.Killed(kills.Kill("omni", "first", 7), Verdict("exact"), "x"),
        http_faults.Tried(case, Verdict("OTHER"), 1.0),
    ]
    first, second = report.Sweep("", 1, "duckdb"), report.Sweep("", 1, "duckdb")
    keeping = kept.Kept(tmp_path / "kept")
    keeping.begin(first)
    for trial in trials:
        keeping.add(trial)
    kept.Kept(tmp_path / "kept").begin(second)
    assert [*second.kills, *second.tried] == trials
    assert second.tried[0].case == case
    assert len(second.runs) == 2
    assert "2 runs" in report.markdown(second)


@pytest.mark.sweep
def test_http_faults(lab: Lab) -> None:
    """A sample of wrong answers: exact, or said and exact after the next sync; never silent, never for ever."""
    todo = http_faults.chosen(http_faults.cases(tuple(SOURCES)), len(FOUND) + CASES, SEED)[len(FOUND) :]
    tried = list(http_faults.run(lab, todo))
    assert [one for one in tried if not one.verdict.good] == []


@pytest.mark.sweep
def test_together(lab: Lab) -> None:
    """Two commands at once into one destination: who may not come in says so, and nothing is lost or twice."""
    drawn = together.chosen(tuple(SOURCES), len(together.BESIDE), SEED)
    todo = [replace(one, phase="first") for one in drawn if one.kind in TOGETHER]
    other = Zygote()
    try:
        crowded = list(crowd.run(lab, todo, [lab.zygote, other]))
    finally:
        other.end()
    assert len(crowded) == len(TOGETHER)
    assert [one for one in crowded if not one.verdict.good] == []
    assert all(one.verdict.scanned >= 2 for one in crowded)


@pytest.mark.sweep
def test_what_nobody_may_do_in_a_crowd(lab: Lab) -> None:
    """The twin: refused without a reason, or after a request; ended in no allowed way; nobody let in."""
    said = "another sync is writing; nothing was asked. Try again when it has ended."

    def wrong(*runs: tuple[int, int, str]) -> list[str]:
        ended = [Run(code, 0.1, 0.1, requests, output) for code, requests, output in runs]
        return list(crowd._wrong(trial, [crowd.Command(trial, together.SYNC, 0.0, {}) for _ in runs], ended))

    with lab.trial("tines", "first") as trial:
        assert wrong((0, 9, ""), (75, 0, said)) == []
        assert "does not say why" in wrong((0, 9, ""), (75, 0, ""))[0]
        assert "after 1 requests" in wrong((0, 9, ""), (75, 1, said))[0]
        assert "ended with 1" in wrong((0, 9, ""), (1, 0, said))[0]
        assert "nobody got the lock" in wrong((75, 0, said), (75, 0, said))[0]


def test_a_crowd_has_every_kind_in_every_source_and_phase() -> None:
    places = {(one.kind, one.source, one.phase) for one in together.chosen(tuple(SOURCES), 160, SEED)}
    assert {kind for kind, _, _ in places} == set(together.BESIDE)
    assert len(places) == len(SOURCES) * len(PHASES) * len(together.BESIDE) - len(PHASES)  # Tines has no --id


def test_a_key_is_found_in_other_forms() -> None:
    """In base64 wherever it begins, in a URL, in JSON that escapes slashes."""
    key = "canary/vendor+K1x9="
    hidden = [b64encode(before + key.encode() + b":!").decode() for before in (b"", b"i", b"id", b"id:")]
    for text in (*hidden, "?key=canary%2Fvendor%2BK1x9%3D", "canary%2fvendor%2bk1x9%3d", r"canary\/vendor+K1x9="):
        assert any(form in text for form in forms(key)), text


@pytest.mark.sweep
@pytest.mark.parametrize("place", sorted(FOUND), ids=" ".join)
def test_what_was_found(place: tuple[str, str, str, str], lab: Lab) -> None:
    """A fault that the sweep found to be silent stays mended."""
    (case,) = (case for case in http_faults.cases((place[0],)) if case.place == place)
    (tried,) = http_faults.run(lab, [case])
    assert tried.verdict.good, tried.verdict


@pytest.mark.sweep
def test_what_it_must_notice(lab: Lab) -> None:
    """The judge's twin: a lost page, a changed row, an orphan, a key on the screen and a lie about requests."""
    with lab.trial("sequence", "first") as trial, trial.vendor() as url:
        trial.answer = lambda request: plain(_last_page(trial.good(request)))
        # Twice: once the vendor tells the true total again, a sync sees that rows are missing.
        harmed, healed = trial.run(url), trial.run(url)
        trial.answer = None
        truth = trial.fake.truth()
        assert _judged(trial, Expect(), truth, harmed, healed) == "SILENT"
        trial.run(url, args=["state", "reset", "sequence", "--yes"])
        healed = trial.run(url)
        assert _judged(trial, Expect(), truth, healed, healed) == "exact"
        assert _judged(trial, Expect(("resumed",), (1,)), truth, healed, healed) == "OTHER"
        assert _judged(trial, Expect(requests=3), truth, healed, healed) == "COSTLY"
        assert _judged(trial, Expect(), truth, replace(healed, code="hang"), healed) == "HANG"
        assert _judged(trial, Expect(), truth, replace(healed, code=1), replace(healed, code=1)) == "BROKEN"
        (trial.folder / "a.log").write_text("x-key: canary%2Fsequence_client_secret%2BK1x9%3D")
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


@pytest.mark.parametrize("name", ["REPORT.md", "REPORT.postgres.md"])
def test_the_report_is_of_this_catalogue(name: str) -> None:
    """The report was written by the sweep and names only faults that there are, with plain dlt beside."""
    text = Path(report.__file__).with_name(name).read_text()
    assert "plain dlt 1.31" in text
    named = re.findall(r"^\| (.+?) \|", text.split("## HTTP faults")[1], re.MULTILINE)[2:]
    assert named
    assert set(named) <= {bend.name for bend in http_faults.BENDS}


@pytest.mark.sweep
def test_the_destination_is_a_seam(lab: Lab) -> None:
    """A laboratory takes another destination; DuckDB is the one it has by itself."""
    assert Lab(lab.folder, lab.zygote).destination.name == "duckdb"
    other = Duckdb()
    assert Lab(lab.folder, lab.zygote, other).destination is other
