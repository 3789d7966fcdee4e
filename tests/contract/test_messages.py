"""What is open is said in one sentence for each reason, and what was said is noted, on every destination."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx2 as httpx
import pytest

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.evidence.sentences import sentence
from gapless.pipelines.observability import reminders
from gapless.pipelines.outcome import Outcome
from gapless.sources import SOURCES
from tests.contract.commands import document, gaps
from tests.contract.conftest import NAMES, Begin, elsewhere, of
from tests.contract.subject import Subject
from tests.support.world import World


def news(here: World, outcome: Outcome, now: datetime) -> reminders.News:
    return reminders.news(Target.find(here.database.name), [outcome], now)


@pytest.mark.sweep
@elsewhere(1)
@of(NAMES[1])
def test_a_source_that_fails_is_said_once_a_day(subject: Subject, synced: World) -> None:
    """The note is found by the next round, with since when and for how many rounds; a complete round ends it."""
    synced.fake.failing["/"] = 401
    now, target = datetime.now(UTC), Target.find(synced.database.name)
    first = synced.sync()
    assert (first.outcome, first.rounds, first.error_kind) == ("failed", 1, "Unauthorized")
    found = news(synced, first, now)
    assert found.changed
    reminders.note(target, [first], found, now)
    second = synced.sync()
    assert (second.rounds, second.since) == (2, first.since)
    assert not news(synced, second, now)
    again = news(synced, second, now + timedelta(hours=24))
    assert (again.changed, again.due) == (False, True)
    synced.mend()
    assert news(synced, synced.complete(), now).changed
    assert not news(synced, synced.complete(), now)


@elsewhere(3)
@of(NAMES[0])
def test_parents_that_fail_are_one_sentence(subject: Subject, world: Begin) -> None:
    """How many of how many, for how many rounds, since when; the same words in `gaps`, `status` and the outcome."""
    parents = SOURCES[subject.name].stream.parents
    if parents is None:
        return
    here = world(subject.filled())
    here.synced()
    failing = subject.parents(here.fake)[:2]
    here.fake.failing.update({subject.part_of_path(parent): 403 for parent in failing})
    for parent in failing:
        subject.add(here.fake, parent)
    outcomes = [here.sync() for _ in range(2)]
    (problem,) = outcomes[-1].problems
    assert (len(problem.gaps), problem.status, problem.times) == (2, 403, 2)
    assert problem.first_at
    assert outcomes[0].started_at <= datetime.fromisoformat(problem.first_at) <= outcomes[1].started_at
    told = sentence(problem)
    assert told.startswith(f"{subject.name}: 2 of {problem.of} {parents.noun} answered 403: ")
    assert "(second round in a row, first at " in told
    for command in ("gaps", "status"):
        (shown,) = document(here, command)["problems"]
        assert shown["message"].startswith(told.split("; ")[0])
        assert (shown["count"], shown["times"], shown["first_at"]) == (2, 2, problem.first_at)
    assert len(gaps(here)) == 2


@of(NAMES[0])
def test_a_daily_quota_is_one_failure(subject: Subject, world: Begin) -> None:
    """It says until when; nobody is asked any more, no parent is blamed, and what was read before stays."""
    here = world(subject.filled(12, 24))
    left, refused = iter(range(3)), list[str]()

    def spent(request: httpx.Request) -> httpx.Response | None:
        if next(left, None) is not None:
            return None
        refused.append(request.url.path)
        return httpx.Response(429, headers={"Retry-After": "86400"})

    here.intercept = spent
    outcome = here.sync()
    assert (outcome.outcome, outcome.error_kind, here.letters()) == ("failed", "QuotaSpent", [])
    until = datetime.now(UTC) + timedelta(days=1)
    assert any(
        f"until {at.day} {at:%B %H:%M} UTC" in str(outcome.error) for at in (until, until - timedelta(minutes=1))
    )
    assert [problem["kind"] for problem in outcome.described_problems() if problem["kind"] != "never asked"] == [
        "failed"
    ]
    assert 1 <= len(refused) <= 8  # those that were on their way
    here.mend()
    here.complete()
    here.assert_exact()
