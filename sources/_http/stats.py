"""What a client has done: counters for the progress line, and facts of each attempt for metrics and traces.

No query, header or body may enter.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gapless.sources._http.errors import Retryable


class Stats:
    """Counts requests and retries; `waited` is the sum of seconds slept, `waiting` the workers asleep now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = self.retries = self.waiting = 0
        self.waited = 0.0
        self.trouble = ""
        """Why the last attempt is tried again; empty once one went well."""

    def add(self, *, requests: int = 0, retries: int = 0, waiting: int = 0, waited: float = 0.0) -> None:
        """Adds to the counters; `waited` is in seconds."""
        with self._lock:
            self.requests += requests
            self.retries += retries
            self.waiting += waiting
            self.waited += waited

    @contextmanager
    def sleeping(self, seconds: float) -> Iterator[None]:
        """Counts a worker as waiting inside the block, and then the `seconds` that it slept."""
        self.add(waiting=1)
        try:
            yield
        # Also after Ctrl-C, or the progress line would show a worker that waits for ever.
        finally:
            self.add(waiting=-1, waited=seconds)

    @contextmanager
    def noting_trouble(self) -> Iterator[None]:
        """Notes why the attempt inside the block failed, if it is tried again: people wait for it."""
        try:
            yield
        except Retryable as error:
            self.trouble = str(error)
            raise
        self.trouble = ""


@dataclass
class Attempt:
    """One HTTP request as it went: the first try of a call, or one of its retries."""

    method: str
    host: str
    path: str
    number: int
    """1 for the first attempt, 2 for its first retry, …"""
    status: int | None = None
    """None without an answer."""
    error: str | None = None
    """Name of its class in errors.py."""
    seconds: float = 0.0
