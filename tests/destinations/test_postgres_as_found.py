"""Postgres as it is found: every address that libpq takes, passwords of all letters, servers set up by others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations._postgres.address import AddressError, parameters, passwords
from gapless.pipelines.destinations.reader import reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.redaction import redact, register_secrets
from tests.contract.subject import filled
from tests.support.databases import Postgres
from tests.support.postgres import SOCKETS, Server, running
from tests.support.world import CREDENTIALS, World, some

Begin = Callable[[Any], World]
SETTING = "DESTINATION__POSTGRES__CREDENTIALS"
SNOWMAN = "☃ łódź 雪"
FORMS: dict[str, dict[str, str]] = {
    "a URL without password": {SETTING: "postgresql://gapless@127.0.0.1:{port}/{name}"},
    "a socket in the query": {SETTING: "postgresql://gapless@/{name}?host={socket}&port={port}"},
    "a socket as host": {SETTING: "postgresql://gapless@{quoted}:{port}/{name}"},
    "several hosts": {
        SETTING: "postgresql://gapless@127.0.0.1:9,127.0.0.1:{port}/{name}?target_session_attrs=read-write"
    },
    "several hosts in the query": {
        SETTING: "postgresql:///{name}?host=127.0.0.1,{socket}&port=9,{port}&user=gapless&connect_timeout=2"
    },
    "libpq's words": {SETTING: "host={socket} port={port} dbname={name} user=gapless"},
    "words of several hosts": {SETTING: "host=127.0.0.1,{socket} port=9,{port} dbname='{name}' user=gapless"},
    "a service": {SETTING: "service=logs", "PGSERVICEFILE": "{folder}/services"},
    "a service in a URL": {SETTING: "postgresql:///?service=logs", "PGSERVICEFILE": "{folder}/services"},
    "fields": {
        f"{SETTING}__HOST": "{socket}", f"{SETTING}__PORT": "{port}", f"{SETTING}__DATABASE": "{name}",
        f"{SETTING}__USERNAME": "gapless",
    },
    "fields of several hosts": {
        f"{SETTING}__HOST": "127.0.0.1,{socket}", f"{SETTING}__PORT": "9,{port}", f"{SETTING}__DATABASE": "{name}",
        f"{SETTING}__USERNAME": "gapless", f"{SETTING}__QUERY": '{{"sslmode": "disable"}}',
    },
    "libpq's variables": {"PGHOST": "{socket}", "PGPORT": "{port}", "PGDATABASE": "{name}", "PGUSER": "gapless"},
    "a token that changes": {
        SETTING: "postgresql://gapless@127.0.0.1:{port}/{name}", "PGPASSWORD": "canary-token",
    },
    "a password file": {SETTING: "postgresql://gapless@127.0.0.1:{port}/{name}?passfile={folder}/pass"},
    "a service and variables": {"PGSERVICE": "logs", "PGSERVICEFILE": "{folder}/services"},
}  # fmt: skip


def gapless(*args: str) -> Result:
    return CliRunner().invoke(app, [*args, "--destination", "postgres"])


@pytest.fixture
def database(server: Server) -> str:
    return server.database().rpartition("/")[2]


@pytest.fixture
def put(server: Server, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets variables in which the database's place stands."""
    facts = {
        "name": database, "port": server.port, "socket": SOCKETS, "quoted": SOCKETS.replace("/", "%2F"),
        "folder": tmp_path,
    }  # fmt: skip
    service = "[logs]\nhost={socket}\nport={port}\ndbname={name}\nuser=gapless\n"
    (tmp_path / "services").write_text(service.format(**facts))
    (tmp_path / "pass").write_text("*:*:*:*:canary-file\n")
    (tmp_path / "pass").chmod(0o600)

    def put(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value.format(**facts))

    return put


