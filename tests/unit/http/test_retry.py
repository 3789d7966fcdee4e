"""Retries: which failures, how long between, and when it is enough."""

from __future__ import annotations

import itertools
import time as clock
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gapless.sources._http.errors import Throttled, Unavailable
from gapless.sources._http.retry import Policy, _span, retry_after, retrying
from gapless.sources._http.testing import FakeClock

EPOCH = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110


def failing(time: FakeClock, policy: Policy, cost: float = 0.0, asked: float | None = None) -> list[float]:
    """When each attempt started, for a request of `cost` seconds that never works."""
    starts = []

    def send() -> None:
        starts.append(time.now - 1000)
        time.now += cost
        raise Throttled(method="GET", path="/x", status=429, retry_after=asked)

    with pytest.raises(Throttled, match="GAPLESS_RETRY_BUDGET"):
        retrying(policy, send, slot=lambda: 0.0, clock=time.clock, sleep=time.sleep)
    return starts


def test_backoff_doubles_up_to_the_cap() -> None:
    """The ceiling of a wait is 0.5 s, doubled by each attempt, and never above max_wait."""
    policy = Policy(max_wait=3, jitter=lambda: 1.0)
    assert [policy.wait(n, None) for n in (1, 2, 3, 4, 5, 5000)] == [0.5, 1, 2, 3, 3, 3]


def test_jitter_is_full() -> None:
    """Chance spreads a wait from 0 to its ceiling."""
    chance = iter([0.0, 0.5, 1.0])
    policy = Policy(jitter=lambda: next(chance))
    assert [policy.wait(3, None) for _ in range(3)] == [0, 1, 2]


def test_the_vendors_word_is_kept() -> None:
    """Retry-After is the wait, on whatever attempt, but not beyond max_wait."""
    policy = Policy(max_wait=60, jitter=lambda: 0.99)
    assert [policy.wait(n, 7.5) for n in (1, 9)] == [7.5, 7.5]
    assert policy.wait(1, 86400.0) == 60


def test_retry_after_zero_is_no_storm() -> None:
    """A vendor that says "now" for ever is asked about four times a second, not thousands."""
    time = FakeClock()
    chance = itertools.cycle([0.2, 0.8])
    assert len(failing(time, Policy(budget=10, jitter=lambda: next(chance)), asked=0.0)) < 50


def test_a_wait_that_would_pass_the_budget_is_not_slept() -> None:
    """The error comes at once when the next wait would end too late."""
    time = FakeClock()
    assert failing(time, Policy(budget=10), asked=4) == [0, 4, 8]
    assert time.now == 1008


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (301, "for 301 s"),
        (3600, r"until \d+ \w+ \d\d:\d\d UTC"),
        (86400, r"until \d+ \w+ \d\d:\d\d UTC"),
        (1e300, "for more than a year"),
    ],
)
def test_a_quota_for_hours_is_one_clear_failure(asked: float, said: str) -> None:
    """Nobody is asked again who says that it is no use, and the message says what the vendor asked for."""
    time, sent = FakeClock(), []

    def send() -> None:
        sent.append(time.now)
        raise Throttled(method="GET", path="/x", status=429, detail="quota", retry_after=asked)

    with pytest.raises(Throttled, match=rf"left alone {said}, .*300 s \(GAPLESS_RETRY_BUDGET\)"):
        retrying(Policy(), send, slot=lambda: 0.0, clock=time.clock, sleep=time.sleep)
    assert (len(sent), time.sleeps) == (1, [])


def test_sends_use_up_the_budget() -> None:
    """Time spent in the requests themselves counts."""
    assert failing(FakeClock(), Policy(budget=10), cost=3, asked=1) == [0, 4, 8]


def test_a_budget_of_a_second_still_retries() -> None:
    """With the default backoff the first wait fits into the shortest budgets."""
    assert len(failing(FakeClock(), Policy(budget=1, jitter=lambda: 0.999))) >= 2


def test_a_sleep_that_does_not_sleep_ends() -> None:
    """A stubbed sleep with a clock that stands still uses up the budget all the same."""
    time = FakeClock()

    def send() -> None:
        raise Unavailable(method="GET", path="/x", retry_after=1)

    with pytest.raises(Unavailable, match="4 attempts"):
        retrying(Policy(budget=3), send, slot=lambda: 0.0, clock=time.clock, sleep=lambda _: None)


def test_the_last_error_tells_the_story() -> None:
    """It is the last one, and says how many attempts in how long and which setting gives more."""
    time = FakeClock()
    errors = iter([Throttled(method="GET", path="/x", status=429), Unavailable(method="GET", path="/x", status=503)])

    def send() -> None:
        time.now += 0.75
        raise next(errors)

    policy = Policy(budget=1.5, jitter=lambda: 0.5)
    with pytest.raises(Unavailable) as caught:
        retrying(policy, send, slot=lambda: 0.0, clock=time.clock, sleep=time.sleep)
    assert str(caught.value) == (
        "GET /x answered 503: gave up after 2 attempts in 1.8 s: waiting 0.5 s more would exceed"
        " the retry budget of 1.5 s (GAPLESS_RETRY_BUDGET)"
    )


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3),
        (" 120 ", 120),
        ("0", 0),
        ("1.5", 1.5),
        (".25", 0.25),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 10),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 10),
        ("Sun Nov  6 08:49:37 1994", 10),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0),
    ],
)
def test_retry_after_is_read(value: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds, fractions and all three HTTP-dates are understood, in any time zone; a past date is 0."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        clock.tzset()
        assert retry_after(value, None, lambda: EPOCH - 10) == seconds
    clock.tzset()


@pytest.mark.parametrize("value", [None, "", "soon", "-1", "nan", "inf", "1e3", "5, 5", "٣", "0x10", "99:99"])
def test_garbage_is_no_retry_after(value: str | None) -> None:
    """What is neither a number nor a date is ignored."""
    assert retry_after(value, None, lambda: EPOCH) is None


def test_a_date_is_read_by_the_vendors_clock() -> None:
    """The answer's own Date is "now", so a wrong clock here changes nothing."""
    until, date = "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:30 GMT"
    assert retry_after(until, date, lambda: EPOCH + 99999) == 7


@settings(max_examples=40)
@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,6} \d+:\d+:\d+ [+-]?\w{0,5}"))
def test_no_retry_after_breaks_us(value: str) -> None:
    """Any text gives a wait of 0 or more, or none."""
    found = retry_after(value, value)
    assert found is None or found >= 0


def test_the_end_of_a_long_wait() -> None:
    """People are told when it ends, in UTC, and not how many seconds it takes."""
    noon = datetime(2026, 12, 31, 12, tzinfo=UTC).timestamp()
    assert _span(86_400, lambda: noon) == "until 1 January 12:00 UTC"
    assert _span(900, lambda: noon) == "for 900 s"
