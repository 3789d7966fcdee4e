"""Retries, limited by time and not by count. No HTTP may enter, only the errors of this folder.

A plain loop and not tenacity: its `stop` and `wait` see one elapsed time, while here the time spent waiting for the
rate limit does not count, the next wait is known before giving up, and the error names the setting.
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

from gapless.sources._http.errors import GAVE_UP, Retryable

T = TypeVar("T")
LONG_WAIT, YEAR = 900.0, 366 * 86_400.0
"""Seconds."""


@dataclass(frozen=True)
class Policy:
    """Seconds for which one request is retried (`budget`), and of its waits, from `first_wait` to `max_wait`."""

    budget: float = 300.0
    max_wait: float = 60.0
    first_wait: float = 0.5
    jitter: Callable[[], float] = random.random
    """A number from 0 to 1, by which a wait is multiplied."""

    def wait(self, attempt: int, retry_after: float | None) -> float:
        """Returns the seconds to wait after failed attempt 1, 2, …: `retry_after`, or backoff with full jitter."""
        if retry_after is None:
            # 60, as 2.0 ** 1024 overflows when a budget without an end allows that many attempts.
            ceiling = self.first_wait * 2.0 ** min(attempt - 1, 60)
            return self.jitter() * min(ceiling, self.max_wait)
        # A vendor that always says "Retry-After: 0" would be asked without any pause.
        return min(max(retry_after, self.jitter() * self.first_wait), self.max_wait)


def retrying(
    policy: Policy,
    send: Callable[[], T],
    *,
    slot: Callable[[], float],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> T:
    """Returns what `send` returns, retried while it raises Retryable and the budget lasts; else raises the last one.

    `slot` waits for the rate limit and returns the seconds that took, which the budget leaves out.
    """
    started, limited, slept, attempt = clock(), 0.0, 0.0, 0
    while True:
        limited += slot()
        attempt += 1
        try:
            return send()
        except Retryable as error:
            wait = policy.wait(attempt, error.retry_after)
            spent = max(clock() - started - limited, slept)
            # Shorter waits than the vendor asked for (max_wait) cannot help when its own is over too late.
            needed = max(wait, error.retry_after or 0.0)
            if spent + needed > policy.budget:
                details = [error.detail, _gave_up(policy, attempt, spent, needed)]
                error.detail = "; ".join(filter(None, details))
                raise
        sleep(wait)
        slept += wait


def _gave_up(policy: Policy, attempt: int, spent: float, wait: float) -> str:
    if wait > policy.budget and wait > policy.max_wait:
        return (
            f"the vendor asks to be left alone {_span(wait)}, and one request is retried for at most"
            f" {policy.budget:g} s (GAPLESS_RETRY_BUDGET), so it was not asked again"
        )
    tries = "1 attempt" if attempt == 1 else f"{attempt} attempts"
    return (
        f"{GAVE_UP}{tries} in {spent:.1f} s: waiting {wait:.1f} s more would exceed"
        f" the retry budget of {policy.budget:g} s (GAPLESS_RETRY_BUDGET)"
    )


def _span(wait: float, now: Callable[[], float] = time.time) -> str:
    """Returns "for 300 s", or for a longer wait the time when it ends, because that is easier to read."""
    if wait <= LONG_WAIT:
        return f"for {wait:,.0f} s"
    if wait > YEAR:
        return "for more than a year"
    end = datetime.fromtimestamp(now() + wait, UTC)
    return f"until {end.day} {end:%B %H:%M} UTC"


def left_alone(seconds: float) -> str:
    """Returns what a vendor asks for that wants no request for so many seconds."""
    return f"the vendor asks to be left alone {_span(seconds)}; nothing more is asked in this sync"


def retry_after(value: str | None, date: str | None = None, now: Callable[[], float] = time.time) -> float | None:
    """Returns the seconds of a Retry-After header, written as a number or an HTTP-date; None when it is neither.

    A date is compared with the answer's own `Date` header, because our clock and the vendor's may differ.
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
    """Returns an HTTP-date, in any of its three forms (RFC 9110, 5.6.7), as seconds since 1970."""
    try:
        found = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() if _within_calendar(found) else None


def _within_calendar(found: datetime) -> bool:
    return 1 < found.year < 9999  # a zone shift at the calendar's edge would overflow
