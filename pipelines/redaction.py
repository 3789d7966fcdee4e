"""Replaces every configured secret by `***` in whatever this process prints or logs.

The HTTP client already keeps keys out of its errors; this is the second barrier. It knows the secrets that dlt's
configuration and the environment hold; it prints nothing itself.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TypeAlias
from urllib.parse import quote, unquote, urlsplit

from gapless.pipelines.database_errors import without_details
from gapless.pipelines.destinations._postgres.address import passwords
from gapless.pipelines.errors import WrongSettings, without_values
from gapless.sources import SOURCES

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

SHORTEST = 4
"""Characters; a shorter "secret" would blank ordinary words."""
DATABASE_FILES = (".duckdb", ".db")
SECRET_NAME = re.compile(r"key|secret|password|token|credential|webhook_url|_headers$", re.IGNORECASE)
OPEN = re.compile(
    "host|port|user(name)?|database|drivername|catalog|warehouse|role|region|schema|account|project_id|client_email"
    "|server_hostname|http_path|endpoint_url|bucket_url|location|ducklake_name|connect_timeout",
    re.IGNORECASE,
)
"""Parts of credentials that are no secrets but for a password within an address: people's words, as `gapless`."""
HEADER = re.compile(r"\b(Basic|Bearer)(?:\s|%20|\+)+[\w.~+/%=-]{20,}")
"""The client makes the text of a Basic header from two settings, so no setting holds it."""

PREFIXES = ("OTEL_EXPORTER_OTLP_", "GAPLESS_")
"""Variables that can be secrets without a configuration section (`__`) in their name."""
TOKEN_LENGTH = 16
"""Characters; path or query parts of a webhook's URL of at least this length are treated as tokens."""

_known: set[str] = set()
"""The secrets of this process. Global, as logs and tracebacks of any library must be redacted, too."""


def redact(text: str) -> str:
    """Returns `text` with each secret in it replaced by `***`, without the rows that a database's error quotes."""
    text = without_details(text)
    # Longest first: a secret may contain a shorter one, whose stars would leave the rest readable.
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, "***")
    return HEADER.sub(r"\1 ***", text)


def cleaned(value: object) -> Json:
    """Returns `value` as a JSON value with each text redacted; numbers stay, even where they look like a key."""
    if isinstance(value, Mapping):
        return {str(name): cleaned(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(one) for one in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact(value.isoformat() if isinstance(value, datetime) else str(value))


class Redacting(logging.Formatter):
    """Redacts the text of another formatter, with its traceback."""

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter("%(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Returns the redacted text of a log record, and of no error of a database what it quotes."""
        text = self._inner.format(record)
        for error in errors_of(record):
            text = without_values(error, text)
        return redact(text)


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


def register_secrets(again: bool = False) -> None:
    """Collects the secrets from dlt's configuration, whose files are read `again` if the process knows them already.

    Raises WrongSettings for a TOML file that cannot be read.
    """
    from gapless.pipelines.destinations._dlt.config import TomlProviderReadException, read_again

    try:
        if again:
            read_again()
        secrets = [value for value in _configured() if len(value) >= SHORTEST]
    except TomlProviderReadException as error:
        raise WrongSettings(f"{str(error).splitlines()[-1]}.") from None
    # Also in the form that they have in a URL, which an HTTP library may quote.
    _known.update(secrets, (quote(value, safe="") for value in secrets))


def _configured() -> Iterator[str]:
    """Yields the secrets in the environment and in dlt's files; some are too short to be one."""
    from gapless.pipelines.destinations._dlt.config import secret_documents

    # Some sources need a base URL, which is not secret and helps in messages. Most sources tell their keys without
    # being imported.
    needs = (need for source in SOURCES.values() for need in source.demo or source.needs)
    keys = {need.upper() for need in needs if not need.endswith("_url")}
    yield os.environ.get("PGPASSWORD", "")
    for name, value in os.environ.items():
        last = name.rsplit("__", 1)[-1]
        if OPEN.fullmatch(last) or name.lower().endswith("_proxy"):
            yield from passwords(value)
        elif last in keys or (("__" in name or name.startswith(PREFIXES)) and SECRET_NAME.search(name)):
            yield from _secret_of(name, value)
    for document in secret_documents():
        yield from _leaves(document)


def _leaves(node: object, name: str = "") -> Iterator[str]:
    """Yields the secrets under a key with a secret's name, and everything below it."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if isinstance(value, str) and OPEN.fullmatch(key):
                yield from passwords(value)
            else:
                yield from _leaves(value, key if SECRET_NAME.search(key) or not name else name)
    elif isinstance(node, str) and SECRET_NAME.search(name):
        yield from _secret_of(name, node)


def _secret_of(name: str, value: str) -> Iterator[str]:
    """Yields the password in a database's address, nothing for the path of a database file, else the whole value."""
    value = value.strip()
    if name.lower().endswith("webhook_url"):
        yield from _tokens(value)
    elif name.lower().endswith("_headers"):
        yield from (pair.partition("=")[2].strip() for pair in unquote(value).split(","))
    if found := [*passwords(value)]:
        yield from found
    elif "credentials" not in name.lower() or not ("/" in value or value.endswith(DATABASE_FILES)):
        yield value


def _tokens(url: str) -> Iterator[str]:
    """Yields the tokens in a webhook's URL, because libraries log a path without its host."""
    try:
        found = urlsplit(url)
    except ValueError:
        return
    yield from (part for part in re.split(r"[/&=]", f"{found.path}&{found.query}") if len(part) >= TOKEN_LENGTH)
