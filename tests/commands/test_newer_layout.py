"""A database that a newer gapless wrote: every command refuses it with one sentence, and leaves it as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.sources._schema.layout import LAYOUT
from gapless.sources.tines.fake import TinesFake
from tests.support.databases import DATABASES
from tests.support.world import World, some

Begin = Callable[[Any], World]
NEWER = LAYOUT + 5
SENTENCE = (
    f"this database has layout {NEWER} (of gapless 9.0.0), and this gapless knows layouts up to {LAYOUT}:"
    " upgrade gapless"
)
WINDOW = ["--since", "2026-01-01", "--until", "2026-02-01"]
COMMANDS = [
    ["sync", "tines"], ["backfill", "tines", *WINDOW], ["status"], ["gaps"], ["verify", "tines"],
    ["state", "show"], ["state", "rewind", "tines", "--to", "2026-01-01", "--yes"],
    ["state", "reset", "tines", "--yes"], ["state", "adopt", "tines", "--yes"], ["views"],
    ["forget", "tines", "--id", "1", "--yes"], ["keep", "tines", "1d", "--yes"],
    ["privacy", "apply", "tines", "--yes"],
]  # fmt: skip
OF_FILES = [["ui", "--no-browser"], ["publish", "copy.duckdb"], ["copy", "tines", "--to", "other"]]


def newer(world: Begin) -> World:
    """A synced database, as a later version would have left it."""
    here = world(TinesFake.demo()).alone()
    here.synced()
    rename = (
        f"alter table {'tines.' if here.database.name != 'sqlalchemy' else ''}layout rename column shape to forms"
    )
    table = "layout" if here.database.name == "sqlalchemy" else "tines.layout"
    here.database.change("tines", f"update {table} set version = {NEWER}, written_by = '9.0.0'", rename)
    here.fake.requests.clear()
    return here


@pytest.mark.slow
@pytest.mark.parametrize("destination", some([name for name in DATABASES if DATABASES[name].at_hand()], "duckdb"))
def test_every_command_refuses_it(destination: str, world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """With exit code 2, before any request."""
    here = newer(world)
    monkeypatch.setenv("DESTINATION__OTHER__DESTINATION_TYPE", "duckdb")
    monkeypatch.setenv("DESTINATION__OTHER__CREDENTIALS", str(here.folder / "other.duckdb"))
    before = here.rows("action_logs"), here.sql("select * from runs"), here.sql("select * from coverage")
    for command in COMMANDS + (OF_FILES if destination == "duckdb" else []):
        option = [] if command in OF_FILES else here.database.option
        done = CliRunner().invoke(app, [*command, *option])
        assert SENTENCE in " ".join(done.output.split()), (command, done.output)
        assert done.exit_code == 2, (command, done.output)
    assert here.fake.requests == []
    assert (here.rows("action_logs"), here.sql("select * from runs"), here.sql("select * from coverage")) == before
    done = CliRunner().invoke(app, ["doctor", *here.database.option])
    assert SENTENCE in " ".join(done.output.split())
    assert done.exit_code == 1


def test_the_layout_is_told(world: Begin) -> None:
    """By SQL, by `status --json` and by the doctor."""
    here = world(TinesFake.demo()).alone()
    here.synced()
    assert here.sql("select version from layout") == [(LAYOUT,)]
    told = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)
    assert told["sources"]["tines"]["layout"] == LAYOUT
    assert f"tines {LAYOUT}; this version writes {LAYOUT}" in " ".join(
        CliRunner().invoke(app, ["doctor"]).output.split()
    )


@pytest.mark.slow
def test_a_table_of_that_name_of_somebody_else(world: Begin) -> None:
    """Is named before any request, and left alone; to read what is here goes on."""
    here = world(TinesFake.demo()).alone()
    here.synced()
    here.database.change(
        "tines", "drop table layout", "create table layout (plan varchar)", "insert into layout values ('b')"
    )
    outcome = here.sync()
    assert "tines.layout is a table of somebody else's" in str(outcome.error)
    assert here.fake.requests == []
    assert here.sql("select * from layout") == [("b",)]
    assert CliRunner().invoke(app, ["status"]).exit_code == 0