@pytest.mark.parametrize("form", FORMS)
def test_every_address_of_libpq(form: str, put: Callable[..., None], database: str) -> None:
    """What `psql` takes, gapless takes: its lock, its reader and dlt's own connection are in that database."""
    put(**FORMS[form])
    target = Target.find("postgres")
    with target.locked(), target.opened():
        held = (
            f"select count(*) from pg_locks l join pg_database d on d.oid = l.database where datname = '{database}'"
        )
        with reading(target) as reader:
            assert reader.rows("omni", "select current_database()") == [(database,)]
            ((locks,),) = reader.rows("omni", f"{held} and locktype = 'advisory'") or [(0,)]
            assert locks


@pytest.mark.slow
@pytest.mark.parametrize(
    "form", some(["a socket in the query", "words of several hosts", "libpq's variables"], "libpq's variables")
)
def test_a_whole_sync(form: str, put: Callable[..., None], world: Begin) -> None:
    """Not only a connection: rows, ledger and views, and the commands that read them."""
    here = world(filled("sequence"))
    put(**FORMS[form])
    for key in (key for key in CREDENTIALS if not key.startswith("SEQUENCE_")):
        here.monkeypatch.delenv(key, raising=False)  # the doctor asks every vendor whose keys are there
    for line in ("doctor", "sync sequence", "status", "gaps", "verify sequence", "views"):
        ended = gapless(*line.split())
        assert ended.exit_code == 0, (line, ended.output)
    assert here.asked()


def test_a_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers say so as writers do, with the next step."""
    monkeypatch.setenv(SETTING, "postgresql://me:canary-pear@127.0.0.1:9/logs")
    for line in ("status", "gaps", "state show", "views"):
        ended = gapless(*line.split())
        assert (ended.exit_code, "canary" in ended.output) == (1, False)
        assert "cannot reach postgres: connection to server" in ended.output
        assert "gapless doctor --destination postgres" in ended.output


def test_no_address_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing leads to a database, libpq's own guess is no answer: said with what to set."""
    ended = gapless("status")
    assert (ended.exit_code, "has no address" in ended.output, f"Set {SETTING}" in ended.output) == (2, True, True)


# -- passwords -------------------------------------------------------------------------------------------

LETTERS = ["p@ss", "p/ss", "p:ss", "p#ss", "p%ss", "p?ss", "12/34", "12?34", "p@s/s#w?o%r:d", "a@b@c", "@", "/@"]


