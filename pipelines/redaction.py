"""Prepares text for people: replaces every configured secret by `***`, and escapes what a terminal would obey.

The HTTP client already keeps keys out of its errors; this is the second barrier. It knows the secrets that
secret_settings.py finds, in the forms of secret_forms.py; it prints nothing itself.
"""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeAlias

from gapless.pipelines import secret_settings
from gapless.pipelines.database_errors import without_details
from gapless.pipelines.errors import WrongSettings, frames, without_values
from gapless.pipelines.printable import escaped
from gapless.pipelines.secret_forms import Finder, finder

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"


_known: set[str] = set()
"""The secrets of this process. Global, as logs and tracebacks of any library must be redacted, too."""


@lru_cache(maxsize=4)
def _finder(secrets: frozenset[str]) -> Finder:
    return finder(secrets)


def redact(text: str) -> str:
    """Returns `text` with each secret in it replaced by `***`, without the rows that a database's error quotes."""
    return _finder(frozenset(_known)).blanked(without_details(text))


def printable(text: str, *, lines: bool = False) -> str:
    """Returns `text` as it may be printed or logged: redacted, and escaped; with `lines` its line ends stay."""
    return escaped(redact(text), lines=lines)


def cleaned(value: object) -> Json:
    """Returns `value` as a JSON value with each text redacted; numbers stay, even where they look like a key."""
    if isinstance(value, Mapping):
        return {str(name): cleaned(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(one) for one in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact(value.isoformat() if isinstance(value, datetime) else str(value))


class _Line(logging.Formatter):
    """Formats a log record as the other lines of stderr: with the time in UTC unless that is a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line; of a library's record with its logger's name."""
        own = record.name.partition(".")[0] == "gapless"
        text = f"{record.levelname} {'' if own else f'{record.name}: '}{record.getMessage()}"
        if sys.stderr.isatty():
            return text
        return f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%SZ} {text}"


class Redacting(logging.Formatter):
    """Makes one printable line of a record with another formatter, and further lines of its traceback alone."""

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or _Line()

    def format(self, record: logging.LogRecord) -> str:
        """Returns the redacted text of a log record, and of no error of a database what it quotes."""
        text = record.getMessage()
        for error in errors_of(record):
            text = without_values(error, text)
        # Before the other formatter, whose colours and line ends are its own.
        line = copy.copy(record)
        line.msg, line.args, line.exc_info, line.exc_text, line.stack_info = printable(text), None, None, None, None
        raised = record.exc_info[1] if record.exc_info else None
        parts = (self._inner.format(line), frames(raised) if raised else "", record.stack_info or "")
        return redact("\n".join(part.rstrip("\n") for part in parts if part))


def errors_of(record: logging.LogRecord) -> list[BaseException]:
    """Returns the errors that a log record speaks of."""
    given = record.args if isinstance(record.args, tuple) else ()
    raised = record.exc_info[1] if record.exc_info else None
    return [error for error in (raised, *given) if isinstance(error, BaseException)]


def guard_logs() -> None:
    """Sends warnings and errors of all loggers to stderr, redacted. Can be called again."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler(sys.stderr))
    # dlt's logger has a handler of its own, which the root's does not replace.
    for logger in (root, logging.getLogger("dlt")):
        for handler in logger.handlers:
            if not isinstance(handler.formatter, Redacting):
                handler.setFormatter(Redacting(handler.formatter))
    # Below warnings they log queries and headers; the first two are ours, the others come with dlt and Airflow.
    for name in ("httpx2", "httpcore2", "httpx", "httpcore", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


def add(secret: str) -> None:
    """Makes a text a secret of this process, as one that was typed and is in no file yet."""
    _known.add(secret)


def register_secrets(again: bool = False) -> None:
    """Collects the secrets from dlt's configuration, whose files are read `again` if the process knows them already.

    A secret that is known stays one: after a key was changed, the old one may turn up in a log as well. Raises
    WrongSettings for a TOML file that cannot be read, or that somebody else can write.
    """
    from gapless.pipelines.destinations._dlt.config import TomlProviderReadException, read_again, refuse_foreign

    try:
        if again:
            read_again()
        refuse_foreign()
        _known.update(secret_settings.secrets())
    except TomlProviderReadException as error:
        raise WrongSettings(f"{str(error).splitlines()[-1]}.") from None
