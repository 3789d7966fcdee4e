"""Collects the secrets of this process: what dlt's files and the environment hold under names of secrets.

It prints nothing, and judges by names: a value that looks like a key and stands under another name is none.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from gapless.pipelines.destinations._postgres.address import passwords
from gapless.pipelines.errors import OUTCOMES
from gapless.sources import SOURCES

SHORTEST = 4
"""Characters; a shorter "secret" would blank ordinary words."""
SHORTEST_FOREIGN = 8
"""The same for variables of other programs, of which only the name says that they are secrets."""
OWN_WORDS = frozenset({
    *SOURCES, *OUTCOMES.values(), "gapless", "gaps", "sync", "verify", "doctor", "password", "postgres", "duckdb",
    "ducklake", "sqlite", "localhost", "true", "false", "null", "none", "user", "test",
})  # fmt: skip
"""Words that our own messages consist of: hidden, they would be told by the gap, and nobody could read a message."""
DATABASE_FILES = (".duckdb", ".db")
LIBPQ_WORDS = re.compile(r"(host|hostaddr|port|dbname|user|service)\s*=")
"""How an address of libpq's in words begins, of which the password alone is a secret."""
SECRET_NAME = re.compile(r"key|secret|password|token|credential|webhook_url|_headers$", re.IGNORECASE)
FOREIGN_NAME = re.compile(r"(?:.*_)?(?:KEY|SECRET|PASSWORD|PASSWD|PASSPHRASE|TOKEN)", re.IGNORECASE)
"""Variables of other programs that name a secret, as AWS_SECRET_ACCESS_KEY; a library may quote them."""
OPEN = re.compile(
    "host|port|user(name)?|database|drivername|catalog|warehouse|role|region|schema|account|project_id|client_email"
    "|server_hostname|http_path|sslkey|endpoint_url|bucket_url|location|ducklake_name|connect_timeout",
    re.IGNORECASE,
)
"""Parts of credentials that are no secrets but for a password within an address: people's words, as `gapless`."""
PREFIXES = ("OTEL_EXPORTER_OTLP_", "GAPLESS_")
"""Variables that can be secrets without a configuration section (`__`) in their name."""
TOKEN_LENGTH = 16
"""Characters; path or query parts of a webhook's URL of at least this length are treated as tokens."""


def secrets() -> set[str]:
    """Returns the secrets. Raises TomlProviderReadException, dlt's, for a file that cannot be read."""
    found = {value.strip() for value in _configured()}
    return {value for value in found if len(value) >= SHORTEST and value.lower() not in OWN_WORDS}


def _configured() -> Iterator[str]:
    """Yields the secrets in the environment and in dlt's files; some are too short to be one."""
    from gapless.pipelines.destinations._dlt.config import documents

    # Some sources need a base URL, which is not secret and helps in messages. Most sources tell their keys without
    # being imported.
    needs = (need for source in SOURCES.values() for need in source.demo or source.needs)
    keys = {need.upper() for need in needs if not need.endswith("_url")}
    yield os.environ.get("PGPASSWORD", "")
    for name, value in os.environ.items():
        last = name.rsplit("__", 1)[-1]
        # The address of a proxy may hold its password.
        if OPEN.fullmatch(last) or name.lower().endswith(("_proxy", "__duckdb__credentials")):
            yield from _in_address(value)
        elif last in keys or (("__" in name or name.startswith(PREFIXES)) and SECRET_NAME.search(name)):
            yield from _secret_of(name, value)
        # It may be the path of a key's file; a name of more than 255 characters makes exists() raise.
        elif FOREIGN_NAME.fullmatch(name) and len(value) >= SHORTEST_FOREIGN and not Path(value[:255]).exists():
            yield value
    for document in documents():  # also of the file for what is not secret: people write keys there, too
        yield from _leaves(document)


def _leaves(node: object, name: str = "", key: str = "") -> Iterator[str]:
    """Yields the secrets under a key with a secret's name, and everything below it; `key` is the node's own."""
    if isinstance(node, Mapping):
        for below, value in node.items():
            # DuckDB's credentials are the path of a file.
            if isinstance(value, str) and (OPEN.fullmatch(below) or (key, below) == ("duckdb", "credentials")):
                yield from _in_address(value)
            else:
                yield from _leaves(value, below if SECRET_NAME.search(below) or not name else name, below)
    elif isinstance(node, list):
        for value in node:
            yield from _leaves(value, name, key)
    elif isinstance(node, str) and SECRET_NAME.search(name):
        yield from _secret_of(name if name == key else f"{name}__{key}", node)


def _secret_of(name: str, value: str) -> Iterator[str]:
    """Yields the password in a database's address, nothing for the path of a database file, else the whole value."""
    value, last = value.strip(), name.lower().rsplit("__", 1)[-1]
    if last.endswith("webhook_url"):
        yield from _tokens(value)
    elif last.endswith("_headers"):
        # OpenTelemetry's headers: name=value, percent-encoded, with commas between.
        yield from (pair.partition("=")[2].strip() for pair in unquote(value).split(","))
    if parts := _json_object(value):
        yield from _leaves(parts, name)
    elif found := [*_in_address(value)]:
        yield from found
    # Only credentials as a whole may be a file's path; a part of them may have a slash, as most keys of AWS do.
    elif last != "credentials" or not ("/" in value or value.endswith(DATABASE_FILES) or LIBPQ_WORDS.match(value)):
        yield value


def _json_object(value: str) -> Mapping[str, object]:
    """Returns credentials that are written as a JSON object, as Google's are; else nothing."""
    try:
        found: object = json.loads(value) if value.startswith("{") else {}
    except ValueError:
        return {}
    return found if isinstance(found, Mapping) else {}


def _in_address(value: str) -> Iterator[str]:
    """Yields the passwords in an address, and the values of its parameters that have a secret's name."""
    yield from passwords(value)
    # MotherDuck's addresses have no //, and their token is a parameter.
    query = value.partition("?")[2] if "://" in value or value.startswith("md:") else ""
    yield from (text for name, text in parse_qsl(query) if SECRET_NAME.search(name) and not OPEN.fullmatch(name))


def _tokens(url: str) -> Iterator[str]:
    """Yields the tokens in a webhook's URL, because libraries log a path without its host."""
    try:
        found = urlsplit(url)
    except ValueError:
        return
    yield from (part for part in re.split(r"[/&=]", f"{found.path}&{found.query}") if len(part) >= TOKEN_LENGTH)
