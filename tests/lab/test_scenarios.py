"""The scenario laboratory, in small: one story by default, a few of each source with the sweeps.

`python -m tests.lab.scenarios` plays every scenario and does every damage on every source.
"""

from __future__ import annotations

import pytest

from gapless.sources import SOURCES
from gapless.sources.source import Source
from tests.contract.subject import subject
from tests.lab.scenarios.kinds import scenarios
from tests.lab.scenarios.report import Tried, markdown
from tests.lab.scenarios.stage import Stage, Told, everything, stage

FIFTH = "okta"
NAMES = [*SOURCES, FIFTH]
BY_NAME = {scenario.name: scenario for scenario in scenarios()}
USUAL = "rows lost, state reset, then 401 after 2 requests"
OF_ALL = 60
"""In the sweeps each source plays one scenario of so many, each another one."""


@pytest.fixture(autouse=True)
def _fifth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, FIFTH, Source.at(f"tests.fifth.{FIFTH}"))


def test_there_are_many() -> None:
    """At least 120 scenarios, each with a name of its own, and each fits a source."""
    subjects = [*map(subject, NAMES)]
    assert len(BY_NAME) == len([*scenarios()]) >= 120
    assert [one.name for one in BY_NAME.values() if not any(one.fits(each) for each in subjects)] == []


@pytest.mark.sweep
def test_a_story(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are lost, and the sync that reads them again breaks off: nothing is claimed, and all is mended.

    The judge is no rubber stamp: were `gaps` silent, and the sync's exit code 0, it would say so.
    """
    with stage(FIFTH) as here:
        told = BY_NAME[USUAL].told(here).told
        assert (told.false, told.stays) == ([], [])
        assert told.lost_at
        here.begin("silence", synced=True)
        here.lose()
        monkeypatch.setattr(Stage, "gaps", lambda self: [])
        here.judge("sync", 0, everything)
    assert [one.split(",")[0] for one in here.told.false] == ["sync 0", "gaps 0"]


@pytest.mark.sweep
@pytest.mark.parametrize("name", NAMES)
def test_some_stories(name: str) -> None:
    found: list[Told] = []
    with stage(name) as here:
        fitting = [scenario for scenario in scenarios() if scenario.fits(here.subject)]
        found = [scenario.told(here).told for scenario in fitting[NAMES.index(name) * 7 :: OF_ALL]]
    assert {one.scenario: [*one.false, *one.stays] for one in found if not one.good} == {}


def test_the_report_names_what_is_wrong() -> None:
    """Numbers by source, and each false claim, alarm and damage that is not as it must be."""
    told = [Told("a", "cut", "duckdb"), Told("b", "cut", "duckdb", false=["gaps 0, but 1 differ"], lost_at=1)]
    tried = [Tried("a", "dropped", "postgres", 0, ["gaps"], False, ["gapless sync a"], ["not exact: a.b c"])]
    text = markdown(told, tried)
    assert "1 scenarios in 2 trials" in text
    assert "**1 false claims, 0 alarms that stay.**" in text
    assert "- b, cut: gaps 0, but 1 differ" in text
    assert "- a on postgres, dropped: not exact: a.b c" in text
