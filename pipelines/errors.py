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


def explain(error: BaseException) -> str:
    """The innermost cause that is meant for people; never a value of a record."""
    from gapless.sources._http.errors import VendorError

    cause = root_cause(error)
    if isinstance(cause, VendorError | GaplessError):
        return str(cause)
    return f"{type(cause).__name__}: {str(cause).strip().splitlines()[0][:300] if str(cause).strip() else ''}"


def root_cause(error: BaseException) -> BaseException:
    """The vendor's error or ours among the causes of an error, else the first of them."""
    from gapless.sources._http.errors import VendorError

    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    for cause in chain:
        if isinstance(cause, VendorError | GaplessError):
            return cause
    return chain[-1]


def interrupted(error: BaseException | None) -> bool:
    return error is not None and (isinstance(error, KeyboardInterrupt) or interrupted(error.__cause__))
