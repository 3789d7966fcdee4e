"""Settings that no connection to Postgres could come of: exit code 2, with the setting, whichever command it is."""

from __future__ import annotations

from pathlib import Path

import psycopg2
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations._postgres.address import missing_file
from gapless.pipelines.destinations._postgres.unreachable import unreachable
from gapless.pipelines.errors import GaplessError, WrongSettings
from tests.support.postgres import SOCKETS, Server

SETTING = "DESTINATION__POSTGRES__CREDENTIALS"
WRONG = {
    "?hots=x": "libpq has no parameter hots; host is one",
    "?zebra=PEAR": "a parameter behind its ? is none of libpq's",
    "?service=nope": 'definition of service "nope" not found',
    "?options=-cfoo": "-c foo requires a value",
    "?options=-cfoo%3D1": 'unrecognized configuration parameter "foo"',
    "?options=-cwork_mem%3Dmuch": 'invalid value for parameter "work_mem"',
    "?options=-cstatement_timeout%3D-5": 'outside the valid range for parameter "statement_timeout"',
    "?options=-cshared_buffers%3D1GB": 'parameter "shared_buffers" cannot be changed',
    "?sslmode=prefferred": 'the sslmode "prefferred"',
    "?sslmode=verify-full&sslrootcert=/nope.pem": "sslrootcert is /nope.pem, and there is no such file",
    "?sslcert=/nope.pem": "sslcert is /nope.pem, and there is no such file",
    "?sslrootcert=/nope": "sslrootcert is /nope, and there is no such file",
    "?sslcert=~/nope": "sslcert is ~/nope, and there is no such file; nothing replaces the ~ in it: /",
    "?sslkeylogfile=x": "libpq has sslkeylogfile since its version 18, and psycopg2 here brings",
    "?dbname=nowhere": "the server has no database nowhere. Nothing was asked. Correct the dbname of",
    "?user=nobody%20here": "the server has no role nobody here. Nothing was asked. Correct the user of",
    "?ssl_min_protocol_version=zz": 'the ssl_min_protocol_version "zz"',
    "?hostaddr=nope": 'could not parse network address "nope"',
    "?host=a,b&port=1,2,3": "could not match 3 port numbers to 2 hosts",
}


