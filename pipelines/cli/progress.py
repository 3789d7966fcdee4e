"""How a sync goes while it goes, on stderr: live on a terminal, a plain or a JSON line now and then in a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from gapless.pipelines import json_logs

if TYPE_CHECKING:
    from gapless.pipelines.outcome import Outcome
    from gapless.sources._ledger.session import Session

PLAIN_EVERY = 10.0
"""Seconds between two plain lines."""
LEVELS = {"complete": "info", "partial": "warning", "failed": "error"}


class Display(Protocol):
    def start(self, name: str, session: Session) -> None: ...

    def end(self, outcome: Outcome) -> None: ...

    def say(self, text: str) -> None: ...


@contextmanager
def shown(console: Console, every: float = PLAIN_EVERY) -> Iterator[Display]:
    """The display that fits `console`, until the block ends."""
    if console.is_terminal and not json_logs.on():
        columns = (SpinnerColumn(), TextColumn("{task.description:<9}"), _Facts(), TimeElapsedColumn())
        with Progress(*columns, console=console) as progress:
            yield _Live(progress)
    else:
        plain = _Plain(json_logs.tell if json_logs.on() else _printer(console), every)
        try:
            yield plain
        finally:
            plain.stop()


def _printer(console: Console) -> Callable[..., None]:
    def tell(text: str, **_: Any) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    return tell


def facts(session: Session, elapsed: float) -> str:
    """How far a source is: "12 pages · 1,204 records (310/s) · 3/25 parents · 14 requests"."""
    counters, stats = session.counters, session.client.stats if session.client else None
    pace = f" ({counters.records / elapsed:,.0f}/s)" if elapsed >= 1 and counters.records else ""
    parts = [f"{counters.pages:,} pages", f"{counters.records:,} records{pace}"]
    if counters.parents_total:
        parts.append(f"{counters.parents:,}/{counters.parents_total:,} parents")
    if counters.part is not None:
        parts.append(f"{counters.part:.0%}{_left(counters.part, counters.part_before, elapsed)}")
    if stats:
        parts.append(f"{stats.requests:,} requests")
        if stats.waiting:
            parts.append("waiting on the rate budget or a retry")
    return " · ".join(parts)


def _left(part: float, before: float, elapsed: float) -> str:
    """How long the rest takes at the pace so far."""
    if elapsed < 1 or part <= before:
        return ""
    seconds = (1 - part) * elapsed / (part - before)
    return f", about {seconds / 60:,.0f} min left" if seconds >= 90 else f", about {seconds:.0f} s left"


def numbers(session: Session, elapsed: float) -> dict[str, Any]:
    """The same for a program."""
    counters, stats = session.counters, session.client.stats if session.client else None
    asked = {"requests": stats.requests, "retries": stats.retries, "waited": round(stats.waited, 3)} if stats else {}
    return {**vars(counters), **asked, "seconds": round(elapsed, 1)}


def ending(outcome: Outcome) -> str:
    rows = f"{sum(outcome.vendor_rows().values()):,} rows, {outcome.requests:,} requests"
    return f"{outcome.outcome}, {rows}, {outcome.seconds:.1f} s"


def totals(outcome: Outcome) -> dict[str, Any]:
    """The end of a source for a program; what failed is counted, not told."""
    whole = ("outcome", "run_id", "packages", "requests", "retries", "error_kind")
    rows = outcome.vendor_rows()
    counted = {"failures": len(outcome.failures), "rows": sum(rows.values()), "rows_by_table": rows}
    times = {"waited": round(outcome.seconds_waited, 3), "seconds": round(outcome.seconds, 1)}
    return {**{name: getattr(outcome, name) for name in whole}, **counted, **times}


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

    def __init__(self, tell: Callable[..., None], every: float) -> None:
        self._tell, self._every = tell, every
        self._stop: threading.Event | None = None
        self._session: Session | None = None

    def start(self, name: str, session: Session) -> None:
        self.stop()
        self._session = session
        self._tell(f"{name}: started", event="started", source=name)
        self._stop = threading.Event()
        threading.Thread(target=self._go_on, args=(name, session, self._stop), daemon=True).start()

    def end(self, outcome: Outcome) -> None:
        self.stop()
        told = {"event": "finished", "level": LEVELS[outcome.outcome], "source": outcome.source}
        counters = self._session.counters if self._session else None
        read = {"pages": counters.pages, "records": counters.records} if counters else {}
        self._tell(f"{outcome.source}: {ending(outcome)}", **told, **read, **totals(outcome))

    def stop(self) -> None:
        if self._stop:
            self._stop.set()

    def _go_on(self, name: str, session: Session, stop: threading.Event) -> None:
        began = time.monotonic()
        while not stop.wait(self._every):
            elapsed = time.monotonic() - began
            told = f"{name}: {facts(session, elapsed)}"
            self._tell(told, event="progress", source=name, **numbers(session, elapsed))

    def say(self, text: str) -> None:
        self._tell(text)
