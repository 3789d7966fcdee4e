"""Addresses of DuckLake, SQLite, files and warehouses that cannot be used: exit code 2, and no class of a library."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations.target import Target
from tests.contract.subject import filled
from tests.support.databases import DATABASES
from tests.support.world import World

Begin = Callable[[Any], World]
IN_MEMORY = "must be a file: a database in memory is gone"
NO_HOST = "names a host, which a file does not have: expected three slashes, as in"
UNUSED = "has parameters after its question mark that nothing reads:"
FROM_WINDOWS = "is a path of Windows, and on this machine a path is like /srv/logs"
DUCKDB = ("duckdb", "CREDENTIALS")
NO_FORM = "is not in a form that this kind of destination takes"
WRONG = {
    # the destination, the end of the setting, its value: what is said
    ("ducklake", "CREDENTIALS__CATALOG", "foo"): NO_FORM,
    ("ducklake", "CREDENTIALS__CATALOG", "sqlite:///"): IN_MEMORY,
    ("ducklake", "CREDENTIALS__CATALOG", "sqlite:///:memory:"): IN_MEMORY,
    ("ducklake", "CREDENTIALS__CATALOG", "postgresql://u:PEAR@127.0.0.1:9/d?sslmode=no"): 'take the sslmode "no"',
    ("ducklake", "CREDENTIALS__CATALOG", "postgresql://h/d?sslrootcert=/nope"): "sslrootcert is /nope",
    ("ducklake", "CREDENTIALS__STORAGE", "s3://bucket"): "CREDENTIALS__STORAGE__BUCKET_URL",
    ("sqlalchemy", "CREDENTIALS", "foo"): NO_FORM,
    ("sqlalchemy", "CREDENTIALS", "sqlite://"): IN_MEMORY,
    ("sqlalchemy", "CREDENTIALS", "sqlit:///x.db"): "is no address that SQLAlchemy knows",
    ("sqlalchemy", "CREDENTIALS__DRIVERNAME", "sqlite"): "CREDENTIALS__DATABASE is not set",
    ("filesystem", "BUCKET_URL", "file://"): "bucket_url",
    ("snowflake", "CREDENTIALS", "PEAR"): NO_FORM,
    ("sqlalchemy", "CREDENTIALS", "sqlite://x.sqlite"): f"{NO_HOST} sqlite:///gapless.sqlite",
    ("sqlalchemy", "CREDENTIALS", "sqlite:///x.sqlite?mode=ro"): f"{UNUSED} mode",
    ("sqlalchemy", "CREDENTIALS", "sqlite:x.sqlite"): "begins with sqlite: and no slashes: expected sqlite:///",
    ("sqlalchemy", "CREDENTIALS", "sqlite:///C:\\x.sqlite"): FROM_WINDOWS,
    ("sqlalchemy", "CREDENTIALS", "sqlite:///x.sqlite # mine"): "has a comment at its end",
    ("ducklake", "CREDENTIALS", "lake"): "is a section, not a text",
    ("ducklake", "CREDENTIALS", "ducklake:lake"): "is a section, not a text",
    ("ducklake", "CREDENTIALS__CATALOG", "sqlite://x.sqlite"): f"{NO_HOST} sqlite:///",
    ("ducklake", "CREDENTIALS__CATALOG", "sqlite:///x.sqlite?mode=ro&PEAR"): f"{UNUSED} mode, …",
    ("ducklake", "CREDENTIALS__CATALOG", "sqlite:///x\u200b.sqlite"): "has a character that nobody sees, '\\u200b'",
    ("motherduck", "CREDENTIALS", "md://logs?motherduck_token=PEAR"): "names no database: expected md:DATABASE",
    (*DUCKDB, "duckdb://x.duckdb"): f"{NO_HOST} duckdb:///gapless.duckdb",
    (*DUCKDB, "duckdb://u:PEAR@h/x.duckdb"): NO_HOST,
    (*DUCKDB, "duckdb://"): "names no file: expected a path, or duckdb:///gapless.duckdb (three slashes)",
    (*DUCKDB, "duckdb:///"): "names no file: ",
    (*DUCKDB, ":pipeline:"): "names no file: ",
    (*DUCKDB, ":external:"): "names no file: ",
    (*DUCKDB, "duckdb:///:pipeline:"): "names no file: ",
    (*DUCKDB, "duckdb:x.duckdb"): "begins with duckdb: and no slashes: expected a path, or duckdb:///",
    (*DUCKDB, "file:x.duckdb"): "begins with file: and no slashes",
    (*DUCKDB, "duckdb:///x?access_mode=READ_ONLY"): f"{UNUSED} access_mode",
    (*DUCKDB, "C:\\logs\\x.duckdb"): FROM_WINDOWS,
    (*DUCKDB, "D:/x.duckdb"): FROM_WINDOWS,
    (*DUCKDB, r"\\server\logs\x.duckdb"): FROM_WINDOWS,
    (*DUCKDB, "x.db # mine"): "has a comment at its end",
    (*DUCKDB, "x\ty.db"): "has a character that nobody sees, '\\t'",
    (*DUCKDB, "x.db\u200b"): "has a character that nobody sees, '\\u200b'",
    (*DUCKDB, "x\xa0y.db"): "has a character that nobody sees, '\\xa0'",
    ("duckdb", "CREDENTIALS__DATABASE", "duckdb:x.duckdb"): "begins with duckdb: and no slashes",
    ("duckdb", "CREDENTIALS__DATABASE", ":pipeline:"): "names no file: ",
}


@pytest.mark.parametrize(("name", "end", "value"), WRONG)
def test_an_address(name: str, end: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Named, with what is expected; nothing is made, and no word of a password is said."""
    if name in DATABASES and not DATABASES[name].at_hand():
        pytest.skip(f"{name} is not installed")
    monkeypatch.setenv(setting := f"DESTINATION__{name.upper()}__{end}", value)
    ended = CliRunner().invoke(app, ["status", "--destination", name])
    said = " ".join(ended.output.split())
    assert (ended.exit_code, setting.rpartition(end)[0] in said) == (2, True), said
    assert WRONG[name, end, value] in said, said
    assert not re.search(r"\w+(?:Credentials|Configuration|Error|Exception)\b", said), said
    assert "PEAR" not in said
    assert [path.name for path in tmp_path.iterdir() if "gapless-" not in path.name] == []


