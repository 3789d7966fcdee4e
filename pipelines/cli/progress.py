"""Shows the progress of a sync on stderr: live on a terminal, else as a plain or a JSON line every few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from textwrap import shorten
from typing import TYPE_CHECKING, Protocol

from rich.console import Console

from gapless.pipelines import json_logs
from gapless.pipelines.cli import output
from gapless.pipelines.outcome import new_and_changed
from gapless.pipelines.printable import counted

if TYPE_CHECKING:
    from gapless.pipelines.outcome import Outcome
    from gapless.sources._ledger.session import Session

PLAIN_EVERY = 10.0
"""Seconds between two plain lines."""
TROUBLE = 120
"""Characters of an error that are shown while it is tried again."""
LEVELS = {"complete": "info", "partial": "warning", "failed": "error"}


class Display(Protocol):
    """Shows one source after the other."""

    def start(self, name: str, session: Session) -> None:
        """Begins to show a source; the numbers are read from `session` while it runs."""

    def end(self, outcome: Outcome) -> None:
        """Shows how the source ended."""

    def message(self, text: str) -> None:
        """Shows a line between two sources."""


@contextmanager
def displayed(console: Console, every: float = PLAIN_EVERY) -> Iterator[Display]:
    """Yields the display that fits `console`; without a terminal it writes a line every `every` seconds."""
    # Lines that refresh themselves would fill a log with control characters.
    if console.is_terminal and not json_logs.on():
        from gapless.pipelines.cli.render.live import (
            live,  # which takes long to import, and no scheduler has a terminal
        )

        with live(console, progress_text, outcome_text) as lines:
            yield lines
    else:
        plain = _Plain(json_logs.emit if json_logs.on() else _printer(console), every)
        try:
            yield plain
        finally:
            plain.stop()


def _printer(console: Console) -> Callable[..., None]:
    """Returns a function that prints a line and drops the facts, which only JSON lines show."""

    def emit(text: str, **_: object) -> None:
        console.print(output.stamped(text), markup=False, highlight=False, soft_wrap=True)

    return emit


def progress_text(session: Session, elapsed: float) -> str:
    """Returns how far a source is after `elapsed` seconds, such as "12 pages · 1,204 records · 14 requests"."""
    counters, stats = session.counters, session.client.stats if session.client else None
    # In the first second the pace is mostly the time of the start.
    pace = f" ({counters.records / elapsed:,.0f}/s)" if elapsed >= 1 and counters.records else ""
    parts = [counted(counters.pages, "pages"), f"{counted(counters.records, 'records')}{pace}"]
    if counters.parents_total:
        parts.append(f"{counters.parents:,}/{counters.parents_total:,} parents")
    if counters.part is not None:
        parts.append(f"{counters.part:.0%}{_time_left(counters.part, counters.part_before, elapsed)}")
    if stats:
        parts.append(counted(stats.requests, "requests"))
        if stats.waiting:
            trouble = shorten(stats.trouble, TROUBLE, placeholder=" …")
            parts.append(f"waiting to try again: {trouble}" if trouble else "waiting for the rate limit")
    return " · ".join(parts)


def _time_left(part: float, before: float, elapsed: float) -> str:
    """Returns an estimate from the pace so far; empty when there is no pace yet."""
    if elapsed < 1 or part <= before:
        return ""
    # `before` was done by an earlier sync, so it says nothing about the pace of this one.
    seconds = (1 - part) * elapsed / (part - before)
    return f", about {seconds / 60:,.0f} min left" if seconds >= 90 else f", about {seconds:.0f} s left"


def progress_facts(session: Session, elapsed: float) -> dict[str, object]:
    """Returns the same as JSON values; `waited` and `seconds` are seconds."""
    counters, stats = session.counters, session.client.stats if session.client else None
    sent = {"requests": stats.requests, "retries": stats.retries, "waited": round(stats.waited, 3)} if stats else {}
    return {**vars(counters), **sent, "seconds": round(elapsed, 1)}


def outcome_text(outcome: Outcome) -> str:
    """Returns the end of a source: "complete, 1,204 rows (12 new, 3 changed), 14 requests, 3.2 s"."""
    known = new_and_changed(outcome.rows_new, outcome.rows_changed)
    rows = f"{counted(outcome.rows_written, 'rows')}{known}, {counted(outcome.requests, 'requests')}"
    return f"{outcome.outcome}, {rows}, {outcome.seconds:.1f} s"


def outcome_facts(outcome: Outcome) -> dict[str, object]:
    """Returns the same as JSON values; failures are counted, as each has a line of its own."""
    names = ("outcome", "run_id", "packages", "requests", "retries", "error_kind")
    rows = outcome.rows
    counted = {"failures": len(outcome.failures), "rows": sum(rows.values()), "rows_by_table": rows}
    counted |= {"rounds": outcome.rounds, "since": outcome.since.isoformat() if outcome.since else None}
    counted |= {"rows_new": outcome.rows_new, "new_by_table": outcome.new}
    counted |= {"rows_changed": outcome.rows_changed, "changed_by_table": outcome.changed}
    counted |= {"rows_unchanged": outcome.rows_unchanged, "unchanged_by_table": outcome.unchanged}
    times = {"waited": round(outcome.seconds_waited, 3), "seconds": round(outcome.seconds, 1)}
    return {**{name: getattr(outcome, name) for name in names}, **counted, **times}


class _Plain:
    """One line when a source starts, one every `every` seconds, one at its end."""

    def __init__(self, emit: Callable[..., None], every: float) -> None:
        self._emit, self._every = emit, every
        self._stop: threading.Event | None = None
        self._session: Session | None = None

    def start(self, name: str, session: Session) -> None:
        """Writes that a source starts, and how far it is until it ends."""
        self.stop()
        self._session = session
        self._emit(f"{name}: started", event="started", source=name)
        self._stop = threading.Event()
        # A daemon: it must not keep the process alive after an error.
        repeating = threading.Thread(target=self._repeat, args=(name, session, self._stop), daemon=True)
        with suppress(RuntimeError):  # a limit of threads ends lines, not a sync
            repeating.start()

    def end(self, outcome: Outcome) -> None:
        """Writes the outcome, with its numbers as facts."""
        self.stop()
        event = {"event": "finished", "level": LEVELS[outcome.outcome], "source": outcome.source}
        counters = self._session.counters if self._session else None
        read = {"pages": counters.pages, "records": counters.records} if counters else {}
        self._emit(f"{outcome.source}: {outcome_text(outcome)}", **event, **read, **outcome_facts(outcome))

    def stop(self) -> None:
        """Ends the lines of the current source."""
        if self._stop:
            self._stop.set()

    def _repeat(self, name: str, session: Session, stop: threading.Event) -> None:
        """Writes a line every `every` seconds until the source ends."""
        started = time.monotonic()
        while not stop.wait(self._every):
            elapsed = time.monotonic() - started
            text = f"{name}: {progress_text(session, elapsed)}"
            self._emit(text, event="progress", source=name, **progress_facts(session, elapsed))

    def message(self, text: str) -> None:
        """Writes the line."""
        self._emit(text)
