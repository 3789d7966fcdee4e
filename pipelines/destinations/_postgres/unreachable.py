"""Says why there is no connection: a setting that nothing could connect with, or a server that did not let us in.

libpq gives no codes for it. What it says before it turns to a server comes without `connection to server`, and a
server says of its own settings `FATAL:` and the name of one. Neither holds a password.
"""

from __future__ import annotations

import os
import re

from gapless.pipelines.destinations._postgres.address import ENCODE, PAGE
from gapless.pipelines.destinations._postgres.session import OURS
from gapless.pipelines.errors import GaplessError, WrongSettings

INVALID = re.compile(
    r'invalid (?:(?P<port>port) number: |"?(?P<name>\w+)"? value: |integer value )(?P<value>"[^"]*")'
    r'(?: for connection option "(?P<number>\w+)")?'
)
"""What libpq says of a parameter before it asks any server; a server says of a value of its own `FATAL:`."""
TRIED = re.compile(
    "connection to server|could not (?:translate host name|connect|create socket|send|receive)|server closed"
    "|terminating connection|(?:SSL|GSSAPI) |no connection|connection |lost synchronization|out of memory|timeout"
)
"""How libpq begins when it has tried to reach a server, or has lost it."""
OF_A_FILE = re.compile(r"failed: (?=.*(?:certificate|private key|revocation list|CRL) (?:revocation list )?file)(.*)")
"""What libpq says of a file of ours after it has reached the server."""
NEVER_TAKEN = re.compile(
    r'FATAL:\s+((?:(?:-c |--)(?P<bare>[\w.-]*) requires a value|invalid value for parameter "(?P<wrong>[\w.]+)"'
    r'|\S+ (?:\w+ )?is outside the valid range for parameter "(?P<outside>[\w.]+)"|invalid command-line argument'
    r'|unrecognized configuration parameter "(?P<unknown>[\w.]+)"|parameter "(?P<fixed>[\w.]+)" cannot be changed'
    r'|permission denied to set parameter "(?P<closed>[\w.]+)").*)'
)
"""What a server says of a setting in the session's `options`."""
POOLER = re.compile(r"unsupported startup parameter")
"""What PgBouncer says of settings that it does not hand on: https://www.pgbouncer.org/config.html"""
UNKNOWN_HERE = re.compile(r'FATAL:\s+(?P<kind>database|role) "(?P<value>.*?)" does not exist')
"""What a server says of a name that leads nowhere on it."""
HOSTS_SHOWN = 3
"""Of several hosts libpq says of each why it could not connect."""


def unreachable(error: Exception, name: str) -> GaplessError:
    """Returns what libpq says when it cannot connect, with the setting that is wrong or the step that helps."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    hosts = [line for line in lines if TRIED.match(line)]
    if found := _of_a_setting(error, name, lines, is_tried=bool(hosts)):
        return found
    said = "; ".join(line[:300] for line in (hosts or lines)[:HOSTS_SHOWN]).rstrip(".")
    refused = f" If the password is right: {ENCODE}." if "password authentication failed" in said else ""
    return GaplessError(
        f"cannot reach {name}: {said}. Nothing was asked.{refused}"
        f" gapless doctor --destination {name} tries it again."
    )


def _of_a_setting(error: Exception, name: str, lines: list[str], *, is_tried: bool) -> GaplessError | None:
    """Returns the error for a setting that nothing could connect with; None where something else is wrong."""
    setting, said = f"DESTINATION__{name.upper()}__CREDENTIALS", str(error)
    if found := INVALID.search(said):
        return _wrong_parameter(name, str(next(filter(None, found.group("port", "name", "number")))), found)
    if not is_tried and type(error).__name__ == "OperationalError":
        return _wrong(name, f"{setting} or one of libpq's variables cannot be used: {_first(lines)}")
    if file := OF_A_FILE.search(said):
        return _wrong(name, f"a file that {setting} or one of libpq's variables names: {file[1].rstrip('.')}")
    if POOLER.search(said):
        return pooled(name)
    if option := NEVER_TAKEN.search(said):
        return _refused_option(name, setting, option)
    unknown = UNKNOWN_HERE.search(said)
    return _unknown(name, setting, unknown["kind"], unknown["value"]) if unknown else None


def _first(lines: list[str]) -> str:
    return next(iter(lines), "")[:300].rstrip(".")


def _wrong(name: str, what: str) -> WrongSettings:
    return WrongSettings(f"destination {name!r}: {what}. Nothing was asked; what it takes is on {PAGE}")


def _wrong_parameter(name: str, parameter: str, found: re.Match[str]) -> WrongSettings:
    """Returns the error for a parameter that libpq refuses whatever the server says, with where it was set."""
    value = found["value"] or ""
    # libpq's own variables have no blanks in their names, but for one of them.
    variables = (f"PG{parameter.upper()}", f"PG{parameter.replace('_', '').upper()}")
    set_here = next((one for one in variables if os.environ.get(one) == value.strip('"')), None)
    where = set_here or f"DESTINATION__{name.upper()}__CREDENTIALS"
    return WrongSettings(
        f"destination {name!r}: libpq does not take the {parameter} {value} of {where}. Nothing was asked; its values"
        f" are on {PAGE}"
    )


def _unknown(name: str, setting: str, kind: str, value: str) -> WrongSettings:
    """Returns the error for a database or a role that the server does not have, with where it was named."""
    variable, parameter = ("PGDATABASE", "dbname") if kind == "database" else ("PGUSER", "user")
    where = variable if os.environ.get(variable) == value else f"the {parameter} of {setting}"
    make = f'create database "{value}"' if kind == "database" else f'create role "{value}" login'
    return WrongSettings(
        f"destination {name!r}: the server has no {kind} {value}. Nothing was asked. Correct {where}, or have the"
        f" server's owner make it: {make};"
    )


def _refused_option(name: str, setting: str, found: re.Match[str]) -> GaplessError:
    """Returns the error for a setting of the session: somebody's own in `options`, or one that every sync needs."""
    needed = next(filter(None, found.group("unknown", "fixed", "closed")), None)
    if needed in OURS:
        return GaplessError(
            f"the server of {name} does not take the setting {needed}, which a sync needs: {found[1].rstrip('.')}."
            " Nothing was asked. Postgres 12 or later takes it, and no pooler or proxy that speaks for one."
        )
    where = "PGOPTIONS" if os.environ.get("PGOPTIONS") else f"the parameter options of {setting}"
    return WrongSettings(
        f"destination {name!r}: the server refuses {where}: {found[1].rstrip('.')}. Nothing was asked; it is written"
        " as options=-cwork_mem=64MB, in a URL as options=-cwork_mem%3D64MB."
    )


def pooled(name: str) -> GaplessError:
    """Returns the error for a pooler that hands on no settings: its sessions would hold no lock of ours either."""
    return GaplessError(
        f"the server of {name} is a connection pooler (such as PgBouncer), which does not hand on the settings of a"
        " session, nor holds a sync's locks. Nothing was asked. Name the Postgres behind it: its own host and port."
    )