@pytest.mark.parametrize(
    "path", ["gapless_probe.duckdb", "a:b.duckdb", "x#1.duckdb", "a b.duckdb", "\u0645\u200c\u06cc.db"]
)
def test_names_that_somebody_may_choose(path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They are taken as they are, as a path and in an address."""
    for value in (path, f"duckdb:///{path}"):
        monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", value)
        assert Target.find("duckdb").file == tmp_path / path


@pytest.mark.slow
@pytest.mark.skipif(not DATABASES["ducklake"].at_hand(), reason="its driver is not here")
@pytest.mark.parametrize("destination", ["ducklake"])
def test_the_files_of_a_lake_are_elsewhere(destination: str, world: Begin) -> None:
    """Both places are said; the folder may be moved, by the setting that is named."""
    here = world(filled("tines")).alone()
    place = "DESTINATION__DUCKLAKE__CREDENTIALS__STORAGE__BUCKET_URL"
    here.set(**{place: str(here.folder / "one")})
    here.complete()
    here.set(**{place: str(here.folder / "two")})
    for line in ("status", "sync", "views"):
        ended = CliRunner().invoke(app, [line, *here.database.option])
        assert (ended.exit_code, "says that its files are below" in ended.output) == (2, True), ended.output
    assert "DESTINATION__DUCKLAKE__OVERRIDE_DATA_PATH=true" in ended.output
    (here.folder / "one").rename(here.folder / "two")
    here.set(DESTINATION__DUCKLAKE__OVERRIDE_DATA_PATH="true")
    here.complete()
    assert CliRunner().invoke(app, ["gaps", *here.database.option]).exit_code == 0


@pytest.mark.skipif(not DATABASES["sqlalchemy"].at_hand(), reason="its driver is not here")
@pytest.mark.parametrize("destination", ["sqlalchemy"])
def test_a_source_s_file_of_another_program(destination: str, world: Begin) -> None:
    """SQLite has a file for each source: each is looked at, and left alone."""
    here = world(filled("tines")).alone()
    (file := here.folder / "gapless__tines.sqlite").write_text("a page of a diary, and no database")
    for line in ("sync", "status"):
        ended = CliRunner().invoke(app, [line, *here.database.option])
        assert (ended.exit_code, "a file of another program" in ended.output) == (2, True), ended.output
    assert file.read_text() == "a page of a diary, and no database"
