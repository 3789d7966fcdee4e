"""What ends a command, grouped by its exit code. A message says what was found and what mends it."""

from __future__ import annotations

COMPLETE, FAILED, USAGE, PARTIAL, LOCKED, INTERRUPTED = 0, 1, 2, 3, 75, 130


class GaplessError(Exception):
    """Ends the command with `code`; its text is for the person at the terminal."""

    code = FAILED


class WrongSettings(GaplessError):
    code = USAGE


class Locked(GaplessError):
    """Another sync holds the lock: nothing was asked, nothing was written."""

    code = LOCKED
