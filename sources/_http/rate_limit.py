"""A rate limit shared by all workers of a client. No HTTP may enter.

Not pyrate-limiter 4.5, because it sleeps with `time.sleep` (tests would have to wait), runs a thread that empties
buckets, and has no way to pause all workers when the vendor throttles one of them.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from gapless.sources._http.errors import SettingError

WINDOW_SECONDS = 60.0
# A request over a new connection reaches the vendor later than the next one over the same connection; without
# this slack a minute as the vendor counts it could hold one request too many.
SLACK_SECONDS = 0.5
LONGEST_PAUSE = 3_600.0
"""Seconds; a pause that ends later was noted before the clock was set back."""


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
        """Stops all workers for `seconds`, because the vendor asked one of them to wait."""
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


class FileBudget(RateBudget):
    """A budget that all processes of this user share by a file with the times of the last requests.

    A file that cannot be read or written leaves each process its own budget.
    """

    def __init__(self, file: Path, per_minute: int, *, clock: Callable[[], float], sleep: Callable[[float], None]):
        """Takes a clock that is the same for all processes, and is not set back while they run."""
        super().__init__(per_minute, clock=clock, sleep=sleep)
        self._file = file

    def pause(self, seconds: float) -> None:
        """Stops the workers of all processes for so many seconds."""
        with self._shared():
            super().pause(seconds)

    def _claim(self, now: float) -> float:
        with self._shared():
            return super()._claim(now)

    @contextmanager
    def _shared(self) -> Iterator[None]:
        """Takes over what other processes have noted, and notes what is done meanwhile."""
        with self._opened() as file:
            if file:
                self._take_over(array("d", (held := file.read())[: len(held) // 8 * 8]))
            yield
            if file:
                with suppress(OSError):
                    file.seek(0)
                    file.write(array("d", [self._paused_until, *self._sent]).tobytes())
                    file.truncate()
                    file.flush()

    def _take_over(self, noted: Sequence[float]) -> None:
        """Takes the end of the pause and the times of the requests that were noted last, by whichever process."""
        paused, *sent = noted or [float("-inf")]
        latest = self._clock()
        with self._lock:
            self._sent.clear()
            # Times to come were noted before the clock was set back.
            self._sent.extend(at for at in sent if at <= latest)
            self._paused_until = paused if paused <= latest + LONGEST_PAUSE else float("-inf")

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO | None]:
        """Yields the file, locked; None where it cannot be used."""
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Not through a link, which would be somebody else's.
            handle = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            yield None
            return
        with open(handle, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


@cache
def shared_budget(name: str, per_minute: int, folder: Path | None = None) -> RateBudget:
    """Returns the budget of this name, shared by all clients of this process, and by processes with this folder."""
    if folder is None:
        return RateBudget(per_minute, clock=time.monotonic, sleep=time.sleep)
    file = folder / blake2b(name.encode(), digest_size=8).hexdigest()  # a name may hold anything
    return FileBudget(file, per_minute, clock=time.time, sleep=time.sleep)