@pytest.mark.parametrize("password", LETTERS)
def test_a_password_of_any_letters(password: str, put: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Unencoded it is understood, or refused with how to encode it; no piece of it is said, whatever goes wrong."""
    secret = password.replace("p", "PEAR").replace("s", "PLUM").replace("w", "FIG")
    address = f"postgresql://gapless:{secret}@127.0.0.1:9/logs"
    monkeypatch.setenv(SETTING, address)
    for line in ("status", "doctor", "sync omni", "copy"):
        option = "--to" if line == "copy" else "--destination"
        ended = CliRunner().invoke(app, ["--debug", *line.split(), option, "postgres"])
        assert ended.exit_code in (1, 2)
        assert not any(fruit in ended.output for fruit in ("PEAR", "PLUM", "FIG")), (line, ended.output)
        if line == "status":
            refused = ended
    try:
        assert parameters(address)["password"] == secret
    except AddressError:
        assert refused.exit_code == 2
        assert "Percent-encode the password" in refused.output
        assert "%40" in refused.output
        assert secret.count("@")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:{}@h/d", "host=h password='{}' dbname=d", "host=h password={}", "postgresql:///d?password={}",
        "postgresql://h/d?sslpassword={}&user=x", "redshift://u:{}@h/d",
    ],
)  # fmt: skip
def test_a_password_in_any_address_is_a_secret(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it stands, no line that we print has it."""
    monkeypatch.setenv(SETTING, address.format("canary-pear"))
    monkeypatch.setenv("PGPASSWORD", "canary-plum")
    register_secrets()
    assert redact("canary-pear canary-plum") == "*** ***"
    assert "canary-pear" in [*passwords(address.format("canary-pear"))]


def test_an_at_in_another_database_s_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind is not Postgres' alone: whatever has a URL has that question."""
    for name, key, url in (
        ("redshift", "", "redshift://u:PEAR@PLUM@h/d"),
        ("clickhouse", "", "clickhouse://u:PEAR@PLUM/FIG@h/d?secure=1"),
        ("ducklake", "__CATALOG", "postgresql://u:PEAR@PLUM@h/d"),
    ):
        monkeypatch.setenv(f"DESTINATION__{name.upper()}__CREDENTIALS{key}", url)
        ended = CliRunner().invoke(app, ["status", "--destination", name])
        assert (ended.exit_code, "Percent-encode" in ended.output) == (2, True), ended.output
        assert not any(fruit in ended.output for fruit in ("PEAR", "PLUM", "FIG"))


# -- servers as others have set them up ------------------------------------------------------------------


@pytest.mark.parametrize("encoding", some(["LATIN1", "WIN1252", "SQL_ASCII"], "LATIN1"))
def test_a_database_in_another_encoding(encoding: str, server: Server, world: Begin) -> None:
    """Refused before the first request, with what is needed; the doctor says so, too."""
    here = world(filled("sequence")).set(**{SETTING: server.database(encoding=encoding)})
    for line, code in (("sync sequence", 2), ("doctor", 1), ("views", 2)):
        ended = gapless(*line.split(), "--json")
        assert ended.exit_code == code, ended.output
        assert f"has the encoding {encoding}" in ended.output
        assert "encoding 'UTF8'" in ended.output
    assert [request for request in here.fake.requests if "logs" in str(request)][1:] == []  # the doctor's alone


ODD = {
    "client_encoding": "'LATIN1'", "standard_conforming_strings": "off", "datestyle": "'SQL, DMY'",
    "timezone": "'America/St_Johns'", "bytea_output": "'escape'", "extra_float_digits": "-10",
    "search_path": "'pg_catalog'", "statement_timeout": "1", "lock_timeout": "1", "intervalstyle": "'sql_standard'",
    "default_transaction_isolation": "'serializable'", "transform_null_equals": "on",
    "idle_in_transaction_session_timeout": "1", "quote_all_identifiers": "on", "array_nulls": "off",
}  # fmt: skip


@pytest.mark.slow
def test_a_database_with_odd_settings(server: Server, database: str, world: Begin) -> None:
    """Whatever somebody set for all who come: the same rows, to the letter."""
    here = world(filled("kizen"))
    here.database = Postgres(here.folder)
    name = here.database.url.rpartition("/")[2]
    for setting, value in ODD.items():
        server.execute("postgres", f"alter database {name} set {setting} = {value}")
    here.set(**here.database.settings)
    record = here.fake.truth()["logged_activities"][0]
    here.fake.change(record["id"], notes=f"{SNOWMAN} \\u2603 \\' '' \\n {{}}")
    here.complete()
    here.fake.advance(30)
    here.complete()
    for setting in ODD:
        server.execute("postgres", f"alter database {name} reset {setting}")
    here.assert_exact()
    assert SNOWMAN in str(here.sql("select notes from logged_activities"))


def test_a_database_that_takes_no_writes(server: Server, world: Begin) -> None:
    """Said before the first request, with the statement that ends it."""
    url = server.database()
    here = world(filled("sequence")).set(**{SETTING: url})
    server.execute("postgres", f"alter database {url.rpartition('/')[2]} set default_transaction_read_only = on")
    ended = gapless("sync", "sequence")
    assert (ended.exit_code, here.asked()) == (1, 0)
    assert "default_transaction_read_only = off" in ended.output


@pytest.mark.slow
def test_a_server_that_was_away_is_remembered(world: Begin) -> None:
    """By this machine alone; a sync of a part is no end of it, and the sync that is named is."""
    with running() as server:
        here = world(filled("tines")).alone().set(**{SETTING: server.database()})
        assert gapless("sync").exit_code == 0
        server.stop()
        assert gapless("sync").exit_code == 1
        server.start()
        told = gapless("gaps")
        assert (told.exit_code, "could not write to the database" in told.output) == (3, True), told.output
        assert gapless("sync", here.name, "--since", "2026-02-28").exit_code == 0
        assert gapless("gaps").exit_code == 3
        assert gapless("sync").exit_code == 0
        assert gapless("gaps").exit_code == 0
