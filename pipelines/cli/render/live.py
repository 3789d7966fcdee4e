"""Shows the progress of a sync on a terminal: a line per source that refreshes itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from gapless.pipelines.redaction import printable

if TYPE_CHECKING:
    from gapless.pipelines.outcome import Outcome
    from gapless.sources._ledger.session import Session


Running = Callable[["Session", float], str]
"""Returns the text about a session after so many seconds."""
Ended = Callable[["Outcome"], str]


@contextmanager
def live(console: Console, running: Running, ended: Ended) -> Iterator[Live]:
    """Yields the display, which ends with what each line shows last; the texts are what the two functions return."""
    text = _LiveText(running)
    progress = Progress(
        SpinnerColumn(), TextColumn("{task.description:<9}", markup=False), text, TimeElapsedColumn(), console=console
    )
    with suppress(RuntimeError):  # a limit of threads ends the refreshing, not a sync
        progress.start()
    try:
        yield Live(progress, ended)
    finally:
        progress.stop()


class _LiveText(ProgressColumn):
    """Reads the session each time that the display refreshes itself."""

    def __init__(self, running: Running) -> None:
        super().__init__()
        self._running = running

    def render(self, task: Task) -> Text:
        """Returns the text of one line as it is now."""
        ended: str | None = task.fields.get("ended")
        return Text(printable(ended or self._running(task.fields["session"], task.elapsed or 0.0)))


class Live:
    """A line per source that refreshes itself."""

    def __init__(self, progress: Progress, ended: Ended) -> None:
        self._progress, self._ended = progress, ended
        self._tasks: dict[str, TaskID] = {}

    def start(self, name: str, session: Session) -> None:
        """Adds a line."""
        self._tasks[name] = self._progress.add_task(name, total=None, session=session)

    def message(self, text: str) -> None:
        """Adds a line that does not change any more."""
        # rich puts messages above all lines; a line that has already ended stays between those of two syncs.
        self._progress.add_task("", total=1, completed=1, ended=text)

    def end(self, outcome: Outcome) -> None:
        """Leaves the outcome in the line."""
        self._progress.update(self._tasks[outcome.source], total=1, completed=1, ended=self._ended(outcome))