@pytest.mark.parametrize("end", WRONG)
def test_a_setting_that_is_wrong(end: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a command that reads and one that writes alike, before a source is asked; no word of a password is said."""
    monkeypatch.setenv(SETTING, server.url("postgres") + end)
    for line in ("status", "views"):
        ended = CliRunner().invoke(app, [*line.split(), "--destination", "postgres"])
        said = " ".join(ended.output.split())
        assert (ended.exit_code, WRONG[end] in said, SETTING in said) == (2, True, True), said
        assert "PEAR" not in said
        assert "OperationalError" not in said


FILES = (
    # parameters, variables: what must be there
    ({"passfile": "/nope"}, {}, "passfile is /nope"),
    ({"passfile": "/nope", "password": "x"}, {}, None),
    ({"passfile": "/nope"}, {"PGPASSWORD": "x"}, None),
    ({"sslrootcert": "/nope"}, {}, "sslrootcert is /nope"),
    ({"sslrootcert": "/nope"}, {"PGSSLMODE": "disable"}, None),
    ({"sslrootcert": "/nope", "sslmode": "disable"}, {}, None),
    ({"sslrootcert": "/nope", "host": "{socket}"}, {}, None),
    ({"sslrootcert": "/nope", "host": "{socket},127.0.0.1", "port": "1,{port}"}, {}, "sslrootcert is /nope"),
    ({"sslrootcert": "system", "sslmode": "prefer"}, {}, None),
    ({"sslkey": "/nope"}, {}, None),
    ({"sslkey": "/nope", "sslcert": "{file}"}, {}, "sslkey is /nope"),
    ({"sslcrl": "/nope"}, {}, "sslcrl is /nope"),
    ({}, {"PGSSLROOTCERT": "/nope", "PGSSLCERT": "/nope", "PGSSLKEY": "/nope"}, None),
    ({}, {"PGSSLROOTCERT": "/nope", "PGSSLMODE": "verify-full"}, "PGSSLROOTCERT is /nope"),
    ({"sslmode": "require"}, {"PGSSLCERT": "/nope"}, "PGSSLCERT is /nope"),
    ({"sslmode": "require", "host": "{socket}"}, {"PGSSLCERT": "/nope"}, None),
)


@pytest.mark.parametrize(("given", "variables", "expected"), FILES)
def test_files_that_are_not_there(
    given: dict[str, str],
    variables: dict[str, str],
    expected: str | None,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Of those that libpq would look for: with all others it connects, as it does here."""
    (tmp_path / "file").touch()
    facts = {"socket": SOCKETS, "port": server.port, "file": tmp_path / "file"}
    place = {"host": "127.0.0.1", "port": str(server.port), "user": "gapless", "dbname": "postgres"}
    given = place | {name: value.format(**facts) for name, value in given.items()}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = missing_file(given)
    assert (found or "").partition(",")[0] == (expected or "")
    if not (found or (given.get("sslmode") == "require" and given["host"] == "127.0.0.1")):
        if given.get("sslrootcert") == "system":  # libpq wants more of it than of a file
            return
        psycopg2.connect(**given).close()


def test_the_path_of_a_key_is_no_secret(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is shown, as the path of a certificate is."""
    (tmp_path / "c.pem").touch()
    monkeypatch.setenv(SETTING, f"{server.url('postgres')}?sslcert={tmp_path}/c.pem&sslkey=~/private.pem")
    ended = CliRunner().invoke(app, ["status", "--destination", "postgres"])
    assert (ended.exit_code, "its sslkey is ~/private.pem, and there" in ended.output) == (2, True), ended.output


@pytest.mark.parametrize(("variable", "kind"), [("PGDATABASE", "database"), ("PGUSER", "role")])
def test_a_variable_that_leads_nowhere(
    variable: str, kind: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, and not the address, which says nothing of it."""
    for name, value in {"PGUSER": "gapless", "PGDATABASE": "postgres", variable: "nowhere"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(SETTING, f"host=127.0.0.1 port={server.port}")
    ended = CliRunner().invoke(app, ["status", "--destination", "postgres"])
    assert (ended.exit_code, f"has no {kind} nowhere. " in ended.output) == (2, True), ended.output
    assert f"Correct {variable}, or" in " ".join(ended.output.split())


def test_a_file_in_a_variable(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """libpq passes over it in silence, and the server is not checked."""
    monkeypatch.setenv(SETTING, server.url("postgres") + "?sslmode=require")
    monkeypatch.setenv("PGSSLROOTCERT", str(tmp_path / "nope.pem"))
    ended = CliRunner().invoke(app, ["status", "--destination", "postgres"])
    assert (ended.exit_code, "PGSSLROOTCERT is " in ended.output) == (2, True), ended.output


BEHIND = 'connection to server at "db" (10.0.0.1), port 5432 failed: '
POOLER = "a connection pooler (such as PgBouncer)"
SAID = {
    # what libpq, or a server that is not at hand here, says: the exit code, and what is said of it
    "FATAL:  unsupported startup parameter: options\n": (1, POOLER),
    "FATAL:  unsupported startup parameter in options: tcp_keepalives_idle\n": (1, POOLER),
    'FATAL:  unrecognized configuration parameter "tcp_user_timeout"\n': (1, "Postgres 12 or later takes it"),
    'root certificate file "/etc/ca.pem" does not exist\nEither provide the file …': (2, "root certificate file"),
    'private key file "/k" has group or world access; file must have …': (2, "private key file"),
    "FATAL:  sorry, too many clients already\n": (1, "cannot reach postgres"),
    'FATAL:  password authentication failed for user "me"\n': (1, "If the password is right"),
}  # fmt: skip


@pytest.mark.parametrize("said", SAID)
def test_what_a_server_says(said: str) -> None:
    """A place that refuses is no setting."""
    code, expected = SAID[said]
    found = unreachable(psycopg2.OperationalError(BEHIND + said), "postgres")
    assert (found.code, expected in str(found)) == (code, True), found


@pytest.mark.parametrize(
    "said",
    [
        "server closed the connection unexpectedly",
        "SSL SYSCALL error: EOF detected",
        "could not translate host name x",
    ],
)
def test_a_server_that_went(said: str) -> None:
    """A connection that is lost is no setting either."""
    found = unreachable(psycopg2.OperationalError(said), "postgres")
    assert isinstance(found, GaplessError)
    assert not isinstance(found, WrongSettings)
