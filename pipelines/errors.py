"""Errors that end a command, grouped by exit code. A message says what was found and what to do next.

No import of another room may enter, so that every room can raise them; `database_errors` and `shortage` import
nothing themselves.
"""

from __future__ import annotations

import logging
import traceback

from gapless.pipelines.database_errors import (
    TOO_SHORT,
    described,
    hidden_rows,
    in_words,
    is_of_a_database,
    without_details,
)
from gapless.pipelines.printable import escaped
from gapless.pipelines.shortage import shortage

_log = logging.getLogger(__name__)

COMPLETE, FAILED, USAGE, PARTIAL, LOCKED, INTERRUPTED = 0, 1, 2, 3, 75, 130
INDENT = "\n    "
"""Goes before the further lines of a part of a traceback."""
OUTCOMES = {
    COMPLETE: "complete",
    FAILED: "failed",
    USAGE: "wrong usage",
    PARTIAL: "partial",
    LOCKED: "locked",
    INTERRUPTED: "interrupted",
}
"""What each exit code of ours means."""


class GaplessError(Exception):
    """Ends the command with the exit code `code`; `str()` is a message for a person, of the lines that it was given.

    A line end within a line came from outside, and is printed as `\\n`.
    """

    code = FAILED

    @property
    def lines(self) -> tuple[str, ...]:
        """Returns the lines of the message."""
        return tuple(map(str, self.args))

    def __str__(self) -> str:
        return "\n".join(self.lines)


class WrongSettings(GaplessError):
    """A setting, an option or an argument cannot be used."""

    code = USAGE


class EndedBy(GaplessError):
    """One command, `fill`, ends what the message says; the message goes on with it."""

    def __init__(self, message: str, fill: str) -> None:
        self.fill = fill
        super().__init__(f"{message}: {fill}")


class MissingSettings(WrongSettings):
    """A source cannot run, because the environment variables `missing` are not set; `notes` say why."""

    def __init__(self, source: str, missing: list[str], *notes: str) -> None:
        self.missing = missing
        super().__init__(
            f"{source}: {', '.join(missing)} not set. Set it in the environment, or in lower case under"
            f" [sources.{source}] in .dlt/secrets.toml.",
            *notes,
        )


class LostErasureKey(WrongSettings):
    """People were forgotten, and the key of their tombstones is not at hand: a sync would bring them back."""


class UnknownErasures(WrongSettings):
    """People were forgotten in a database that was restored from an older backup: a sync would bring them back."""


class OtherVendor(WrongSettings):
    """An account's settings name another vendor than its dataset holds the tables of."""


class NewerLayout(WrongSettings):
    """A newer gapless wrote the database, and this one would misread it."""


class WrongNetwork(WrongSettings):
    """A variable of the environment for proxies or certificates cannot be used, whatever the source."""


class Locked(GaplessError):
    """Another sync holds the lock; no request was sent and nothing was written."""

    code = LOCKED


class InUse(Locked):
    """Another program has the database open or a table locked. It may do so for days, so people are to hear of it."""


def explain(error: BaseException) -> str:
    """Returns one line about the root cause, never a value of a record; with --debug it logs the traceback."""
    _log.debug("%s", type(error).__name__, exc_info=error)
    return summarize(error)


def summarize(error: BaseException) -> str:
    """Returns one line about the root cause; never a value of a record."""
    from gapless.sources._http.errors import Refused, VendorError

    cause = root_cause(error)
    if isinstance(cause, VendorError | GaplessError | Refused):
        return str(cause)
    if found := shortage(_chain(error)):
        return found
    if is_of_a_database(cause):
        if said := in_words(cause):
            return said
        said = hidden_rows(cause) or described(cause)
        return f"{said}; {step}" if (step := next_step(cause)) else said
    return f"{type(cause).__name__}: {str(cause).strip().splitlines()[0][:300] if str(cause).strip() else ''}"


def is_foreseen(error: BaseException) -> bool:
    """Returns whether what `summarize` says of the error is in our words, with its next step."""
    return bool(next_step(error) or in_words(root_cause(error)) or hidden_rows(root_cause(error)))


def next_step(error: BaseException) -> str | None:
    """Returns what ends an error that comes of how a server or this machine was set up; None: it is another error."""
    if found := shortage(_chain(error)):
        return found.partition(". ")[2]
    return NEXT_STEPS.get(getattr(root_cause(error), "pgcode", None) or "")


def frames(error: BaseException) -> str:
    """Returns the traceback, in which the text of a database's error has no values.

    Every line of an error's text after its first is indented, and all are escaped: none passes for one of a log.
    """
    parts = (without_values(error, part).rstrip("\n") for part in traceback.format_exception(error))
    # The lines of a frame, and of a group of errors, are indented already.
    indented = (part if part.startswith(" ") else part.replace("\n", INDENT) for part in parts)
    return "".join(f"{escaped(part, lines=True)}\n" for part in indented)


def without_values(error: BaseException, text: str) -> str:
    """Returns a text that quotes the error, without the values that a database's error has in its own."""
    known: dict[str, str] = {}
    # Shortest first: dlt's errors hold the text of what they wrap, which is no value to them.
    for cause in sorted(_chain(error), key=lambda one: len(str(one))):
        if str(cause) and is_of_a_database(cause):
            said = described(cause, _replaced(str(cause), known)).partition(": ")[2]
            first = str(cause).strip().split("\n", 1)[0]  # some of them hold its first line alone
            known |= {str(cause): said} | ({first: said} if len(first) > TOO_SHORT else {})
    return without_details(_replaced(text, known))


def _replaced(text: str, known: dict[str, str]) -> str:
    for said in sorted(known, key=len, reverse=True):
        text = text.replace(said, known[said])
    return text


def root_cause(error: BaseException) -> BaseException:
    """Returns the first VendorError or GaplessError in the chain of causes, else the innermost error that a database
    has plain words for, else the innermost."""
    from gapless.sources._http.errors import VendorError

    chain = _chain(error)
    # The outermost of ours: it was raised for a person, with what lies below it in mind.
    for cause in chain:
        if isinstance(cause, VendorError | GaplessError):
            return cause
    # A statement may fail first, and the connection be lost when the library takes it back: that is what ended us.
    return next((cause for cause in reversed(chain) if in_words(cause)), chain[-1])


def interrupted(error: BaseException | None) -> bool:
    """Returns whether Ctrl-C caused the error: dlt wraps one that comes in a load, DuckDB makes its own of it."""
    chain = _chain(error) if error else []
    return any(isinstance(cause, KeyboardInterrupt) or str(cause) == DUCKDB_STOPPED for cause in chain)


LOCK_NOT_AVAILABLE = "55P03"
"""SQLSTATE of a statement that waited for a lock for as long as `lock_timeout` says."""
NEXT_STEPS = {
    "P0001": "a trigger of this database calls it, so ask its owner what it does not allow",
    "42501": "gapless doctor names the statement that opens it",  # no right, or rows that are hidden
}
"""What to do, by Postgres' SQLSTATE."""
DUCKDB_STOPPED = "Query interrupted"
"""The text of DuckDB's RuntimeError when Ctrl-C ends a query."""


def _chain(error: BaseException) -> list[BaseException]:
    """Returns the error and what it was raised from, or while handling, down to the first."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        # dlt keeps what ended a job of a load beside its own error.
        cause = cause.__cause__ or cause.__context__ or getattr(cause, "client_exception", None)
    return chain
