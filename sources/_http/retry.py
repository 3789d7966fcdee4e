"""When to ask again: by time, not by count. No HTTP may enter, only our own errors.

A plain loop and not tenacity: its stop and wait see one elapsed time, ours leaves out what was spent waiting
for the rate budget, looks at the next wait before it stops, and names the setting in the error it raises.
"""

from __future__ import annotations

import email.utils
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from gapless.sources._http.errors import Retryable

T = TypeVar("T")


@dataclass(frozen=True)
class Policy:
    """How long one request may go on (`budget`, seconds) and how its waits grow."""

    budget: float = 300.0
    max_wait: float = 60.0
    first_wait: float = 0.5
    chance: Callable[[], float] = random.random

    def wait(self, attempt: int, retry_after: float | None) -> float:
        """Seconds to wait after failed attempt 1, 2, …: the vendor's word, else backoff with full jitter."""
        if retry_after is None:
            ceiling = self.first_wait * 2.0 ** min(attempt - 1, 60)
            return self.chance() * min(ceiling, self.max_wait)
        # "Retry-After: 0", again and again, must not become a storm.
        return min(max(retry_after, self.chance() * self.first_wait), self.max_wait)


def retrying(
    policy: Policy,
    send: Callable[[], T],
    *,
    slot: Callable[[], float],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> T:
    """`send` until it gives a value or the next wait would end after the budget; raises the last Retryable.

    `slot` waits for the rate budget and returns the seconds it took, which are not counted.
    """
    started, free, slept, attempt = clock(), 0.0, 0.0, 0
    while True:
        free += slot()
        attempt += 1
        try:
            return send()
        except Retryable as error:
            wait = policy.wait(attempt, error.retry_after)
            spent = max(clock() - started - free, slept)
            if spent + wait > policy.budget:
                told = [error.detail, _gave_up(policy, attempt, spent, wait)]
                error.detail = "; ".join(filter(None, told))
                raise
        sleep(wait)
        slept += wait


def _gave_up(policy: Policy, attempt: int, spent: float, wait: float) -> str:
    tries = "1 attempt" if attempt == 1 else f"{attempt} attempts"
    return (
        f"gave up after {tries} in {spent:.1f} s, the next would wait {wait:.1f} s more"
        f" and the budget is {policy.budget:g} s (GAPLESS_RETRY_BUDGET)"
    )


def retry_after(value: str | None, date: str | None = None, now: Callable[[], float] = time.time) -> float | None:
    """Seconds that a Retry-After header asks for: whole or fractional seconds, or an HTTP-date; else None.

    A date is taken relative to the answer's own `Date`, because our clock and the vendor's may differ.
    """
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", text):
        return float(text)
    until = _timestamp(text)
    if until is None:
        return None
    since = _timestamp(date or "")
    return max(0.0, until - (now() if since is None else since))


def _timestamp(text: str) -> float | None:
    """Seconds since 1970 of an HTTP-date in any of its three forms (RFC 9110, 5.6.7)."""
    try:
        found = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() if _sane(found) else None


def _sane(found: datetime) -> bool:
    return 1 < found.year < 9999  # a zone shift at the calendar's edge would overflow
