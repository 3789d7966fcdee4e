"""What is told while a command runs, for programs: with `--log-format json` each line on stderr is one JSON object.

stdout stays what it is. Warnings, libraries' logs and tracebacks become lines of the same form; what anybody else
writes to stderr is caught by a net in its place, so that every line parses. A record's content may not enter.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import threading
import traceback
import warnings
from datetime import UTC, datetime
from typing import Any, TextIO

from gapless.pipelines.redaction import cleaned

SETTING, OPTION = "GAPLESS_LOG_FORMAT", "--log-format"

_lock = threading.RLock()
_nets: list[_Net] = []
"""The one in stderr's place, when JSON was asked for."""
_before: list[tuple[Any, str, Any]] = []
"""What the hooks were, to be put back."""


def asked(args: list[str]) -> bool:
    """Whether JSON is wanted, found before the arguments are parsed: wrong usage is told in JSON too."""
    given = [value for name, _, value in (arg.partition("=") for arg in args) if name == OPTION]
    return (given[-1] if given else os.environ.get(SETTING)) == "json"


def on() -> bool:
    return bool(_nets)


def begin(as_json: bool) -> None:
    """From here on lines are JSON, or text again."""
    for target, name, hook in reversed(_before):
        setattr(target, name, hook)
    _before.clear()
    _nets.clear()
    if not as_json:
        return
    net = _Net(sys.stderr)
    _nets.append(net)
    hooks = (
        (sys, "stderr", net),
        (sys, "excepthook", _crashed),
        (sys, "unraisablehook", lambda found: _crashed(found.exc_type, found.exc_value, found.exc_traceback)),
        (threading, "excepthook", lambda found: _crashed(found.exc_type, found.exc_value, found.exc_traceback)),
        (warnings, "showwarning", _warned),
    )
    for target, name, hook in hooks:
        _before.append((target, name, getattr(target, name)))
        setattr(target, name, hook)


def guard() -> None:
    """Loggers that are set up already write JSON lines too, past the net."""
    if not on():
        return
    for logger in (logging.getLogger(), logging.getLogger("dlt")):
        for handler in logger.handlers:
            handler.setFormatter(_Lines())
            if isinstance(handler, logging.StreamHandler) and handler.stream in (_nets[0], _nets[0].inner):
                handler.setStream(_nets[0].inner)


def tell(message: str, *, event: str = "note", level: str = "info", **facts: Any) -> None:
    """One line, whole even when threads tell at once."""
    inner = _nets[0].inner if _nets else sys.stderr
    with _lock:
        inner.write(line(message, event=event, level=level, **facts) + "\n")
        inner.flush()


def line(message: str, *, event: str, level: str, **facts: Any) -> str:
    """In ASCII: an escape that some locale's stderr makes of other letters may be none of JSON's."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": now, "level": level, "event": event, **cleaned({"message": message, **facts})})


def _warned(message: Any, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
    tell(str(message), event="warning", level="warning", category=category.__name__)


def _crashed(kind: type[BaseException], error: BaseException | None, trace: Any) -> None:
    told = "".join(traceback.format_exception(kind, error, trace))
    tell(f"{kind.__name__}: {error}", event="error", level="error", traceback=told)


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        trace = {"traceback": self.formatException(record.exc_info)} if record.exc_info else {}
        level = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
        return line(record.getMessage(), event="log", level=level, logger=record.name, **trace)


class _Net(io.TextIOBase):
    """In stderr's place: each line that others write becomes an object, what is left over does when flushed."""

    def __init__(self, inner: TextIO) -> None:
        self.inner, self._rest = inner, ""

    def write(self, text: str) -> int:
        with _lock:
            *lines, self._rest = (self._rest + text).split("\n")
            for found in lines:
                self._tell(found)
        return len(text)

    def flush(self) -> None:
        with _lock:
            rest, self._rest = self._rest, ""
            self._tell(rest)

    def fileno(self) -> int:
        return self.inner.fileno()

    def writable(self) -> bool:
        return True

    def _tell(self, text: str) -> None:
        if text.strip():
            tell(text.rstrip(), event="stderr")
