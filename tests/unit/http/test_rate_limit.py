"""The rate budget: never too many in any minute, shared, and paused for all at once."""

from __future__ import annotations

import threading
import time as real
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.sources._http.client import Client
from gapless.sources._http.rate_limit import SLACK_SECONDS, WINDOW_SECONDS, FileBudget, RateBudget, shared_budget
from gapless.sources._http.testing import FakeClock
from gapless.sources._http.transport import httpx

BASE = "https://api.vendor.test"


def test_a_burst_is_allowed() -> None:
    """As many requests as the budget has go out at once."""
    time = FakeClock()
    budget = RateBudget(5, clock=time.clock, sleep=time.sleep)
    assert [budget.take() for _ in range(5)] == [0.0] * 5


@given(st.integers(1, 7), st.lists(st.floats(0, 40), min_size=1, max_size=60))
def test_no_window_holds_too_many(per_minute: int, gaps: list[float]) -> None:
    """Whatever the rhythm of the callers, any 60 seconds hold at most `per_minute` requests."""
    time = FakeClock()
    budget = RateBudget(per_minute, clock=time.clock, sleep=time.sleep)
    sent = []
    for gap in gaps:
        time.now += gap
        budget.take()
        sent.append(time.now)
    for start in sent:
        assert sum(start <= moment <= start + 60 for moment in sent) <= per_minute


def test_no_slot_is_wasted() -> None:
    """A full budget waits for the oldest request to leave the window and no longer."""
    time = FakeClock()
    budget = RateBudget(2, clock=time.clock, sleep=time.sleep)
    budget.take()
    time.now += 50
    budget.take()
    assert 10 <= budget.take() <= 11


def test_threads_share_the_budget() -> None:
    """Many threads at once get no more slots than one would."""
    lock, now, slots = threading.Lock(), [0.0], []

    def sleep(seconds: float) -> None:
        until = now[0] + seconds
        real.sleep(0.0001)
        with lock:
            now[0] = max(now[0], until)

    budget = RateBudget(10, clock=lambda: now[0], sleep=sleep)

    def work() -> None:
        for _ in range(5):
            budget.take()
            with budget._lock:
                slots.append(budget._sent[-1])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(slots) == 40
    assert now[0] >= 3 * 60


def test_two_threads_cannot_take_the_last_slot() -> None:
    """Looking for a free slot and taking it is one step."""

    class Slow(deque[float]):
        def __len__(self) -> int:
            found = super().__len__()
            real.sleep(0.002)
            return found

    def sleep(seconds: float) -> None:
        raise TimeoutError

    def work() -> bool:
        try:
            return budget.take() == 0
        except TimeoutError:
            return False

    budget = RateBudget(3, clock=lambda: 0.0, sleep=sleep)
    budget._sent = Slow(maxlen=3)
    with ThreadPoolExecutor(6) as workers:
        assert sum(workers.map(lambda _: work(), range(6))) == 3


def test_a_pause_holds_everyone() -> None:
    """After `pause` nobody gets a slot until it is over, and a shorter pause does not end a longer one."""
    time = FakeClock()
    budget = RateBudget(100, clock=time.clock, sleep=time.sleep)
    budget.pause(7)
    budget.pause(3)
    assert budget.take() == 7
    assert budget.take() == 0


def test_a_sleep_that_does_not_sleep_ends() -> None:
    """A caller whose sleep is a stub waits in name only, and is not caught in a loop."""
    budget = RateBudget(1, clock=lambda: 5.0, sleep=lambda _: None)
    budget.pause(30)
    for _ in range(3):
        budget.take()


def test_zero_is_no_budget() -> None:
    """A budget that could never send is refused with the setting's name."""
    with pytest.raises(ValueError, match="requests_per_minute is 0"):
        Client(BASE, requests_per_minute=0)


