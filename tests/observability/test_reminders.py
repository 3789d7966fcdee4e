"""When a message of the webhook is news, when it is due once more, and when it is neither."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gapless.pipelines.evidence.gap import Gap
from gapless.pipelines.observability.reminders import LastMessage, Past, is_changed, is_due
from gapless.pipelines.outcome import Outcome

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def partial(count: int, status: int = 500) -> Outcome:
    """So many leads answered so."""
    gaps = [
        Gap("omni", "failing", "action_logs", f"lead-{number}", None, None, f"GET /x answered {status}: no", "")
        for number in range(count)
    ]
    return Outcome("omni", NOW, outcome="partial", gaps=gaps)


def failed(kind: str = "Unauthorized") -> Outcome:
    return Outcome("omni", NOW, outcome="failed", error="no", error_kind=kind)


COMPLETE = Outcome("omni", NOW, outcome="complete")


def after(*outcomes: Outcome, ago: timedelta = QUARTER, notes: bool = True) -> Past:
    """The past in which a message told each of these outcomes, the last one so long ago."""
    told: LastMessage | None = None
    for outcome in outcomes:
        told = LastMessage.of(outcome, told, NOW - ago)
    return Past([(one.outcome, NOW - ago) for one in reversed(outcomes)], told if notes else None, notes)


@pytest.mark.parametrize(
    ("now", "past", "changed"),
    [
        (partial(1), Past(), True),
        (partial(1), after(partial(1)), False),
        (partial(2), after(partial(1)), True),
        (partial(49), after(partial(48)), False),
        (partial(60), after(partial(49)), True),
        (partial(1), after(partial(2)), False),
        (partial(2), after(partial(2), partial(1)), False),
        (partial(1, 403), after(partial(1)), True),
        (partial(1), after(partial(1), partial(1, 403)), False),
        (failed(), after(partial(1)), True),
        (failed(), after(failed()), False),
        (failed("ForeignHost"), after(failed()), True),
        (partial(1), after(failed()), True),
        (COMPLETE, after(failed()), True),
        (Outcome("omni", NOW, outcome="complete", scope="2 ids"), after(failed()), False),  # the rest still fails
        (COMPLETE, Past(), False),
        (COMPLETE, Past([("failed", NOW - QUARTER)], None), False),  # somebody interrupted it: nobody was told
    ],
)
def test_news(now: Outcome, past: Past, changed: bool) -> None:
    """Another outcome, another reason, or clearly more of one; not what comes and goes between two rounds."""
    assert is_changed(now, past) is changed


def test_a_message_that_did_not_arrive_is_news() -> None:
    """A run without a note is one of which nobody was told."""
    assert is_changed(failed(), Past([("failed", NOW - QUARTER)], None))


@pytest.mark.parametrize(("hours", "due"), [(0.25, False), (23.9, False), (24, True), (200, True)])
def test_the_same_is_said_again_after_a_day(hours: float, due: bool) -> None:
    past = after(failed(), ago=timedelta(hours=hours))
    assert is_due(failed(), past, NOW) is due
    assert not is_changed(failed(), past)
    assert not is_due(COMPLETE, past, NOW)


def test_where_nothing_can_be_noted_the_runs_decide() -> None:
    """A warehouse: another outcome than before is news, and each full day since the first of them."""
    quarter, day = NOW - QUARTER, NOW - timedelta(hours=24)
    assert is_changed(failed(), Past([], None, notes=False))
    assert not is_changed(failed(), Past([("failed", quarter)], None, notes=False))
    assert is_changed(failed(), Past([("partial", quarter)], None, notes=False))
    assert is_due(failed(), Past([("failed", quarter), ("failed", day)], None, notes=False), NOW)
    again = NOW + QUARTER
    runs = [("failed", NOW), ("failed", quarter), ("failed", day)]
    assert not is_due(failed(), Past(runs, None, notes=False), again)


def test_a_note_is_read_as_it_was_written() -> None:
    """As text, and as the decoded JSON that some engines return."""
    told = LastMessage.of(partial(3), None, NOW)
    assert LastMessage.parse(told.to_json()) == told
    assert LastMessage.parse({"outcome": "partial", "reasons": dict(told.reasons), "at": NOW.isoformat()}) == told
