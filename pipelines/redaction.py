"""No key on a screen or in a log: every configured secret becomes `***` wherever this process writes for people.

The client already keeps keys out of its errors; this is the second net, over everything that is logged or printed.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from gapless.pipelines.errors import WrongSettings
from gapless.sources import SOURCES

SHORTEST = 4
"""A "secret" shorter than this would blank ordinary words."""
FILES = (".duckdb", ".db")
TELLING = re.compile(r"key|secret|password|token|credential|webhook_url|_headers$", re.IGNORECASE)
HEADER = re.compile(r"\b(Basic|Bearer)(?:\s|%20|\+)+[\w.~+/%=-]{20,}")
"""Of a Basic header no setting holds the text that is sent."""

OPEN = ("OTEL_EXPORTER_OTLP_", "GAPLESS_")
"""Variables of these that have a telling name hold a secret though no section stands before them."""
LONG = 16
"""A part of a webhook's path or query that is as long is its token; shorter ones are words such as "services"."""

_known: set[str] = set()


def redact(text: str) -> str:
    """`text` with every secret in it as `***`."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, "***")
    return HEADER.sub(r"\1 ***", text)


def cleaned(value: Any) -> Any:
    """`value` as JSON has it, with every text in it redacted; numbers stay, also where they look like a key."""
    if isinstance(value, Mapping):
        return {str(name): cleaned(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(one) for one in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact(value.isoformat() if isinstance(value, datetime) else str(value))


class Redacting(logging.Formatter):
    """Another formatter's text, a traceback included, redacted at the very end."""

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter("%(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return redact(self._inner.format(record))


def guard_logs() -> None:
    """Warnings and worse to stderr, redacted; HTTP libraries, whose logs quote queries and headers, kept quiet."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler(sys.stderr))
    for logger in (root, logging.getLogger("dlt")):
        for handler in logger.handlers:
            if not isinstance(handler.formatter, Redacting):
                handler.setFormatter(Redacting(handler.formatter))
    for name in ("httpx", "httpcore", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


def register_secrets() -> None:
    """Remember what dlt's configuration holds that must not be shown. Raises WrongSettings if it is not readable."""
    from gapless.pipelines.destinations._dlt.config import TomlProviderReadException

    try:
        _remember()
    except TomlProviderReadException as error:
        where = ", ".join(path for path in error.full_paths if os.path.exists(path))
        raise WrongSettings(f"{where} is no valid TOML: {str(error).splitlines()[-1]}") from None


def _remember() -> None:
    _known.update(
        form for value in _configured() if len(value) >= SHORTEST for form in {value, quote(value, safe="")}
    )


def _configured() -> Iterator[str]:
    from gapless.pipelines.destinations._dlt.config import secret_documents

    keys = {need.upper() for source in SOURCES.values() for need in source.needs if not need.endswith("_url")}
    for name, value in os.environ.items():
        if name.rsplit("__", 1)[-1] in keys or (("__" in name or name.startswith(OPEN)) and TELLING.search(name)):
            yield from _secret_of(name, value)
    for document in secret_documents():
        yield from _leaves(document)


def _leaves(node: Any, name: str = "") -> Iterator[str]:
    """Texts under a telling name, and all below it."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, key if TELLING.search(key) or not name else name)
    elif isinstance(node, str) and TELLING.search(name):
        yield from _secret_of(name, node)


def _secret_of(name: str, value: str) -> Iterator[str]:
    """Of a database's URL the password; of credentials that are a file's path nothing; else the whole value."""
    value = value.strip()
    if name.lower().endswith("webhook_url"):
        yield from _parts(value)
    elif name.lower().endswith("_headers"):
        yield from (pair.partition("=")[2].strip() for pair in unquote(value).split(","))
    try:
        password = urlsplit(value).password if "://" in value else None
    except ValueError:
        password = None
    if password:
        yield password
    elif "credentials" not in name.lower() or not ("/" in value or value.endswith(FILES)):
        yield value


def _parts(url: str) -> Iterator[str]:
    """Of a webhook's URL the parts that alone would do: libraries tell the path without the host."""
    try:
        found = urlsplit(url)
    except ValueError:
        return
    yield from (part for part in re.split(r"[/&=]", f"{found.path}&{found.query}") if len(part) >= LONG)
