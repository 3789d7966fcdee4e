"""How often we ask: a rate budget shared by all workers of a client. No HTTP may enter.

Our own and not pyrate-limiter 4.5: that one sleeps with `time.sleep` (so nothing could be tested without
waiting), runs a thread that empties buckets, and cannot be told to pause when one worker is throttled.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

WINDOW = 60.0  # seconds
# Requests reach the vendor later than they leave us, the first over a new connection later than the next over
# a warm one; without this slack a window counted at the vendor could hold one too many.
SLACK = 0.5


class RateBudget:
    """Never more than `per_minute` requests in any 60 seconds; they may come in a burst."""

    def __init__(self, per_minute: int, *, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        if per_minute < 1:
            raise ValueError(f"requests_per_minute is {per_minute}; it must be at least 1")
        self._sent: deque[float] = deque(maxlen=per_minute)
        self._paused_until = float("-inf")
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()

    def take(self) -> float:
        """Wait for a slot and take it; the seconds this took."""
        started = now = self._clock()
        while (free_at := self._claim(now)) > now:
            self._sleep(free_at - now)
            now = max(free_at, self._clock())  # a sleep that ends early must not spin
        return self._clock() - started

    def pause(self, seconds: float) -> None:
        """No worker gets a slot for so long: the vendor has told one of them to wait."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)

    def _claim(self, now: float) -> float:
        """`now` and the slot is taken, or when to ask again."""
        with self._lock:
            free_at = self._paused_until
            if len(self._sent) == self._sent.maxlen:
                free_at = max(free_at, self._sent[0] + WINDOW + SLACK)
            if free_at > now:
                return free_at
            self._sent.append(now)  # drops the oldest when full
            return now
