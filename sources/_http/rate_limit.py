"""A rate limit shared by all workers of a client. No HTTP may enter.

Not pyrate-limiter 4.5, because it sleeps with `time.sleep` (tests would have to wait), runs a thread that empties
buckets, and has no way to pause all workers when the vendor throttles one of them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import cache

from gapless.sources._http.errors import SettingError

WINDOW_SECONDS = 60.0
# A request over a new connection reaches the vendor later than the next one over the same connection; without
# this slack a minute as the vendor counts it could hold one request too many.
SLACK_SECONDS = 0.5


class RateBudget:
    """Allows at most `per_minute` requests in any 60 seconds, in bursts too; ValueError for less than 1."""

    def __init__(self, per_minute: int, *, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        if per_minute < 1:
            raise SettingError("requests_per_minute", f"is {per_minute}; it must be at least 1")
        # The times of the last `per_minute` requests say when the next one may go.
        self._sent: deque[float] = deque(maxlen=per_minute)
        self._paused_until = float("-inf")
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()

    def take(self, sleep: Callable[[float], None] | None = None) -> float:
        """Waits until a request may be sent, by `sleep` if given, and counts it; returns the seconds waited."""
        sleep, started = sleep or self._sleep, self._clock()
        now = started
        # Claimed anew after each sleep: another worker may have taken the slot, or a 429 may have paused all.
        while (free_at := self._claim(now)) > now:
            sleep(free_at - now)
            now = max(free_at, self._clock())  # a sleep that ends early must not spin
        return self._clock() - started

    def pause(self, seconds: float) -> None:
        """Stops all workers for so many seconds, because the vendor told one of them to wait."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)

    def _claim(self, now: float) -> float:
        """Returns `now` when the request may be sent (it is counted then), else the time to try again."""
        with self._lock:
            free_at = self._paused_until
            if len(self._sent) == self._sent.maxlen:
                free_at = max(free_at, self._sent[0] + WINDOW_SECONDS + SLACK_SECONDS)
            if free_at > now:
                return free_at
            self._sent.append(now)  # drops the oldest when full
            return now


@cache
def shared_budget(name: str, per_minute: int) -> RateBudget:
    """Returns the budget of this name, which all clients of this process share."""
    return RateBudget(per_minute, clock=time.monotonic, sleep=time.sleep)
