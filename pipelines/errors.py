"""What ends a command, grouped by its exit code. A message says what was found and what mends it."""

from __future__ import annotations

COMPLETE, FAILED, USAGE, PARTIAL, LOCKED, INTERRUPTED = 0, 1, 2, 3, 75, 130


class GaplessError(Exception):
    """Ends the command with `code`; its text is for the person at the terminal."""

    code = FAILED


class WrongSettings(GaplessError):
    code = USAGE


class MissingSettings(WrongSettings):
    """A source that cannot run, because `missing` (environment variables' names) are not set."""

    def __init__(self, source: str, missing: list[str]) -> None:
        self.missing = missing
        super().__init__(
            f"{source}: {', '.join(missing)} not set. Set it in the environment, or in lower case under"
            f" [sources.{source}] in .dlt/secrets.toml."
        )


class Locked(GaplessError):
    """Another sync holds the lock: nothing was asked, nothing was written."""

    code = LOCKED
