"""JSON lines: with `--log-format json` each line on stderr is one JSON object. stdout does not change.

Warnings, logs of libraries, tracebacks and whatever other code writes to stderr become lines of the same form, so
that a log collector can parse every line. A record's content may not enter.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import threading
import warnings
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from gapless.pipelines.database_errors import described, is_of_a_database
from gapless.pipelines.errors import frames, without_values
from gapless.pipelines.redaction import cleaned, errors_of

FORMATS = ("text", "json")
SETTING, OPTION = "GAPLESS_LOG_FORMAT", "--log-format"

_lock = threading.RLock()


def wanted(args: list[str]) -> bool:
    """Returns whether JSON lines are wanted. Reads `args` before they are parsed, as wrong usage is a line, too."""
    given = [value for name, _, value in (arg.partition("=") for arg in args) if name == OPTION]
    return (given[-1] if given else os.environ.get(SETTING)) == "json"


def unknown(args: list[str]) -> str | None:
    """Returns which format is wanted and is none, with the option or the variable that names it; None: it is one."""
    given = [value for name, _, value in (arg.partition("=") for arg in args) if name == OPTION]
    where, found = (f"{OPTION} ", given[-1]) if given else (f"{SETTING} is ", os.environ.get(SETTING) or FORMATS[0])
    return None if found in FORMATS else f"{where}{found[:40]!a}"


def on() -> bool:
    """Returns whether JSON lines are on."""
    return _process.stderr is not None


def switch(as_json: bool) -> None:
    """Switches JSON lines on or off for the whole process."""
    _process.undo.close()
    _process.stderr = stderr = _JsonStderr(sys.stderr) if as_json else None
    plain: tuple[tuple[Any, str, object], ...] = ((sys, "excepthook", _debug_exception),)
    as_lines: tuple[tuple[Any, str, object], ...] = (
        (sys, "stderr", stderr),
        (sys, "excepthook", _log_exception),
        (sys, "unraisablehook", lambda args: _log_exception(args.exc_type, args.exc_value, args.exc_traceback)),
        # A thread has a hook of its own; else its traceback would go to stderr line by line.
        (threading, "excepthook", lambda args: _log_exception(args.exc_type, args.exc_value, args.exc_traceback)),
        (warnings, "showwarning", _log_warning),
    )
    for module, name, hook in as_lines if stderr else plain:
        _process.undo.callback(setattr, module, name, getattr(module, name))
        setattr(module, name, hook)


def guard() -> None:
    """Makes the loggers that already have handlers write JSON lines; does nothing when JSON lines are off."""
    stderr = _process.stderr
    if stderr is None:
        return
    for logger in (logging.getLogger(), logging.getLogger("dlt")):
        for handler in logger.handlers:
            handler.setFormatter(_JsonFormatter())
            if isinstance(handler, logging.StreamHandler) and handler.stream in (stderr, stderr.inner):
                handler.setStream(stderr.inner)  # else a line that is JSON already would be wrapped once more


def emit(message: str, *, event: str = "note", level: str = "info", **facts: object) -> None:
    """Writes one line to stderr. Threads may call it at the same time."""
    inner = _process.stderr.inner if _process.stderr else sys.stderr
    with _lock:  # two threads must not mix their lines
        inner.write(line(message, event=event, level=level, **facts) + "\n")
        inner.flush()


def line(message: str, *, event: str, level: str, **facts: object) -> str:
    """Returns the JSON object of one line, redacted, with the time in UTC."""
    # ASCII only: stderr in another locale would replace other letters by escapes that JSON does not have.
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    content = {name: cleaned(value) for name, value in {"message": message, **facts}.items()}
    return json.dumps({"time": now, "level": level, "event": event, **content})


def _log_warning(message: object, category: type[Warning], *_: object) -> None:
    emit(str(message), event="warning", level="warning", category=category.__name__)


def _debug_exception(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Writes what a library's C code prints itself, as psycopg2 does in the middle of a COPY: it quotes the row."""
    if error is not None:
        logging.getLogger(__name__).debug("%s\n%s", kind.__name__, frames(error))


def _log_exception(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if error is None:
        return emit(kind.__name__, event="error", level="error")
    text = described(error) if is_of_a_database(error) else f"{kind.__name__}: {error}"
    emit(text, event="error", level="error", traceback=frames(error))


class _JsonFormatter(logging.Formatter):
    """Formats a log record as one line, with its traceback inside."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        trace = {"traceback": frames(error)} if error else {}
        text = record.getMessage()
        for spoken_of in errors_of(record):
            text = without_values(spoken_of, text)
        level = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
        return line(text, event="log", level=level, logger=record.name, **trace)


class _JsonStderr(io.TextIOBase):
    """Stands in for stderr: each line that is written becomes a JSON object, an unfinished one when flushed."""

    def __init__(self, inner: TextIO) -> None:
        self.inner, self._rest = inner, ""

    def write(self, text: str) -> int:
        with _lock:
            *lines, self._rest = (self._rest + text).split("\n")
            for text_line in lines:
                self._emit(text_line)
        return len(text)

    def flush(self) -> None:
        with _lock:
            rest, self._rest = self._rest, ""
            self._emit(rest)

    def fileno(self) -> int:
        return self.inner.fileno()

    def writable(self) -> bool:
        return True

    def _emit(self, text: str) -> None:
        """Writes one line of foreign text as an event of its own kind."""
        if text.strip():
            emit(text.rstrip(), event="stderr")


@dataclass
class _Process:
    """What JSON lines have changed in this process."""

    stderr: _JsonStderr | None = None
    """Stands in for stderr while JSON lines are on."""
    undo: ExitStack = field(default_factory=ExitStack)
    """Puts the hooks back."""


_process = _Process()
