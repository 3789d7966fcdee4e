"""An account whose vendor was changed in the settings: every command says so alike, and nothing is touched."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.sources import SOURCES, Source
from tests.contract.subject import filled
from tests.support.databases import DATABASES
from tests.support.postgres import Server
from tests.support.world import World, settings, some

Begin = Callable[[Any], World]
HERE = [name for name in DATABASES if DATABASES[name].at_hand()]
COMMANDS = (
    "sync", "gaps", "status", "verify", "plan", "views", "state show", "sync --since 2026-01-01",
    "state reset eu --yes", "keep eu 400d --yes", "forget eu --id x --yes", "compact", "privacy apply --yes",
)  # fmt: skip
OF_THE_FILE = ("publish readers.duckdb", "copy --to postgres")


def changed(world: Begin, vendor: str, to: str) -> World:
    """An account of one vendor, synced; then the settings say that it is one of another's."""
    here = world(filled(vendor)).alone()
    here.name, url = "eu", os.environ[f"{vendor.upper()}_BASE_URL"]
    here.monkeypatch.setitem(SOURCES, "eu", Source("eu", SOURCES[vendor].package))
    here.set(**settings(["eu"]), EU_BASE_URL=url).alone()
    here.complete()
    here.monkeypatch.setitem(SOURCES, "eu", Source("eu", SOURCES[to].package))
    here.set(**settings(["eu"]), EU_BASE_URL=url)
    return here


CHANGES = [("tines", "sequence"), ("omni", "tines"), ("tines", "omni")]


@pytest.mark.slow
@pytest.mark.parametrize("destination", some(HERE, "duckdb"))
@pytest.mark.parametrize(("vendor", "to"), some(CHANGES, ("omni", "tines")))
def test_every_command(vendor: str, to: str, destination: str, world: Begin, server: Server) -> None:
    """Ends with 2 and names the tables that are there, also where both vendors have a table of one name."""
    here = changed(world, vendor, to)
    before = here.sql("select count(*) from runs"), here.rows("action_logs")
    here.fake.requests.clear()
    lines = [(line, here.database.option) for line in COMMANDS]
    if destination == "duckdb":
        here.set(DESTINATION__POSTGRES__CREDENTIALS=server.database())
        lines += [(line, []) for line in OF_THE_FILE]
    for line, option in lines:
        ended = CliRunner().invoke(app, [*line.split(), *option])
        said = f"its dataset holds the tables of {vendor}"
        assert (ended.exit_code, said in " ".join(ended.output.split())) == (2, True), (line, ended.output)
    assert here.asked() == 0
    doctor = CliRunner().invoke(app, ["doctor", *here.database.option])
    assert f"holds the tables of {vendor}" in " ".join(doctor.output.split())
    assert (here.sql("select count(*) from runs"), here.rows("action_logs")) == before
