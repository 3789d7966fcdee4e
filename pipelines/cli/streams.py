"""Makes the standard streams of a process such that what is said never stops what is done.

A stream may be closed, a pipe without a reader, a file on a full disk, or of an encoding that lacks a character. What
cannot be written is dropped, and a character that is lacking is escaped: a sync must end with its own exit code,
whatever happens to its words. What libraries write is escaped as well. Nothing else of a command may enter.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import re
import signal
import sys
from contextlib import suppress
from threading import Timer, main_thread
from time import monotonic
from types import FrameType
from typing import Any, TextIO

from gapless.pipelines.printable import escaped

ESCAPED = "gapless.escaped"
"""How a stream writes what its encoding does not have: in ASCII, as in JSON, which it may be a part of."""

AT_ONCE = 5.0
"""Seconds within which a second signal is part of the first."""

LAYOUT = re.compile(r"([\n\t]|\x1b\[[0-9;?]*[A-Za-z]|\r)")
"""What rich writes on a terminal beside text, and line ends and tabs, which completions need: colours, cursors."""


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Returns the characters that could not be encoded as `\\u2026`, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def make_safe() -> None:
    """Opens the standard streams that are closed, and makes the other two drop what they cannot write.

    Call it before anything opens a file: a file that gets the number of a closed stderr would receive, in its
    midst, what any library writes there.
    """
    codecs.register_error(ESCAPED, _escape)
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
    if sys.stdin is None:  # of a closed descriptor Python makes no stream, and who asks a question reads from it
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it lives as long as the process
    sys.stdout, sys.stderr = _safe(sys.stdout, 1), _safe(sys.stderr, 2)


def undelivered() -> str | None:
    """Returns why stdout did not take all that was written to it; None when it did, or its reader had enough.

    A reader that goes, such as `head`, did so on purpose, and a closed stdout is as /dev/null.
    """
    sys.stdout.flush()
    lost = getattr(sys.stdout, "lost", None)
    return None if lost is None or isinstance(lost, BrokenPipeError) else str(lost.strerror or lost)


def end_on_sigterm() -> None:
    """Makes SIGTERM do what Ctrl-C does, also for the first process of a container, which else ignores it.

    SIGHUP as well, which comes when a terminal is closed, unless `nohup` has it ignored.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    sys.unraisablehook = _interrupt_again


_stopped: list[float] = []
"""When the last signal came that ends the process."""


def _stop(number: int, _: FrameType | None) -> None:
    """Raises KeyboardInterrupt; `timeout` sends two signals at once, and the row in `runs` is still to be written."""
    now = monotonic()
    if _stopped and now - _stopped[-1] < AT_ONCE:
        return
    _stopped[:] = [now]
    raise KeyboardInterrupt


def _interrupt_again(ignored: sys.UnraisableHookArgs) -> None:
    """Raises a KeyboardInterrupt again that came where Python ignores it, as in a `__del__`: soon after that."""
    if not issubclass(ignored.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(ignored)
        return
    # Shells start what runs in the background with SIGINT ignored.
    number = signal.SIGTERM if signal.getsignal(signal.SIGTERM) is _stop else signal.SIGINT
    while True:
        try:
            _stopped.clear()
            again = Timer(0.05, signal.pthread_kill, (main_thread().ident, number))
            again.daemon = True
            again.start()
            return
        except KeyboardInterrupt:  # it has come again already: on a busy machine this takes longer than that
            continue


def _safe(stream: TextIO | None, number: int) -> TextIO:
    """Returns the stream, or one to nowhere, as one that raises nothing when it is written to."""
    if isinstance(stream, io.TextIOWrapper):
        with suppress(OSError, ValueError):  # it flushes first, which may fail
            stream.reconfigure(errors=ESCAPED)
    if stream is None:  # Python makes none for a descriptor that was closed when it started
        stream = open(number, "w", encoding="utf-8", errors=ESCAPED, closefd=False)  # noqa: SIM115 - it lives as long as the process
    return _Safe(stream)  # type: ignore[return-value]  # it is one in all but its class


class _Safe(io.TextIOBase):
    """A text stream that passes everything on to another one, and drops it when that fails."""

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner
        self.lost: OSError | None = None
        """Why something was dropped, the first time."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a property of the streams of Python, too
        """Returns the inner stream's encoding."""
        return self._inner.encoding

    def write(self, text: str) -> int:
        """Writes `text`; returns its length, whether it was written or not."""
        try:
            self._inner.write(self._shown(text))
        except (OSError, ValueError) as error:  # ValueError: it was closed meanwhile
            self._drop(error)
        return len(text)

    def _shown(self, text: str) -> str:
        """Returns a text without what a terminal would obey, but for the layout that rich gives it.

        All that we print is escaped already, where line ends and colours of others can be told from our own.
        """
        if text.isprintable():
            return text
        return "".join(part if at % 2 else escaped(part) for at, part in enumerate(LAYOUT.split(text)))

    def flush(self) -> None:
        """Flushes the inner stream, if that is possible."""
        try:
            self._inner.flush()
        except (OSError, ValueError) as error:
            self._drop(error)

    def _drop(self, error: Exception) -> None:
        """Leads the descriptor to nowhere: what the buffer holds would fail again when the interpreter ends."""
        if isinstance(error, OSError):
            self.lost = self.lost or error
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._inner.fileno())
            os.close(nowhere)
        except (OSError, ValueError):
            return

    def isatty(self) -> bool:
        """Returns whether it is a terminal."""
        return not self._inner.closed and self._inner.isatty()

    def fileno(self) -> int:
        """Returns the descriptor's number."""
        return self._inner.fileno()

    def writable(self) -> bool:
        """Returns True."""
        return True
