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
NEWER = {
    "require_auth": 16, "sslcertmode": 16, "load_balance_hosts": 16, "sslnegotiation": 17, "gssdelegation": 17,
    "sslkeylogfile": 18, "min_protocol_version": 18, "max_protocol_version": 18, "scram_client_key": 18,
    "scram_server_key": 18, "oauth_issuer": 18, "oauth_client_id": 18, "oauth_client_secret": 18, "oauth_scope": 18,
    "servicefile": 19,
}  # fmt: skip
"""Parameters that came with a version of libpq, as its release notes have them."""
PAGE = "https://www.postgresql.org/docs/current/libpq-connect.html"
FILES = {"sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "sslcrl": "PGSSLCRL"}
"""Parameters that name a file for TLS, with libpq's variables for them: it passes over most in silence, if there is
no such file, and checks no server then."""
CHECKED = ("require", "verify-ca", "verify-full")
"""The sslmode of who counts on TLS: else a variable may be there for another program."""
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
    """Returns the parameter or variable that names a file that is not there but needed, with its path; None: none.

    `given` are libpq's parameters by name.
    """
    needed = {name: given[name] for name in FILES if name in given} if _may_use_tls(given) else {}
    if needed and "sslkey" in needed and not (given.get("sslcert") or os.environ.get(FILES["sslcert"])):
        del needed["sslkey"]  # libpq looks for the certificate first
    if "passfile" in given and not (given.get("password") or os.environ.get("PGPASSWORD")):
        needed["passfile"] = given["passfile"]
    if _may_use_tls(given) and _mode(given) in CHECKED:
        unsaid = {variable: os.environ.get(variable, "") for name, variable in FILES.items() if name not in given}
        needed |= {variable: path for variable, path in unsaid.items() if path}
    for name, path in needed.items():
        if not NO_FILE.fullmatch(path) and not Path(path).exists():
            hint = f"; nothing replaces the ~ in it: {Path(path).expanduser()}" if path.startswith("~/") else ""
            return f"{name} is {path}, and there is no such file{hint}"
    return None


def _mode(given: Mapping[str, str]) -> str:
    return given.get("sslmode") or os.environ.get("PGSSLMODE", "prefer")


def _may_use_tls(given: Mapping[str, str]) -> bool:
    """Returns whether a connection may have TLS: never through a socket in a folder, where libpq has none."""
    hosts = next(
        filter(
            None,
            (given.get("hostaddr"), given.get("host"), os.environ.get("PGHOSTADDR"), os.environ.get("PGHOST")),
        ),
        "",
    )
    in_service = not hosts and bool(given.get("service") or os.environ.get("PGSERVICE"))
    is_remote = in_service or any(host and not host.startswith(("/", "@")) for host in hosts.split(","))
    return is_remote and _mode(given) != "disable"


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
    if found[2] in NEWER:
        from psycopg2 import __libpq_version__ as version

        return (
            f"libpq has {found[2]} since its version {NEWER[found[2]]}, and psycopg2 here brings {version // 10000}:"
            " take it out, or install a newer psycopg2"
        )
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
