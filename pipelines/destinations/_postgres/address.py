"""Reads the address of a database as libpq does: a URL, or words like `host=/run/postgresql dbname=logs`.

A message about an address holds no piece of it: if the password has a character that ends it too early, what stands
in the place of host, port or database is the rest of the password.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import quote, unquote, unquote_to_bytes

URL = re.compile(r"(?:postgres|postgresql)(?:\+\w+)?://(.*)", re.DOTALL)
HOSTS = re.compile(r"(?:\[[\w.:%]*\]|[^@:/?#\[\]]*)(?::\d*)?")
"""One of the hosts of a URL, with its port."""
WORD = re.compile(r"\b(?:ssl)?password\s*=\s*(?:'((?:\\.|[^'\\])*)'|([^\s&]+))")
ENCODE = (
    "Percent-encode the password: @ is %40, : is %3A, / is %2F, # is %23, ? is %3F, % is %25"
    " (python3 -c 'import urllib.parse; print(urllib.parse.quote(input(), \"\"))' does it)"
)
UNCLEAR = f"where the password ends in its URL cannot be told. {ENCODE}"
PARAMETERS = (
    "host", "port", "dbname", "user", "password", "passfile", "service", "options", "application_name", "sslmode",
    "sslrootcert", "sslcert", "sslkey", "sslcrl", "connect_timeout", "client_encoding", "target_session_attrs",
    "channel_binding", "gssencmode", "require_auth", "keepalives", "keepalives_idle", "tcp_user_timeout",
)  # fmt: skip
"""What people write of https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS"""
PAGE = "https://www.postgresql.org/docs/current/libpq-connect.html"
FILES = {
    "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "sslcrl": "PGSSLCRL",
    "passfile": "",
}  # fmt: skip
"""Parameters that name a file that must be there, with libpq's variables for them: it passes over some in silence."""
NO_FILE = re.compile("system|(?:pkcs11|[a-z]+):.+")
"""What is no path there: the system's own certificates, and a key in a device."""
FORMS = "postgresql://user:password@host:5432/database, or words: host=… dbname=… user=…"


class AddressError(ValueError):
    """An address cannot be read. The text says why, without a piece of the address."""


def parameters(text: str) -> dict[str, str]:
    """Returns libpq's parameters by name, as `dbname`. Raises AddressError."""
    url = URL.fullmatch(text.strip())
    if url is None:
        return _parsed(text.strip(), f"it is no address of Postgres, which is {FORMS}")
    rest = url[1]
    if is_unclear(text):
        raise AddressError(UNCLEAR)
    authority, tail = _cut(rest)
    user, _, hosts = authority.rpartition("@")
    plain = all(HOSTS.fullmatch(host) for host in hosts.split(",")) and "@" not in tail.partition("?")[0]
    if plain:
        try:
            return _parsed(f"postgresql://{_encoded(user)}{hosts}{tail}", "")
        except AddressError as error:
            if "@" not in tail:
                raise AddressError(str(error) or f"its URL is not as libpq takes it: {FORMS}. {ENCODE}") from None
    # The password has a character that ends the host elsewhere, and there is one @ alone: so it is before that.
    user, at, place = rest.rpartition("@")
    return _parsed(f"postgresql://{_encoded(user)}{place}", UNCLEAR if at else f"its URL is not like {FORMS}")


def missing_file(given: Mapping[str, str]) -> str | None:
    """Returns the parameter or variable that names a file that is not there, with its path; None: none does.

    `given` are libpq's parameters by name.
    """
    for name, variable in FILES.items():
        path = given.get(name) or os.environ.get(variable, "")
        if path and not NO_FILE.fullmatch(path) and not Path(path).exists():
            return f"{name if name in given else variable} is {path}, and there is no such file"
    return None


def is_unclear(text: str) -> bool:
    """Returns whether a URL, of whatever database, may hold its password's end in more than one place."""
    _, found, rest = text.strip().partition("://")
    if not found or rest.count("@") < 2:
        return False
    authority, tail = _cut(rest)
    path, _, query = tail.partition("?")
    # An @ is sound in a parameter's value, if there is a host before it.
    pairs = all("=" in pair for pair in query.split("&"))
    return authority.count("@") != 1 or "@" in path or "#" in path or not pairs


def passwords(text: str) -> Iterator[str]:
    """Yields every text in an address that may be its password, as it is written and decoded."""
    _, found, rest = text.partition("://")
    if found:
        ends = [place.start() for place in re.finditer("@", rest)]
        written = {rest[: ends[0]], rest[: ends[-1]], _cut(rest)[0].rpartition("@")[0]} if ends else set()
        for login in written:
            if password := login.partition(":")[2]:
                yield from {password, unquote(password)}
    for quoted, bare in WORD.findall(text):
        password = quoted or bare
        yield from {password, unquote(password), re.sub(r"\\(.)", r"\1", password)}


def _cut(rest: str) -> tuple[str, str]:
    """Returns what is before a URL's first slash, question mark or hash, and the rest from there on."""
    end = re.search(r"[/?#]", rest)
    return (rest[: end.start()], rest[end.start() :]) if end else (rest, "")


def _encoded(login: str) -> str:
    """Returns user and password percent-encoded, with the @ behind; a % that encodes nothing stands for itself."""
    if not login:
        return ""
    user, colon, password = login.partition(":")
    return f"{quote(unquote_to_bytes(user), '')}{colon}{quote(unquote_to_bytes(password), '')}@"


def _unknown(said: str) -> str | None:
    """Returns what is wrong where libpq does not know a parameter; None where something else is.

    Its name is said if it is nearly one of libpq's own: else it may be a piece of a password.
    """
    found = re.search(r'invalid (URI query parameter:|connection option) "(.*?)"', said)
    if not found:
        return None
    if near := get_close_matches(found[2], PARAMETERS, n=1, cutoff=0.7):
        return f"libpq has no parameter {found[2]}; {near[0]} is one"
    where = "behind its ?" if "URI" in found[1] else "in it"
    return f"a parameter {where} is none of libpq's, which are host, port, dbname, user, sslmode and others: {PAGE}"


def _parsed(text: str, problem: str) -> dict[str, str]:
    import psycopg2
    from psycopg2.extensions import parse_dsn

    try:
        found: Mapping[str, str] = parse_dsn(text)
    # Its text quotes what it did not understand, which may be a piece of the password.
    except (psycopg2.Error, UnicodeError) as error:
        raise AddressError(_unknown(str(error)) or problem) from None
    return dict(found)
