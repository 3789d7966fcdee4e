"""How a sync goes while it goes, on stderr: live on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from pipelines.report import loaded

if TYPE_CHECKING:
    from pipelines.run import Outcome
    from sources._sync.session import Session

PLAIN_EVERY = 10.0
"""Seconds between two plain lines."""


class Display(Protocol):
    def start(self, name: str, session: Session) -> None: ...

    def end(self, outcome: Outcome) -> None: ...

    def say(self, text: str) -> None: ...


@contextmanager
def shown(console: Console, every: float = PLAIN_EVERY) -> Iterator[Display]:
    """The display that fits `console`, until the block ends."""
    if console.is_terminal:
        columns = (SpinnerColumn(), TextColumn("{task.description:<9}"), _Facts(), TimeElapsedColumn())
        with Progress(*columns, console=console) as progress:
            yield _Live(progress)
    else:
        plain = _Plain(console, every)
        try:
            yield plain
        finally:
            plain.stop()


def facts(session: Session, elapsed: float) -> str:
    """How far a source is: "12 pages · 1,204 records (310/s) · 3/25 parents · 14 requests"."""
    meter, stats = session.meter, session.client.stats if session.client else None
    pace = f" ({meter.records / elapsed:,.0f}/s)" if elapsed >= 1 and meter.records else ""
    parts = [f"{meter.pages:,} pages", f"{meter.records:,} records{pace}"]
    if meter.parents_total:
        parts.append(f"{meter.parents:,}/{meter.parents_total:,} parents")
    if stats:
        parts.append(f"{stats.requests:,} requests")
        if stats.waiting:
            parts.append("waiting on the rate budget or a retry")
    return " · ".join(parts)


def ending(outcome: Outcome) -> str:
    rows = f"{sum(loaded(outcome).values()):,} rows, {outcome.requests:,} requests"
    took = (outcome.finished_at - outcome.started_at).total_seconds() if outcome.finished_at else 0.0
    return f"{outcome.outcome}, {rows}, {took:.1f} s"


class _Facts(ProgressColumn):
    """Polled by the display's own refresh."""

    def render(self, task: Task) -> Text:
        ended: str | None = task.fields.get("ended")
        return Text(ended or facts(task.fields["session"], task.elapsed or 0.0))


class _Live:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def start(self, name: str, session: Session) -> None:
        self._tasks[name] = self._progress.add_task(name, total=None, session=session)

    def say(self, text: str) -> None:
        # A heading belongs between the lines of two syncs, so it is a line of its own that has already ended.
        self._progress.add_task("", total=1, completed=1, ended=text)

    def end(self, outcome: Outcome) -> None:
        self._progress.update(self._tasks[outcome.source], total=1, completed=1, ended=ending(outcome))


class _Plain:
    """One line when a source starts, one every `every` seconds, one at its end."""

    def __init__(self, console: Console, every: float) -> None:
        self._console, self._every = console, every
        self._stop: threading.Event | None = None

    def start(self, name: str, session: Session) -> None:
        self.stop()
        self.say(f"{name}: started")
        self._stop = threading.Event()
        threading.Thread(target=self._tell, args=(name, session, self._stop), daemon=True).start()

    def end(self, outcome: Outcome) -> None:
        self.stop()
        self.say(f"{outcome.source}: {ending(outcome)}")

    def stop(self) -> None:
        if self._stop:
            self._stop.set()

    def _tell(self, name: str, session: Session, stop: threading.Event) -> None:
        began = time.monotonic()
        while not stop.wait(self._every):
            self.say(f"{name}: {facts(session, time.monotonic() - began)}")

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