def test_a_429_holds_back_the_whole_client() -> None:
    """One worker's Retry-After is a pause for the others too."""
    time = FakeClock()
    answers = iter([httpx.Response(429, headers={"retry-after": "9"})])
    client = Client(
        BASE,
        transport=httpx.MockTransport(lambda _: next(answers, httpx.Response(200, json=[]))),
        clock=time.clock,
        sleep=time.sleep,
        retry_budget=1,
    )
    with pytest.raises(Exception, match="429"):
        client.get("one", list[msgspec.Raw])
    assert time.sleeps == []
    client.get("other", list[msgspec.Raw])
    assert time.sleeps == [9]
    assert client.stats.waited == 9


def test_every_attempt_takes_a_slot() -> None:
    """Retries count against the budget like first attempts."""
    time = FakeClock()
    sent = []

    def handle(request: httpx.Request) -> httpx.Response:
        sent.append(time.now)
        return httpx.Response(503 if len(sent) < 5 else 200, json=[], headers={"retry-after": "1"})

    transport = httpx.MockTransport(handle)
    client = Client(BASE, transport=transport, clock=time.clock, sleep=time.sleep, requests_per_minute=2)
    client.get("x", list[msgspec.Raw])
    for start in sent:
        assert sum(start <= moment <= start + 60 for moment in sent) <= 2


def test_waiting_for_the_rate_is_free() -> None:
    """Minutes spent waiting for a slot do not use up a retry budget of seconds."""
    time = FakeClock()
    statuses = iter([200, 503, 503, 200])
    client = Client(
        BASE,
        transport=httpx.MockTransport(
            lambda _: httpx.Response(next(statuses), json=[], headers={"retry-after": "0.5"})
        ),
        clock=time.clock,
        sleep=time.sleep,
        requests_per_minute=1,
        retry_budget=2,
    )
    client.get("x", list[msgspec.Raw])
    client.get("x", list[msgspec.Raw])
    assert time.now - 1000 > 3 * 60
    assert (client.stats.requests, client.stats.retries) == (4, 2)


def test_a_budget_of_two_clients() -> None:
    """Two accounts whose vendor counts by address stay within its limit together, and each counts its own waits."""
    time, sent = FakeClock(), list[float]()

    def handle(request: httpx.Request) -> httpx.Response:
        sent.append(time.now)
        return httpx.Response(200, json=[])

    shared = RateBudget(2, clock=time.clock, sleep=time.sleep)
    transport = httpx.MockTransport(handle)
    first, second = (
        Client(BASE, transport=transport, clock=time.clock, sleep=time.sleep, budget=shared) for _ in range(2)
    )
    for client in (first, second, second):
        client.get("x", list[msgspec.Raw])
    assert sent[1] == sent[0]
    assert sent[2] >= sent[0] + 60
    assert (first.stats.waited, second.stats.waited >= 60) == (0, True)


def test_one_budget_of_each_name() -> None:
    """Whoever names it gets the same one, so that the accounts of a sync share it."""
    assert shared_budget("address", 7) is shared_budget("address", 7)
    assert shared_budget("address", 7) is not shared_budget("other", 7)


@pytest.mark.slow
def test_processes_share_a_budget(tmp_path: Path) -> None:
    """By a file: together they send no more than one would, and a pause stops all of them."""
    time = FakeClock()
    one, two = (FileBudget(tmp_path / "new" / "a", 3, clock=time.clock, sleep=time.sleep) for _ in range(2))
    waited = [budget.take() for budget in (one, two, one, two)]
    assert waited == [0, 0, 0, WINDOW_SECONDS + SLACK_SECONDS]
    one.pause(200)
    assert two.take() == 200
    time.now -= 10_000  # somebody set it back
    assert two.take() == 0


@pytest.mark.parametrize("what", ["damaged", "folder", "link"])
def test_a_file_that_cannot_be_shared(what: str, tmp_path: Path) -> None:
    """Requests are sent all the same, each process within the budget."""
    file, time = tmp_path / "a", FakeClock()
    if what == "damaged":
        file.write_bytes(b"no times at all")
    elif what == "folder":
        file.mkdir()
    else:
        file.symlink_to(tmp_path / "elsewhere")
    budget = FileBudget(file, 1, clock=time.clock, sleep=time.sleep)
    assert [budget.take(), budget.take()] == [0, WINDOW_SECONDS + SLACK_SECONDS]
    assert not (tmp_path / "elsewhere").exists()
